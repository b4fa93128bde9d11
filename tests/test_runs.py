"""Runs from the queue to their files: the engine, with real (tiny) networks on phantom radiographs."""

import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from functools import partial

import faulty
import pandas as pd
import pytest
import torch
from conftest import new_study
from forked import Forked
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score
from test_engines import until

from boneexp.comparison.compared import MARKS
from boneexp.files import atomic
from boneexp.files.atomic import sha256_of
from boneexp.files.folders import RunFolder
from boneexp.learning.models import build
from boneexp.ledger import settling
from boneexp.runs import context, processes, workers
from boneexp.runs.children import process as child
from boneexp.runs.context import StopFlag
from boneexp.runs.report import Report
from boneexp.study.settings import ModelSettings

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


@pytest.fixture
def with_work(monkeypatch):
    """Return a function that lets children do other work than the real one."""
    real = context.WorkerContext
    return lambda work: monkeypatch.setattr(context, "WorkerContext", partial(real, work=work))


def test_a_code_error_fails_one_run_with_its_traceback_and_the_others_go_on(study, with_work):
    study("queue", "--only", "E1")
    with_work(faulty.broken_on_stratified)
    study("run", "--all", code=3)
    states = {row["split"]: row for row in study.json("status")}
    assert states["stratified"]["state"] == "failed"
    assert states["stratified"]["failure_kind"] == "error"
    assert states["center_holdout"]["state"] == "succeeded"
    detail = study.json("show", str(states["stratified"]["run"]))
    assert "a bug in the code" in detail["attempts"][0]["traceback"]
    assert "Traceback (most recent call last)" in detail["attempts"][0]["traceback"]
    with_work(context.work)
    study("retry", "--failed")
    study("run", "--all")
    assert {row["state"] for row in study.json("status")} == {"succeeded"}


def test_out_of_memory_halves_the_micro_batch_of_that_run_alone(study, with_work):
    study("queue", "--split", "stratified", "--set", "training.epochs=1")
    with_work(faulty.hungry_when_annotated)
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
    compared = study.json("compare")
    assert any("† E2 stratified: a run ran out of memory" in warning for warning in compared["warnings"])
    notes = [each["differs_from_plan"].get("stratified", []) for each in compared["experiments"]]
    assert [MARKS["†"] in each for each in notes] == [False, True]
    shown = study("compare", "--md").stdout.splitlines()
    assert ["†" in line for line in shown[2:]] == [False, True]


def test_a_process_that_the_kernel_killed_for_want_of_memory_goes_on_with_half_the_batch(
    study, with_work, monkeypatch
):
    study("queue", "--only", "E1", "--split", "stratified", "--set", "training.epochs=1")
    with_work(faulty.killed_by_the_kernel)
    counts = itertools.count()
    monkeypatch.setattr(child, "oom_kills", lambda: next(counts))
    study("run", "--all")
    attempts = study.json("show", "1")["attempts"]
    assert [(each["micro_batch"], each["failure_kind"]) for each in attempts] == [
        (8, "oom"),
        (4, "oom"),
        (2, None),
    ]


@pytest.fixture
def small_group():
    """A memory control group (version 1) of 300 MB; only root may make one."""
    group = faulty.SMALL_GROUP
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(300 << 20))
    except OSError as error:
        pytest.skip(f"a memory control group cannot be made here: {error}")
    yield
    group.rmdir()


@pytest.mark.slow
@pytest.mark.usefixtures("small_group")
def test_the_kernels_own_out_of_memory_killer_halves_the_batch_and_spares_the_worker(study, with_work):
    study("queue", "--only", "E1", "--split", "stratified", "--set", "training.epochs=1")
    with_work(faulty.in_a_small_group)
    study("run", "--all")
    attempts = study.json("show", "1")["attempts"]
    assert [(each["micro_batch"], each["failure_kind"]) for each in attempts] == [
        (8, "oom"),
        (4, "oom"),
        (2, None),
    ]
    assert "its kernel killed the attempt's process" in attempts[0]["failure"]


