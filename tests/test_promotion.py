"""Promotion and Grad-CAM on a finished study; each test works on a copy."""

import shutil
import sqlite3
import tomllib

import pytest
from conftest import Study
from sealed_again import seal_again

from boneexp.files.atomic import sha256_of
from boneexp.ledger import database
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import reading
from boneexp.promotion import carry_out
from boneexp.study.promoted_table import with_promoted


@pytest.fixture
def copy(finished_study, tmp_path):
    shutil.copytree(finished_study.folder, tmp_path / "copy")
    return Study(tmp_path / "copy")


def promoted(study):
    return tomllib.loads(study.grid.read_text())["promoted"]


def digest(study, experiment, split):
    with sqlite3.connect(study.ledger) as connection:
        return connection.execute(
            "SELECT checkpoint_sha256 FROM runs r JOIN experiments e ON e.id = r.experiment_ref"
            " WHERE e.experiment = ? AND r.split = ?",
            (experiment, split),
        ).fetchone()[0]


def standing_files(study):
    folder = study.artifacts / "promoted"
    names = ("best_stratified.pt", "best_center.pt")
    return {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}


def test_promote_sets_the_default_everywhere(copy):
    before = copy.grid.read_text()
    copy("promote", "E2", "--yes", "--reason", "it looks at the bone")
    assert promoted(copy) == {
        "experiment": "E2",
        "backbone": "test_efficientnet",
        "image_size": 48,
        "batch_size": 8,
        "dropout": 0.1,
        "attn_layer": "",
        "checkpoint": "artifacts/promoted/best_stratified.pt",
        "checkpoint_stratified": "artifacts/promoted/best_stratified.pt",
        "checkpoint_center": "artifacts/promoted/best_center.pt",
        "digest_stratified": digest(copy, "E2", "stratified"),
        "digest_center": digest(copy, "E2", "center_holdout"),
    }
    assert copy.grid.read_text().startswith(before.rstrip("\n"))
    assert standing_files(copy) == {
        "best_stratified.pt": digest(copy, "E2", "stratified"),
        "best_center.pt": digest(copy, "E2", "center_holdout"),
    }
    card = (copy.folder / "docs" / "model_card.md").read_text()
    report = (copy.folder / "docs" / "poc_report.md").read_text()
    for text in (card, report):
        assert "Research use only, not for clinical use" in text
        assert "it looks at the bone" in text
        assert "phantom" in text
    accuracy = copy.json("compare")["experiments"][1]["Stratified Accuracy"]
    assert f"{accuracy:.3f}" in report


def test_a_second_promotion_keeps_the_former_files_and_rollback_restores_them(copy):
    untouched = copy.grid.read_bytes()
    copy("promote", "E1", "--yes")
    first = (copy.grid.read_bytes(), standing_files(copy))
    copy("promote", "E2", "--yes")
    assert standing_files(copy) != first[1]
    kept = {sha256_of(path) for path in (copy.artifacts / "promoted" / "former").iterdir()}
    assert set(first[1].values()) <= kept
    shutil.rmtree(copy.artifacts / "experiments" / "E1")  # the former files alone must do
    copy("rollback", "--yes")
    assert (copy.grid.read_bytes(), standing_files(copy)) == first
    copy("rollback", "--yes")
    assert (copy.grid.read_bytes(), standing_files(copy)) == (untouched, {})
    assert "no promotion to undo" in copy("rollback", "--yes", code=6).output
    with reading(copy.ledger) as connection:
        assert first_broken_event(connection) is None


def test_best_promotes_what_compare_names(copy):
    best = copy.json("compare")["best"]
    assert copy.json("promote", "--best", "--yes")["experiment"] == best
    assert promoted(copy)["experiment"] == best


def test_keeping_the_baseline_is_a_decision_too(copy):
    copy("promote", "E1", "--yes")
    copy("promote", "--keep-baseline", "--yes", "--reason", "too few images")
    assert promoted(copy) == {}
    assert standing_files(copy) == {}
    report = (copy.folder / "docs" / "poc_report.md").read_text()
    assert "too few images" in report
    assert "baseline" in report


