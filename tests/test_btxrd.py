import json
import os
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import openpyxl
import pytest
from tiny_dataset import (
    KINDS,
    REAL,
    SQUARE,
    dataset_of,
    row,
    write_annotation,
    write_dataset,
    write_image,
    write_table,
)

from boneexp.data import audit, btxrd
from boneexp.data.btxrd import BTXRD_COUNTS, read_dataset
from boneexp.data.rows import COLUMNS
from boneexp.errors import DataInvalid


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "set")


def rows(**changes):
    """Return three sound rows, the second of them with `changes`."""
    return [row(1), row(2, "B", **changes), row(3, "M")]


def problems(root, **settings):
    with pytest.raises(DataInvalid) as caught:
        read_dataset(root, **settings)
    return caught.value


def test_a_sound_dataset_is_read(root):
    dataset = read_dataset(root)
    first, second, third = dataset.radiographs
    assert dataset.kind == "other"
    assert dataset.notes == ()
    assert dataset.labels.tolist() == [0, 1, 2]
    assert dataset.centers.tolist() == [1, 1, 1]
    assert dataset.counts == {1: (1, 1, 1)}
    assert first.annotation_path is None
    assert third.annotation_path == root / "Annotations" / "IMG000003.json"
    assert (second.image_id, second.image_path) == ("IMG000002.jpeg", root / "images" / "IMG000002.jpeg")
    assert (second.age, second.gender, second.sites, second.views) == (30, "F", ("femur",), ("frontal",))
    assert (second.subtypes, second.group) == (("osteochondroma",), "")
    assert (second.height_px, second.width_px, len(second.sha256), len(second.phash)) == (48, 40, 64, 16)


def test_there_are_37_columns():
    assert len(COLUMNS) == len(set(COLUMNS)) == 37
    assert (COLUMNS[12], COLUMNS[-1]) == ("hip bone", "oblique")


# The table


def test_a_csv_as_excel_in_europe_writes_it_is_the_same_dataset(root):
    before = read_dataset(root).fingerprint
    write_table(root, rows(), delimiter=";", encoding="utf-8-sig", lineterminator="\r\n")
    assert read_dataset(root).fingerprint == before
    write_table(root, [{**one, "Köln": "ü"} for one in rows()], delimiter="\t", encoding="latin-1")
    assert read_dataset(root).fingerprint == before


def write_workbook(root, cells):
    workbook = openpyxl.Workbook()
    for line in cells:
        workbook.active.append(line)
    workbook.save(root / "dataset.xlsx")


def test_an_excel_workbook_is_the_same_dataset_whatever_type_its_cells_have(root):
    before = read_dataset(root).fingerprint
    (root / "dataset.csv").unlink()
    kinds = [int, float, lambda text: bool(int(text))]
    lines = [
        [
            value
            if name in ("image_id", "gender")
            else kind(value)
            if name not in ("age", "center")
            else float(value)
        ]
        for one, kind in zip(rows(), kinds, strict=True)
        for name, value in one.items()
    ]
    table = [[cell for (cell,) in lines[start : start + 37]] for start in range(0, len(lines), 37)]
    write_workbook(root, [[f" {column} " for column in COLUMNS], *table])
    assert read_dataset(root).fingerprint == before


def test_the_csv_wins_over_the_workbook(root):
    (root / "dataset.xlsx").write_text("not read at all")
    assert len(read_dataset(root).radiographs) == 3


def test_a_file_that_is_no_workbook_says_so(root):
    (root / "dataset.csv").unlink()
    (root / "dataset.xlsx").write_text("image_id,center")
    assert "is no Excel workbook" in str(problems(root))


def test_a_workbook_names_the_row_as_excel_counts(root):
    (root / "dataset.csv").unlink()
    lines = [list(one.values()) for one in rows(hand="x")]
    write_workbook(root, [list(COLUMNS), lines[0], [None] * 37, *lines[1:]])
    assert problems(root).places == ("dataset.xlsx row 4 (IMG000002.jpeg): hand is 'x', not 0 or 1",)


@pytest.mark.parametrize("flag", ["1", "1.0", "True", " 1 ", "TRUE"])
def test_a_flag_can_be_written_in_several_ways(root, flag):
    write_table(root, rows(tibia=flag))
    assert read_dataset(root).radiographs[1].sites == ("tibia", "femur")