def test_a_crash_in_native_code_ends_one_attempt_and_leaves_its_stack(study, with_work):
    study("queue", "--only", "E1", "--set", "training.epochs=1")
    with_work(faulty.segfaulting)
    study("run", "--all")
    assert {row["state"] for row in study.json("status")} == {"succeeded"}
    first = study.json("show", "1")["attempts"][0]
    assert (first["outcome"], first["failure_kind"]) == ("lost", "killed")
    assert "SIGSEGV" in first["failure"]
    assert "segfaulting" in first["traceback"]


def test_a_run_that_kills_every_process_is_given_up_and_the_others_go_on(study, with_work):
    study("queue", "--only", "E1", "--split", "stratified", "--set", "training.epochs=1")
    with_work(faulty.always_killed)
    study("run", "--all", code=3)
    (row,) = study.json("status")
    assert (row["state"], row["failure_kind"], row["attempts"]) == ("failed", "killed", 3)
    assert "SIGKILL" in row["failure"]
    assert "boneexp retry" in row["failure"]


def test_a_full_disk_fails_that_attempt_stops_the_worker_and_loses_nothing(study, with_work):
    study("queue", "--only", "E1", "--set", "training.epochs=3")
    with_work(faulty.on_a_full_disk)
    study("run", "--all", code=3)
    first, second = study.json("status")
    assert (first["state"], first["failure_kind"], second["state"]) == ("failed", "disk", "queued")
    assert "No space left" in first["failure"]
    folder = study.artifacts / "experiments/E1/stratified"
    assert [path.name for path in folder.rglob("last.pt")] == ["last.pt"]
    with_work(context.work)
    study("retry", "--failed")
    said = study("run", "--all").stderr
    assert "resuming after epoch 1" in said
    assert {row["state"] for row in study.json("status")} == {"succeeded"}
    assert not list(study.artifacts.rglob("*.part"))


@pytest.fixture
def small_disk(study):
    """Return a function that mounts a file system of so many MB at a folder of the study; only root may."""
    mounted = []

    def mount(folder, megabytes):
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # this process has the ledger open


def test_a_run_that_will_not_fit_is_not_begun(study, small_disk):
    small_disk(study.artifacts, 8)
    study("queue", "--only", "E1")
    said = study("run", "--all", code=1).stderr
    assert re.search(r"the next run needs about \d+ MB under artifacts, and 8 MB are free; free some", said)
    assert {(row["state"], row["attempts"]) for row in study.json("status")} == {("queued", 0)}


def test_runs_that_will_not_all_fit_are_announced_and_begun(study, small_disk):
    small_disk(study.artifacts, 50)
    study("queue", "--seeds", "1,2,3", "--set", "training.epochs=1")
    said = study("run", "--next").stderr
    assert re.search(r"all runs that wait need about \d+ MB under artifacts, and \d+ MB are free", said)
    assert sum(row["state"] == "succeeded" for row in study.json("status")) == 1


def test_a_disk_that_fills_up_while_a_run_trains_fails_it_and_leaves_every_file_whole(
    study, small_disk, with_work
):
    small_disk(study.artifacts, 60)
    study("queue", "--only", "E1", "--set", "training.epochs=3")
    with_work(faulty.filling_the_disk)
    study("run", "--all", code=3)
    first, second = study.json("status")
    assert (first["state"], first["failure_kind"], second["state"]) == ("failed", "disk", "queued")
    assert not list(study.artifacts.rglob("*.part"))
    (study.artifacts / faulty.FILLER).unlink()
    with_work(context.work)
    study("retry", "--failed")
    assert "resuming after epoch 1" in study("run", "--all").stderr
    for path, sha256 in query(study, "SELECT path, sha256 FROM files"):
        assert sha256_of(study.artifacts / path) == sha256


