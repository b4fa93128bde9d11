"""A finished run once more: the same bits on the same machine, and an exit code that says if not."""

import hashlib
import json
import shutil
import sqlite3
import zipfile

import faulty
import pytest
from conftest import Study
from settled_ledger import settled_ledger

from boneexp.errors import BoneexpError
from boneexp.results import WITH_INTERVALS, Computing, Failed, Killed, Prediction, Stopped
from boneexp.runs import reproduce
from boneexp.runs.context import WorkerContext
from boneexp.runs.reproduce import ReproducedMetric, Reproduction


@pytest.fixture
def study(tmp_path, finished_study):
    return Study(shutil.copytree(finished_study.folder, tmp_path / "study"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ends_as(monkeypatch, outcome):
    """Let the run end like that, and take no time for it."""
    monkeypatch.setattr(reproduce, "run_again", lambda *_: outcome)


def test_a_run_comes_out_again_bit_for_bit_and_the_ledger_is_not_touched(study):
    before = digest(study.ledger)
    found = study.json("reproduce", "1", "--device", "cpu")
    assert (found["bit_equal"], found["passed"], found["sealed"]) == (True, True, True)
    assert found["different_predictions"] == 0
    assert found["predictions"] > 0
    assert [each["figure"] for each in found["figures"]] == [metric.key for metric in WITH_INTERVALS]
    for each in found["figures"]:
        assert each["again"] == each["stored"]
        assert each["inside"] is True
    folder = study.artifacts / found["folder"]
    assert found["folder"] == "reproduced/run-0001/0001"
    own = study.artifacts / study.json("show", "1")["folder"]
    assert digest(folder / "best.pt") == digest(own / "best.pt")
    assert (folder / "predictions.csv").read_bytes() == (own / "predictions.csv").read_bytes()
    assert json.loads((folder / "reproduction.json").read_text()) == found
    assert digest(study.ledger) == before
    assert found["software"] == {}


def test_stored_figures_that_were_changed_are_noticed(study):
    with sqlite3.connect(study.ledger) as connection:
        connection.execute(
            "UPDATE metrics SET value = 0.05, low = 0.01, high = 0.06"
            " WHERE run_id = 1 AND part = 'test' AND metric = 'accuracy'"
        )
    result = study("reproduce", "1", "--device", "cpu", code=7)
    said = " ".join(result.output.split())
    assert "run 1 is not reproduced within its intervals: accuracy" in said
    assert "its stored rows were changed after it was settled" in said
    assert "predictions are equal bit for bit" in said


def test_a_reader_of_a_bundle_runs_it_again_on_data_of_their_own(study, phantom, tmp_path):
    study("export", "--bundle", "study.zip")
    reader = Study(tmp_path / "reader")
    reader.folder.mkdir()
    with zipfile.ZipFile(study.folder / "study.zip") as archive:
        (reader.folder / "ledger.db").write_bytes(archive.read("study/data/ledger.db"))
    assert "does not exist" in reader("reproduce", "2", code=1).output
    found = reader.json("reproduce", "2", "--device", "cpu", "--root", str(phantom))
    assert (found["bit_equal"], found["passed"]) == (True, True)


def test_other_data_are_refused_with_the_sentence_of_a_run(study, phantom, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(phantom, other)
    table = other / "dataset.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    result = study("reproduce", "1", "--root", str(other), code=1)
    assert "have changed since this run was queued (fingerprint" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            Failed("oom", "out of memory", "Traceback"),
            "did not finish this time (oom: out of memory)",
        ),
        (Failed("disk", "No space left on device", ""), "(disk: No space left on device)"),
        (Killed("its process was ended by SIGSEGV", ""), "(its process was ended by SIGSEGV)"),
        (Stopped("SIGTERM to its process"), "(SIGTERM to its process)"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(study, monkeypatch, outcome, said):
    ends_as(monkeypatch, outcome)
    result = study("reproduce", "1", code=1)
    assert said in result.output
    assert "the ledger is unchanged" in result.output


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (faulty.hungry_when_annotated, "oom: OutOfMemoryError: CUDA out of memory"),
        (faulty.always_killed, "its process was ended by SIGKILL"),
    ],
)
def test_a_child_that_runs_out_of_memory_or_is_killed_harms_nobody(study, work, said):
    annotated = next(row["run"] for row in study.json("status") if row["experiment"] == "E2")
    place = WorkerContext(study.ledger, study.artifacts, Computing("cpu"), lambda news: None, work=work)
    with pytest.raises(BoneexpError) as raised:
        reproduce.reproduce(place, annotated)
    assert said in str(raised.value)
    assert {row["state"] for row in study.json("status")} == {"succeeded"}


def test_ctrl_c_ends_it_and_leaves_no_folder(study, monkeypatch):
    def stopped(place, claim, folder):
        place.stop.set("SIGINT")
        return Stopped("SIGINT")

    monkeypatch.setattr(reproduce, "run_again", stopped)
    study("reproduce", "1", code=130)
    assert list((study.artifacts / "reproduced" / "run-0001").iterdir()) == []


def test_only_a_run_that_is_there_and_has_succeeded_can_be_run_again(tmp_path):
    study = Study(tmp_path)
    assert "there is no ledger" in study("reproduce", "1", code=1).output
    settled_ledger(study.ledger, experiments=("E1",), settle=False)
    assert "has no run 9" in study("reproduce", "9", code=1).output
    assert "run 1 is queued, and only one that has succeeded" in study("reproduce", "1", code=1).output
    assert not study.artifacts.exists()


def test_nothing_is_run_into_a_link_out_of_the_artifacts(study, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (study.artifacts / "reproduced").symlink_to(tmp_path / "elsewhere")
    assert "reproduced is a symbolic link" in study("reproduce", "1", code=7).output
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("again", "inside"),
    [
        (ReproducedMetric("accuracy", 0.5, 0.4, 0.6, 0.4), True),
        (ReproducedMetric("accuracy", 0.5, 0.4, 0.6, 0.6), True),
        (ReproducedMetric("accuracy", 0.5, 0.4, 0.6, 0.61), False),
        (ReproducedMetric("accuracy", 0.5, 0.4, 0.6, None), False),
        (ReproducedMetric("accuracy", None, None, None, None), True),
        (ReproducedMetric("accuracy", None, None, None, 0.5), False),
        (ReproducedMetric("accuracy", 0.5, None, None, 0.5), True),
        (ReproducedMetric("accuracy", 0.5, None, None, 0.51), False),
    ],
)
def test_a_figure_lies_inside_its_interval_or_is_the_same_where_there_is_none(again, inside):
    assert again.inside is inside


def test_predictions_that_differ_are_counted_and_measured():
    stored, again = (
        [Prediction("test", image, "", 1, 0, (0.5, 0.3, 0.2)) for image in images] for images in ("ab", "ac")
    )
    differences = reproduce._differences(stored, again)
    assert differences == [0.0, 1.0, 1.0]
    figures = (ReproducedMetric("accuracy", 0.5, 0.4, 0.6, 0.45),)
    found = Reproduction(1, "h", "f", ("cpu", "cuda"), {}, figures, 3, 2, 1.0, True)
    assert (found.bit_equal, found.passed) == (False, True)
    assert "2 of 3 predictions differ, probabilities by up to 1" in found.sentence()