def test_blank_age_and_gender_and_several_views_and_two_subtypes_are_fine(root):
    write_table(root, rows(age="", gender="", lateral=1, osteofibroma=1))
    second = read_dataset(root).radiographs[1]
    assert (second.age, second.gender, second.views) == (None, None, ("frontal", "lateral"))
    assert second.subtypes == ("osteochondroma", "osteofibroma")


BAD_CELLS = {
    "hand is '2', not 0 or 1": {"hand": "2"},
    "hand is '', not 0 or 1": {"hand": ""},
    "hip bone is 'yes', not 0 or 1": {"hip_bone": "yes"},
    "age is '200', not whole years up to 130 or blank": {"age": "200"},
    "age is '-1', not whole years up to 130 or blank": {"age": "-1"},
    "age is '12.5', not whole years up to 130 or blank": {"age": "12.5"},
    "gender is 'female', not M, F or blank": {"gender": "female"},
    "center is '-1', not a whole number up to 1,000,000": {"center": "-1"},
    "center is '1.5', not a whole number up to 1,000,000": {"center": "1.5"},
    "center is '1000001', not a whole number up to 1,000,000": {"center": "1000001"},
    "center is 'A', not a whole number up to 1,000,000": {"center": "A"},
    "center is '', not a whole number up to 1,000,000": {"center": ""},
    "label conflict: osteosarcoma is 1 and malignant is 0": {"osteosarcoma": 1},
}


@pytest.mark.parametrize(("reason", "changes"), BAD_CELLS.items(), ids=BAD_CELLS)
def test_a_bad_cell_is_named_with_its_row(root, reason, changes):
    write_table(root, rows(**changes))
    assert problems(root).places == (f"dataset.csv row 3 (IMG000002.jpeg): {reason}",)


@pytest.mark.parametrize("center", ["4", "0", "17.0", "1000000"])
def test_any_whole_number_is_a_center(root, center):
    write_table(root, rows(center=center))
    assert read_dataset(root).radiographs[1].center == int(float(center))


AUTHORS_SPELLING = {
    "ankle-joint": "ankle",
    "knee-joint": "knee",
    "hip-joint": "hip",
    "wrist-joint": "wrist",
    "elbow-joint": "elbow",
    "shoulder-joint": "shoulder",
    "lower limb": "lower limbs",
}


def renamed(names, **changes):
    return [{names.get(name, name): value for name, value in one.items()} for one in rows(**changes)]


def test_columns_as_the_authors_spell_them_elsewhere_are_read_and_noted(root):
    write_table(root, renamed(AUTHORS_SPELLING, **{"knee-joint": 1}))
    dataset = read_dataset(root)
    assert dataset.radiographs[1].sites == ("femur", "knee-joint")
    (note,) = dataset.notes
    for usual, other in AUTHORS_SPELLING.items():
        assert f"{usual!r} from {other!r}" in note


def test_a_column_under_its_published_name_is_read_whatever_stands_beside_it(root):
    write_table(root, [{**one, "knee": "not a flag", "hip": "1"} for one in rows()])
    dataset = read_dataset(root)
    assert dataset.notes == ()
    assert dataset.radiographs[1].sites == ("femur",)


def test_columns_that_nothing_uses_are_named_when_one_is_missing(root):
    write_table(root, [{**one, "remark": "", "film": "1"} for one in renamed({"pelvis": "basin"})])
    error = problems(root)
    assert error.places == ("dataset.csv: the column 'pelvis' is missing",)
    assert "columns that nothing uses: 'basin', 'remark', 'film'" in str(error)


OPEN_QUOTES = {
    "closed by a quotation mark rows later": ('"compare with March', 'lytic" margin'),
    "never closed": ('"compare with March', ""),
    "closed where the next remark begins": ('"compare', '"again"'),
}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(("first", "second"), OPEN_QUOTES.values(), ids=OPEN_QUOTES)
def test_a_quotation_mark_that_is_not_closed_loses_no_row(root, first, second, separator):
    write_table(root, [{**one, "remark": ""} for one in rows()], delimiter=separator)
    lines = (root / "dataset.csv").read_text().splitlines()
    (root / "dataset.csv").write_text(
        "\n".join([lines[0], lines[1] + first, lines[2], lines[3] + second, ""])
    )
    error = problems(root)
    assert error.places[0].startswith("dataset.csv row 2")


