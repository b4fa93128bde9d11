"""The history. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from boneexp.ledger.statements import read, read_one


@dataclass(frozen=True)
class Event:
    """One event, as the table has it; its hash stands for the whole history up to it."""

    id: int
    at: float
    kind: str
    run_id: int | None
    attempt: int | None
    details_json: str
    previous_hash: str
    hash: str

    @property
    def details(self) -> dict[str, Any]:
        """What belongs to an event of this kind."""
        found: dict[str, Any] = json.loads(self.details_json)
        return found


def last_event(connection: sqlite3.Connection) -> Event | None:
    """Return the newest event; None before the first."""
    return read_one(connection, Event, "SELECT * FROM events ORDER BY id DESC LIMIT 1")


def events_of_run(connection: sqlite3.Connection, run_id: int) -> list[Event]:
    """Return a run's events, oldest first."""
    return read(connection, Event, "SELECT * FROM events WHERE run_id = ? ORDER BY id", (run_id,))


def events_after(connection: sqlite3.Connection, moment: float) -> list[int]:
    """Return the ids of events that happened after a moment."""
    return [row[0] for row in connection.execute("SELECT id FROM events WHERE at > ? ORDER BY id", (moment,))]


def left_by_fix(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Return (check, where, what) of the findings that were still there after the last `doctor --fix`."""
    query = """SELECT details_json FROM events
               WHERE kind = 'mended' AND json_type(details_json, '$.left') = 'array'
               ORDER BY id DESC LIMIT 1"""
    row = connection.execute(query).fetchone()
    left = json.loads(row[0])["left"] if row else []
    return {(str(check), str(where), str(what)) for check, where, what in left}
