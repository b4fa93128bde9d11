"""`boneexp report`: both documents from the ledger at any time, and whether they still say what it says."""

import sqlite3

import pytest
from conftest import Study
from settled_ledger import settled_ledger
from settled_study import settled_study

from boneexp.ledger.database import open_ledger, writing
from boneexp.ledger.explanations import record_explanations
from boneexp.reports.markers import blocks_of

NAMES = ("model_card.md", "poc_report.md")
WITH_THEM = [f"artifacts/{name}" for name in ("comparison.csv", "comparison.json", "report.html")]


@pytest.fixture
def settled(tmp_path):
    return settled_study(tmp_path / "study")


def texts(study):
    return {name: (study.folder / "docs" / name).read_text(encoding="utf-8") for name in NAMES}


def test_without_a_decision_the_documents_describe_the_candidate_and_say_that_none_was_taken(settled):
    best = settled.json("compare")["best"]
    assert settled("report").stdout.split() == [*(f"docs/{name}" for name in NAMES), *WITH_THEM]
    for text in texts(settled).values():
        assert "**No decision has been taken: no model of this grid is promoted.**" in text
        assert f"The following describes {best} (" in text
    assert "Our own words." in texts(settled)["model_card.md"]


def test_after_a_decision_they_tell_it_also_once_more_runs_have_finished(settled):
    settled("promote", "E1", "--yes", "--reason", "it is smaller")
    settled_ledger(settled.ledger, experiments=("E1", "E2", "E3"))
    assert "| E3 |" not in blocks_of(texts(settled)["poc_report.md"])["results"]
    settled("report")
    report = texts(settled)["poc_report.md"]
    assert "**E1 (b0_baseline) is promoted; decided by" in report
    assert "| E3 |" in blocks_of(report)["results"]


def test_a_folder_of_another_name_is_made_and_the_usual_one_left_alone(settled):
    before = (settled.folder / "docs" / "model_card.md").read_bytes()
    written = settled.json("report", "--docs", "papers/first")["written"]
    assert written == [*(f"papers/first/{name}" for name in NAMES), *WITH_THEM]
    assert all((settled.folder / path).is_file() for path in written)
    assert (settled.folder / "docs" / "model_card.md").read_bytes() == before


def test_what_grad_cam_changed_in_the_comparison_is_brought_up_to_date_too(settled):
    settled("compare")
    settled("report")
    with writing(settled.ledger) as connection:
        shared = {"part": "test", "layer": "bn2", "outcome": "TP", "overlay": "", "threshold": 0.5}
        measured = {"iou": 0.25, "energy_inside": 0.1, "pointing_hit": True}
        row = {**shared, **measured, "image_id": "IMG100000-test.jpeg", "explained_class": "Benign"}
        (sha256,) = connection.execute("SELECT checkpoint_sha256 FROM runs WHERE id = 1").fetchone()
        record_explanations(connection, 1, sha256, [row], 1.0)
    assert "comparison.json" in settled("report", "--check", code=7).stdout
    settled("report")
    settled("report", "--check")


def test_while_no_run_has_finished_there_is_nothing_to_report(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, settle=False)
    assert "no run has finished" in study("report", code=4).output
    empty = Study(tmp_path / "empty")
    empty.folder.mkdir()
    open_ledger(empty.ledger)
    assert "boneexp status" in empty("report", code=4).output
    assert not (tmp_path / "docs").exists()


def test_one_broken_document_is_named_and_neither_is_written(settled):
    card, report = (settled.folder / "docs" / name for name in NAMES)
    report.write_text("<!-- boneexp:begin summary -->\n", encoding="utf-8")
    before = card.read_bytes()
    assert "poc_report.md, line 1" in settled("report", code=1).output
    assert card.read_bytes() == before


def test_writing_them_leaves_the_ledger_as_it_was(settled):
    def dumped():
        with sqlite3.connect(settled.ledger) as connection:
            return list(connection.iterdump())

    before = dumped()
    settled("report")
    assert dumped() == before
