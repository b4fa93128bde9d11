"""What somebody changed by hand is noticed by whoever shows what rests on it, and is never covered up."""

import json
import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from conftest import Study
from full_ledger import LATER

from boneexp.doctor import restored_rows
from boneexp.ledger import held_before, quarantine
from boneexp.ledger.database import reading, writing
from boneexp.ledger.explanations import record_explanations
from boneexp.ledger.seals import broken_seals, standing_seals
from boneexp.study.settings import digest_of

RUN = "run_id = 1"
OF_RUN = {  # rows of run 1, which is E1's on the stratified split
    "metrics": f"UPDATE metrics SET value = 0.9 WHERE metric = 'accuracy' AND part = 'test' AND {RUN}",
    "metrics, added": f"INSERT INTO metrics SELECT run_id, part, 'beauty', class_name, value, low, high, "
    f"interval_method FROM metrics WHERE {RUN} AND metric = 'accuracy'",
    "metrics, deleted": f"DELETE FROM metrics WHERE {RUN} AND metric = 'log_loss'",
    "run_summaries": f"UPDATE run_summaries SET accuracy = 0.95 WHERE {RUN}",
    "run_summaries, deleted": f"DELETE FROM run_summaries WHERE {RUN} AND part = 'test'",
    "predictions": f"UPDATE predictions SET p_normal = 0.9, p_benign = 0.05, p_malignant = 0.05 WHERE {RUN}",
    "predictions, deleted": f"DELETE FROM predictions WHERE {RUN} AND image_id LIKE 'IMG00000%'",
    "epochs": f"UPDATE epochs SET val_loss = 0.1 WHERE {RUN}",
    "attempts": f"UPDATE attempts SET device = 'cuda:0' WHERE {RUN}",
    "files": f"UPDATE files SET sha256 = 'ff' WHERE {RUN}",
    "runs": "UPDATE runs SET micro_batch = 1 WHERE id = 1",
    "experiments": "UPDATE experiments SET backbone = 'ours' WHERE experiment = 'E1'",
}
OF_OTHERS = {
    "explanations of run 3: table explanations": "UPDATE explanations SET iou = 0.9",
    "explanations of run 3: table explanations ": "DELETE FROM explanations WHERE threshold = 0.3",
    "the study: table study_figures": "UPDATE study_figures SET value = 0.1 WHERE kind = 'target'",
    "the study: table selection_keys": "UPDATE selection_keys SET figure = 'center_holdout_accuracy'",
    "the grid: table runs": "UPDATE runs SET is_current = 0 WHERE id = 1",
    "the grid: table experiments": "UPDATE experiments SET name = 'mine' WHERE experiment = 'E1'",
    "dataset 5f3a: table datasets": "UPDATE datasets SET kind = 'phantom'",
    "dataset 5f3a: table image_attributes": "UPDATE image_attributes SET value = 'x' WHERE attribute = 'sex'",
    "promotion 1: table promotions": "UPDATE promotions SET reason = 'by far the best'",
    "promotion 2: no event": "INSERT INTO promotions SELECT 2, action, experiment, stratified_run_id, "
    "center_run_id, reason, decided_by, decided_at, evidence_json, undoes_id FROM promotions",
    "table events: event 5": "UPDATE events SET details_json = '{}' WHERE id = 5",
    "table events: event 6": "DELETE FROM events WHERE id = 5",
}
SAID = {said: said.strip().replace("5f3a", digest_of("BTXRD")[:12]) for said in OF_OTHERS}
COMMANDS = {
    "compare": (),
    "report": (),
    "report --check": (),
    "export": ("--bundle", "study.zip"),
    "promote": ("E2", "--yes"),
    "gradcam": ("--experiment", "E1"),
}
SEES_LITTLE = {"study", "grid", "explanations"}  # gradcam of E1: neither ranks nor shows these


