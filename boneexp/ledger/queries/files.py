"""Files, where they lie, and their digests. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3
from dataclasses import dataclass

from boneexp.ledger.statements import read, tuples_of


@dataclass(frozen=True)
class RunFile:
    """One file of a settled run, as it was recorded; the path is relative to the artifacts folder."""

    path: str
    run_id: int
    kind: str
    sha256: str
    size_bytes: int
    written_at: float


@dataclass(frozen=True)
class Checkpoint:
    """The best weights of a finished run; the path is relative to the artifacts folder."""

    path: str
    sha256: str


@dataclass(frozen=True)
class FolderOwner:
    """The run that a folder belongs to."""

    folder: str
    run: int
    state: str


def recorded_files(connection: sqlite3.Connection) -> list[RunFile]:
    """Return the files of all runs."""
    return read(connection, RunFile, "SELECT * FROM files WHERE run_id IS NOT NULL ORDER BY path")


def files_of_run(connection: sqlite3.Connection, run_id: int) -> list[RunFile]:
    """Return the files of a settled run."""
    return read(connection, RunFile, "SELECT * FROM files WHERE run_id = ? ORDER BY path", (run_id,))


def promoted_files(connection: sqlite3.Connection) -> dict[str, str]:
    """Return path -> SHA-256 of the files that belong to no run."""
    return dict(tuples_of(connection, "SELECT path, sha256 FROM files WHERE run_id IS NULL"))


def drawn_overlays(connection: sqlite3.Connection) -> list[str]:
    """Return the paths of Grad-CAM's pictures."""
    query = "SELECT DISTINCT overlay FROM explanations WHERE overlay <> '' ORDER BY overlay"
    return [row[0] for row in connection.execute(query)]


def checkpoint_of(connection: sqlite3.Connection, run_id: int) -> Checkpoint:
    """Return a finished run's best checkpoint."""
    query = "SELECT checkpoint AS path, checkpoint_sha256 AS sha256 FROM runs WHERE id = ?"
    return read(connection, Checkpoint, query, (run_id,))[0]


def run_folders(connection: sqlite3.Connection) -> dict[str, FolderOwner]:
    """Return each run's folder -> the run."""
    rows = read(connection, FolderOwner, "SELECT folder, id AS run, state FROM runs")
    return {row.folder: row for row in rows}


def finished_folders(connection: sqlite3.Connection) -> list[str]:
    """Return where the files of the succeeded runs lie."""
    query = "SELECT folder FROM runs WHERE state = 'succeeded' ORDER BY id"
    return [row[0] for row in connection.execute(query)]
