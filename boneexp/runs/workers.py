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
from boneexp.runs.context import TICK_S, Settled, StopFlag, Workplace
from boneexp.runs.processes import free_dead_runs_here, this_worker

AGAIN = "boneexp run --all"


@dataclass
class Tally:
    """What a call to `run` came to."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    stopped_by: str = ""

    def sentence(self) -> str:
        """Say it."""
        said = f"{self.succeeded} succeeded, {self.failed} failed"
        if self.cancelled:
            said = f"{said}, {self.cancelled} cancelled"
        return f"{said}, stopped by {self.stopped_by}" if self.stopped_by else said


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
    place: Workplace, *, workers: int = 1, limit: int | None = None, run_id: int | None = None
) -> Tally:
    """Run what waits: all of it, at most `limit` runs, or just `run_id`.

    Raises:
        LedgerUnusable: the ledger cannot be used.
        DeviceUnavailable: this machine has no such device.
        DiskTooSmall: the next run would not fit on the disk.
    """
    if workers > 1:
        place = replace(place, threads=max(1, (os.cpu_count() or workers) // workers))
    with stop_on_signals(place.stop):
        ready = look_ahead(place, _waiting(place.ledger), AGAIN)
        _say_when_tight(place, ready)
        _clear_settled(place)
        crew = _Crew(this_worker(ready.device, ready.versions), ready, Tally(), run_id, limit)
        threads = [
            threading.Thread(target=_work, args=(place, crew, number), daemon=True)
            for number in range(1, workers + 1)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(TICK_S)
            if place.stop.is_at_once():  # a worker may wait for a child that is frozen
                for child in multiprocessing.active_children():
                    child.kill()
    crew.tally.stopped_by = place.stop.reason
    if crew.problems:
        raise crew.problems[0]
    return crew.tally


def look_ahead(place: Workplace, waiting: tuple[Waiting, ...], command: str) -> Readiness:
    """Look at device and networks in a child, so that no GPU is held and no torch loaded here.

    Raises:
        DeviceUnavailable: this machine has no such device.
        DiskTooSmall: the next run would not fit on the disk; `command` is what to try then.
    """
    arguments = (place.computing, waiting, place.artifacts.resolve())
    ready: Readiness = answer(readiness, *arguments, threads=place.threads)
    _check_room(place, ready, command)
    return ready


def _waiting(ledger: Path) -> tuple[Waiting, ...]:
    with reading(ledger) as connection:
        return tuple(Waiting(**record(row)) for row in waiting_settings(connection))


def _check_room(place: Workplace, ready: Readiness, command: str) -> None:
    """Raise DiskTooSmall, before anything is begun, unless the next run fits on the disk."""
    for path, needed in ((place.artifacts, ready.next_bytes), (place.ledger.parent, SMALL_FILES_BYTES)):
        free = _free_bytes(path)
        if free < needed:
            raise DiskTooSmall(
                f"the next run needs about {_megabytes(needed)} under {path}, and {_megabytes(free)} are "
                f"free; free some, or move the folder and name it with --artifacts; then: {command}"
            )


def _say_when_tight(place: Workplace, ready: Readiness) -> None:
    free = _free_bytes(place.artifacts)
    if free < ready.all_bytes:
        text = (
            f"all runs that wait need about {_megabytes(ready.all_bytes)} under {place.artifacts}, and "
            f"{_megabytes(free)} are free; the queue will stop when the next run does not fit"
        )
        place.announce(News(0, "", "note", text))


def _free_bytes(path: Path) -> int:
    """Return the free space of the disk on which `path` lies, or will lie."""
    there = next(folder for folder in [path.resolve(), *path.resolve().parents] if folder.exists())
    return shutil.disk_usage(there).free


def _megabytes(count: int) -> str:
    return f"{max(count, 0) / 1e6:,.0f} MB"


def _clear_settled(place: Workplace) -> None:
    """Remove what attempts left whose worker was killed between settling the run and tidying up."""
    with reading(place.ledger) as connection:
        settled = finished_folders(connection)
    for folder in settled:
        for left in RunFolder(place.artifacts, folder).earlier():
            left.drop()


def _work(place: Workplace, crew: _Crew, number: int) -> None:
    """Do one worker's part; what goes wrong is raised again when the others have done theirs."""
    name = f"{crew.worker.name}/{number}" if place.threads else crew.worker.name
    try:
        _work_through(place, crew, replace(crew.worker, name=name))
    except Exception as error:  # noqa: BLE001
        crew.problems.append(error)


def _work_through(place: Workplace, crew: _Crew, worker: Worker) -> None:
    wanted = crew.run_id
    while not place.stop.is_set() and _more_wanted(crew):
        free_dead_runs_here(place.ledger, time.time())
        _check_room(place, crew.ready, AGAIN)
        with writing(place.ledger) as connection:
            claim = claim_next(connection, worker, time.time(), place.lease_s, wanted)
            if claim is not None and place.root:
                claim = claimed_at(connection, claim, place.root)
        if claim is None and wanted != crew.run_id:
            wanted = crew.run_id  # the run that is to go on went to another worker, or was cancelled
            continue
        if claim is None:
            return
        settled = attempt(place, claim)
        if settled is None:
            continue
        wanted = claim.run_id if _goes_on(settled) else crew.run_id
        with crew.lock:
            crew.tally.succeeded += settled.state == "succeeded"
            crew.tally.failed += settled.state == "failed"
            crew.tally.cancelled += settled.state == "cancelled"
        if isinstance(settled.outcome, Failed) and settled.outcome.kind == "disk":
            return  # every further run would fail of the same


def _goes_on(settled: Settled) -> bool:
    """Tell whether the same run is to be claimed next: with half the micro-batch, or in a new process."""
    return settled.state == "queued" and isinstance(settled.outcome, Failed | Killed)


def _more_wanted(crew: _Crew) -> bool:
    tally = crew.tally
    return crew.limit is None or tally.succeeded + tally.failed + tally.cancelled < crew.limit


@contextmanager
def stop_on_signals(stop: StopFlag) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a lost terminal ask for an orderly end; Ctrl-C a second time ends at once.

    A signal that was ignored when the program began stays ignored: nohup means it.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set(signal.Signals(number).name)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
