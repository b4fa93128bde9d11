"""A table that means harm: refused with one sentence, in bounded time and memory."""

import os
import time
import zipfile
from pathlib import Path

import openpyxl
import pytest
from tiny_dataset import row, write_dataset, write_table

from boneexp.data import rows, table, workbook
from boneexp.data.btxrd import read_dataset
from boneexp.data.rows import COLUMNS
from boneexp.data.table import read_table
from boneexp.errors import DataInvalid


def refusal(path, group_column=None):
    with pytest.raises(DataInvalid) as caught:
        read_table(path, group_column)
    assert caught.value.places
    return str(caught.value)


def csv_of(tmp_path, content):
    path = tmp_path / "dataset.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems_of(tmp_path, **cells):
    write_table(tmp_path, [row(1), row(2, "B", **cells)])
    return read_table(tmp_path / "dataset.csv")


# image_id

NAMES = {
    "a folder above": "../x.jpeg",
    "an absolute path": "/etc/passwd",
    "a drive": "C:\\x.jpeg",
    "a share": "\\\\host\\x.jpeg",
    "dots": "..",
    "hidden": ".hidden.jpeg",
    "a dot behind": "IMG2.",
    "a control character": "IMG\x01.jpeg",
    "a line end": "IMG\n2.jpeg",
    "an escape": "IMG\x1b[31m.jpeg",
    "writing turned round": "IMG\u202egepj.exe",
    "no width": "IMG\u200b2.jpeg",
    "a hyphen that hides": "IMG\u00ad.jpeg",
    "10,000 characters": "I" * 10_000,
    "201 bytes": "ü" * 101,
    "a formula with a path": "=cmd|' /C calc'!A0",
    "a link": "](javascript:alert(1))",
    "a closing tag": "<script>alert(1)</script>",
}


@pytest.mark.parametrize("image_id", NAMES.values(), ids=NAMES)
def test_an_image_id_that_is_no_plain_file_name_is_a_problem(tmp_path, image_id):
    read = problems_of(tmp_path, image_id=image_id)
    assert [one.image_id for one in read.rows] == ["IMG000001.jpeg"]
    (problem,) = read.problems
    assert problem.startswith("dataset.csv row 3 (")
    assert "not the plain name of a file" in problem
    assert len(problem) < 250


@pytest.mark.parametrize(
    "image_id", ["@SUM(1).jpeg", "=1+1", "+1", "-1", "a|b.jpeg", "<b>.jpeg", "Größe 1 (2).jpg"]
)
def test_an_image_id_that_is_only_odd_is_taken_and_spaces_around_it_are_dropped(tmp_path, image_id):
    assert problems_of(tmp_path, image_id=f"  {image_id} ").rows[1].image_id == image_id


def test_two_spellings_of_one_name_are_one_image(tmp_path):
    composed, apart = "Gr\u00f6\u00dfe.jpeg", "Gro\u0308\u00dfe.jpeg"
    write_table(tmp_path, [row(1, image_id=composed), row(2, "B", image_id=apart)])
    (problem,) = read_table(tmp_path / "dataset.csv").problems
    assert problem == f"dataset.csv row 3 ({composed}): the image of row 2 again"


def test_an_image_whose_name_is_spelled_otherwise_on_disk_is_found(tmp_path):
    rows = [row(1), row(2, "B", image_id="Gr\u00f6\u00dfe.jpeg"), row(3, "M")]
    root = write_dataset(tmp_path / "set", rows=rows)
    for folder, extension in (("images", "jpeg"), ("Annotations", "json")):
        (root / folder / f"Gr\u00f6\u00dfe.{extension}").rename(
            root / folder / f"Gro\u0308\u00dfe.{extension}"
        )
    assert read_dataset(root).radiographs[0].annotation_path


# A csv


def test_an_utf_16_csv_is_refused_with_the_mend(tmp_path):
    text = ",".join(COLUMNS) + "\n"
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        assert "save it as CSV in UTF-8" in refusal(csv_of(tmp_path, text.encode(encoding)))


def test_nul_bytes_are_refused(tmp_path):
    assert "NUL bytes" in refusal(csv_of(tmp_path, ",".join(COLUMNS) + "\n\0\n"))


def test_a_cell_without_end_is_refused_with_its_row(tmp_path):
    write_table(tmp_path, [row(1), row(2, age='"' + "x" * 3_000_000)])
    assert "row 3 cannot be read: field larger than field limit" in refusal(tmp_path / "dataset.csv")


def test_a_long_cell_is_cut_short_in_the_message(tmp_path):
    (problem,) = problems_of(tmp_path, hand="x" * 100_000).problems
    assert len(problem) < 200


def test_a_csv_of_more_bytes_than_a_table_has_is_not_even_opened_for_reading(tmp_path):
    path = csv_of(tmp_path, "")
    os.truncate(path, 800_000_000_000)  # a hole: it takes no room
    assert "800,000,000,000 bytes, and 32,000,000 are the most that is read" in refusal(path)


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (",".join(["x"] * 1_000_000), "row 1:"),
        (f"{','.join(COLUMNS)}\n{',' * 1_000_000}", "row 2:"),
        ("\n" * 2_000_000, "row 1,048,577:"),
        ("a\n" * 200_000, "row 100,002:"),
    ],
    ids=["columns", "cells", "blank lines", "rows"],
)
def test_a_csv_of_a_million_columns_or_rows_is_refused_with_the_place(tmp_path, content, row):
    said = refusal(csv_of(tmp_path, content))
    assert f"{row} too large for a table of images" in said
    assert "at most 100,000 rows and 1,000 columns" in said