@pytest.fixture(scope="module")
def decided(settled, tmp_path_factory):
    """The folder of a study with a promotion, documents, and explanations of the promoted run."""
    study = Study(shutil.copytree(settled, tmp_path_factory.mktemp("decided") / "study"))
    study("promote", "E2", "--yes")
    shared = {"part": "test", "layer": "bn2", "outcome": "TP", "overlay": "", "explained_class": "Benign"}
    rows = [
        {**shared, "image_id": "IMG100000-test.jpeg", "threshold": level, "iou": 0.25, "energy_inside": 0.1,
         "pointing_hit": True}
        for level in (0.3, 0.5)
    ]  # fmt: skip
    with writing(study.ledger) as connection:
        record_explanations(connection, 3, digest_of("experiments/E2/stratified"), rows, LATER)
    study("report")
    with closing(sqlite3.connect(study.ledger)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return study.folder


@pytest.fixture
def study(decided, tmp_path):
    return Study(shutil.copytree(decided, tmp_path / "study"))


def forge(study, *statements):
    with closing(sqlite3.connect(study.ledger)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount, statement
        connection.commit()


def content_of(study):
    with closing(sqlite3.connect(study.ledger)) as connection:
        return list(connection.iterdump())


def results_of(study):
    """Return the rows that say what runs reached; a fix notes events, and settles a promotion."""
    return [line for line in content_of(study) if 'INTO "events"' not in line and 'INTO "files"' not in line]


def run(study, command, code):
    return study(*command.split(" "), *COMMANDS[command], code=code).output


def test_nothing_was_changed_and_nobody_says_so(study):
    for command in ("compare", "report --check"):
        run(study, command, 0)
    assert "quarantined" not in study.json("compare")


@pytest.mark.parametrize("rows", OF_RUN)
def test_a_run_with_changed_rows_is_struck_out_and_refused_by_whoever_shows_it(study, rows):
    forge(study, OF_RUN[rows])
    said, before = f"run 1: table {rows.split(',')[0]} is not as event", content_of(study)
    for command in COMMANDS:
        assert said in run(study, command, 7), command
    assert content_of(study) == before
    assert not (study.folder / "study.zip").exists()
    found = json.loads(study("compare", "--json", code=7).stdout)
    struck, other = found["experiments"]
    assert struck["Experiment ID"] == "E1"
    assert {value for key, value in struck.items() if key.startswith(("Stratified", "Center"))} == {None}
    assert other["Stratified Accuracy"] is not None
    assert found["best"] == "E2"
    assert said in found["quarantined"]["E1"][0]
    table = study("compare", "--csv", code=7).stdout.splitlines()
    assert table[0].endswith(",Quarantined")
    assert table[1].startswith("E1,,,,,,,,,,run 1")
    assert "quarantined" in study("compare", "--md", code=7).stdout


@pytest.mark.parametrize("said", OF_OTHERS)
def test_what_is_of_no_single_run_is_refused_by_whoever_shows_it(study, said):
    forge(study, OF_OTHERS[said])
    before = content_of(study)
    for command in COMMANDS:
        reads = command != "gradcam" or said.split(":")[0].split()[-1] not in SEES_LITTLE
        if command == "compare" and "image_attributes" in said:
            study("compare", "--subgroups", code=7)
        elif reads and "explanations" not in said or command != "gradcam":
            assert SAID[said] in run(study, command, 7), command
    assert content_of(study) == before


def test_the_others_are_ranked_as_if_what_is_struck_out_were_not_there(study):
    forge(study, "UPDATE run_summaries SET accuracy = 0.99 WHERE run_id = 1")
    for options in ((), ("--paired",), ("--subgroups",), ("--seeds",), ("--metric", "log_loss")):
        told = study("compare", *options, "--json", code=7).stdout
        assert "0.99" not in told
        assert "run 1: table run_summaries" in told
    assert "run 1" in study("compare", "--paired", "--only", "E1", code=7).output
    study("compare", "--subgroups", "--only", "E2")  # what is not asked about is not in the way


def test_where_every_experiment_is_struck_out_nothing_is_ranked(study):
    forge(study, "UPDATE run_summaries SET accuracy = 0.99")
    found = json.loads(study("compare", "--json", code=7).stdout)
    assert found["best"] is None
    assert set(found["quarantined"]) == {"E1", "E2"}
    assert "run 1" in study("compare", "--seeds", code=7).output


def test_files_of_the_comparison_are_not_written_over_by_one_that_lacks_a_run(study):
    before = (study.artifacts / "comparison.csv").read_bytes()
    forge(study, OF_RUN["metrics"])
    study("compare", code=7)
    assert (study.artifacts / "comparison.csv").read_bytes() == before


def sealed_runs(study):
    with reading(study.ledger) as connection:
        return {str(each): seal for each, seal in standing_seals(connection).items()}


@pytest.mark.parametrize("rows", ["metrics", "metrics, deleted", "run_summaries", "run_summaries, deleted"])
def test_fix_computes_metrics_again_from_sealed_predictions(study, rows):
    before, seals = results_of(study), sealed_runs(study)
    forge(study, OF_RUN[rows])
    study("doctor", "--fix", "--yes", "--quick", code=7)  # the files of runs were never written here
    assert sealed_runs(study) == seals
    assert results_of(study) == before
    run(study, "compare", 0)


def test_fix_rebuilds_nothing_from_rows_of_a_broken_seal(study):
    forge(study, OF_RUN["metrics"], OF_RUN["predictions"])
    before = results_of(study)
    study("doctor", "--fix", "--yes", "--quick", code=7)
    assert results_of(study) == before
    assert "run 1" in run(study, "compare", 7)


def test_fix_takes_no_predictions_from_anywhere(study):
    forge(study, OF_RUN["predictions"])
    assert [mend.split(":")[0] for mend in mends(study, "seals")] == ["put a backup in its place"]
    told = json.loads(study("doctor", "--fix", "--yes", "--quick", "--json", code=7).stdout)
    assert [each for each in told["steps"] if "run 1" in each["what"]] == []


def mends(study, check):
    found = json.loads(study("doctor", "--quick", "--json", code=7).stdout)["findings"]
    return [each["mend"] for each in found if each["check"] == check and each["severity"] == "damage"]


def test_a_fix_that_failed_is_not_advised_again(study, monkeypatch):
    monkeypatch.setattr(restored_rows, "run_metrics", lambda *_, **__: {})  # as another version might
    forge(study, OF_RUN["metrics"])
    (advised,) = mends(study, "seals")
    assert advised.startswith("boneexp doctor --fix computes it again")
    told = json.loads(study("doctor", "--fix", "--yes", "--quick", "--json", code=7).stdout)
    assert [each["succeeded"] for each in told["steps"] if "run 1" in each["what"]] == [False]
    for found in (
        [each["mend"] for each in told["findings"] if each["check"] == "seals"],
        mends(study, "seals"),
    ):
        assert [mend.split(";")[0] for mend in found] == ["doctor --fix was tried and did not fix it"]
    study("doctor", "--fix", "--yes", "--quick", code=7)
    assert [mend.split(";")[0] for mend in mends(study, "seals")] == [
        "doctor --fix was tried and did not fix it"
    ]


def test_fix_does_nothing_by_seals_of_a_broken_chain(study):
    forge(study, OF_RUN["metrics"], "UPDATE events SET details_json = '{}' WHERE id = 5")
    told = json.loads(study("doctor", "--fix", "--yes", "--quick", "--json", code=7).stdout)
    assert [each for each in told["steps"] if "run 1" in each["what"]] == []


def test_changed_explanations_are_taken_out_and_never_sealed(study):
    forge(study, "UPDATE explanations SET iou = 0.9")
    study("doctor", "--fix", "--yes", "--quick", code=7)
    with reading(study.ledger) as connection:
        assert connection.execute("SELECT COUNT(*) FROM explanations").fetchone()[0] == 0
        assert list(broken_seals(connection)) == []


def test_queueing_covers_up_no_change_of_the_grid(study):
    from settled_ledger import settled_ledger

    from boneexp.errors import Damaged

    forge(study, "UPDATE runs SET is_current = 0 WHERE id = 1")
    before = content_of(study)
    with pytest.raises(Damaged, match="runs and experiments"):
        settled_ledger(study.ledger, ("E3",), settle=False)
    assert content_of(study) == before
    settled_ledger(study.ledger, ("E1",), settle=False)  # which makes it current again
    run(study, "compare", 0)


def test_what_held_is_not_looked_for_again_until_the_ledger_is_written(study, monkeypatch):
    looked = []
    whole_search = quarantine._looked_for
    monkeypatch.setattr(quarantine, "_looked_for", lambda *of: looked.append(of) or whole_search(*of))
    monkeypatch.setattr(held_before, "SETTLED_S", 1e6)
    study("compare")
    study("compare")
    assert len(looked) == 2  # the files were written just now, and may be again without another time
    monkeypatch.setattr(held_before, "SETTLED_S", -1)
    study("compare")
    study("compare")
    assert len(looked) == 3
    study("compare", "--subgroups")  # reads more
    assert len(looked) == 4
    times = study.ledger.stat()
    forge(study, OF_RUN["metrics"])
    os.utime(study.ledger, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "run 1: table metrics" in study("compare", code=7).output
    note = study.ledger.with_name("ledger.db.held")
    for text in ("", "[]", '{"state": 1, "held": 2}'):
        note.write_text(text)
        study("compare", code=7)