def test_a_dry_run_shows_the_difference_and_writes_nothing(copy):
    before = copy.grid.read_bytes(), copy.ledger.read_bytes()
    text = copy("promote", "E2", "--dry-run").stdout
    assert '+experiment = "E2"' in text
    assert "model_card.md" in text
    assert (copy.grid.read_bytes(), copy.ledger.read_bytes()) == before
    assert not (copy.folder / "docs").exists()


def test_own_words_in_the_documents_stay(copy):
    copy("promote", "E1", "--yes")
    card = copy.folder / "docs" / "model_card.md"
    card.write_text(card.read_text() + "\nOur own words.\n")
    copy("promote", "E2", "--yes")
    assert card.read_text().endswith("\nOur own words.\n")


def test_an_experiment_that_is_not_finished_is_refused(copy):
    copy("queue", "--only", "E2", "--set", "training.epochs=3")
    refused = copy("promote", "E2", "--yes", code=6).output
    assert "is queued" in refused
    assert refused.count("\n  - ") >= 2
    assert not (copy.artifacts / "promoted").exists()


def test_a_checkpoint_that_was_changed_is_refused(copy):
    path = copy.artifacts / "experiments" / "E2" / "stratified" / "best.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "SHA-256" in copy("promote", "E2", "--yes", code=6).output
    path.unlink()
    assert "is gone" in copy("promote", "E2", "--yes", code=6).output
    assert promoted(copy) == {}


def test_a_changed_history_is_refused(copy):
    with sqlite3.connect(copy.ledger) as connection:
        connection.execute("UPDATE events SET at = at + 1 WHERE id = 3")
    assert "event 3" in copy("promote", "E1", "--yes", code=7).output


def test_an_unknown_experiment_is_named_with_the_nearest(copy):
    assert "no experiment 'E11'; did you mean 'E1'?" in copy("promote", "E11", "--yes", code=1).output


def test_a_missing_grid_file_stops_before_anything_is_recorded(copy):
    copy.grid.unlink()
    assert "there is no grid file experiments.toml" in copy("promote", "E1", "--yes", code=1).output
    with reading(copy.ledger) as connection:
        assert connection.execute("SELECT COUNT(*) FROM promotions").fetchone()[0] == 0


def test_gradcam_finishes_a_promotion_that_was_cut_short_first(copy, monkeypatch):
    copy("promote", "E1", "--yes")

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(carry_out, "put_in_place", killed)
        copy("promote", "E2", "--yes", code=130)
    assert promoted(copy)["experiment"] == "E1"
    done = copy("gradcam", "--count", "1")
    assert "promotion 2 was cut short, and is finished now; the default is E2" in done.stderr
    assert promoted(copy)["experiment"] == "E2"
    assert standing_files(copy)["best_center.pt"] == digest(copy, "E2", "center_holdout")
    assert "E2" in (copy.folder / "docs" / "model_card.md").read_text()


def test_the_promoted_table_is_rewritten_and_nothing_else(tmp_path):
    path = tmp_path / "g.toml"
    for text in (
        "a = 1\n\n[promoted]  # mine\n# keep\nexperiment = 'E1'\n\n[z]\nb = 2\n",
        "a = 1\r\n[promoted]\r\nexperiment = 'E1'\r\n",
        "a = 1",
        "",
    ):
        path.write_bytes(text.encode())
        changed = with_promoted(path, {"experiment": "E2", "dropout": 0.3})
        assert tomllib.loads(changed.replace("\r\n", "\n"))["promoted"] == {
            "experiment": "E2",
            "dropout": 0.3,
        }
        assert [line for line in text.splitlines() if "E1" not in line and line] == [
            line for line in changed.splitlines() if "E2" not in line and "dropout" not in line and line
        ][: len([line for line in text.splitlines() if "E1" not in line and line])]
        assert ("\r\n" in changed) == ("\r\n" in text)


