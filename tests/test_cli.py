"""The command line as a person or a script meets it: exit codes, JSON, and clear words for bad input."""

import csv
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from conftest import new_study
from tiny_dataset import dataset_of, write_dataset, write_image
from typer.testing import CliRunner

import boneexp
from boneexp.cli.app import app
from boneexp.ledger.database import reading
from boneexp.runs.enqueue import Planned
from boneexp.runs.plan import Plan

TEN = [
    "Experiment ID",
    "Backbone",
    "Image Size",
    "Annotations",
    "Stratified Accuracy",
    "Stratified Macro AUC",
    "Stratified Malignant Sensitivity",
    "Center-Holdout Accuracy",
    "Center-Holdout Macro AUC",
    "Center-Holdout Malignant Sensitivity",
]


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def tables(study):
    """Every row of every table, to see that a failed command left the ledger as it was."""
    with sqlite3.connect(study.ledger) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


def test_help_and_version_say_what_this_is():
    assert "not for clinical use" in run("--help").stdout
    assert run("--version").stdout.strip() == f"boneexp {boneexp.__version__}"
    assert run("nonsense").exit_code == 2


def test_queueing_puts_every_combination_in_once(study):
    assert "4 queued, 0 already in ledger.db" in study("queue", "--grid", "experiments.toml").stdout
    assert "0 queued, 4 already in ledger.db" in study("queue").stdout
    assert study.json("queue", "--seeds", "43,44", "--only", "E1", "--split", "stratified")["known"] == 0
    assert len(study.json("status")) == 6


def test_a_dry_run_says_what_would_be_queued_and_makes_no_ledger(study):
    rows = study.json("queue", "--dry-run", "--only", "E2")
    assert [(row["experiment"], row["split"], row["new"]) for row in rows] == [
        ("E2", "stratified", True),
        ("E2", "center_holdout", True),
    ]
    assert not study.ledger.exists()


