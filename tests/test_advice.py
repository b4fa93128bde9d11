"""What a command says to do next: it fits what there is, and it works."""

import re
import shutil
import sqlite3
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Study
from settled_ledger import EPOCHS, NOW, settled_ledger

from boneexp.doctor.remaking import evidence_of
from boneexp.experiment.outputs import _counted, _summary
from boneexp.exports.mlflow_record import read_record
from boneexp.ledger.database import reading, writing
from boneexp.ledger.queries.attempts import Epoch
from boneexp.ledger.queries.finished import settled_runs
from boneexp.ledger.queries.runs import spec_json
from boneexp.ledger.queue import Worker, cancel, claim_next
from boneexp.study.settings import RunSpec

WORKER = Worker("tester", "host", 1, "boot", "0", "cpu", {})
OF_A_LEDGER = [
    ["status"], ["show", "1"], ["run", "--all"], ["run", "1"], ["compare"], ["compare", "--seeds"],
    ["promote", "E1", "--yes"], ["decisions"], ["promote", "--finish"], ["gradcam"], ["report"],
    ["report", "--check"], ["export", "--bundle", "study.tar"], ["export", "--mlflow", "mlflow"],
    ["reproduce", "1"], ["retry", "1"], ["retry", "--failed"], ["cancel", "1"], ["upgrade"], ["doctor"],
    ["backup", "copy.db"],
]  # fmt: skip


@pytest.fixture
def empty(tmp_path):
    return Study(tmp_path)


@pytest.mark.parametrize("command", OF_A_LEDGER, ids=" ".join)
def test_whatever_needs_a_ledger_says_how_a_study_begins_and_makes_none(empty, command):
    said = empty(*command, code=1).output
    assert "there is no ledger ledger.db" in said
    assert "--ledger FILE" in said
    assert "boneexp init" in said
    assert "boneexp queue" in said
    assert list(empty.folder.iterdir()) == []


def test_queue_without_a_grid_file_names_the_command_that_writes_one_and_that_one_works(empty):
    for given in ([], ["--grid", "mine.toml"]):
        said = empty("queue", *given, code=1).output
        command = re.search(r"boneexp (init --grid \S+)", said)[1].split(" ")
        empty(*command, "--root", "bones")
        assert "there is no grid file" not in empty("queue", *given, code=1).output
    assert not empty.ledger.exists()


def test_a_study_that_has_lost_its_grid_file_is_not_told_to_begin_another(settled, tmp_path):
    study = copied(settled, tmp_path)
    study.grid.unlink()
    said = study("promote", "E1", "--yes", code=1).output
    assert "there is no grid file experiments.toml" in said
    assert "--grid FILE" in said
    assert "init" not in said


@pytest.mark.parametrize("root", ["bones", "a folder/bones-\U0001f9b4", 'quo"ted'])
def test_a_study_that_was_begun_with_its_root_is_not_asked_for_it_again(empty, root):
    said = empty("init", "--root", root).output
    assert "data.root" not in said
    assert tomllib.loads(empty.grid.read_text(encoding="utf-8"))["data"]["root"] == root
    advised = re.search(r"boneexp (queue .*)", said)[1].split(" ")
    assert Path(root).name in empty(*advised, code=1).output  # which is not there yet
    empty.grid.unlink()
    assert "set data.root in it" in empty("init").output


def copied(folder, tmp_path):
    return Study(Path(shutil.copytree(folder, tmp_path / "study")))


@pytest.fixture
def cancelled(tmp_path):
    """Experiments E1 and E2 have finished, E3 was cancelled while it waited."""
    settled_ledger(tmp_path / "ledger.db")
    settled_ledger(tmp_path / "ledger.db", experiments=("E1", "E2", "E3"), settle=False)
    (tmp_path / "experiments.toml").write_text("[experiments.E1]\n")
    study = Study(tmp_path)
    study("cancel", "5", "6")
    return study


def test_a_cancelled_experiment_is_called_that_wherever_it_is_asked_for(cancelled):
    advice = "queue them again with: boneexp retry 5 6"
    assert f"E3 cannot be promoted: runs of it were cancelled; {advice}" in told(
        cancelled, 6, "promote", "E3", "--yes"
    )
    assert advice in told(cancelled, 1, "gradcam", "--experiment", "E3")
    assert advice in told(cancelled, 1, "compare", "--paired", "--only", "E1,E3")
    assert "no experiment 'E9'" in told(cancelled, 1, "promote", "E9", "--yes")
    assert "no experiment 'E9' is compared; see which are" in told(
        cancelled, 1, "compare", "--paired", "--only", "E9"
    )
    assert "boneexp retry 5" in told(cancelled, 1, "run", "5")
    cancelled("retry", "5", "6")
    assert "cancelled" not in told(cancelled, 6, "promote", "E3", "--yes")


def told(study, code, *arguments):
    return " ".join(
        study(*arguments, "--yes" if arguments[0] == "promote" else "--json", code=code).output.split()
    )


def test_status_says_of_a_cancelled_run_what_brings_it_back_and_of_a_stopping_one_that_it_stops(cancelled):
    cancelled("retry", "5", "6")
    with writing(cancelled.ledger) as connection:
        for run_id, lease_s in ((5, 60), (6, 3000)):
            claim_next(connection, WORKER, now_s(), lease_s, run_id)
            cancel(connection, run_id, now_s())
        connection.execute("UPDATE runs SET lease_until = ? WHERE id = 5", (now_s() - 1,))
    shown = {line.split()[1]: line for line in cancelled("status").stdout.splitlines() if "E3" in line}
    assert "cancelled" in shown["5"]
    assert "boneexp retry 5" in shown["5"]
    assert "running" in shown["6"]
    assert "cancelled, stopping: tester" in shown["6"]
    assert [row["state"] for row in cancelled.json("status")[4:]] == ["cancelled", "running"]
    assert "boneexp run --all" not in cancelled("status").output