def test_a_ledger_on_a_full_disk_stops_the_worker_and_loses_nothing(
    study, small_disk, with_work, monkeypatch
):
    place = study.folder / "disk"
    small_disk(place, 60)
    monkeypatch.setenv("BONEEXP_LEDGER", str(place / "ledger.db"))
    monkeypatch.setenv("BONEEXP_ARTIFACTS", str(place / "artifacts"))
    study("queue", "--only", "E1", "--split", "stratified", "--set", "training.epochs=3")
    with_work(faulty.filling_the_disk)
    said = study("run", "--all", code=1).stderr
    assert "is full; nothing was lost; free space and try again" in said
    (place / "artifacts" / faulty.FILLER).unlink()
    with_work(context.work)
    monkeypatch.setattr(processes, "is_alive", lambda *_: False)  # the worker was this process
    assert "resuming after epoch 1" in study("run", "--all").stderr
    assert study.json("status")[0]["state"] == "succeeded"
    with sqlite3.connect(place / "ledger.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_run_that_goes_on_asks_no_model_hub(study, with_work, monkeypatch):
    """The pretrained weights are in its checkpoint by now, and the network may be gone."""
    monkeypatch.setattr("boneexp.runs.enqueue.check_networks", lambda *_: [])
    study("queue", "--only", "E1", "--split", "stratified", "--set", "model.pretrained=true")
    with_work(faulty.hub_that_answers_once)
    study("run", "--next")
    attempts = study.json("show", "1")["attempts"]
    assert [each["outcome"] for each in attempts] == ["lost", "succeeded"]


def test_a_weights_file_that_changed_since_queueing_fails_the_run_and_says_so(study):
    weights = study.folder / "weights.pt"
    model = build(ModelSettings(backbone="test_efficientnet", pretrained=False), 1)
    torch.save(model.state_dict(), weights)
    study("queue", "--only", "E1", "--split", "stratified", "--set", f"model.pretrained={weights}")
    torch.save({key: value + 1 for key, value in model.state_dict().items()}, weights)
    study("run", "--next", code=3)
    (row,) = study.json("status")
    assert "weights.pt has SHA-256" in row["failure"]
    assert "queue the grid again" in row["failure"]


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


@pytest.fixture
def start():
    """Return a function that starts boneexp in a process, `new` or forked, which ends with the test."""
    started = []

    def start(study, *arguments, new=False):
        started.append(new_process(study, *arguments) if new else Forked(study, *arguments))
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            process.wait()


def new_process(study, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "boneexp.cli.app", *arguments],
        cwd=study.folder,
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
SHORT = (
    "--only",
    "E2",
    "--split",
    "stratified",
    "--set",
    "training.epochs=3",
    "--set",
    "training.batch_size=16",
)
FIGURES = "SELECT epoch, train_loss, val_loss, learning_rate FROM epoch_history WHERE run = 1 ORDER BY 1"
PREDICTIONS = (
    "SELECT part, image_id, p_normal, p_benign, p_malignant FROM predictions WHERE run_id = 1 ORDER BY 1, 2"
)


def assert_same_result(one, other):
    """Every weight, epoch and prediction is the same, bit for bit."""
    first, second = last_weights(one, 1), last_weights(other, 1)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    for text in (FIGURES, PREDICTIONS, "SELECT best_epoch FROM runs WHERE id = 1"):
        assert query(one, text) == query(other, text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"model.backbone": "test_resnet", "model.attn_layer": "cbam", "model.dropout": 0.3},
        {"training.epochs": 50, "training.patience": 2, "training.learning_rate": 1e-8},
    ],
    ids=["attention", "early stop"],
)
def test_killed_at_every_stage_the_run_ends_bit_for_bit_like_an_unbroken_one(
    tmp_path, phantom, with_work, settings
):
    """The networks of the study are stopped and resumed in tests/test_training.py."""
    unbroken, killed = (new_study(tmp_path / name, phantom) for name in ("unbroken", "killed"))
    for study in (unbroken, killed):
        study(
            "queue", *SHORT, *(word for item in settings.items() for word in ("--set", "{}={}".format(*item)))
        )
    unbroken("run", "--all")
    with_work(faulty.killed_at_every_stage)
    killed("run", "--all")
    attempts = killed.json("show", "1")["attempts"]
    assert [each["outcome"] for each in attempts] == ["lost"] * 7 + ["succeeded"]
    assert_same_result(unbroken, killed)
    folder = killed.artifacts / "experiments/E2/stratified"
    assert sorted(path.name for path in folder.iterdir()) == sorted(CHECKED)
    if "training.patience" in settings:
        assert len(query(killed, FIGURES)) < 50


