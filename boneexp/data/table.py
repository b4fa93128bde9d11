"""dataset.csv or dataset.xlsx in, one checked row per image out.

No cell is guessed at and no row is skipped: whatever is wrong becomes a problem with its row number, and all
problems come back together.
"""

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boneexp.data.rows import COLUMNS, SYNONYMS, Row, checked_row, is_plain_name, shortened, stem_of
from boneexp.data.workbook import workbook_rows
from boneexp.errors import DataInvalid
from boneexp.files.reading import content_of
from boneexp.text.numbers import first_few

LARGEST_CSV_BYTES = 32_000_000
MOST_ROWS = 100_000
MOST_COLUMNS = 1_000
LAST_LINE = 1_048_576  # of a sheet; blank lines can go on for ever
Line = tuple[int, list[str]]  # the row's number in the file, counted from 1, and its cells


def table_path(root: Path) -> Path:
    """Return the dataset's table: dataset.csv, or dataset.xlsx where there is no csv.

    Raises:
        DataInvalid: neither is there.
    """
    for name in ("dataset.csv", "dataset.xlsx"):
        if (root / name).is_file():
            return root / name
    raise DataInvalid(
        f"{root} holds neither dataset.csv nor dataset.xlsx; BTXRD's zip brings the latter", [str(root)]
    )


def read_table(path: Path, group_column: str | None = None) -> "Table":
    """Return the rows with a usable image_id, and everything that is wrong with any row.

    Raises:
        DataInvalid: the file cannot be read, has no rows, or lacks a column or has it twice.
    """
    lines = _lines(path)
    if not lines:
        raise DataInvalid(
            f"{path} is empty; it should hold BTXRD's 37 columns and a row per image", [path.name]
        )
    needed = [*COLUMNS, *([group_column] if group_column else [])]
    header, notes = _with_usual_names(lines[0][1])
    _check_header(path, header, needed)
    place_of = {column: header.index(column) for column in needed}
    if len(lines) == 1:
        raise DataInvalid(f"{path} has a header and no rows", [path.name])
    rows: list[Row] = []
    problems: list[str] = []
    for line, cells in lines[1:]:
        cell = {column: cells[at] if at < len(cells) else "" for column, at in place_of.items()}
        row, wrong = checked_row(line, cell, cell[group_column] if group_column else "")
        if any(cells[len(header) :]):
            wrong.insert(0, f"{len(cells)} cells under {len(header)} columns")
        problems += [f"{path.name} row {line} ({shortened(row.image_id)}): {reason}" for reason in wrong]
        rows.append(row)
    usable = tuple(row for row in rows if is_plain_name(row.image_id))
    return Table(usable, problems + _repeated(path, rows), notes)


def _lines(path: Path) -> list[Line]:
    """Return all but blank lines, as many as a table of images can have."""
    lines: list[Line] = []
    for line, cells in workbook_rows(path) if path.suffix == ".xlsx" else _csv_rows(path):
        if len(cells) > MOST_COLUMNS or len(lines) > MOST_ROWS or line > LAST_LINE:
            raise DataInvalid(
                f"{path} row {line:,}: too large for a table of images; "
                f"at most {MOST_ROWS:,} rows and {MOST_COLUMNS:,} columns are read",
                [f"{path.name} row {line}"],
            )
        if any(cells):
            lines.append((line, cells))
    return lines


def _csv_rows(path: Path) -> Iterator[Line]:
    """Yield the rows of a csv; the separator is what the header has most of: comma, ; or tab."""
    text = io.StringIO(_csv_text(path), newline="")
    header = text.readline()
    text.seek(0)
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(text, delimiter=delimiter)
    start, open_quotes = 1, []
    try:
        for cells in reader:
            if any(_spans_rows(cell, delimiter) for cell in cells):
                open_quotes.append((start, reader.line_num))
            yield start, [cell.strip() for cell in cells[: MOST_COLUMNS + 1]]
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataInvalid(
            f"{path} row {start} cannot be read: {error}; is a quotation mark in it not closed?",
            [f"{path.name} row {start}"],
        ) from error
    if open_quotes:
        raise _open_quotes(path, open_quotes)


def _spans_rows(cell: str, delimiter: str) -> bool:
    """Whether a cell holds line breaks and separators: rows that a quotation mark swallowed, most likely."""
    return delimiter in cell and ("\n" in cell or "\r" in cell)


def _open_quotes(path: Path, spans: Sequence[tuple[int, int]]) -> DataInvalid:
    """Say which cells swallow rows; `spans` are the first and the last line of each."""
    places = [f"{path.name} row {first}" for first, _ in spans]
    shown = [f"  row {first}: a cell runs on to row {last}" for first, last in spans[:10]]
    more = [f"  and {len(spans) - 10} more"] if len(spans) > 10 else []
    lines = "\n".join([*shown, *more])
    return DataInvalid(
        f"{path} has cells that hold line breaks and separators, so rows would be lost; close the quotation "
        f'mark that begins each, write a mark in a quoted cell as "", or take the break out:\n{lines}',
        places,
    )


def _csv_text(path: Path) -> str:
    try:
        content = content_of(path, LARGEST_CSV_BYTES)
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read: {error.strerror}", [path.name]) from error
    if b"\0" in content:
        raise DataInvalid(
            f"{path} has NUL bytes: it is UTF-16, or no text at all; save it as CSV in UTF-8", [path.name]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # Excel's plain "CSV" in Europe


def _with_usual_names(header: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the header with the authors' other spellings replaced by the published ones, and a note.

    A column that is there under its published name stays, and so does one beside it.
    """
    renamed = {name: usual for name, usual in SYNONYMS.items() if name in header and usual not in header}
    if not renamed:
        return list(header), ()
    pairs = ", ".join(f"{usual!r} from {name!r}" for name, usual in renamed.items())
    return [renamed.get(name, name) for name in header], (f"columns under another name: {pairs}",)


def _check_header(path: Path, header: Sequence[str], needed: Sequence[str]) -> None:
    problems = [
        f"{path.name}: the column {column!r} is {_absence(column, header)}"
        for column in dict.fromkeys(needed)
        if header.count(column) != 1
    ]
    if problems:
        unused = [repr(shortened(name)) for name in dict.fromkeys(header) if name and name not in needed]
        others = [f"columns that nothing uses: {first_few(unused, most=20)}"] if unused else []
        text = "\n  ".join([*problems[:10], *(["…"] if len(problems) > 10 else []), *others])
        raise DataInvalid(f"the header of {path} is not BTXRD's; rename the columns:\n  {text}", problems)


def _absence(column: str, header: Sequence[str]) -> str:
    if column in header:
        return f"there {header.count(column)} times"
    lowered = {name.lower(): name for name in header}
    nearest = difflib.get_close_matches(column.lower(), lowered, n=1)
    return f"missing (nearest: {lowered[nearest[0]]!r})" if nearest else "missing"


def _repeated(path: Path, rows: Sequence["Row"]) -> list[str]:
    first: dict[str, int] = {}
    return [
        f"{path.name} row {row.line} ({shortened(row.image_id)}): the image of row {line} again"
        for row in rows
        if (line := first.setdefault(stem_of(row.image_id), row.line)) != row.line and row.image_id
    ]


@dataclass(frozen=True)
class Table:
    """The rows whose image_id can be a file, one line for each thing that is wrong, and what is only odd."""

    rows: tuple[Row, ...]
    problems: list[str]
    notes: tuple[str, ...] = ()