def test_run_ends_what_was_cancelled_and_has_nobody_who_stops_it(cancelled):
    cancelled("retry", "5", "6")
    with writing(cancelled.ledger) as connection:
        for run_id in (5, 6):
            claim_next(connection, WORKER, NOW, 60, run_id)
        connection.execute("UPDATE runs SET stop_requested = 1 WHERE id > 4")
    assert "no run is queued" in cancelled("run", "--all", code=4).output
    with sqlite3.connect(cancelled.ledger) as connection:
        states = connection.execute("SELECT state, stop_requested FROM runs WHERE id > 4").fetchall()
    assert states == [("cancelled", 0)] * 2
    assert cancelled.json("retry", "5", "6") == {"queued": [5, 6]}


def now_s():
    import time

    return time.time()


BEST = EPOCHS - 1  # as people count: settled_ledger keeps the last but one


def test_epochs_count_from_one_wherever_they_are_read(settled, tmp_path):
    study = copied(settled, tmp_path)
    every = list(range(1, EPOCHS + 1))
    detail = study.json("show", "1")
    assert [row["epoch"] for row in detail["epochs"]] == every
    assert detail["best_epoch"] == BEST
    assert {row["best_epoch"] for row in study.json("status")} == {BEST}
    assert f",{BEST}," in study("status", "--csv").stdout.splitlines()[1]
    with reading(study.ledger) as connection:
        view = connection.execute("SELECT epoch FROM epoch_history WHERE run = 1 ORDER BY epoch").fetchall()
        assert [row[0] for row in view] == every
        raw = connection.execute("SELECT epoch FROM epochs WHERE run_id = 1 ORDER BY epoch").fetchall()
        assert [row[0] for row in raw] == list(range(EPOCHS))  # which is sealed
        assert connection.execute("SELECT best_epoch FROM runs WHERE id = 1").fetchone()[0] == BEST - 1
        sent = read_record(connection, settled_runs(connection)[0])
        steps = [each.step for each in sent.metrics() if each.key == "val_loss"]
        assert (steps, sent.tags()["boneexp.best_epoch"]) == (every, str(BEST))
        evidence = evidence_of(connection, 1)
        spec = RunSpec.model_validate_json(spec_json(connection, 1))
    assert [each.epoch for each in evidence.history] == list(range(EPOCHS))  # as the run itself had them
    assert [_counted(each)["epoch"] for each in evidence.history] == every
    assert _summary(spec, evidence)["best_epoch"] == BEST
    study("report")
    card = (study.folder / "docs" / "model_card.md").read_text()
    header, _, *rows = (line for line in card.splitlines() if line.startswith("|") and "Best epoch" in card)
    at = next(line for line in card.splitlines() if "| Best epoch |" in line)
    column = [cell.strip() for cell in at.split("|")].index("Best epoch")
    after = card.split(at)[1].strip().splitlines()[1]
    assert [cell.strip() for cell in after.split("|")][column] == str(BEST)


def test_show_prints_the_settings_and_the_epochs_that_its_help_promises(settled, tmp_path):
    shown = copied(settled, tmp_path)("show", "1").stdout
    lines = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in shown.splitlines()]
    settings = {line[0]: line[1] for line in lines if len(line) == 2}
    assert settings["training.learning_rate"] == "0.0003"
    assert settings["model.backbone"] == '"efficientnet_b0"'
    assert settings["name"] == '"b0_baseline"'
    assert settings["best_epoch"] == str(BEST)
    epochs = [line for line in lines if len(line) == 8 and re.fullmatch(r"\d+( \*)?", line[0])]
    assert [line[0] for line in epochs if line[3] != "cpu"] == ["1", "2", "3 *", "4"]
    assert next(line for line in epochs if line[0] == "3 *")[3:5] == ["0.9000", "0.500"]


def test_very_many_epochs_are_shown_as_the_newest():
    from boneexp.cli.show import MOST_EPOCHS, _epochs_table

    epoch = Epoch(1, 1, 1, 0.5, 0.4, 0.5, None, 3e-4, 1.0, 9.0)
    table = _epochs_table([replace(epoch, epoch=number) for number in range(1, 1001)], 1000)
    assert table.row_count == MOST_EPOCHS
    assert list(table.columns[0].cells)[-1] == "1000 *"
    assert table.caption == "and 700 earlier; all of them with --json"


def test_a_run_over_its_time_is_told_what_brings_it_on(cancelled):
    from boneexp.ledger.settling import fail
    from boneexp.runs.time_limit import TimeLimit

    cancelled("retry", "5")
    with writing(cancelled.ledger) as connection:
        held = claim_next(connection, WORKER, now_s(), 60, 5)
        assert fail(connection, held, TimeLimit(2).failure(5), now_s()) == "failed"
    (row,) = (row for row in cancelled.json("status") if row["run"] == 5)
    assert (row["state"], row["failure_kind"]) == ("failed", "timeout")
    assert "timeout" in cancelled("show", "5").stdout
    assert cancelled.json("retry", "--failed") == {"queued": [5]}
