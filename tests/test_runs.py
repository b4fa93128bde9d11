"""Runs from the queue to their files: the engine, with real (tiny) networks on phantom radiographs."""

import json
import os
import signal
import sqlite3
import subprocess
import sys

import pandas as pd
import pytest
import torch
from conftest import new_study
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from boneexp.artifacts import sha256_of
from boneexp.learning import training

CHECKED = ("best.pt", "last.pt", "metrics_summary.json", "classification_report.json", "predictions.csv",
           "history.csv", "roc_curves.png", "pr_curves.png", "confusion_matrix.png", "loss_curves.png",
           "run.log", "config.json")  # fmt: skip


def query(study, text, *values):
    with sqlite3.connect(study.ledger) as connection:
        return connection.execute(text, values).fetchall()


def test_a_finished_run_leaves_everything_the_contract_lists(finished_study):
    for experiment in ("E1", "E2"):
        for split in ("stratified", "center_holdout"):
            folder = finished_study.artifacts / "experiments" / experiment / split
            assert sorted(path.name for path in folder.iterdir()) == sorted(CHECKED)
    assert not list(finished_study.artifacts.rglob("*.part"))


def test_every_file_in_the_ledger_is_there_with_its_digest(finished_study):
    rows = query(finished_study, "SELECT path, sha256, size_bytes FROM files WHERE run_id IS NOT NULL")
    assert len(rows) == 4 * (len(CHECKED) - 1)  # the log goes on after the run is settled
    for path, sha256, size_bytes in rows:
        file = finished_study.artifacts / path
        assert (sha256_of(file), file.stat().st_size) == (sha256, size_bytes)


def test_files_and_ledger_say_the_same(finished_study):
    summary = json.loads(
        (finished_study.artifacts / "experiments/E1/stratified/metrics_summary.json").read_text()
    )
    (row,) = query(
        finished_study,
        "SELECT m.accuracy, m.accuracy_low, m.accuracy_high, m.macro_auroc FROM run_metrics m"
        " WHERE m.experiment = 'E1' AND m.split = 'stratified' AND m.part = 'test'",
    )
    accuracy = summary["parts"]["test"]["accuracy"]
    assert (accuracy["value"], accuracy["low"], accuracy["high"]) == row[:3]
    assert summary["parts"]["test"]["macro_auroc"]["value"] == row[3]
    assert summary["note"] == "Research use only, not for clinical use."


def test_the_comparison_can_be_computed_again_from_the_prediction_rows(finished_study):
    with sqlite3.connect(finished_study.ledger) as connection:
        rows = pd.read_sql(
            "SELECT e.experiment, r.split, p.* FROM predictions p JOIN runs r ON r.id = p.run_id"
            " JOIN experiments e ON e.id = r.experiment_ref WHERE p.part = 'test'",
            connection,
        )
        table = pd.read_sql("SELECT * FROM comparison", connection).set_index("experiment_id")
    shares = ["p_normal", "p_benign", "p_malignant"]
    classes = ["Normal", "Benign", "Malignant"]
    for (experiment, split), part in rows.groupby(["experiment", "split"]):
        labels = part["label"].map(classes.index).to_numpy()
        said = part[shares].to_numpy().argmax(axis=1)
        found = table.loc[experiment]
        assert found[f"{split}_accuracy"] == pytest.approx(accuracy_score(labels, said))
        sensitivity = recall_score(labels, said, labels=[2], average="macro")
        assert found[f"{split}_malignant_sensitivity"] == pytest.approx(sensitivity)
        auroc = roc_auc_score(labels, part[shares].to_numpy(), multi_class="ovr")
        assert found[f"{split}_macro_auroc"] == pytest.approx(auroc)


def test_the_ledger_and_the_split_manifest_agree_on_the_test_part(finished_study):
    tested = {
        row[0]
        for row in query(
            finished_study, "SELECT image_id FROM predictions WHERE part = 'test' AND run_id = 1"
        )
    }
    (digest,) = query(finished_study, "SELECT split_digest FROM runs WHERE id = 1")[0]
    manifest = pd.read_csv(finished_study.artifacts / "splits" / f"stratified-{digest[:12]}.csv")
    assert set(manifest[manifest["part"] == "test"]["image_id"]) == tested


