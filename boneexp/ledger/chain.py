"""The chain of events: each one's hash covers its content and the hash before it.

Every command that shows rows checks it, so this module imports no more than that takes.
"""

import hashlib
import json
from sqlite3 import Connection

FIRST_HASH = "0" * 64
EVENTS = """SELECT id, at, kind, run_id, attempt, details_json, previous_hash, hash
            FROM events ORDER BY id"""
_as_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode  # the one JSON text of a list


def event_hash(
    previous: str, at: float, kind: str, subject: tuple[int | None, int | None], details_json: str
) -> str:
    """Return the hash (64 hex digits) of an event that follows `previous`; `subject` is (run, attempt)."""
    return hashlib.sha256(_as_json([previous, at, kind, *subject, details_json]).encode()).hexdigest()


def first_broken_event(connection: Connection) -> int | None:
    """Return the id of the first event whose hash or place in the chain is wrong; None if the chain holds."""
    previous, expected = FIRST_HASH, 1
    for event, at, kind, run, attempt, details_json, before, noted in connection.execute(EVENTS):
        try:
            expected_hash = event_hash(previous, at, kind, (run, attempt), details_json)
        except (TypeError, ValueError):  # bytes or an infinite time: no event of ours
            return int(event)
        if event != expected or before != previous or noted != expected_hash:
            return int(event)
        previous, expected = expected_hash, expected + 1
    return None