def test_quoted_cells_with_separators_or_with_line_breaks_are_fine(root):
    remarks = ("lytic, with a margin", "seen\nagain", 'a "quoted" word')
    write_table(root, [{**one, "remark": remark} for one, remark in zip(rows(), remarks, strict=True)])
    assert len(read_dataset(root).radiographs) == 3


def test_images_that_no_row_names_are_noted(root):
    for number in range(20, 32):
        write_image(root / "images" / f"IMG{number:06d}.jpeg", seed=number)
    write_image(root / "images" / "._IMG000001.jpeg")
    (note,) = read_dataset(root).notes
    assert note.startswith("images that no row of the table names: 12 (IMG000020.jpeg, IMG000021.jpeg, ")
    assert note.endswith("IMG000029.jpeg and 2 more)")


CONFLICTS = {
    "benign and malignant are both 1": {"malignant": 1},
    "tumor is not 1 exactly where benign or malignant is": {"tumor": 0},
    "osteochondroma is 1 and benign is 0": {"benign": 0, "malignant": 1},
}


@pytest.mark.parametrize(("reason", "changes"), CONFLICTS.items(), ids=CONFLICTS)
def test_a_label_conflict_is_named_with_its_row(root, reason, changes):
    write_table(root, rows(**changes))
    assert problems(root).places == (f"dataset.csv row 3 (IMG000002.jpeg): label conflict: {reason}",)


def test_a_row_with_more_cells_than_columns_is_named(root):
    with (root / "dataset.csv").open("a") as file:
        file.write(",".join([*row(4).values(), "1"]) + "\n")
    write_image(root / "images" / "IMG000004.jpeg")
    assert problems(root).places == ("dataset.csv row 5 (IMG000004.jpeg): 38 cells under 37 columns",)


def test_rows_are_counted_as_in_the_file_blank_and_folded_lines_included(root):
    lines = [{**one, "remark": "two\nlines"} for one in rows()]
    write_table(root, [*lines[:2], {**lines[2], "hand": "x"}])
    text = (root / "dataset.csv").read_text()
    (root / "dataset.csv").write_text(text.replace("IMG000001", "\n\nIMG000001"))
    assert problems(root).places[0].startswith("dataset.csv row 8 (IMG000003.jpeg): hand")


@pytest.mark.parametrize(
    "name", ["../secret.jpeg", "/etc/passwd", "a/b.jpeg", "a\\b.jpeg", "..", ".hidden.jpeg", "C:a"]
)
def test_an_image_id_that_leaves_the_folder_is_refused(root, name):
    write_table(root, rows(image_id=name))
    place = f"dataset.csv row 3 ({name}): image_id is {name!r}, not the plain name of a file"
    assert problems(root).places == (place,)


def test_a_blank_image_id_is_refused(root):
    write_table(root, rows(image_id=""))
    assert problems(root).places == ("dataset.csv row 3 (): image_id is blank",)


@pytest.mark.parametrize("again", ["IMG000001.jpeg", "IMG000001.jpg"])
def test_an_image_with_two_rows_is_named(root, again):
    write_table(root, [*rows(), row(4, image_id=again)])
    assert problems(root).places == (f"dataset.csv row 5 ({again}): the image of row 2 again",)


def test_a_missing_column_is_named_with_the_nearest(root):
    renamed = [
        {"Tumour" if name == "tumor" else name: value for name, value in one.items()} for one in rows()
    ]
    write_table(root, renamed)
    error = problems(root)
    assert error.places == ("dataset.csv: the column 'tumor' is missing (nearest: 'Tumour')",)
    assert "rename the columns" in str(error)


def test_a_column_that_is_there_twice_is_named(root):
    text = (root / "dataset.csv").read_text().splitlines()
    (root / "dataset.csv").write_text("\n".join([f"{text[0]},hand", *(f"{line},0" for line in text[1:])]))
    assert problems(root).places == ("dataset.csv: the column 'hand' is there 2 times",)


@pytest.mark.parametrize(
    ("content", "reason"), [("", "is empty"), ("\n\n", "is empty"), (",".join(COLUMNS), "no rows")]
)
def test_a_table_without_rows_is_refused(root, content, reason):
    (root / "dataset.csv").write_text(content)
    assert reason in str(problems(root))


def test_a_table_of_rubbish_is_refused(root):
    (root / "dataset.csv").write_bytes(os.urandom(10_000))
    assert problems(root).places


def test_without_a_table_the_message_names_both_kinds(root):
    (root / "dataset.csv").unlink()
    assert "neither dataset.csv nor dataset.xlsx" in str(problems(root))