def test_gradcam_draws_and_measures_the_promoted_model(copy):
    assert "no model is promoted" in copy("gradcam", code=1).output
    copy("promote", "E2", "--yes")
    found = copy.json("gradcam", "--count", "1")
    assert (found["experiment"], found["split"]) == ("E2", "stratified")
    drawn = [each for each in found["explanations"] if each["overlay"]]
    assert len(drawn) >= 3
    assert all((copy.artifacts / each["overlay"]).read_bytes().startswith(b"\x89PNG") for each in drawn)
    assert {each["outcome"] for each in drawn} <= {"TP", "FP", "FN"}
    with sqlite3.connect(copy.ledger) as connection:
        mean, images = connection.execute(
            "SELECT AVG(iou), COUNT(*) FROM explanations x JOIN predictions p USING (run_id, part, image_id)"
            " WHERE threshold = 0.5 AND iou IS NOT NULL AND p.label = x.explained_class"
        ).fetchone()
        digests = connection.execute("SELECT DISTINCT checkpoint_sha256 FROM explanations").fetchall()
    assert found["overlap"]["images"] == images > 0
    assert found["overlap"]["iou"]["0.5"] == pytest.approx(mean)
    assert digests == [(digest(copy, "E2", "stratified"),)]
    assert f"{mean:.3f}" in (copy.folder / "docs" / "poc_report.md").read_text()


@pytest.mark.parametrize(
    "command",
    [
        ["queue"],
        ["run", "--all"],
        ["retry", "2"],
        ["cancel", "1"],
        ["promote", "E2", "--yes"],
        ["gradcam", "--experiment", "E2", "--count", "1"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_that_writes_says_in_one_sentence_that_the_ledger_is_held(copy, monkeypatch, command):
    with sqlite3.connect(copy.ledger) as connection:
        connection.execute("UPDATE runs SET state = 'queued' WHERE id = 1")
        connection.execute("UPDATE runs SET state = 'failed' WHERE id = 2")
    seal_again(copy.ledger)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    holder = sqlite3.connect(copy.ledger, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    before = [copy.grid.read_bytes(), standing_files(copy), list(holder.iterdump())]
    said = copy(*command, code=5).stderr
    assert [line for line in said.splitlines() if "Error" in line] == [said.splitlines()[-1]]
    assert "is held by another process" in said
    assert [copy.grid.read_bytes(), standing_files(copy), list(holder.iterdump())] == before
    assert list(copy.folder.rglob("*.part")) == []


def test_gradcam_takes_another_experiment_and_chosen_images(copy):
    found = copy.json("gradcam", "--experiment", "E1", "--count", "1")
    name = found["explanations"][0]["image_id"]
    assert found["lesion"] == "outline"
    asked = ("--split", "stratified", "--images", name, "--lesion", "union")
    found = copy.json("gradcam", "--experiment", "E1", *asked)
    assert [each["image_id"] for each in found["explanations"]] == [name]
    assert found["lesion"] == "union"
    with sqlite3.connect(copy.ledger) as connection:
        kept = connection.execute("SELECT DISTINCT lesion FROM explanations WHERE image_id = ?", (name,))
        assert ("union",) in kept.fetchall()
    assert (
        "none.jpeg is not in" in copy("gradcam", "--experiment", "E1", "--images", "none.jpeg", code=1).output
    )
    assert "no split" in copy("gradcam", "--experiment", "E1", "--split", "random", code=1).output
    assert "--lesion hull" in copy("gradcam", "--experiment", "E1", "--lesion", "hull", code=2).output
    assert "E9 has no finished run" in copy("gradcam", "--experiment", "E9", code=1).output


def test_gradcam_refuses_a_checkpoint_that_was_changed(copy):
    path = copy.artifacts / "experiments" / "E1" / "stratified" / "best.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "SHA-256" in copy("gradcam", "--experiment", "E1", code=7).output