def test_further_columns_up_to_the_limit_are_fine(tmp_path):
    more = {f"more {number}": "1" for number in range(1_000 - len(COLUMNS))}
    write_table(tmp_path, [{**more, **row(1)}, {**more, **row(2)}])
    assert len(read_table(tmp_path / "dataset.csv").rows) == 2


# A workbook


def workbook_of(tmp_path, rows, name="dataset.xlsx"):
    made = openpyxl.Workbook()
    for cells in rows:
        made.active.append(cells)
    made.save(tmp_path / name)
    return tmp_path / name


def rewritten(path, parts):
    """Put other content in place of the named parts of a workbook."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inside in {**content, **parts}.items():
            archive.writestr(name, inside)
    return path


NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SHEET = f'<worksheet xmlns="{NAMESPACE}"><sheetData>{{}}</sheetData></worksheet>'
CELL = '<c r="{}" t="inlineStr"><is><t>{}</t></is></c>'


@pytest.fixture
def sound(tmp_path):
    return workbook_of(tmp_path, [list(COLUMNS), list(row(1).values())])


def with_sheet(sound, rows):
    return rewritten(sound, {"xl/worksheets/sheet1.xml": SHEET.format(rows)})


def test_a_workbook_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(sound):
    with zipfile.ZipFile(sound, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/big.xml", "w") as big:
        for _ in range(70):
            big.write(bytes(1_000_000))
    assert sound.stat().st_size < 200_000
    assert "unpacks to 70,0" in refusal(sound)


def test_a_workbook_that_lies_about_its_sizes_unpacks_to_no_more_than_it_said(sound):
    rewritten(sound, {"xl/worksheets/sheet1.xml": SHEET.format(" " * 5_000_000)})
    content = bytearray(sound.read_bytes())
    with zipfile.ZipFile(sound) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    while (at := content.find(size.to_bytes(4, "little"))) >= 0:
        content[at : at + 4] = (100).to_bytes(4, "little")
    sound.write_bytes(content)
    assert "no Excel workbook that can be read" in refusal(sound)


def test_a_workbook_of_a_thousand_parts_is_refused(sound):
    rewritten(sound, {f"xl/{number}.xml": "" for number in range(1_001)})
    assert "parts; 64,000,000 in 1,000 are the most" in refusal(sound)


GROWING = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
LAUGHS = f'<!DOCTYPE x [<!ENTITY a0 "ha">{GROWING}]><x>&a9;</x>'
PARTS = ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml", "[Content_Types].xml"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_that_would_expand_without_end_are_refused(sound, part, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><!-- {"x" * 100_000} -->{LAUGHS}'
    assert "document type declaration" in refusal(rewritten(sound, {part: text.encode(encoding)}))


def test_rows_without_end_are_refused(sound):
    gap = '<row r="1"/><row r="999999999999"><c r="A999999999999"><v>1</v></c></row>'
    assert "row 1,048,577: too large" in refusal(with_sheet(sound, gap))


def test_a_workbook_of_more_columns_than_a_table_has_is_refused(sound):
    wide = f'<row r="1">{CELL.format("ZZZ1", "x")}</row>' * 3
    assert "row 1: too large" in refusal(with_sheet(sound, wide))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), bytes(range(256))])
def test_what_is_no_workbook_says_so(tmp_path, content):
    (tmp_path / "dataset.xlsx").write_bytes(content)
    assert "is no Excel workbook that can be read (" in refusal(tmp_path / "dataset.xlsx")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("text", ["", "<a/>", "<a", "\0", "<worksheet/>"])
@pytest.mark.filterwarnings("ignore:Workbook contains no")
def test_a_workbook_with_a_broken_part_is_refused_or_what_it_was(sound, part, text):
    try:
        read = read_table(rewritten(sound, {part: text}))
    except DataInvalid as error:
        assert "dataset.xlsx" in str(error)
    else:
        assert (part, len(read.rows), read.problems) == ("xl/styles.xml", 1, [])


@pytest.mark.parametrize("value", ["1e999", "9" * 5_000, "x", "-1", "NaN", ""])
def test_a_number_that_is_none_is_a_problem_and_no_crash(sound, value):
    letters = [openpyxl.utils.get_column_letter(at) for at in range(1, len(COLUMNS) + 1)]
    header = "".join(CELL.format(f"{letter}1", name) for letter, name in zip(letters, COLUMNS, strict=True))
    cells = f'<row r="1">{header}</row><row r="2"><c r="A2"><v>{value}</v></c></row>'
    try:
        assert len(read_table(with_sheet(sound, cells)).problems) > 30
    except DataInvalid as error:
        assert "dataset.xlsx" in str(error)


# Neither file nor end


@pytest.mark.parametrize("name", ["dataset.csv", "dataset.xlsx"])
def test_a_pipe_in_the_tables_place_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    began = time.monotonic()
    assert "not a plain file" in refusal(tmp_path / name)
    assert time.monotonic() - began < 60  # it would be for ever
    (tmp_path / "images").mkdir()
    with pytest.raises(DataInvalid, match="neither dataset.csv nor dataset.xlsx"):
        read_dataset(tmp_path)


def test_a_device_is_not_read(tmp_path):
    (tmp_path / "dataset.csv").symlink_to("/dev/zero")
    assert "not a plain file" in refusal(tmp_path / "dataset.csv")


def test_the_limits_are_those_of_the_documents():
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    for limit in (
        f"{table.LARGEST_CSV_BYTES // 10**6} MB",
        f"{workbook.MOST_UNPACKED_BYTES // 10**6} MB",
        f"{table.MOST_ROWS:,} rows",
        f"{table.MOST_COLUMNS:,} columns",
        f"{rows.LONGEST_NAME_BYTES} bytes",
    ):
        assert limit in page, limit