def test_status_json_has_the_keys_of_the_contract(finished_study):
    rows = finished_study.json("status")
    keys = {
        "run",
        "experiment",
        "split",
        "seed",
        "state",
        "failure_kind",
        "attempts",
        "config_hash",
        "checkpoint",
    }
    assert all(keys <= set(row) for row in rows)
    assert [row["run"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["checkpoint"] == "artifacts/experiments/E1/stratified/best.pt"
    assert all((finished_study.folder / row["checkpoint"]).is_file() for row in rows)


def test_status_prints_a_table_csv_and_markdown(finished_study):
    assert "succeeded" in finished_study("status").stdout
    rows = list(csv.DictReader(finished_study("status", "--csv").stdout.splitlines()))
    assert [row["state"] for row in rows] == ["succeeded"] * 4
    assert finished_study("status", "--md").stdout.startswith("| run | experiment |")
    assert "E1 plain" in finished_study("status", "--watch").stdout


def test_show_gives_one_run_in_detail(finished_study):
    text = finished_study("show", "1").stdout
    assert "config_hash" in text
    assert "best.pt" in text
    detail = finished_study.json("show", "1")
    assert len(detail["epochs"]) == 2
    assert [event["kind"] for event in detail["events"]] == ["claimed", "succeeded"]
    assert detail["spec"]["settings"]["training"]["batch_size"] == 8


def test_compare_writes_the_ten_columns_and_the_numbers_of_the_view(finished_study):
    found = finished_study.json("compare")
    with (finished_study.artifacts / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == TEN
    with sqlite3.connect(finished_study.ledger) as connection:
        view = connection.execute("SELECT * FROM comparison").fetchall()
    assert [[row[column] for column in TEN] for row in rows] == [
        [str(value) for value in row] for row in view
    ]
    assert [list(each)[:10] for each in found["experiments"]] == [TEN, TEN]
    assert json.loads((finished_study.artifacts / "comparison.json").read_text()) == found


def test_compare_names_the_winner_of_the_three_keys(finished_study):
    found = finished_study.json("compare")

    def keys(row):
        return (
            row["Stratified Accuracy"],
            row["Stratified Malignant Sensitivity"],
            row["Center-Holdout Accuracy"],
        )

    first, second = sorted(found["experiments"], key=keys, reverse=True)
    assert keys(first) != keys(second)
    assert found["best"] == first["Experiment ID"]
    text = finished_study("compare").stdout
    assert "Best:" in text
    assert "synthetic phantom" in text
    assert "Research use only" in text


def test_compare_holds_a_phantom_against_no_baseline_and_no_target_of_other_data(finished_study):
    found = finished_study.json("compare")
    assert found["comparable_to"] == {"targets": ["BTXRD"], "baseline": ["BTXRD"]}
    for experiment in found["experiments"]:
        assert set(experiment["delta_to_baseline"].values()) == {None}
        assert {target["comparable"] for target in experiment["targets"]} == {False}
        assert {target["met"] for target in experiment["targets"]} == {None}


def test_compare_changes_nothing_in_the_ledger(finished_study):
    before = tables(finished_study)
    finished_study("compare")
    finished_study("status")
    assert tables(finished_study) == before


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), {option for each in command.params for option in each.opts}


def test_every_command_takes_a_ledger_and_artifacts():
    found = dict(commands(typer.main.get_command(app)))
    assert len(found) >= 13
    assert [name for name, options in found.items() if not {"--ledger", "--artifacts"} <= options] == []


def test_running_without_saying_what_is_a_usage_error(study):
    study("queue")
    assert "choose one" in study("run", code=2).output
    assert "--next and --all contradict each other" in study("run", "--next", "--all", code=2).output
    assert "--workers needs --all" in study("run", "--next", "--workers", "2", code=2).output
    assert "choose one" in study("retry", code=2).output
    assert "choose one" in study("promote", code=2).output
    assert "must be integers" in study("queue", "--seeds", "a", code=2).output


def test_nothing_to_do_has_an_exit_code_of_its_own(finished_study):
    assert "no run is queued" in finished_study("run", "--all", code=4).output
    assert "no run has failed" in finished_study("retry", "--failed", code=4).output


def test_a_ledger_that_is_not_there_is_said_with_the_command_that_makes_one(study):
    for command in (
        ["status"],
        ["compare"],
        ["show", "1"],
        ["run", "--all"],
        ["retry", "1"],
        ["promote", "E1", "--yes"],
    ):
        assert "boneexp init" in study(*command, code=1).output
    assert not study.ledger.exists()


def test_numbers_that_do_not_exist_are_said(finished_study):
    before = tables(finished_study)
    assert "no run 99" in finished_study("show", "99", code=1).output
    assert "no run 99" in finished_study("cancel", "99", code=1).output
    assert "no run 99" in finished_study("run", "99", code=1).output
    assert "run 1 is succeeded" in finished_study("retry", "1", code=1).output
    assert "run 1 is succeeded" in finished_study("run", "1", code=1).output
    assert tables(finished_study) == before


def test_a_device_that_is_not_here_is_said(study):
    study("queue", "--only", "E1", "--split", "stratified")
    before = tables(study)
    assert (
        "--device banana: this machine has no such device"
        in study("run", "--next", "--device", "banana", code=1).output
    )
    assert tables(study) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "training.batch_szie=8"], "did you mean 'batch_size'?"),
        (["--only", "E9"], "the grid has no experiment 'E9'"),
        (["--split", "stratifed"], "did you mean 'stratified'?"),
        (["--grid", "none.toml"], "there is no grid file none.toml"),
        (["--set", "data.root=nowhere"], "nowhere"),
        (["--set", "model.pretrained=none.pt"], "none.pt cannot be read"),
        (["--set", "splits.group_column=patient"], "patient"),
        (
            ["--set", "model.backbone=resnet5O"],
            "experiments.E1: model.backbone: timm has no model 'resnet5O'",
        ),
        (["--set", "model.attn_layer=cbam"], "attn_layer = 'cbam'"),
        (["--set", "splits.center_holdout.test_centers=[9]"], "center_holdout"),
    ],
)
def test_what_cannot_be_queued_is_one_message_and_no_ledger(study, arguments, said):
    result = study("queue", *arguments, code=1)
    assert said in result.output
    assert "Traceback" not in result.output
    assert not study.ledger.exists()


def test_everything_wrong_with_the_data_comes_in_one_message_before_any_training(tmp_path, phantom):
    data = tmp_path / "data"
    shutil.copytree(phantom, data)
    study = new_study(tmp_path / "study", data)
    pictures = sorted((data / "images").iterdir())
    pictures[0].write_bytes(pictures[0].read_bytes()[:2000])
    pictures[1].unlink()
    pictures[2].write_text("no picture")
    text = (data / "dataset.csv").read_text().splitlines()
    header = text[0].split(",")
    cells = text[5].split(",")
    cells[header.index("center")] = "north"
    cells[header.index("benign")] = cells[header.index("malignant")] = "1"
    (data / "dataset.csv").write_text("\n".join([*text[:5], ",".join(cells), *text[6:]]) + "\n")
    output = study("queue", code=1).output
    for words in ("truncated", pictures[1].stem, "row 6", "center is 'north'", "benign and malignant"):
        assert words in output, output
    assert not study.ledger.exists()


def test_the_model_hub_out_of_reach_fails_the_run_with_three_ways_out(study):
    only = ("--only", "E1", "--split", "stratified")
    study("queue", *only, "--set", "model.backbone=efficientnet_b3", "--set", "model.pretrained=true")
    study("run", "--next", code=3)
    (row,) = study.json("status")
    assert all(way in row["failure"] for way in ("(1)", "(2)", "(3)"))