def test_a_code_error_fails_one_run_with_its_traceback_and_the_others_go_on(study, monkeypatch):
    study("queue", "--only", "E1")
    real = training.class_weights

    def broken(labels, weighted):
        if len(labels) == broken.first:
            raise ZeroDivisionError("a bug in the code")
        return real(labels, weighted)

    rows = pd.read_csv(next((study.artifacts / "splits").glob("stratified-*.csv")))
    broken.first = int((rows["part"] == "train").sum())
    monkeypatch.setattr(training, "class_weights", broken)
    study("run", "--all", code=3)
    states = {row["split"]: row for row in study.json("status")}
    assert states["stratified"]["state"] == "failed"
    assert states["stratified"]["failure_kind"] == "error"
    assert states["center_holdout"]["state"] == "succeeded"
    detail = study.json("show", str(states["stratified"]["run"]))
    assert "a bug in the code" in detail["attempts"][0]["traceback"]
    assert "Traceback (most recent call last)" in detail["attempts"][0]["traceback"]
    monkeypatch.setattr(training, "class_weights", real)
    study("retry", "--failed")
    study("run", "--all")
    assert {row["state"] for row in study.json("status")} == {"succeeded"}


def test_out_of_memory_halves_the_micro_batch_of_that_run_alone(study, monkeypatch):
    study("queue", "--split", "stratified", "--set", "training.epochs=1")
    real = training._Loop._step

    def hungry(loop, positions, epoch):
        if loop.course.micro_batch > 2 and loop.course.training.annotations:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(loop, positions, epoch)

    monkeypatch.setattr(training._Loop, "_step", hungry)
    study("run", "--all")
    plain, hungry_run = study.json("status")
    assert (plain["micro_batch"], plain["attempts"]) == (8, 1)
    assert (hungry_run["micro_batch"], hungry_run["attempts"], hungry_run["state"]) == (2, 3, "succeeded")
    attempts = study.json("show", "2")["attempts"]
    assert [(each["micro_batch"], each["failure_kind"]) for each in attempts] == [
        (8, "oom"),
        (4, "oom"),
        (2, None),
    ]
    assert any("smaller micro-batches" in warning for warning in study.json("compare")["warnings"])


def test_the_worker_goes_on_when_a_halved_run_went_to_somebody_else(study, monkeypatch):
    study("queue", "--only", "E1", "--set", "training.epochs=1")

    def hungry(loop, positions, epoch):
        if loop.course.micro_batch == 8 and loop.course.val_rows.size != hungry.held_out:
            study("cancel", "1")  # as if another worker had it: this one cannot claim it again
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(loop, positions, epoch)

    real = training._Loop._step
    manifest = pd.read_csv(next((study.artifacts / "splits").glob("center_holdout-*.csv")))
    hungry.held_out = int((manifest["part"] == "val").sum())
    monkeypatch.setattr(training._Loop, "_step", hungry)
    study("run", "--all")
    assert [row["state"] for row in study.json("status")] == ["failed", "succeeded"]


def test_a_run_that_goes_on_asks_no_model_hub(study, monkeypatch):
    """The pretrained weights are in its checkpoint by now, and the network may be gone."""
    from boneexp import experiment

    real = experiment.build
    asked = []

    def watched(settings, seed):
        asked.append(settings.pretrained)
        return real(settings.model_copy(update={"pretrained": False}), seed)

    monkeypatch.setattr(experiment, "build", watched)
    study("queue", "--only", "E1", "--split", "stratified", "--set", "model.pretrained=true")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "_evaluated", interrupted)
        study("run", "--next", code=130)
    study("run", "--next")
    assert asked == [True, False]


