"""Files that the ledger knows: there, and byte for byte what was recorded."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from boneexp.doctor import remains
from boneexp.doctor.findings import DAMAGE, FIX, OK, WARNING, Examination, Finding
from boneexp.files.atomic import sha256_of
from boneexp.ledger.queries.files import RunFile, drawn_overlays, recorded_files

CHECKPOINTS = {
    "best checkpoint": "restore it from a backup of the artifacts; "
    "of a promoted run, artifacts/promoted has a copy",
    "last checkpoint": "it cannot be made again, and no command needs that of a finished run; "
    "restore it from a backup of the artifacts, if there is one",
}


def recorded(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find which files of runs are gone or are not what was recorded."""
    rows = recorded_files(connection)
    total, done = sum(row.size_bytes for row in rows), 0
    sound = True
    for row in rows:
        problem = problem_of(examination.place.artifacts / row.path, row, examination.quick)
        done += row.size_bytes
        examination.progress(done, total)
        if problem:
            sound = False
            where = str(examination.place.artifacts / row.path)
            yield Finding("files", DAMAGE, where, f"{row.kind} of run {row.run_id} {problem}", _mend(row))
    if sound:
        said = "there with their sizes" if examination.quick else "there with their sizes and SHA-256"
        yield Finding("files", OK, str(examination.place.artifacts), f"{len(rows)} files of runs are {said}")


def problem_of(path: Path, row: RunFile, quick: bool) -> str:
    """Return what is wrong with a file that has these `size_bytes` and `sha256`; "" if nothing is."""
    try:
        if not path.is_file():
            return "is gone"
        if (size_bytes := path.stat().st_size) != row.size_bytes:
            return f"has {size_bytes:,} bytes, and {row.size_bytes:,} were recorded"
        if not quick and (found := sha256_of(path)) != row.sha256:
            return f"has SHA-256 {found[:12]}…, and {row.sha256[:12]}… was recorded"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def overlays(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find which of Grad-CAM's pictures are gone."""
    names = drawn_overlays(connection)
    gone = [name for name in names if not (examination.place.artifacts / name).is_file()]
    for name in gone:
        mend = "boneexp gradcam draws it again"
        yield Finding("overlays", WARNING, str(examination.place.artifacts / name), "is gone", mend)
    if not gone:
        yield Finding("overlays", OK, str(examination.place.artifacts), f"{len(names)} overlays are there")


def caches(examination: Examination) -> Iterator[Finding]:
    """Find which prepared images do not match; they are checked at every use, too."""
    folders = remains.caches(examination.place)
    unsound = [folder for folder in folders if not remains.is_sound_cache(folder, examination.quick)]
    for folder in unsound:
        what = "is not what was prepared; the next run makes it again"
        yield Finding("cache", WARNING, str(folder), what, f"nothing to do; {FIX} removes it now")
    if not unsound:
        where = examination.place.artifacts / remains.PREPARED
        yield Finding("cache", OK, str(where), f"{len(folders)} caches of prepared images match")


def leftovers(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find what dead processes have left."""
    found = remains.leftovers(examination.place, connection)
    for each in found:
        yield Finding("leftovers", WARNING, str(each.path), each.what, f"{FIX} removes it")
    if not found:
        yield Finding("leftovers", OK, str(examination.place.artifacts), "nothing is left half-written")


def orphans(
    examination: Examination, connection: sqlite3.Connection, folders: list[Path]
) -> Iterator[Finding]:
    """Find which of `folders` belong to no run."""
    found = remains.orphans(examination.place, connection, folders)
    for each in found:
        mend = "after restoring a backup: queue the grid again, then run doctor again; otherwise: "
        mend += f"{FIX} puts it into {remains.ORPHANS}"
        yield Finding("orphans", WARNING, str(each.path), each.what, mend)
    if not found:
        where = examination.place.artifacts / "experiments"
        yield Finding("orphans", OK, str(where), "every folder belongs to a run")


def _mend(row: RunFile) -> str:
    from boneexp.experiment.outputs import MADE  # loads matplotlib

    if row.kind in MADE:
        return f"{FIX} makes it again from the ledger's rows"
    return CHECKPOINTS.get(row.kind, "restore it from a backup of the artifacts")
