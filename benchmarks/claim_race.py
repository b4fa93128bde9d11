"""The claim race: 8 processes claim 200 runs, again and again, and no run may go to two of them or to none.

python benchmarks/claim_race.py --repetitions 20
"""

import argparse
import multiprocessing
import platform
import sys
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path

from boneexp.ledger.database import open_ledger, writing
from boneexp.ledger.datasets import DatasetFacts, record_dataset
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queue import Worker, claim_next
from boneexp.study.settings import ExperimentSettings, RunSpec, SplitSpec, StratifiedSettings

FACTS = DatasetFacts("f" * 64, "made up", "other", 3, {"1": {"Normal": 1, "Benign": 1, "Malignant": 1}}, ())


def race(ledger: Path, runs: int, processes: int) -> list[int]:
    """Queue the runs, let the processes claim them, and return every run id that was handed out."""
    with writing(open_ledger(ledger)) as connection:
        record_dataset(connection, FACTS, 0.0)
        enqueue(connection, [run_spec(seed) for seed in range(runs)], 0.0)
    context = multiprocessing.get_context("spawn")
    found, ready = context.Queue(), context.Barrier(processes)
    racers = [
        context.Process(target=_claim_all, args=(ledger, str(number), ready, found))
        for number in range(processes)
    ]
    for racer in racers:
        racer.start()
    taken = [run_id for _ in racers for run_id in found.get(timeout=300)]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0, "a process died of an error, such as a locked database"
    return taken


def _claim_all(ledger: Path, name: str, ready: object, found: "Queue[list[int]]") -> None:
    worker = Worker(name, "host", 1, "boot/pid", "7", "cpu", {})
    taken = []
    ready.wait()  # type: ignore[attr-defined]
    while True:
        with writing(ledger) as connection:
            claim = claim_next(connection, worker, time.time(), 600.0)
        if claim is None:
            break
        taken.append(claim.run_id)
    found.put(taken)


def run_spec(seed: int) -> RunSpec:
    """Return what to run; nobody runs it."""
    split = SplitSpec(name="stratified", seed=42, group_column="", settings=StratifiedSettings())
    return RunSpec(
        experiment="E1",
        settings=ExperimentSettings(),
        split=split,
        seed=seed,
        data_fingerprint=FACTS.fingerprint,
        split_digest="a" * 64,
    )


def main() -> None:
    """Race, and print what came of it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=20)
    chosen = parser.parse_args()
    twice = lost = 0
    with tempfile.TemporaryDirectory(prefix="boneexp-race-") as name:
        for number in range(chosen.repetitions):
            taken = race(Path(name) / f"{number}.db", chosen.runs, chosen.processes)
            twice += len(taken) - len(set(taken))
            lost += chosen.runs - len(set(taken))
    handed = chosen.runs * chosen.repetitions
    sys.stdout.write(
        f"- {platform.platform()}, Python {platform.python_version()}\n"
        f"- {chosen.processes} processes, {chosen.runs} runs, {chosen.repetitions} repetitions: {handed} "
        f"claims, {twice} handed out twice, {lost} lost, no lock error\n"
    )
    sys.exit(1 if twice or lost else 0)


if __name__ == "__main__":
    main()
