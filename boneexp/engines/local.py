"""Work through the queue on this machine: one worker here, or several processes side by side."""

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from boneexp.engines.attempt import StopFlag, Workplace, attempt
from boneexp.engines.lease import LEASE_S
from boneexp.engines.processes import free_dead_runs_here, this_worker
from boneexp.errors import BoneexpError
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim, claim_next
from boneexp.results import Failed, Finished, News


@dataclass
class Tally:
    """What a call to `run` came to."""

    succeeded: int = 0
    failed: int = 0
    stopped_by: str = ""

    def sentence(self) -> str:
        """Say it."""
        said = f"{self.succeeded} succeeded, {self.failed} failed"
        return f"{said}, stopped by {self.stopped_by}" if self.stopped_by else said


def run_local(
    place: Workplace, *, workers: int = 1, limit: int | None = None, run_id: int | None = None
) -> Tally:
    """Run what waits: all of it, at most `limit` runs, or just `run_id`.

    Raises:
        LedgerUnusable: the ledger cannot be used.
        DeviceUnavailable: this machine has no such device.
    """
    with _stop_on_signals(place.stop):
        if workers == 1:
            return _work(place, limit, run_id)
        return _work_side_by_side(place, workers)


def _work(place: Workplace, limit: int | None, run_id: int | None) -> Tally:
    from boneexp.learning.devices import resolved_device, software

    device = resolved_device(place.device)
    worker = this_worker(str(device), software(device))
    tally, wanted = Tally(), run_id
    while not place.stop.is_set() and (limit is None or tally.succeeded + tally.failed < limit):
        free_dead_runs_here(place.ledger, time.time())
        with writing(place.ledger) as connection:
            claim = claim_next(connection, worker, time.time(), LEASE_S, wanted)
        if claim is None and wanted != run_id:
            wanted = run_id  # the run with the halved batch went to another worker, or was cancelled
            continue
        if claim is None:
            break
        outcome = attempt(place, claim)
        wanted = _count(tally, claim, outcome, run_id)
        if isinstance(outcome, Failed) and outcome.kind == "disk":
            break  # every further run would fail of the same
    tally.stopped_by = place.stop.reason
    return tally


def _count(tally: Tally, claim: Claim, outcome: object, run_id: int | None) -> int | None:
    """Count a settled run; return which run to claim next: the same one after out-of-memory."""
    if isinstance(outcome, Failed) and outcome.kind == "oom" and claim.micro_batch > 1:
        return claim.run_id
    tally.succeeded += isinstance(outcome, Finished)
    tally.failed += isinstance(outcome, Failed)
    return run_id


def _work_side_by_side(place: Workplace, workers: int) -> Tally:
    """Run worker processes until each has found the queue empty; pass on what they tell."""
    context = multiprocessing.get_context("spawn")
    line = _Line(context.Queue(), context.Event())
    threads = max(1, (os.cpu_count() or workers) // workers)
    arguments = (str(place.ledger), str(place.artifacts), place.device, threads, line)
    processes = [context.Process(target=_worker_process, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    tally, problems = Tally(), []
    while any(process.is_alive() for process in processes) or not line.news.empty():
        if place.stop.is_set():
            line.stop.set()
        said = _next(line.news)
        if isinstance(said, News):
            place.announce(said)
        elif isinstance(said, Tally):
            tally = Tally(tally.succeeded + said.succeeded, tally.failed + said.failed)
        elif isinstance(said, BoneexpError):
            problems.append(said)
    tally.stopped_by = place.stop.reason
    return _or_problem(tally, problems, [process.exitcode for process in processes if process.exitcode])


def _or_problem(tally: Tally, problems: list[BoneexpError], died: list[int]) -> Tally:
    if died:
        codes = ", ".join(map(str, died))
        raise BoneexpError(
            f"{len(died)} worker process(es) died (exit code {codes}; {tally.sentence()} in the others); "
            "their runs go on from their last checkpoints with: boneexp run --all"
        )
    if problems and not tally.succeeded + tally.failed:
        raise problems[0]
    return tally


def _worker_process(ledger: str, artifacts: str, device: str, threads: int, line: "_Line") -> None:
    """One worker of several; the parent alone listens to the terminal."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    flag = _SharedFlag(line.stop)
    place = Workplace(Path(ledger), Path(artifacts), device, line.news.put, flag)
    try:
        line.news.put(_work(place, None, None))
    except BoneexpError as error:
        line.news.put(error)
    if flag.orphaned():
        line.news.cancel_join_thread()  # nobody reads any more


@dataclass(frozen=True)
class _Line:
    """Between parent and workers: news one way, the word to stop the other."""

    news: Any
    stop: Any


class _SharedFlag(StopFlag):
    """The stop flag of a worker process, set by its parent."""

    def __init__(self, event: Any) -> None:
        super().__init__()
        self._event = event
        self._parent = os.getppid()

    def orphaned(self) -> bool:
        """Tell whether the parent is gone, killed so that it could not say stop."""
        return os.getppid() != self._parent

    def is_set(self) -> bool:
        """Tell whether the parent said stop, or is no more."""
        if self._event.is_set():
            self.set("the parent's word")
        elif self.orphaned():
            self.set("the death of the parent process")
        return super().is_set()


def _next(news: Any) -> object:
    try:
        return news.get(timeout=0.2)
    except queue.Empty:
        return None


@contextmanager
def _stop_on_signals(stop: StopFlag) -> Iterator[None]:
    """Ctrl-C once and SIGTERM ask for an orderly end; Ctrl-C twice ends at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        stop.set(signal.Signals(number).name)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
