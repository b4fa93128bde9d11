"""How fast the ledger is: claims, epochs and whole runs beside raw SQLite and peers; reading many runs.

    python benchmarks/ledger_speed.py [--full]

All write at synchronous FULL: what has been answered is on the disk. MLflow and Optuna are what they are by
default on an SQLite file, which is FULL, too.
"""

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from claim_race import FACTS, run_spec
from claim_rates import rates
from ledger_peers import mlflow_lives, mlflow_of, optuna_trial
from many_runs import ledger_of
from measuring import Call, Goal, Row, in_turn, installed, process, run_script

from boneexp.cli.status import MOST_RUNS, status_table
from boneexp.comparison.compare import compare_as_asked
from boneexp.comparison.requests import Request
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.datasets import record_dataset
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queries.comparison import leaderboard_rows
from boneexp.ledger.queries.runs import run_rows, state_counts, status_rows
from boneexp.ledger.queue import Claim, Worker, claim_next
from boneexp.ledger.settling import finish, keep_epoch
from boneexp.results import EpochRecord, Finished, MetricValue, WrittenFile

WORKER = Worker("worker", "host", 1, "boot/pid", "7", "cpu", {})
PROCESSES = 8
COMPARED = 10_000
FIGURES = ("train_loss", "val_loss", "val_accuracy", "val_macro_auroc", "learning_rate")  # of an epoch
RAW_EPOCH = "INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def measured(full: bool) -> list[Row]:
    """Measure writing, then reading."""
    with tempfile.TemporaryDirectory(prefix="boneexp-ledger-") as home:
        folder = Path(home)
        sizes = (8, 1_000, COMPARED, 100_000) if full else (8, 1_000, COMPARED)
        return [
            _claims(folder, full),
            _epochs(folder, full),
            *_lives(folder, full),
            *_sizes(folder, sizes),
            *_beside_mlflow(folder, COMPARED if full else 2_000),
        ]


def _claims(folder: Path, full: bool) -> Row:
    """Let eight processes claim all runs of a ledger, and of a bare table with the same rows, in turn."""
    runs, times = (2_000, 7) if full else (600, 3)
    ours, raw = rates(folder, runs, PROCESSES, times)
    return Row(
        f"claims, {PROCESSES} processes",
        ours,
        "claims/s",
        "BEGIN IMMEDIATE, UPDATE … RETURNING, COMMIT",
        raw,
        Goal(at_least=0.4),
        f"median of {times} times {runs:,} runs: none handed out twice, none lost",
    )


def _epochs(folder: Path, full: bool) -> Row:
    """Keep epochs as the engine does, and insert the same rows with sqlite3 alone into another ledger."""
    ledger, other = (_ledger(folder / f"{name}.db") for name in ("epochs", "raw_epochs"))
    claim = _claimed(ledger, seed=0)
    _claimed(other, seed=0)
    with closing(sqlite3.connect(other, isolation_level=None)) as raw:
        raw.execute("PRAGMA synchronous = FULL")
        epochs = {"boneexp": count(), "raw": count()}

        def insert() -> None:
            record = _epoch(next(epochs["raw"]))
            raw.execute("BEGIN IMMEDIATE")
            raw.execute(RAW_EPOCH, (1, record.epoch, 1, *list(vars(record).values())[1:], time.time()))
            raw.execute("COMMIT")

        calls = {"boneexp": lambda: _keep(ledger, claim, next(epochs["boneexp"])), "raw": insert}
        seconds = in_turn(calls, 2_000 if full else 500)
    return Row(
        "epochs, all figures in one transaction",
        1 / seconds["boneexp"],
        "epochs/s",
        "BEGIN IMMEDIATE, INSERT of the row, COMMIT",
        1 / seconds["raw"],
        Goal(at_least=0.4),
    )


def _lives(folder: Path, full: bool) -> Iterator[Row]:
    """Let runs be created, logged and finished by each of the three, in turn."""
    ledger = _ledger(folder / "lives.db")
    seeds = count()
    calls: dict[str, Call] = {
        "2 epochs": lambda: _life(ledger, next(seeds), epochs=2),
        "10 epochs": lambda: _life(ledger, next(seeds), epochs=10),
    }
    no_mlflow, no_optuna = installed("mlflow-skinny"), installed("optuna")
    if not no_mlflow:
        calls |= mlflow_lives(folder / "lives_mlflow.db", FIGURES)
    if not no_optuna:
        calls["Optuna"] = optuna_trial(folder / "lives_optuna.db")
    rates = {name: 1 / seconds for name, seconds in in_turn(calls, 60 if full else 15).items()}
    of_2, of_10 = (f"a run's life: queued, claimed, {n} epochs of five figures, settled" for n in (2, 10))
    for what, epochs, peer, how, goal, why in (
        (
            of_2,
            "2 epochs",
            "MLflow",
            "create_run, 10 log_metric, set_terminated",
            Goal(at_least=8),
            no_mlflow,
        ),
        (of_2, "2 epochs", "MLflow, 2 epochs", "the ten in 2 log_batch", None, no_mlflow),
        (of_10, "10 epochs", "MLflow, 10 epochs", "10 log_batch of five", None, no_mlflow),
        (of_10, "10 epochs", "Optuna", "a trial with 10 reports of one value", None, no_optuna),
    ):
        against = f"{peer.partition(',')[0]}: {how}"
        yield Row(what, rates[epochs], "runs/s", against, rates.get(peer), goal, why)


