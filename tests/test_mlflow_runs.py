"""Runs in MLflow: a real store on the disk, read back through MLflow's own client, number by number."""

import json
import os
import shutil
import socket
import sqlite3
import sys
from pathlib import Path

import pytest
from conftest import Study
from full_ledger import full_ledger
from settled_ledger import settled_ledger

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before MLflow is imported by anybody
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

from boneexp.exports import mlflow_record, mlflow_runs
from boneexp.ledger.database import writing
from boneexp.ledger.queue import retry


def client_of(folder):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def empty_store(made_once):
    """An MLflow database without runs: to make one takes MLflow seconds."""
    return made_once("mlflow", lambda folder: client_of(folder).search_experiments())


@pytest.fixture
def store(tmp_path, empty_store):
    return shutil.copytree(empty_store, tmp_path / "store")


def runs_in(folder):
    """Return the runs of every experiment, by the number that they have in the ledger."""
    client = client_of(folder)
    experiments = [each.experiment_id for each in client.search_experiments()]
    return {int(run.data.tags["boneexp.run"]): run for run in client.search_runs(experiments)}


def rows(study, query, *values):
    with sqlite3.connect(study.ledger) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, finished_study, empty_store):
    """A study that was really run, its store, and what the command said; no connection was made."""
    folder = shutil.copytree(empty_store, tmp_path_factory.mktemp("exported") / "store")

    def refused(*_):
        raise AssertionError("the network was asked")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        said = finished_study.json("export", "--mlflow", str(folder))
    return finished_study, folder, said


def test_every_run_is_there_with_its_times_state_and_tags(exported):
    study, folder, said = exported
    assert said == {"store": str(folder), "new": 4, "replaced": 0, "completed": 0, "unchanged": 0}
    found = runs_in(folder)
    for row in rows(study, "SELECT s.*, e.data_fingerprint FROM run_status s JOIN runs r ON r.id = s.run"
                           " JOIN experiments e ON e.id = r.experiment_ref"):  # fmt: skip
        run = found[row["run"]]
        assert (run.info.status, run.info.start_time) == ("FINISHED", round(row["started_at"] * 1000))
        assert run.info.end_time == round(row["settled_at"] * 1000)
        assert run.info.run_name == f"{row['experiment']} {row['name']}, {row['split']}, seed 42"
        assert run.data.tags["boneexp.note"] == "Research use only, not for clinical use."
        assert "synthetic phantom" in run.data.tags["boneexp.data_warning"]
        assert run.data.tags["boneexp.config_hash"] == row["config_hash"]
        assert run.data.tags["boneexp.state"] == "succeeded"
        assert "boneexp.failure" not in run.data.tags
        experiment = client_of(folder).get_experiment(run.info.experiment_id)
        assert experiment.name == f"boneexp phantom {row['data_fingerprint'][:12]}"
        assert experiment.tags["boneexp.data_fingerprint"] == row["data_fingerprint"]


def test_parameters_are_the_settings_flat_and_without_the_place_of_the_data(exported):
    study, folder, _ = exported
    run = runs_in(folder)[1]
    spec = study.json("show", "1")["spec"]
    expected = {
        "experiment": spec["experiment"],
        "seed": "42",
        "split.name": spec["split"]["name"],
        "config_hash": study.json("show", "1")["config_hash"],
        "split_digest": spec["split_digest"],
        "training.learning_rate": "0.001",
        "model.pretrained": "False",
        "data.image_size": "48",
        "evaluation.resamples": "200",
    }
    assert {key: run.data.params[key] for key in expected} == expected
    settings = [f"{section}.{key}" for section in ("data", "model", "training", "evaluation")
                for key in spec["settings"][section]]  # fmt: skip
    assert set(settings) - set(run.data.params) == {"data.root"}


def test_every_number_of_every_run_comes_back_as_it_is_in_the_ledger(exported):
    study, folder, _ = exported
    client = client_of(folder)
    compared, epochs = 0, "SELECT * FROM epoch_history WHERE run = ? ORDER BY epoch"
    for run_id, run in runs_in(folder).items():
        for name in mlflow_record.EPOCH_METRICS:
            wanted = [(row["epoch"], row[name], round(row["ended_at"] * 1000))
                      for row in rows(study, epochs, run_id)
                      if row[name] is not None]  # fmt: skip
            history = client.get_metric_history(run.info.run_id, name)
            assert sorted((each.step, each.value, each.timestamp) for each in history) == wanted
            compared += len(wanted)
        stored = {}
        for row in rows(study, "SELECT * FROM metrics WHERE run_id = ?", run_id):
            name = "/".join(filter(None, [row["part"], row["class_name"], row["metric"]]))
            stored |= {name: row["value"], f"{name}/low": row["low"], f"{name}/high": row["high"]}
        stored = {name: value for name, value in stored.items() if value is not None}
        assert {name: value for name, value in run.data.metrics.items() if "/" in name} == stored
        compared += len(stored)
    assert compared > 500


def test_files_are_artifacts_byte_for_byte_and_checkpoints_are_not_among_them(exported):
    study, folder, _ = exported
    client = client_of(folder)
    run = runs_in(folder)[1]
    recorded = {
        row["path"].rsplit("/", 1)[1]: row for row in rows(study, "SELECT * FROM files WHERE run_id = 1")
    }
    there = {each.path: each.file_size for each in client.list_artifacts(run.info.run_id)}
    assert there == {name: row["size_bytes"] for name, row in recorded.items() if not name.endswith(".pt")}
    assert {"config.json", "metrics_summary.json", "roc_curves.png"} <= set(there)
    copy = client.download_artifacts(run.info.run_id, "metrics_summary.json")
    own = study.artifacts / recorded["metrics_summary.json"]["path"]
    assert Path(copy).read_bytes() == own.read_bytes()