# The files


def test_without_a_root_the_message_says_how_to_set_it_and_how_to_try(tmp_path):
    message = str(problems(tmp_path / "BTXRD"))
    assert "does not exist" in message
    assert "data.root in experiments.toml" in message
    assert "--root DIR" in message
    assert "boneexp data phantom --out DIR" in message


def test_a_folder_one_level_too_high_names_the_right_one(root):
    assert f"did you mean {root}?" in str(problems(root.parent))


def test_a_missing_image_is_named_with_its_row(root):
    (root / "images" / "IMG000002.jpeg").unlink()
    assert problems(root).places == ("images/IMG000002.jpeg: missing (dataset.csv row 3)",)


@pytest.mark.parametrize("extension", [".jpg", ".JPG", ".JPEG"])
def test_an_image_stored_with_the_other_extension_is_found(root, extension):
    before = read_dataset(root).fingerprint
    (root / "images" / "IMG000002.jpeg").rename(root / "images" / f"IMG000002{extension}")
    dataset = read_dataset(root)
    assert dataset.radiographs[1].image_path.suffix == extension
    assert dataset.radiographs[1].annotation_path
    assert dataset.fingerprint == before


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_truncated_image_is_named(root, kept):
    path = root / "images" / "IMG000002.jpeg"
    write_image(path, height=400, width=300)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    (place,) = problems(root).places
    assert place.startswith("images/IMG000002.jpeg: truncated JPEG (")


def test_an_image_of_absurd_size_is_named_before_it_is_decoded(root):
    path = root / "images" / "IMG000002.jpeg"
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0") + 5  # height and width in the frame header
    content[start : start + 4] = (60_000).to_bytes(2) + (50_000).to_bytes(2)
    path.write_bytes(content)
    began = time.perf_counter()
    assert problems(root).places == ("images/IMG000002.jpeg: absurd size 50000 x 60000",)
    assert time.perf_counter() - began < 2
    write_image(path, height=8, width=40)
    assert problems(root).places == ("images/IMG000002.jpeg: absurd size 40 x 8",)


def test_damage_anywhere_in_a_jpeg_is_a_problem_or_none_but_never_a_crash(root, tmp_path):
    content = (root / "images" / "IMG000002.jpeg").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "a.jpeg").write_bytes(damaged[: rng.integers(1, len(content) + 1)])
        facts = audit.image_facts(tmp_path / "a.jpeg")
        assert facts.problem or facts.phash


def test_a_folder_in_an_images_place_is_a_problem(root):
    (root / "images" / "IMG000002.jpeg").unlink()
    (root / "images" / "IMG000002.jpeg").mkdir()
    assert problems(root).places == ("images/IMG000002.jpeg: cannot be read (Is a directory)",)


def test_nested_annotations_as_the_zip_has_them_are_found(root):
    before = read_dataset(root).fingerprint
    (root / "Annotations").rename(root / "inner")
    (root / "Annotations").mkdir()
    (root / "inner").rename(root / "Annotations" / "Annotations")
    assert read_dataset(root).fingerprint == before


def test_a_bad_annotation_is_named(root):
    write_annotation(root / "Annotations" / "IMG000002.json", SQUARE[:2])
    (root / "Annotations" / "IMG000003.json").write_text("{")
    first, second = problems(root).places
    assert first == "Annotations/IMG000002.json: shape 1 is a polygon with 2 points, and needs 3"
    assert second.startswith("Annotations/IMG000003.json: not valid JSON (")


def test_a_lesion_drawn_on_a_normal_image_is_a_label_conflict(root):
    write_annotation(root / "Annotations" / "IMG000001.json")
    place = "Annotations/IMG000001.json: label conflict: a lesion is drawn, and row 2 says Normal"
    assert problems(root).places == (place,)


def test_tumours_without_a_lesion_are_noted_and_have_no_annotation(root):
    (root / "Annotations" / "IMG000002.json").unlink()
    write_annotation(root / "Annotations" / "IMG000003.json", shapes=[])
    dataset = read_dataset(root)
    assert [one.annotation_path for one in dataset.radiographs] == [None, None, None]
    assert dataset.notes == ("2 of 2 tumour images have no annotated lesion, IMG000002.jpeg the first",)