class Died(BaseException):
    """What SIGKILL does to a worker, as far as its files and the ledger can tell: nothing is tidied up."""


def _dying(*_):
    raise Died


def _dying_after(real, calls=1):
    def after(*arguments):
        after.left -= 1
        found = real(*arguments)
        if after.left == 0:
            raise Died
        return found

    after.left = calls
    return after


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "point",
    [
        ("boneexp.runs.attempt._settle", _dying),
        ("boneexp.runs.attempt.finish", _dying_after(settling.finish)),
        ("boneexp.files.folders.link", _dying_after(atomic.link, 3)),
        ("boneexp.files.folders.RunFolder.publish", _dying_after(RunFolder.publish)),
        ("boneexp.files.folders.RunFolder.drop", _dying),
    ],
    ids=[
        "before settling",
        "before publishing",
        "while publishing",
        "before the commit",
        "before tidying up",
    ],
)
def test_a_worker_killed_while_it_settles_leaves_a_run_that_ends_the_same(
    finished_study, study, monkeypatch, point
):
    study("queue", "--only", "E1", "--split", "stratified")
    settled = point[0].endswith("drop")
    with monkeypatch.context() as patched:
        patched.setattr(*point)
        study("run", "--all", code=4 if settled else 5)
    assert [row["state"] for row in study.json("status")] == ["succeeded" if settled else "running"]
    monkeypatch.setattr(processes, "is_alive", lambda *_: False)
    if settled:
        study("queue", "--only", "E1")  # there must be something to run, or nothing is looked at
    study("run", "--all")
    assert_same_result(finished_study, study)
    folder = study.artifacts / "experiments/E1/stratified"
    assert sorted(path.name for path in folder.iterdir()) == sorted(CHECKED)
    for path, sha256 in query(study, "SELECT path, sha256 FROM files WHERE run_id = 1"):
        assert sha256_of(study.artifacts / path) == sha256


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_the_run_goes_on_to_the_same_weights(tmp_path, phantom, start):
    unbroken, killed = (new_study(tmp_path / name, phantom) for name in ("unbroken", "killed"))
    for study in (unbroken, killed):
        study("queue", *LONG)
    unbroken("run", "--all")
    process = start(killed, "run", "--all")
    wait_for(process, "epoch 2/6")
    process.kill()
    process.wait()
    assert killed.json("status")[0]["state"] == "running"
    again = start(killed, "run", "--all")
    text = again.communicate()[0]
    assert again.returncode == 0, text
    assert "resuming after epoch" in text
    (row,) = killed.json("status")
    assert (row["state"], row["attempts"]) == ("succeeded", 2)
    assert [each["outcome"] for each in killed.json("show", "1")["attempts"]] == ["lost", "succeeded"]
    assert_same_result(unbroken, killed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_saves_puts_the_run_back_and_says_so_in_the_exit_code(study, start, number, code):
    study("queue", *LONG)
    process = start(study, "run", "--all", new=number == signal.SIGINT)
    wait_for(process, "epoch 1/6")
    process.send_signal(number)
    text = process.communicate()[0]
    assert process.returncode == code, text
    assert "resume it with: boneexp run --all" in text
    (row,) = study.json("status")
    assert (row["state"], row["attempts"]) == ("queued", 1)
    assert study.json("show", "1")["attempts"][0]["outcome"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_was_ignored_when_the_program_began_stays_ignored(number):
    before = signal.getsignal(number)
    try:
        for handler, heard in ((signal.SIG_IGN, False), (signal.SIG_DFL, True)):
            signal.signal(number, handler)
            stop = StopFlag()
            with workers.stop_on_signals(stop):
                os.kill(os.getpid(), number)
            assert (stop.reason == number.name) == heard
    finally:
        signal.signal(number, before)


def test_ctrl_c_twice_ends_at_once_and_puts_the_run_back(study, with_work):
    study("queue", *LONG)
    with_work(faulty.deaf)
    said = study("run", "--all", code=130).stderr
    assert "SIGINT, twice" in said
    (row,) = study.json("status")
    assert (row["state"], row["attempts"]) == ("queued", 1)


def test_sigterm_to_the_child_alone_saves_and_the_run_goes_on_in_a_new_process(study, with_work):
    study("queue", *SHORT)
    with_work(faulty.asked_to_end)
    study("run", "--all")
    attempts = study.json("show", "1")["attempts"]
    assert [(each["outcome"], each["failure"]) for each in attempts] == [
        ("stopped", "SIGTERM to its process"),
        ("succeeded", None),
    ]


@pytest.mark.slow
def test_a_frozen_worker_loses_its_run_and_can_change_nothing_when_it_wakes(tmp_path, phantom, start):
    unbroken, frozen = (new_study(tmp_path / name, phantom) for name in ("unbroken", "frozen"))
    for study in (unbroken, frozen):
        study("queue", *LONG)
    unbroken("run", "--all")
    process = start(frozen, "run", "--all", "--lease", "1")
    wait_for(process, "epoch 2/6")
    process.send_signal(signal.SIGSTOP)
    until(lambda: frozen.json("status")[0]["lease_expired"])
    frozen("run", "--all", "--lease", "60")
    process.send_signal(signal.SIGCONT)
    text = process.communicate()[0]
    assert process.returncode == 4, text
    assert "this attempt does not count" in text
    assert [each["outcome"] for each in frozen.json("show", "1")["attempts"]] == ["lost", "succeeded"]
    assert_same_result(unbroken, frozen)
    folder = frozen.artifacts / "experiments/E2/stratified"
    assert sorted(path.name for path in folder.iterdir()) == sorted(CHECKED)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_is_too_small_halves_the_micro_batch(study, with_work):
    study("queue", *SHORT, "--set", "model.backbone=efficientnet_b0", "--set", "data.image_size=224")
    with_work(faulty.on_a_small_gpu)
    study("run", "--all", "--device", "cuda")
    (row,) = study.json("status")
    assert (row["state"], row["micro_batch"] < 16) == ("succeeded", True)


@pytest.mark.slow
def test_two_workers_side_by_side_never_share_a_run(study, start):
    study("queue", "--set", "training.epochs=1", "--seeds", "1,2")
    process = start(study, "run", "--all", "--workers", "2")
    text = process.communicate()[0]
    assert process.returncode == 0, text
    rows = study.json("status")
    assert len(rows) == 8
    assert {(row["state"], row["attempts"]) for row in rows} == {("succeeded", 1)}
    assert len({row["worker"] for row in rows}) == 2


def test_a_cancelled_run_stops_and_is_settled_as_cancelled(study, monkeypatch):
    study("queue", "--only", "E1", "--split", "stratified", "--set", "training.epochs=500")
    real = Report._epoch

    def cancelling(report, record):
        if record.epoch == 1:
            study("cancel", "1")
        real(report, record)

    monkeypatch.setattr(Report, "_epoch", cancelling)
    study("run", "--all", "--lease", "1", code=4)
    assert study.json("status")[0]["state"] == "cancelled"
