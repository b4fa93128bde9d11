"""Whatever lies in a file, a reader returns a value or raises a BoneexpError, and writes nothing.

The same examples each time; with `BONEEXP_FUZZ=10000` in the environment so many new ones of each kind.
"""

import base64
import io
import json
import math
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_dataset import SQUARE, row, write_image

from boneexp.data.audit import image_facts
from boneexp.data.labelme import LEAST_POINTS
from boneexp.data.lesions import Picture
from boneexp.data.radiograph import drawing_of, lesion_mask, read_grey
from boneexp.data.rows import COLUMNS
from boneexp.data.table import read_table
from boneexp.errors import BoneexpError
from boneexp.study.decision_settings import REFERENCE_FIGURES
from boneexp.study.grid import GridText, load_grid
from boneexp.study.settings import ExperimentSettings, SplitsSettings

ASKED = os.environ.get("BONEEXP_FUZZ", "")
SHIPPED = (Path(__file__).parents[1] / "experiments.toml").read_text(encoding="utf-8")

fuzzed = settings(
    max_examples=int(ASKED or 200),
    derandomize=not ASKED,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def tried(path, content, read):
    """Return what `read(path)` returns, None where it refuses; fail if it raises another error or writes."""
    path.write_bytes(content)
    before = lying_in(path.parent)
    try:
        return read(path)
    except BoneexpError as error:
        assert str(error).strip()
        assert len(str(error)) < 5_000
        return None
    finally:
        assert lying_in(path.parent) == before


def lying_in(folder):
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


# What to try

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged(draw, content):
    """Bytes of a sound file, cut and overwritten in a few places."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 12)) :]
    return content


# The table

ROWS = [list(row(number, kind).values()) for number, kind in enumerate("NBM", 1)]
CSV = "\n".join(",".join(cells) for cells in [COLUMNS, *ROWS]).encode()
cells = st.sampled_from(["0", "1", "", "=1", "../x", "1e9", '"', "\u202e", "x" * 300]) | st.text(max_size=10)


@st.composite
def tables(draw):
    """A header and rows, sound but for some cells, columns and lengths."""
    lines = [list(COLUMNS), *(list(cells) for cells in ROWS)]
    for _ in range(draw(st.integers(0, 4))):
        line = draw(st.sampled_from(lines))
        line[draw(st.integers(0, len(line) - 1))] = draw(cells)
    for line in lines:
        del line[draw(st.just(99) | st.integers(1, 40)) :]
        line += draw(st.just([]) | st.lists(cells, max_size=3))
    return lines


def workbook(lines=(COLUMNS, *ROWS)):
    made, out = openpyxl.Workbook(), io.BytesIO()
    for line in lines:
        made.active.append([openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", cell) for cell in line])
    made.save(out)
    return out.getvalue()


def parts_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


XLSX = workbook()
PARTS = parts_of(XLSX)


@st.composite
def workbooks(draw):
    """A workbook with one part damaged, put into a sound zip again."""
    name = draw(st.sampled_from(sorted(PARTS)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each, inside in PARTS.items():
            archive.writestr(each, draw(damaged(inside)) if each == name else inside)
    return out.getvalue()


groups = st.sampled_from([None, "", "center", "patient"])


@fuzzed
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode) | damaged(CSV), groups)
def test_any_bytes_as_a_csv(folder, content, group):
    tried(folder / "dataset.csv", content, lambda path: read_table(path, group))


@fuzzed
@given(tables(), st.sampled_from(",;\t"), groups)
def test_any_table_as_a_csv(folder, lines, delimiter, group):
    content = "\n".join(delimiter.join(line) for line in lines).encode(errors="replace")
    read = tried(folder / "dataset.csv", content, lambda path: read_table(path, group))
    assert read is None or all("/" not in one.image_id for one in read.rows)


@fuzzed
@given(st.binary(max_size=300) | damaged(XLSX) | workbooks() | tables().map(workbook), groups)
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_as_a_workbook(folder, content, group):
    tried(folder / "dataset.xlsx", content, lambda path: read_table(path, group))


# Annotations and images

PNG = cv2.imencode(".png", np.eye(9, dtype=np.uint8))[1].tobytes()
odd = st.sampled_from([0, 1, -1, 0.5, 1e308, 10**400, math.nan, math.inf, None, True, "40", [], {}])
numbers = st.integers(-60, 90) | odd | st.floats()
points = st.lists(numbers, min_size=2, max_size=2) | st.lists(st.integers(-60, 90), min_size=2, max_size=2)
shapes = st.fixed_dictionaries(
    {"shape_type": st.sampled_from([*LEAST_POINTS, "point", None]), "points": st.lists(points, max_size=6)},
    optional={
        "mask": st.just(base64.b64encode(PNG).decode()) | damaged(PNG).map(base64.b64encode).map(bytes.decode)
    },
)
documents = st.fixed_dictionaries(
    {
        "imageWidth": st.just(40) | st.just(40) | odd,
        "imageHeight": st.just(48) | st.just(48) | odd,
        "shapes": st.lists(shapes | shapes | anything, max_size=4),
    },
    optional={"imageData": st.text(max_size=50), "flags": anything},
)
SOUND = json.dumps(
    {
        "imageWidth": 40,
        "imageHeight": 48,
        "shapes": [
            {"points": SQUARE, "shape_type": "polygon"},
            {"points": SQUARE[::2], "shape_type": "rectangle"},
        ],
    }
).encode()


PICTURE = Picture(24, 20, 6)


def outlined(folder, content):
    """Try an annotation as outlines and as a mask: both are refused, or neither."""
    drawn = tried(folder / "IMG1.json", content, lambda path: drawing_of(path, PICTURE))
    for lesion in ("outline", "box", "union"):
        mask = tried(
            folder / "IMG1.json",
            content,
            lambda path, lesion=lesion: lesion_mask(path, 24, 20, lesion, PICTURE),
        )
        assert (drawn is None) == (mask is None)
        assert mask is None or mask.any() == bool(drawn.shapes)


@fuzzed
@given(st.binary(max_size=200) | damaged(SOUND) | anything.map(json.dumps).map(str.encode))
def test_any_bytes_as_an_annotation(folder, content):
    outlined(folder, content)


@fuzzed
@given(documents)
def test_any_document_as_an_annotation(folder, document):
    outlined(folder, json.dumps(document).encode())


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory):
    path = tmp_path_factory.mktemp("jpeg") / "a.jpeg"
    write_image(path, seed=1)
    return path.read_bytes()


@fuzzed
@given(st.data())
def test_any_bytes_as_an_image(folder, jpeg, data):
    content = data.draw(st.binary(max_size=300) | damaged(jpeg))
    facts = tried(folder / "a.jpeg", content, image_facts)
    grey = tried(folder / "a.jpeg", content, read_grey)
    assert facts.problem or grey is not None
    assert grey is None or facts.problem or grey.shape == (facts.height_px, facts.width_px)


# The grid file

DEFAULTS = ExperimentSettings().model_dump()
HUGE = f"0x{'f' * 5_000}"  # as TOML, a number of 6,000 digits
KEYS = [*GridText.model_fields, *DEFAULTS, *SplitsSettings.model_fields, "E1", "ratios", *REFERENCE_FIGURES]
odd_texts = st.sampled_from(["", "~nobody-here/x", "a\0b", "../x", "x" * 5_000, "\x1b[31m", "\u202e", "a.b"])
keys = st.sampled_from(KEYS) | st.text(max_size=6)
values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | odd_texts | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def section(name):
    """Tables of one section, with its own keys and odd values."""
    return st.dictionaries(st.sampled_from([*DEFAULTS[name]]) | keys, values, max_size=3)


SECTIONS = {name: section(name) for name in ("data", "model", "training", "evaluation")}
experiments = st.fixed_dictionaries({}, optional={**SECTIONS, "name": values, "notes": values})
grids = st.fixed_dictionaries(
    {"experiments": st.dictionaries(st.sampled_from(["E1", "E2"]), experiments, min_size=1)},
    optional={
        **SECTIONS,
        **{name: values for name in GridText.model_fields if name not in (*SECTIONS, "experiments")},
    },
)
dotted_keys = st.sampled_from(["data.root", "model.pretrained", "seeds", "splits.stratified.ratios"])
overrides = st.lists(
    st.tuples(
        dotted_keys | st.lists(keys, min_size=1, max_size=4).map(".".join),
        odd_texts | st.text(max_size=12) | values.map(lambda value: toml(value)),
    ).map("=".join)
    | st.text(max_size=30),
    max_size=3,
)


def toml(value):
    """Return a value as inline TOML."""
    if isinstance(value, bool) or (isinstance(value, float) and value != value):
        return {True: "true", False: "false"}.get(value, "nan")
    if isinstance(value, str):
        return value if value == HUGE else json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml(each)}' for key, each in value.items())}}}"
    return repr(value)


def document(tables):
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in tables.items()).encode()


@fuzzed
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode(errors="replace"))
    | damaged(SHIPPED.encode())
)
def test_any_bytes_as_a_grid(folder, content):
    tried(folder / "grid.toml", content, load_grid)


@fuzzed
@given(grids, overrides)
def test_any_tables_as_a_grid_with_any_overrides(folder, tables, overrides):
    grid = tried(folder / "grid.toml", document(tables), lambda path: load_grid(path, overrides))
    for each in grid.experiments.values() if grid else ():
        assert ExperimentSettings.model_validate_json(each.model_dump_json()) == each


@fuzzed
@given(overrides)
def test_any_overrides_of_a_sound_grid(folder, overrides):
    tried(folder / "grid.toml", SHIPPED.encode(), lambda path: load_grid(path, overrides))