def test_annotations_of_no_row_and_frames_of_another_shape_are_noted(root):
    write_annotation(root / "Annotations" / "IMG000009.json")
    write_annotation(root / "Annotations" / "._IMG000002.json")
    write_annotation(root / "Annotations" / "IMG000002.json", frame=(40, 48))
    write_annotation(root / "Annotations" / "IMG000003.json", frame=(96, 80))
    assert read_dataset(root).notes == (
        "1 annotation files belong to no row of the table",
        "IMG000002.jpeg is 40 x 48, and its annotation's frame 48 x 40",
    )


def test_everything_that_is_wrong_comes_at_once_and_ten_places_are_shown(tmp_path):
    root = write_dataset(tmp_path / "set", "N" * 14)
    for number in range(1, 8):
        (root / "images" / f"IMG{number:06d}.jpeg").unlink()
    (root / "images" / "IMG000009.jpeg").write_bytes(b"")
    write_table(root, [row(number, hand="x" if number > 10 else "0") for number in range(1, 15)])
    error = problems(root)
    assert len(error.places) == 4 + 7 + 1
    lines = str(error).splitlines()
    assert lines[0] == f"12 problems make the dataset in {root} unusable:"
    assert lines[1:11] == [f"  {place}" for place in error.places[:10]]
    assert lines[11] == "  and 2 more"
    assert "unpack the download again" in lines[12]


# What comes of it


def test_the_fingerprint_follows_the_content_and_nothing_else(root, tmp_path):
    before = read_dataset(root)
    moved = shutil.copytree(root, tmp_path / "elsewhere")
    write_table(moved, rows()[::-1])
    after = read_dataset(moved)
    assert after.fingerprint == before.fingerprint
    assert [one.image_id for one in after.radiographs] == [one.image_id for one in before.radiographs]
    write_table(moved, rows(age=31, lateral=1))
    assert read_dataset(moved).fingerprint == before.fingerprint


@pytest.mark.parametrize("change", ["label", "center", "group", "image", "annotation", "annotation gone"])
def test_whatever_decides_a_result_changes_the_fingerprint(root, change):
    write_table(root, [{**one, "patient": ""} for one in rows()])
    before = read_dataset(root, group_column="patient").fingerprint
    changes = {
        "label": {**KINDS["M"], "benign": 0, "osteochondroma": 0},
        "center": {"center": 2},
        "group": {"patient": "p"},
    }
    write_table(root, [{"patient": "", **one} for one in rows(**changes.get(change, {}))])
    if change == "image":
        write_image(root / "images" / "IMG000002.jpeg", seed=9)
    if change == "annotation":
        write_annotation(root / "Annotations" / "IMG000002.json", SQUARE[:3])
    if change == "annotation gone":
        (root / "Annotations" / "IMG000002.json").unlink()
    assert read_dataset(root, group_column="patient").fingerprint != before


def test_the_group_column_is_read_and_a_missing_one_named(root):
    write_table(
        root, [{**one, "patient_id": name} for one, name in zip(rows(), ["a", "", "=b"], strict=True)]
    )
    assert [one.group for one in read_dataset(root, group_column="patient_id").radiographs] == ["a", "", "=b"]
    assert [one.group for one in read_dataset(root, group_column="").radiographs] == ["", "", ""]
    assert "'patient' is missing (nearest: 'patient_id')" in str(problems(root, group_column="patient"))


def test_equal_pictures_are_found_and_those_of_two_classes_noted(tmp_path):
    root = write_dataset(tmp_path / "set", "NBMNN")
    for twin, original in (("IMG000004", "IMG000002"), ("IMG000005", "IMG000001")):
        shutil.copy(root / "images" / f"{original}.jpeg", root / "images" / f"{twin}.jpeg")
    dataset = read_dataset(root)
    hashes = [one.phash for one in dataset.radiographs]
    assert (hashes[0], hashes[1]) == (hashes[4], hashes[3])
    assert len(set(hashes)) == 3
    assert dataset.notes == (
        "IMG000002.jpeg and IMG000004.jpeg are the same picture with classes Benign and Normal",
    )


def test_a_picture_saved_again_looks_the_same_and_another_does_not(tmp_path):
    write_image(tmp_path / "a.jpeg", seed=1, height=480, width=400)
    grey = cv2.imread(str(tmp_path / "a.jpeg"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "b.jpeg"), cv2.resize(grey, (200, 240), interpolation=cv2.INTER_AREA))
    write_image(tmp_path / "c.jpeg", seed=2, height=480, width=400)
    a, b, c = (int(audit.image_facts(tmp_path / f"{name}.jpeg").phash, 16) for name in "abc")
    assert (a ^ b).bit_count() <= 2
    assert (a ^ c).bit_count() > 15


