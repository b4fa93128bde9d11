"""What MLflow and Optuna do of what a ledger does, on an SQLite file each; imported where they are there."""

import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from measuring import Call

from boneexp.ledger.summaries import SUMMARY_COLUMNS

PARAMETERS = (
    "backbone",
    "image_size",
    "batch_size",
    "annotations",
    "split",
    "seed",
    "learning_rate",
    "epochs",
)
TAGS = ("mlflow.runName", "config_hash", "split_digest")
NUMBERS = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {runs})"
RUNS = f"""{NUMBERS}
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,
                  end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)
SELECT printf('%032x', n), 'run ' || n, 'UNKNOWN', '', '', 'user', 'FINISHED', 1760000000000 + n,
       1760000001000 + n, '', 'active', 'file:///nowhere', ? FROM number"""
METRICS = f"""{NUMBERS} INSERT INTO {{table}} (run_uuid, key, value, timestamp, step, is_nan)
SELECT printf('%032x', n), ?, n * 1e-7, 1760000000000, 0, 0 FROM number"""
WORDS = f"""{NUMBERS} INSERT INTO {{table}} (run_uuid, key, value)
SELECT printf('%032x', n), ?, 'value ' || n FROM number"""


def mlflow_lives(path: Path, figures: Sequence[str]) -> dict[str, Call]:
    """Return lives of a run in MLflow: its ten metrics one by one, as two epochs, and ten epochs of five."""
    client, experiment = _mlflow(path)
    from mlflow.entities import Metric

    def life(log: Callable[[str], None]) -> Call:
        def call() -> None:
            run = client.create_run(experiment).info.run_id
            log(run)
            client.set_terminated(run)

        return call

    def one_by_one(run: str) -> None:
        for step in range(10 // len(figures)):
            for figure in figures:
                client.log_metric(run, figure, 0.5, step=step)

    def by_epoch(run: str, epochs: int) -> None:
        for step in range(epochs):
            client.log_batch(run, metrics=[Metric(figure, 0.5, 0, step) for figure in figures])

    return {
        "MLflow": life(one_by_one),
        "MLflow, 2 epochs": life(partial(by_epoch, epochs=2)),
        "MLflow, 10 epochs": life(partial(by_epoch, epochs=10)),
    }


def mlflow_of(path: Path, runs: int) -> Call:
    """Fill a store with so many finished runs by SQL; return a search of them all, as plain objects.

    A run has the 28 metrics that `boneexp compare` reads of it, parameters and tags, and no history, which a
    search does not read. Without pandas a search is faster.
    """
    _, experiment = _mlflow(path)
    import mlflow

    metrics = [f"{part}_{figure}" for part in ("val", "test") for figure, *_ in SUMMARY_COLUMNS]
    with closing(sqlite3.connect(path)) as store:
        store.execute(RUNS.format(runs=runs), (experiment,))
        for key in metrics:
            store.execute(METRICS.format(table="metrics", runs=runs), (key,))
            store.execute(METRICS.format(table="latest_metrics", runs=runs), (key,))
        for table, keys in {"params": PARAMETERS, "tags": TAGS}.items():
            for key in keys:
                store.execute(WORDS.format(table=table, runs=runs), (key,))
        store.commit()

    def search() -> None:
        found = mlflow.search_runs([experiment], output_format="list", max_results=runs)
        assert len(found) == runs and len(found[0].data.metrics) == len(metrics)

    return search


def optuna_trial(path: Path) -> Call:
    """Return a trial in Optuna that reports ten intermediate values."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{path}", direction="maximize")

    def objective(trial: "optuna.Trial") -> float:
        for step in range(10):
            trial.report(0.5, step)
        return 0.5

    return lambda: study.optimize(objective, n_trials=1)


def _mlflow(path: Path) -> tuple["mlflow.MlflowClient", str]:  # type: ignore[name-defined]  # noqa: F821
    """Return a client of a new store, and its experiment."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    logging.disable(logging.INFO)
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{path}")
    client = mlflow.MlflowClient()
    return client, client.create_experiment("bench", artifact_location=f"{path.parent.as_uri()}/artifacts")
