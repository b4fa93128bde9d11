"""Files and their digests. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3

from boneexp.ledger.statements import Facts, rows_of, tuples_of


def recorded_files(connection: sqlite3.Connection) -> list[Facts]:
    """Return the files of runs, with digest and size."""
    return rows_of(
        connection,
        """SELECT path, run_id AS run, kind, sha256, size_bytes FROM files
           WHERE run_id IS NOT NULL ORDER BY path""",
    )


def promoted_files(connection: sqlite3.Connection) -> dict[str, str]:
    """Return path -> SHA-256 of the files that belong to no run."""
    return dict(tuples_of(connection, "SELECT path, sha256 FROM files WHERE run_id IS NULL"))


def drawn_overlays(connection: sqlite3.Connection) -> list[str]:
    """Return the paths of Grad-CAM's pictures."""
    query = "SELECT DISTINCT overlay FROM explanations WHERE overlay <> '' ORDER BY overlay"
    return [row[0] for row in tuples_of(connection, query)]


def file_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return the files of a settled run with their digests."""
    return rows_of(connection, "SELECT * FROM files WHERE run_id = ? ORDER BY path", (run_id,))