def test_the_kind_says_btxrd_only_for_its_exact_counts_and_phantom_where_a_phantom_says_so(root, monkeypatch):
    entries = [
        (label, center, None, "")
        for center, counts in BTXRD_COUNTS.items()
        for label, count in enumerate(counts)
        for _ in range(count)
    ]
    assert dataset_of(entries).counts == BTXRD_COUNTS
    monkeypatch.setattr(btxrd, "BTXRD_COUNTS", {1: (1, 1, 1)})
    assert read_dataset(root).kind == "BTXRD"
    (root / "PHANTOM.md").write_text("drawn")
    assert read_dataset(root).kind == "phantom"


# The index


def test_a_second_read_decodes_nothing_and_finds_the_same(root, tmp_path, monkeypatch):
    index = tmp_path / "cache" / "index.json"
    first = read_dataset(root, index_path=index)
    monkeypatch.setattr(audit, "image_facts", lambda path: pytest.fail(f"{path} was decoded again"))
    assert read_dataset(root, index_path=index) == first


def test_a_changed_image_is_looked_at_again(root, tmp_path):
    index = tmp_path / "index.json"
    before = read_dataset(root, index_path=index)
    write_image(root / "images" / "IMG000002.jpeg", seed=77)
    after = read_dataset(root, index_path=index)
    assert after.radiographs[1].sha256 != before.radiographs[1].sha256
    assert after == read_dataset(root)


def test_a_damaged_image_is_reported_each_time(root, tmp_path):
    (root / "images" / "IMG000002.jpeg").write_bytes(b"")
    for _ in range(2):
        assert len(problems(root, index_path=tmp_path / "index.json").places) == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"version": 1}', "other version", "other root", "other facts"]
)
def test_a_corrupt_or_foreign_index_is_made_again(root, tmp_path, content):
    index = tmp_path / "index.json"
    expected = read_dataset(root, index_path=index)
    sound = json.loads(index.read_text())
    foreign = {key: facts | {"phash": 7} for key, facts in sound["images"].items()}
    changed = {
        "other version": sound | {"version": "x", "images": foreign},
        "other root": sound | {"root": "/x", "images": foreign},
        "other facts": sound | {"images": foreign},
    }
    index.write_text(json.dumps(changed[content]) if content in changed else content)
    assert read_dataset(root, index_path=index) == expected
    assert json.loads(index.read_text()) == sound


def test_an_index_that_cannot_be_written_costs_nothing_but_time(root, tmp_path):
    (tmp_path / "file").write_text("")
    assert read_dataset(root, index_path=tmp_path / "file" / "index.json") == read_dataset(root)


def test_progress_counts_to_the_end_with_one_worker_or_many(root):
    for workers in (1, 4):
        seen = []
        read_dataset(root, workers=workers, progress=lambda *counts, to=seen: to.append(counts))
        assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_reader_loads_nothing_heavy():
    program = (
        "import boneexp.data.btxrd, boneexp.data.splits, boneexp.data.prepared, sys; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert not {"torch", "pandas", "openpyxl", "sklearn", "matplotlib"} & set(loaded.split())


# Real radiographs


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real radiographs are not here: {REAL}")
def test_real_radiographs_are_read_without_a_complaint(tmp_path):
    dataset = read_dataset(REAL, index_path=tmp_path / "index.json")
    assert np.bincount(dataset.labels).tolist() == [166, 135, 27]
    assert sum(one.annotation_path is not None for one in dataset.radiographs) == 162
    assert (dataset.kind, dataset.notes) == ("other", ())
    assert len({one.phash for one in dataset.radiographs}) == len(dataset.radiographs)
    assert {one.image_path.suffix for one in dataset.radiographs} == {".jpeg", ".jpg"}
    began = time.perf_counter()
    assert read_dataset(REAL, index_path=tmp_path / "index.json") == dataset
    assert time.perf_counter() - began < 2


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real radiographs are not here: {REAL}")
def test_no_two_real_radiographs_are_nearly_taken_for_duplicates():
    hashes = [int(one.phash, 16) for one in read_dataset(REAL).radiographs]
    pairs = ((one ^ other).bit_count() for place, one in enumerate(hashes) for other in hashes[:place])
    assert min(pairs) > 2