def _sizes(folder: Path, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Read ledgers of growing size, as each command does after its imports."""
    before: dict[str, float] = {}
    smaller = 0
    for runs in sizes:
        ledger = ledger_of(folder / f"{runs}.db", runs)
        seconds = in_turn(_readers(ledger), 3 if runs > COMPARED else 5)
        for name, value in seconds.items():
            slope = (value - before[name]) / (runs - smaller) if before else 0.0
            yield Row(
                f"{name}, {runs:,} runs of 80 epochs",
                1_000 * value,
                "ms",
                f"{smaller:,} runs" if before else "",
                1_000 * before[name] if before else None,
                Goal("figure", at_most=300) if (name, runs) == ("compare", COMPARED) else None,
                f"{1e6 * slope:.2g} µs for each further run" if before else "",
            )
        before, smaller = seconds, runs


def _readers(ledger: Path) -> dict[str, Call]:
    return {
        "status": lambda: _status(ledger),
        "status --json": lambda: _read(ledger, run_rows),
        "leaderboard": lambda: _read(ledger, leaderboard_rows),
        "compare": lambda: _read(ledger, lambda connection: compare_as_asked(connection, Request())),
    }


def _beside_mlflow(folder: Path, runs: int) -> Iterator[Row]:
    """Compare the finished runs, beside a search of as many in MLflow; then the whole command."""
    ledger = folder / f"{COMPARED}.db"
    same = ledger if runs == COMPARED else ledger_of(folder / f"{runs}.db", runs)
    calls = {"boneexp": _readers(same)["compare"]}
    missing = installed("mlflow-skinny")
    if not missing:
        calls["MLflow"] = mlflow_of(folder / "many_mlflow.db", runs)
    ms = {name: 1_000 * value for name, value in in_turn(calls, 3).items()}
    search = f"mlflow.search_runs, {runs:,} runs with 28 metrics each"
    goal = Goal(at_most=1 / 50)
    yield Row(f"compare, {runs:,} runs", ms["boneexp"], "ms", search, ms.get("MLflow"), goal, missing)
    boneexp = str(Path(sys.executable).with_name("boneexp"))
    artifacts = str(folder / "artifacts")
    command = process(boneexp, "compare", "--ledger", str(ledger), "--artifacts", artifacts)
    whole = in_turn({"compare": command, "pass": process(sys.executable, "-c", "pass")}, 3)
    yield Row(
        f"boneexp compare, {COMPARED:,} runs, the whole command",
        1_000 * whole["compare"],
        "ms",
        "python -c pass",
        1_000 * whole["pass"],
        note="with its table of 1,000 experiments, comparison.csv and .json",
    )


def _ledger(path: Path) -> Path:
    with writing(open_ledger(path)) as connection:
        record_dataset(connection, FACTS, time.time())
    return path


def _claimed(ledger: Path, seed: int) -> Claim:
    """Queue one run, and claim it: two transactions."""
    with writing(ledger) as connection:
        enqueue(connection, [run_spec(seed)], time.time())
    with writing(ledger) as connection:
        claim = claim_next(connection, WORKER, time.time(), 600.0)
    assert claim is not None
    return claim


def _keep(ledger: Path, claim: Claim, number: int) -> None:
    with writing(ledger) as connection:
        assert keep_epoch(connection, claim, _epoch(number), time.time())


def _life(ledger: Path, seed: int, epochs: int) -> None:
    """Let one run be queued, claimed, trained and finished: 3 transactions and one per epoch."""
    claim = _claimed(ledger, seed)
    for number in range(epochs):
        _keep(ledger, claim, number)
    values = tuple(MetricValue(name, "", 0.5, 0.4, 0.6) for name in ("accuracy", "macro_auroc"))
    best = WrittenFile("best checkpoint", f"{claim.folder}/best.pt", "c" * 64, 16_000_000)
    with writing(ledger) as connection:
        assert finish(connection, claim, Finished(0, {"test": values}, (), (best,)), time.time())


def _epoch(number: int) -> EpochRecord:
    return EpochRecord(number, 1 / (number + 2), 1 / (number + 3), 0.5, 0.75, 3e-4, 61.5)


def _status(ledger: Path) -> None:
    with reading(ledger) as connection:
        rows = status_rows(connection, MOST_RUNS)
        counts = state_counts(connection)
    status_table(rows, time.time(), sum(counts.values()))


def _read(ledger: Path, rows: Callable[[sqlite3.Connection], object]) -> None:
    with reading(ledger) as connection:
        rows(connection)


if __name__ == "__main__":
    run_script("The ledger", __doc__, measured)
