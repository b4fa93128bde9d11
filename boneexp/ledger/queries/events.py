"""The history. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3

from boneexp.ledger.statements import Facts, rows_of, tuples_of


def last_event(connection: sqlite3.Connection) -> Facts | None:
    """Return the newest event; its hash stands for the whole history before it."""
    return next(iter(rows_of(connection, "SELECT * FROM events ORDER BY id DESC LIMIT 1")), None)


def newest_event(connection: sqlite3.Connection) -> Facts:
    """Return number, hash and time of the newest event."""
    return rows_of(connection, "SELECT id, hash, at FROM events ORDER BY id DESC LIMIT 1")[0]


def events_after(connection: sqlite3.Connection, moment: float) -> list[int]:
    """Return the ids of events that happened after a moment."""
    return [
        row[0] for row in tuples_of(connection, "SELECT id FROM events WHERE at > ? ORDER BY id", (moment,))
    ]


def last_event_number(connection: sqlite3.Connection) -> tuple[int, str] | None:
    """Return number and hash of the newest event: who notes them elsewhere can tell a rewritten history."""
    found = tuples_of(connection, "SELECT id, hash FROM events ORDER BY id DESC LIMIT 1")
    return found[0] if found else None


def left_by_fix(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Return (check, where, what) of the findings that were still there after the last `doctor --fix`."""
    query = """SELECT details_json FROM events
               WHERE kind = 'mended' AND json_type(details_json, '$.left') = 'array'
               ORDER BY id DESC LIMIT 1"""
    row = connection.execute(query).fetchone()
    left = json.loads(row[0])["left"] if row else []
    return {(str(check), str(where), str(what)) for check, where, what in left}


def event_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return a run's events, oldest first, each with its details as a dict."""
    rows = rows_of(connection, "SELECT * FROM events WHERE run_id = ? ORDER BY id", (run_id,))
    return [{**row, "details": json.loads(row["details_json"])} for row in rows]
