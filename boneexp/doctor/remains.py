"""What dead processes leave behind, and folders that no run has; nothing of an attempt that may live."""

import json
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from boneexp.files.atomic import sha256_of
from boneexp.files.folders import StudyPaths
from boneexp.ledger.queries.attempts import Process, RunningAttempt, process_of_attempt, running_attempts
from boneexp.ledger.queries.files import run_folders
from boneexp.runs.processes import is_alive

ORPHANS = "orphans"
PREPARED = Path("cache", "prepared")
_PART_OF_PROCESS = re.compile(r"\.(\d{1,9})\.part$")
_ATTEMPT = re.compile(r"attempt-(\d+)")


@dataclass(frozen=True)
class Remain:
    """Something that nobody needs any more, or that nobody knows."""

    path: Path
    what: str


def folders_of_runs(artifacts: Path) -> list[Path]:
    """Return what lies where run folders lie; to be called before the ledger is asked who they are.

    A run is in the ledger before its folder is there, so a run that is queued meanwhile is no orphan.
    """
    experiments = artifacts / "experiments"
    inside = [path for folder in _listed(experiments) if folder.is_dir() for path in _listed(folder)]
    return [*inside, *(path for path in _listed(experiments) if not path.is_dir())]


def orphans(place: StudyPaths, connection: sqlite3.Connection, found: list[Path]) -> list[Remain]:
    """Return which of the folders `found` belong to no run."""
    known = {place.artifacts / folder for folder in run_folders(connection)}
    return [
        Remain(path, "no run of this ledger has this folder")
        for path in found
        if path not in known and path.suffix != ".part"
    ]


def leftovers(place: StudyPaths, connection: sqlite3.Connection) -> list[Remain]:
    """Return files and folders that a dead process had begun and that no attempt goes on from."""
    folders = {place.artifacts / folder for folder in run_folders(connection)}
    held = {place.artifacts / row.folder for row in held_runs(connection)}
    parts = [path for path in _parts(place) if held.isdisjoint(path.parents)]
    dead = [path for path in parts if _is_dead(path, ours=not folders.isdisjoint(path.parents))]
    what = "left half-written by a process that is gone"
    return [*(Remain(path, what) for path in dead), *_attempt_folders(place, connection)]


def held_runs(connection: sqlite3.Connection) -> list[RunningAttempt]:
    """Return the running attempts that may still be at work: not known to be dead."""
    return [row for row in running_attempts(connection) if not is_known_dead(row)]


def is_known_dead(attempt: Process) -> bool:
    """Return whether an attempt's process was one of this machine and is no more."""
    here = attempt.host == socket.gethostname()
    return here and not is_alive(attempt.pid, attempt.process_started, attempt.boot_id)


def caches(place: StudyPaths) -> list[Path]:
    """Return the folders of prepared images."""
    folders = [path for path in _listed(place.artifacts / PREPARED) if path.is_dir()]
    return [folder for folder in folders if folder.suffix != ".part"]


def is_sound_cache(folder: Path, quick: bool) -> bool:
    """Return whether prepared images are what they were when they were prepared."""
    from boneexp.data.prepared import LESIONS, NOTE, PIXELS  # loads OpenCV

    try:
        noted = json.loads((folder / NOTE).read_bytes())
        if quick:
            return all((folder / name).is_file() for name in (PIXELS, LESIONS))
        return all(sha256_of(folder / name) == noted[name] for name in (PIXELS, LESIONS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _attempt_folders(place: StudyPaths, connection: sqlite3.Connection) -> Iterator[Remain]:
    """Yield attempts of succeeded runs; a run that has failed may be retried and goes on from its own."""
    for folder, run in run_folders(connection).items():
        for path in _listed(place.artifacts / folder) if run.state == "succeeded" else ():
            number = _ATTEMPT.fullmatch(path.name)
            if number is None or not path.is_dir():
                continue
            process = process_of_attempt(connection, run.run, int(number[1]))
            if process is None or is_known_dead(process):
                yield Remain(path, f"left by an attempt of run {run.run}, which has succeeded")


def _parts(place: StudyPaths) -> Iterator[Path]:
    """Return what is being written, or was: everything under artifacts, and beside our files elsewhere."""
    for folder, folders, files in os.walk(place.artifacts):
        yield from (Path(folder, name) for name in sorted([*folders, *files]) if name.endswith(".part"))
    for path in (place.ledger, place.grid, *place.docs.glob("*.md")):
        beside = path.parent.glob("*.part")
        yield from sorted(part for part in beside if part.name.startswith(f"{path.name}."))


def _is_dead(part: Path, ours: bool) -> bool:
    """Return whether the writer of a half-written file is gone.

    Its process number stands in its name; one without is left alone, except in a run's folder (`ours`).
    """
    pid = _PART_OF_PROCESS.search(part.name)
    if pid is None:
        return ours
    import psutil

    if psutil.pid_exists(int(pid[1])):
        return False
    lock = part.with_name(part.name.split(".")[0]).with_suffix(".lock")
    return part.parent.name != PREPARED.name or not _is_locked(lock)


def _is_locked(lock: Path) -> bool:
    """Return whether a builder holds the lock, perhaps one of another container: its pid says nothing."""
    from filelock import lock_descriptor

    try:
        with lock.open("rb") as file:
            return not lock_descriptor(file.fileno(), blocking=False)
    except OSError:
        return False


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, which may vanish meanwhile, but for what systems hide there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return []
