"""Bad input of every kind at the command line: one message with its place, an exit code, nothing changed."""

import json
import os
import shutil

import pytest
from conftest import Study, new_study
from settled_study import settled_study
from test_tensors import WEIGHTS

ONE = ("--only", "E1", "--split", "stratified")


@pytest.fixture(scope="module")
def queued(tmp_path_factory, phantom):
    """A study with its own copy of the data, one run of which is queued; read only."""
    folder = tmp_path_factory.mktemp("refusals")
    shutil.copytree(phantom, folder / "study" / "data")
    study = new_study(folder / "study", "data")
    study("queue", *ONE)
    return study


@pytest.fixture
def study(tmp_path, queued):
    copy = Study(shutil.copytree(queued.folder, tmp_path / "study"))
    copy("queue", *ONE)  # the run and the index of images learn where the data are now
    return copy


def lying_in(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    kept = (path for path in files if not path.name.endswith("-shm"))  # where SQLite notes who reads
    return {path.relative_to(folder): path.read_bytes() for path in kept}


def picture(study):
    return min((study.folder / "data" / "images").iterdir())


def annotation(study):
    return min((study.folder / "data" / "Annotations").iterdir())


def table(study):
    return study.folder / "data" / "dataset.csv"


def swap(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def as_workbook(study):
    table(study).rename(table(study).with_suffix(".xlsx"))


def far_away(study):
    document = json.loads(annotation(study).read_text())
    document["shapes"][0]["points"][0][0] = float("inf")
    annotation(study).write_text(json.dumps(document))


def claiming(study, side):
    content = bytearray(picture(study).read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = side.to_bytes(2) * 2
    picture(study).write_bytes(content)


def linked(study):
    shutil.rmtree(study.artifacts / "splits")
    (study.artifacts / "splits").symlink_to(study.folder / "data")


KINDS = {
    "a name that is a path": (lambda s: swap(table(s), picture(s).name, "../x.jpeg"), "dataset.csv row ", 1),
    "NUL bytes": (lambda s: table(s).write_bytes(table(s).read_bytes() + b"\0"), "dataset.csv has NUL", 1),
    "UTF-16": (lambda s: table(s).write_text(table(s).read_text(), "utf-16"), "save it as CSV in UTF-8", 1),
    "a workbook that is none": (as_workbook, "dataset.xlsx is no Excel workbook", 1),
    "a picture that is a pipe": (lambda s: pipe(picture(s)), "jpeg: cannot be read (not a plain file)", 1),
    "a picture that is a bomb": (lambda s: claiming(s, 65_000), "jpeg: absurd size 65000 x 65000", 1),
    "a picture without bytes": (lambda s: picture(s).write_bytes(b""), "jpeg: an empty file; download", 1),
    "a lesion in half a file": (
        lambda s: annotation(s).write_text('{"shapes": ['),
        "json: not valid JSON",
        1,
    ),
    "a lesion at infinity": (far_away, "json: shape 1 has a point that is not two finite numbers", 1),
    "a lesion that is a pipe": (lambda s: pipe(annotation(s)), "json: cannot be read (not a plain file)", 1),
    "a grid of absurd depth": (lambda s: s.grid.write_text("x = " + "[" * 9_999), "nested too deeply", 1),
    "a grid that is a pipe": (lambda s: pipe(s.grid), "experiments.toml cannot be read", 1),
    "weights with code": (lambda s: WEIGHTS["code.pt"](s.folder / "weights.pt"), "nothing in it was run", 1),
    "a link out of artifacts": (linked, "splits is a symbolic link", 7),
}


@pytest.mark.parametrize(("spoil", "said", "code"), KINDS.values(), ids=KINDS)
def test_bad_input_is_one_message_and_changes_nothing(study, spoil, said, code):
    spoil(study)
    before = lying_in(study.folder)
    extra = ["--set", "model.pretrained=weights.pt"] if (study.folder / "weights.pt").exists() else []
    result = study("queue", *extra, code=code)
    assert said in result.output
    assert result.output.count("Error:") == 1
    assert "Traceback" not in result.output
    assert lying_in(study.folder) == before


@pytest.mark.parametrize("kind", [kind for kind, (*_, code) in KINDS.items() if code == 1])
def test_bad_input_makes_neither_ledger_nor_artifacts(study, kind):
    KINDS[kind][0](study)
    shutil.rmtree(study.artifacts)
    for path in study.folder.glob("ledger.db*"):
        path.unlink()
    only_weights = ["--dry-run", "--set", "model.pretrained=weights.pt"]  # the images are found sound before
    study("queue", *(only_weights if kind == "weights with code" else []), code=1)
    assert not study.artifacts.exists()
    assert not list(study.folder.glob("ledger.db*"))


def test_a_run_whose_picture_has_become_a_pipe_fails_and_does_not_wait(study):
    pipe(picture(study))
    study("run", "--next", code=3)
    (row,) = study.json("status")
    assert (row["state"], row["failure_kind"]) == ("failed", "data")
    assert "not a plain file" in row["failure"]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("experiments.toml", lambda path: path.write_text("x = " + "[" * 9_999)),
        ("experiments.toml", lambda path: path.write_text(f"{'a.' * 9_999}a = 1\n")),
        ("experiments.toml", lambda path: path.write_text(f"x = {'9' * 9_999}\n")),
        ("experiments.toml", pipe),
        ("docs/model_card.md", pipe),
        ("docs/model_card.md", lambda path: os.truncate(path, 900_000_000_000)),
    ],
    ids=[
        "nested",
        "a long key",
        "digits",
        "a grid that is a pipe",
        "a card that is a pipe",
        "a card without end",
    ],
)
def test_a_promotion_beside_such_a_file_is_refused_and_changes_nothing(tmp_path, name, spoil):
    study = settled_study(tmp_path / "study")
    spoil(study.folder / name)
    before = lying_in(study.folder / "artifacts"), study.ledger.read_bytes()
    result = study("promote", "E1", "--yes", code=1)
    assert f"{name} cannot be re" in result.output
    assert (lying_in(study.folder / "artifacts"), study.ledger.read_bytes()) == before