def test_data_that_changed_since_queueing_fail_the_run_and_say_so(tmp_path, phantom):
    copy = tmp_path / "data"
    subprocess.run(["cp", "-r", str(phantom), str(copy)], check=True)
    study = new_study(tmp_path / "study", copy)
    study("queue", "--only", "E1", "--split", "stratified")
    image = sorted((copy / "images").iterdir())[0]
    other = sorted((copy / "images").iterdir())[-1]
    image.write_bytes(other.read_bytes())
    study("run", "--next", code=3)
    (row,) = study.json("status")
    assert row["failure_kind"] == "data"
    assert "have changed since this run was queued" in row["failure"]


def start(study, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "boneexp.cli", *arguments],
        cwd=study.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(process, words):
    """Read the process's lines until one holds `words`; return all of them."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"ended without {words!r}: {''.join(lines)}")


def last_weights(study, run_id):
    (row,) = query(study, "SELECT folder FROM runs WHERE id = ?", run_id)
    return torch.load(study.artifacts / row[0] / "last.pt", weights_only=True)["model"]


LONG = ("--only", "E2", "--split", "stratified", "--set", "training.epochs=6", "--set", "data.image_size=64")


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_the_run_goes_on_to_the_same_weights(tmp_path, phantom):
    unbroken, killed = (new_study(tmp_path / name, phantom) for name in ("unbroken", "killed"))
    for study in (unbroken, killed):
        study("queue", *LONG)
    whole = start(unbroken, "run", "--all")
    assert whole.wait() == 0
    process = start(killed, "run", "--all")
    wait_for(process, "epoch 2/6")
    process.kill()
    process.wait()
    assert killed.json("status")[0]["state"] == "running"
    again = start(killed, "run", "--all")
    text = again.communicate()[0]
    assert again.returncode == 0, text
    assert "goes on after epoch" in text
    (row,) = killed.json("status")
    assert (row["state"], row["attempts"]) == ("succeeded", 2)
    assert [each["outcome"] for each in killed.json("show", "1")["attempts"]] == ["lost", "succeeded"]
    one, other = last_weights(unbroken, 1), last_weights(killed, 1)
    assert all(torch.equal(one[key], other[key]) for key in one)
    predictions = "SELECT image_id, p_normal, p_benign, p_malignant FROM predictions ORDER BY part, image_id"
    assert query(unbroken, predictions) == query(killed, predictions)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_puts_the_run_back_and_says_so_in_the_exit_code(study, number, code):
    study("queue", *LONG)
    process = start(study, "run", "--all")
    wait_for(process, "epoch 1/6")
    process.send_signal(number)
    text = process.communicate()[0]
    assert process.returncode == code, text
    assert "it goes on from here with: boneexp run --all" in text
    (row,) = study.json("status")
    assert (row["state"], row["attempts"]) == ("queued", 1)
    assert study.json("show", "1")["attempts"][0]["outcome"] == "stopped"


@pytest.mark.slow
def test_two_workers_side_by_side_never_share_a_run(study):
    study("queue", "--set", "training.epochs=1", "--seeds", "1,2")
    process = start(study, "run", "--all", "--workers", "2")
    text = process.communicate()[0]
    assert process.returncode == 0, text
    rows = study.json("status")
    assert len(rows) == 8
    assert {(row["state"], row["attempts"]) for row in rows} == {("succeeded", 1)}
    assert len({row["worker"] for row in rows}) == 2


def test_a_cancelled_run_stops_and_is_settled_as_cancelled(study, monkeypatch):
    from boneexp.engines import attempt as engine
    from boneexp.engines import lease

    study("queue", "--only", "E1", "--split", "stratified", "--set", "training.epochs=500")
    real = engine._Report.epoch

    def cancelling(report, record):
        if record.epoch == 1:
            study("cancel", "1")
            report._lease.cancelled.wait(timeout=60)
        return real(report, record)

    monkeypatch.setattr(engine, "kept_lease", lambda ledger, claim: lease.kept_lease(ledger, claim, 0.4))
    monkeypatch.setattr(engine._Report, "epoch", cancelling)
    study("run", "--all", code=4)
    assert study.json("status")[0]["state"] == "cancelled"
