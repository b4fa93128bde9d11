"""Work through the queue on this machine: one worker or several side by side, each attempt in a child."""

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from boneexp.errors import DiskTooSmall
from boneexp.experiment.readiness import SMALL_FILES_BYTES, Readiness, Waiting, readiness
from boneexp.files.folders import RunFolder
from boneexp.ledger.database import reading, writing
from boneexp.ledger.places import claimed_at
from boneexp.ledger.queries.experiments import waiting_settings
from boneexp.ledger.queries.files import finished_folders
from boneexp.ledger.queue import Worker, claim_next
from boneexp.ledger.statements import record
from boneexp.results import Failed, Killed, News
from boneexp.runs.attempt import attempt
from boneexp.runs.children.process import answer
from boneexp.runs.context import TICK_S, Settled, StopFlag, WorkerContext
from boneexp.runs.processes import free_dead_runs_here, this_worker

AGAIN = "boneexp run --all"


@dataclass
class Tally:
    """How the runs of one call to `run` ended."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    stopped_by: str = ""

    def sentence(self) -> str:
        """Return it in words."""
        counts = f"{self.succeeded} succeeded, {self.failed} failed"
        if self.cancelled:
            counts = f"{counts}, {self.cancelled} cancelled"
        return f"{counts}, stopped by {self.stopped_by}" if self.stopped_by else counts


@dataclass(frozen=True)
class _Crew:
    """What the workers of one call share: who they are, what they count, and how many runs may begin."""

    worker: Worker
    ready: Readiness
    tally: Tally
    run_id: int | None
    limit: int | None
    problems: list[Exception] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def run_local(
    context: WorkerContext, *, workers: int = 1, limit: int | None = None, run_id: int | None = None
) -> Tally:
    """Run what waits: all of it, at most `limit` runs, or just `run_id`.

    Raises:
        LedgerUnusable: the ledger cannot be used.
        DeviceUnavailable: this machine has no such device.
        DiskTooSmall: the next run would not fit on the disk.
    """
    if workers > 1:
        context = replace(context, threads=max(1, (os.cpu_count() or workers) // workers))
    with stop_on_signals(context.stop):
        ready = look_ahead(context, _waiting(context.ledger), AGAIN)
        _say_when_tight(context, ready)
        _clear_settled(context)
        crew = _Crew(this_worker(ready.device, ready.versions), ready, Tally(), run_id, limit)
        threads = [
            threading.Thread(target=_work, args=(context, crew, number), daemon=True)
            for number in range(1, workers + 1)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(TICK_S)
            if context.stop.is_at_once():  # a worker may wait for a child that is frozen
                for child in multiprocessing.active_children():
                    child.kill()
    crew.tally.stopped_by = context.stop.reason
    if crew.problems:
        raise crew.problems[0]
    return crew.tally


def look_ahead(context: WorkerContext, waiting: tuple[Waiting, ...], command: str) -> Readiness:
    """Check device and networks in a child, so that no GPU is held and no torch loaded here.

    Raises:
        DeviceUnavailable: this machine has no such device.
        DiskTooSmall: the next run would not fit on the disk; `command` is the one to try then.
    """
    arguments = (context.computing, waiting, context.artifacts.resolve())
    ready: Readiness = answer(readiness, *arguments, threads=context.threads)
    _check_room(context, ready, command)
    return ready


def _waiting(ledger: Path) -> tuple[Waiting, ...]:
    with reading(ledger) as connection:
        return tuple(Waiting(**record(row)) for row in waiting_settings(connection))


def _check_room(context: WorkerContext, ready: Readiness, command: str) -> None:
    """Raise DiskTooSmall, before anything is begun, unless the next run fits on the disk."""
    for path, needed in ((context.artifacts, ready.next_bytes), (context.ledger.parent, SMALL_FILES_BYTES)):
        free = _free_bytes(path)
        if free < needed:
            raise DiskTooSmall(
                f"the next run needs about {_megabytes(needed)} under {path}, and {_megabytes(free)} are "
                f"free; free some, or move the folder and name it with --artifacts; then: {command}"
            )


def _say_when_tight(context: WorkerContext, ready: Readiness) -> None:
    free = _free_bytes(context.artifacts)
    if free < ready.all_bytes:
        text = (
            f"all runs that wait need about {_megabytes(ready.all_bytes)} under {context.artifacts}, and "
            f"{_megabytes(free)} are free; the queue will stop when the next run does not fit"
        )
        context.announce(News(0, "", "note", text))


def _free_bytes(path: Path) -> int:
    """Return the free space of the disk on which `path` lies, or will lie."""
    there = next(folder for folder in [path.resolve(), *path.resolve().parents] if folder.exists())
    return shutil.disk_usage(there).free


def _megabytes(count: int) -> str:
    return f"{max(count, 0) / 1e6:,.0f} MB"


def _clear_settled(context: WorkerContext) -> None:
    """Remove what is left of attempts whose worker was killed between settling and tidying up."""
    with reading(context.ledger) as connection:
        settled = finished_folders(connection)
    for folder in settled:
        for left in RunFolder(context.artifacts, folder).earlier():
            left.drop()


def _work(context: WorkerContext, crew: _Crew, number: int) -> None:
    """Do one worker's part; an error is raised when the other workers are done."""
    name = f"{crew.worker.name}/{number}" if context.threads else crew.worker.name
    try:
        _work_through(context, crew, replace(crew.worker, name=name))
    except Exception as error:  # noqa: BLE001
        crew.problems.append(error)


def _work_through(context: WorkerContext, crew: _Crew, worker: Worker) -> None:
    wanted = crew.run_id
    while not context.stop.is_set() and _more_wanted(crew):
        free_dead_runs_here(context.ledger, time.time())
        _check_room(context, crew.ready, AGAIN)
        with writing(context.ledger) as connection:
            claim = claim_next(connection, worker, time.time(), context.lease_s, wanted)
            if claim is not None and context.root:
                claim = claimed_at(connection, claim, context.root)
        if claim is None and wanted != crew.run_id:
            wanted = crew.run_id  # another worker resumes this run, or it was cancelled
            continue
        if claim is None:
            return
        settled = attempt(context, claim)
        if settled is None:
            continue
        wanted = claim.run_id if _is_resumed_next(settled) else crew.run_id
        with crew.lock:
            crew.tally.succeeded += settled.state == "succeeded"
            crew.tally.failed += settled.state == "failed"
            crew.tally.cancelled += settled.state == "cancelled"
        if isinstance(settled.outcome, Failed) and settled.outcome.kind == "disk":
            return  # every further run would fail for the same reason


def _is_resumed_next(settled: Settled) -> bool:
    """Whether the same run is to be claimed next: with half the micro-batch, or in a new process."""
    return settled.state == "queued" and isinstance(settled.outcome, Failed | Killed)


def _more_wanted(crew: _Crew) -> bool:
    tally = crew.tally
    return crew.limit is None or tally.succeeded + tally.failed + tally.cancelled < crew.limit


@contextmanager
def stop_on_signals(stop: StopFlag) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a lost terminal request an orderly stop; a second Ctrl-C stops at once.

    A signal that was ignored when the program began stays ignored, as nohup wants it.
    """

    def request(number: int, frame: FrameType | None) -> None:
        stop.set(signal.Signals(number).name)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, request)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
