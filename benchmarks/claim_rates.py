"""Claims per second: processes that race for the same runs, through boneexp and with sqlite3 alone."""

import multiprocessing
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from claim_race import FACTS, run_spec

from boneexp.ledger.database import open_ledger, writing
from boneexp.ledger.datasets import record_dataset
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queue import Worker, claim_next
from boneexp.ledger.transaction import close_idle

RAW_CLAIM = """UPDATE runs SET state = 'running', attempt = attempt + 1, lease_until = ?
               WHERE id = (SELECT id FROM runs WHERE state = 'queued' ORDER BY id LIMIT 1)
               RETURNING id, attempt, spec_json, folder, micro_batch"""
Raced = tuple[list[int], float, float]  # the runs that one process has taken, when it began, when it ended


def rates(folder: Path, runs: int, processes: int, times: int) -> tuple[float, float]:
    """Return claims per second of boneexp and of sqlite3 alone, medians of races held in turn.

    Raises:
        RuntimeError: a run was handed out twice, or to nobody.
    """
    ledger, bare = _queued(folder / "claims.db", runs), _bare(folder)
    races = []
    for number in range(times + 1):  # the first is not counted
        races.append((_claim, shutil.copyfile(ledger, folder / f"claims-{number}.db")))
        races.append((_claim_raw, shutil.copyfile(bare, folder / f"bare-{number}.db")))
    context = multiprocessing.get_context("spawn")
    found, barrier = context.Queue(), context.Barrier(processes)
    racers = [context.Process(target=_race, args=(races, barrier, found)) for _ in range(processes)]
    for racer in racers:
        racer.start()
    of_each = [found.get(timeout=600) for _ in racers]
    for racer in racers:
        racer.join()
    taken = [_rate([raced[number] for raced in of_each], runs) for number in range(len(races))]
    return statistics.median(taken[2::2]), statistics.median(taken[3::2])


def _queued(path: Path, runs: int) -> Path:
    with writing(open_ledger(path)) as connection:
        record_dataset(connection, FACTS, 0.0)
        enqueue(connection, [run_spec(seed) for seed in range(runs)], 0.0)
    close_idle()  # so that all of it lies in the file that is copied
    return path


def _bare(folder: Path) -> Path:
    """Make a table with the same rows, with an index for the claim and nothing else."""
    path = folder / "bare.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("ATTACH ? AS ledger", (str(folder / "claims.db"),))
        (made,) = bare.execute("SELECT sql FROM ledger.sqlite_master WHERE name = 'runs'").fetchone()
        bare.execute(made)
        bare.execute("INSERT INTO runs SELECT * FROM ledger.runs")
        bare.execute("CREATE INDEX by_state ON runs (state)")
    return path


def _race(races: list[tuple[Callable[[Path], Any], Path]], barrier: Any, found: "Queue[list[Raced]]") -> None:
    """Take part in every race; each begins when all are there."""
    raced = []
    for begin, path in races:
        claim = begin(path)
        taken = []
        barrier.wait()
        began = time.perf_counter()
        while (run_id := claim()) is not None:
            taken.append(run_id)
        raced.append((taken, began, time.perf_counter()))
    found.put(raced)


def _claim(path: Path) -> Callable[[], int | None]:
    worker = Worker("worker", "host", 1, "boot/pid", "7", "cpu", {})

    def claim() -> int | None:
        with writing(path) as connection:
            claimed = claim_next(connection, worker, time.time(), 600.0)
        return None if claimed is None else claimed.run_id

    return claim


def _claim_raw(path: Path) -> Callable[[], int | None]:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")

    def claim() -> int | None:
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute(RAW_CLAIM, (time.time() + 600.0,)).fetchone()
        connection.execute("COMMIT")
        return None if row is None else row[0]

    return claim


def _rate(raced: list[Raced], runs: int) -> float:
    taken = [run_id for each, _, _ in raced for run_id in each]
    twice, lost = len(taken) - len(set(taken)), runs - len(set(taken))
    if twice or lost:
        raise RuntimeError(f"{twice} runs were handed out twice, {lost} to nobody")
    return runs / (max(ended for *_, ended in raced) - min(began for _, began, _ in raced))
