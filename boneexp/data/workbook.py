"""dataset.xlsx: the rows of its first sheet as text.

A workbook is a zip of XML, and a few kilobytes of it can unpack to gigabytes or to rows without end. So its
directory is looked at before anything is unpacked, and rows are taken one by one, by a caller who stops.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat
from zipfile import ZipFile

from boneexp.errors import DataInvalid
from boneexp.files.reading import content_of

LARGEST_BYTES = 32_000_000
MOST_UNPACKED_BYTES = 64_000_000  # a table of BTXRD's size has about 5 million
MOST_PARTS = 1_000


def workbook_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row, from 1, and its cells as text; rows between others may be blank.

    Raises:
        DataInvalid: the file is no workbook, damaged, or unpacks to more than a table of images can be.
    """
    import openpyxl  # costs 0.15 s, and most people keep a csv

    try:
        content = content_of(path, LARGEST_BYTES)
        with ZipFile(BytesIO(content)) as archive:
            _check_parts(archive)
        workbook = openpyxl.load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
        sheet: Any = workbook.worksheets[0]
        sheet.reset_dimensions()  # some writers note a wrong size, and rows would be missing
        for line, cells in enumerate(sheet.values, 1):
            yield line, [_text(cell) for cell in cells]
    except Exception as error:  # openpyxl lets through whatever its parsers and its own code stumble over
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataInvalid(
            f"{path} is no Excel workbook that can be read ({said[:200]})", [path.name]
        ) from error


def _check_parts(archive: ZipFile) -> None:
    parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)  # no more than that is ever unpacked
    if len(parts) > MOST_PARTS or unpacked > MOST_UNPACKED_BYTES:
        raise ValueError(
            f"it unpacks to {unpacked:,} bytes in {len(parts):,} parts; "
            f"{MOST_UNPACKED_BYTES:,} in {MOST_PARTS:,} are the most that is read"
        )
    for part in parts:
        with archive.open(part) as file:
            _refuse_entities(file)


class _Root(Exception):
    """The document has begun; what could define entities stands before that."""


def _refuse_entities(file: IO[bytes]) -> None:
    """Raise ValueError for XML with a document type: Excel writes none, and entities can grow without end."""

    def refuse(*_: object) -> None:
        raise ValueError("its XML has a document type declaration, as no workbook has")

    def stop(*_: object) -> None:
        raise _Root

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = stop
    try:
        parser.ParseFile(file)
    except (_Root, expat.ExpatError):  # a picture, say, is no XML, and nobody reads it as such
        return


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()
