"""What should be there by the ledger: files, folders, processes. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def recorded_files(connection: sqlite3.Connection) -> list[Row]:
    """Return the files of runs, with digest and size."""
    return _rows(
        connection,
        """SELECT path, run_id AS run, kind, sha256, size_bytes FROM files
           WHERE run_id IS NOT NULL ORDER BY path""",
    )


def promoted_files(connection: sqlite3.Connection) -> dict[str, str]:
    """Return path -> SHA-256 of the files that belong to no run."""
    return dict(_tuples(connection, "SELECT path, sha256 FROM files WHERE run_id IS NULL"))


def drawn_overlays(connection: sqlite3.Connection) -> list[str]:
    """Return the paths of Grad-CAM's pictures."""
    query = "SELECT DISTINCT overlay FROM explanations WHERE overlay <> '' ORDER BY overlay"
    return [row[0] for row in _tuples(connection, query)]


def run_folders(connection: sqlite3.Connection) -> dict[str, Row]:
    """Return each run's folder -> its number and state."""
    return {row["folder"]: row for row in _rows(connection, "SELECT id AS run, folder, state FROM runs")}


def running_attempts(connection: sqlite3.Connection) -> list[Row]:
    """Return which run is held until when and by which process, and whether somebody has cancelled it."""
    return _rows(
        connection,
        """SELECT r.id AS run, r.folder, r.lease_until, r.stop_requested, a.number, a.worker, a.host,
                  a.pid, a.boot_id, a.process_started
           FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.state = 'running' ORDER BY r.id""",
    )


def attempt_process(connection: sqlite3.Connection, run_id: int, number: int) -> Row | None:
    """Return by which process of which machine an attempt was made; None if there was no such attempt."""
    query = "SELECT host, pid, boot_id, process_started FROM attempts WHERE run_id = ? AND number = ?"
    return next(iter(_rows(connection, query, (run_id, number))), None)


def specs(connection: sqlite3.Connection) -> list[Row]:
    """Return every run's hash and the spec that it names."""
    return _rows(connection, "SELECT id AS run, config_hash, spec_json FROM runs ORDER BY id")


def events_after(connection: sqlite3.Connection, moment: float) -> list[int]:
    """Return the ids of events that happened after a moment."""
    return [
        row[0] for row in _tuples(connection, "SELECT id FROM events WHERE at > ? ORDER BY id", (moment,))
    ]


def last_event(connection: sqlite3.Connection) -> tuple[int, str] | None:
    """Return number and hash of the newest event: who notes them elsewhere can tell a rewritten history."""
    found = _tuples(connection, "SELECT id, hash FROM events ORDER BY id DESC LIMIT 1")
    return found[0] if found else None


def _rows(connection: sqlite3.Connection, query: str, values: Sequence[object] = ()) -> list[Row]:
    return [dict(row) for row in connection.execute(query, tuple(values))]


def _tuples(
    connection: sqlite3.Connection, query: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(query, tuple(values))]


def left_by_fix(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Return (check, where, what) of the findings that were still there after the last `doctor --fix`."""
    query = """SELECT details_json FROM events
               WHERE kind = 'mended' AND json_type(details_json, '$.left') = 'array'
               ORDER BY id DESC LIMIT 1"""
    row = connection.execute(query).fetchone()
    left = json.loads(row[0])["left"] if row else []
    return {(str(check), str(where), str(what)) for check, where, what in left}