def test_exporting_again_doubles_nothing_and_adds_checkpoints_when_they_are_wanted(exported, tmp_path):
    study, first, _ = exported
    folder = shutil.copytree(first, tmp_path / "store")
    assert study("export", "--mlflow", str(folder)).stdout == (
        f"0 runs new, 0 written again, 4 there already, in {folder}\n"
    )
    done = study.json("export", "--mlflow", str(folder), "--with-checkpoints")
    assert (done["completed"], done["unchanged"]) == (4, 0)
    done = study.json("export", "--mlflow", str(folder), "--with-checkpoints")
    assert (done["completed"], done["unchanged"]) == (0, 4)
    found = runs_in(folder)
    assert len(found) == 4
    names = {each.path for each in client_of(folder).list_artifacts(found[1].info.run_id)}
    assert {name for name in names if name.endswith(".pt")} == {"best.pt"}


def test_failed_and_cancelled_runs_say_so_and_what_waits_is_not_there(tmp_path, store):
    study = Study(tmp_path)
    full_ledger(study.ledger)
    study("export", "--mlflow", str(store))
    found = runs_in(store)
    assert {run_id: run.info.status for run_id, run in found.items()} == {
        **dict.fromkeys((1, 2, 3, 4), "FINISHED"),
        5: "FAILED",
        6: "KILLED",
    }
    tags = found[5].data.tags
    assert (tags["boneexp.failure_kind"], tags["boneexp.failure"]) == ("error", "ZeroDivisionError: Ü")
    assert [
        each.step for each in client_of(store).get_metric_history(found[5].info.run_id, "train_loss")
    ] == [1, 2]


def test_a_run_that_was_settled_anew_or_whose_export_was_cut_short_is_written_again(
    tmp_path, store, monkeypatch
):
    study = Study(tmp_path)
    full_ledger(study.ledger)
    monkeypatch.setattr(mlflow_runs._Store, "_log", stopping)
    assert "power cut" in study("export", "--mlflow", str(store), code=1).output
    assert [run.info.status for run in runs_in(store).values()] == ["RUNNING"]
    monkeypatch.undo()
    assert study.json("export", "--mlflow", str(store))["replaced"] == 1
    with writing(study.ledger) as connection:
        retry(connection, 6, 2e9)
    study("cancel", "6")
    done = study.json("export", "--mlflow", str(store))
    assert (done["new"], done["replaced"], done["unchanged"]) == (0, 1, 5)
    assert len(runs_in(store)) == 6


def stopping(*_):
    raise RuntimeError("power cut")


def test_a_run_of_earlier_settings_is_marked_when_it_is_exported_again(tmp_path, store):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    study("export", "--mlflow", str(store))
    assert runs_in(store)[1].data.tags["boneexp.current"] == "yes"
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",), settle=False,
                   designs={"E1": {"training": {"epochs": 7}}})  # fmt: skip
    assert study.json("export", "--mlflow", str(store))["unchanged"] == 1
    assert runs_in(store)[1].data.tags["boneexp.current"] == "no"


@pytest.mark.parametrize("scheme", ["http", "postgresql", "nonsense"])
def test_a_store_that_cannot_be_had_is_one_sentence_without_its_password(tmp_path, scheme):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    target = f"{scheme}://somebody:s3cr3t%21@127.0.0.1:1/x?token=t0ken"
    result = study("export", "--mlflow", target, code=1)
    assert f"Error: MLflow at {scheme}://127.0.0.1:1/x did not take it: " in result.output
    for secret in ("somebody", "s3cr3t", "t0ken"):
        assert secret not in result.output
    assert "Traceback" not in result.output


def test_a_file_store_is_refused_in_mlflows_own_words(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    assert "maintenance mode" in study("export", "--mlflow", f"file://{tmp_path}/mlruns", code=1).output


def test_without_mlflow_the_command_that_installs_it_is_said(tmp_path, monkeypatch):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    for name in [name for name in sys.modules if name.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    result = study("export", "--mlflow", "store", code=1)
    assert "MLflow is not installed" in result.output
    assert "pip install mlflow-skinny" in result.output
    assert not (tmp_path / "store").exists()


def test_what_cannot_be_exported_is_said_in_a_sentence(tmp_path, exported, store):
    study = Study(tmp_path / "study")
    study.folder.mkdir()
    assert "there is no ledger" in study("export", "--mlflow", "store", code=1).output
    settled_ledger(study.ledger, settle=False)
    assert "no run is settled yet" in study("export", "--mlflow", "store", code=4).output
    both = study("export", "--mlflow", "x", "--bundle", "y", code=2).output
    assert "--bundle and --mlflow contradict each other; give only one" in both
    (study.folder / "file").write_text("x")
    settled_ledger(study.folder / "other.db", experiments=("E1",))
    result = study("export", "--mlflow", "file/store", "--ledger", "other.db", code=1)
    assert "MLflow at file/store did not take it" in result.output
    changed = Study(shutil.copytree(exported[0].folder, tmp_path / "changed"))
    (changed.artifacts / "experiments/E1/stratified/config.json").write_text(json.dumps({}))
    assert "is gone or not what was recorded" in changed("export", "--mlflow", str(store), code=7).output
    (changed.artifacts / "experiments").rename(tmp_path / "elsewhere")
    (changed.artifacts / "experiments").symlink_to(tmp_path / "elsewhere")
    assert "is a symbolic link" in changed("export", "--mlflow", str(store), code=7).output