def test_cancel_and_retry_say_what_they_did(study):
    study("queue", "--only", "E1")
    assert study.json("cancel", "1") == [{"run": 1, "state": "cancelled"}]
    assert (
        "is cancelled, not queued; queue it again with: boneexp retry 1" in study("run", "1", code=1).output
    )
    assert study.json("retry", "1") == {"queued": [1]}
    assert study.json("status")[0]["state"] == "queued"


def test_queueing_other_settings_says_that_earlier_runs_still_wait(study):
    study("queue", "--only", "E1")
    result = study("queue", "--only", "E1", "--set", "training.epochs=3")
    assert "boneexp cancel 1 2" in result.output


def test_paths_can_come_from_the_environment(study, monkeypatch, tmp_path):
    monkeypatch.setenv("BONEEXP_LEDGER", str(tmp_path / "other.db"))
    monkeypatch.setenv("BONEEXP_ARTIFACTS", str(tmp_path / "other"))
    study("queue", "--only", "E1")
    assert (tmp_path / "other.db").is_file()
    assert (tmp_path / "other" / "splits").is_dir()
    assert not study.ledger.exists()


def test_queue_and_run_warn_of_a_ledger_on_a_network_file_system(study, monkeypatch):
    monkeypatch.setattr("boneexp.cli.queue.network_file_system", lambda _: "nfs4")
    only = ("--only", "E1", "--split", "stratified")
    warning = "ledger.db is on a network file system (nfs4)"
    assert warning in study("queue", *only).stderr
    assert warning not in study("queue", *only).stderr  # once, when the ledger is made
    assert warning in study("run", "--all", "--device", "banana", code=1).stderr
    assert warning not in study("status").stderr


def test_upgrade_of_a_current_ledger_does_nothing(finished_study):
    assert "up to date" in finished_study("upgrade").stdout


@pytest.mark.slow
def test_phantom_writes_a_dataset_and_refuses_a_folder_of_others(tmp_path):
    out = tmp_path / "phantom"
    assert (
        json.loads(run("data", "phantom", "--images", "12", "--out", str(out), "--json").stdout)["images"]
        == 12
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    into_mine = ("data", "phantom", "--images", "12", "--out", str(tmp_path / "mine"))
    refused = run(*into_mine)
    assert refused.exit_code == 2
    assert "mine is not empty" in refused.output
    assert "add --yes" in refused.output
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert run(*into_mine, "--yes").exit_code == 0
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "mine" / "PHANTOM.md").unlink()
    assert run(*into_mine, "--yes").exit_code == 1  # a dataset, and nobody knows whose


def test_queue_says_how_many_notes_the_data_have_the_first_ten_and_where_all_are():
    notes = tuple(f"oddity {number}" for number in range(12))
    dataset = replace(dataset_of([(label, 1, None, "") for label in range(3)]), notes=notes)
    made = Planned(None, Plan((), (("own data", dataset),), ()))
    lines = made.noted(Path("l.db")).splitlines()
    assert lines[0] == "Notes on the data: 12"
    assert lines[1:11] == [f"  own data: oddity {number}" for number in range(10)]
    assert lines[11].startswith("  and 2 more, once queued: sqlite3 l.db ")
    assert Planned(None, Plan((), (("own data", replace(dataset, notes=())),), ())).noted(Path("l.db")) == ""


def test_queue_prints_and_returns_what_is_odd_about_the_data(study, tmp_path):
    root = write_dataset(tmp_path / "set", "NBM" * 6)
    write_image(root / "images" / "IMG000099.jpeg", seed=99)
    asked = ("queue", "--set", f"data.root={root}", "--only", "E1", "--split", "stratified")
    note = "images that no row of the table names: 1 (IMG000099.jpeg)"
    assert note in study(*asked, "--dry-run").stderr
    (kept,) = study.json(*asked)["notes"]
    assert kept.endswith(note)
    with reading(study.ledger) as connection:
        query = "SELECT name || ': ' || value FROM datasets, json_each(notes_json)"
        assert [row[0] for row in connection.execute(query)] == [kept]


@pytest.mark.slow
def test_a_phantom_is_written_over_only_by_somebody_who_says_so(tmp_path, terminal):
    out = tmp_path / "phantom"
    command = ["data", "phantom", "--images", "12", "--out", str(out)]
    assert run(*command).exit_code == 0
    (out / "images" / "mine.jpeg").write_bytes(b"drawn by hand")
    assert CliRunner().invoke(app, command, input="n\n").exit_code == 1
    assert (out / "images" / "mine.jpeg").exists()
    assert CliRunner().invoke(app, command, input="y\n").exit_code == 0
    assert not (out / "images" / "mine.jpeg").exists()
