"""That the seals held when somebody last looked, and that the ledger's files have not been written since.

Holding every seal against its rows takes longer than comparing them. So `compare` notes beside the ledger at
which state of its files everything held: which file it is, its size, and the times at which its content and
its inode last changed, to the nanosecond; the kernel sets the latter at every write, and nobody can set it
back. Whatever decides or publishes never asks here.
"""

import json
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from boneexp.ledger.read_only import beside
from boneexp.ledger.sealed_rows import RULE

SETTLED_S = 2.0  # a file that was written just now may be written again without another time


def held_before(connection: sqlite3.Connection, what: str) -> bool:
    """Return True if it was noted that all seals hold over `what`, and nothing has been written since."""
    note = _note_of(connection)
    if note is None:
        return False
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        return bool(noted["state"] == _state(connection, note) and what in noted["held"])
    except (OSError, ValueError, TypeError, LookupError):
        return False


def note_that_held(connection: sqlite3.Connection, what: str, state: list[Any] | None) -> None:
    """Note that all seals over `what` held at a state, where a file can lie beside the ledger.

    Who may only read the ledger leaves nothing beside it.
    """
    note = _note_of(connection)
    if note is None or state is None or state != state_of(connection):
        return
    if not os.access(note.with_suffix(""), os.W_OK):
        return
    held = [what]
    with suppress(OSError, ValueError, TypeError, LookupError):
        noted = json.loads(note.read_text(encoding="utf-8"))
        held += [each for each in noted["held"] if noted["state"] == state and each != what]
    part = note.with_name(f"{note.name}.{os.getpid()}.part")
    with suppress(OSError):
        part.write_text(json.dumps({"state": state, "held": held}), encoding="utf-8")
        part.replace(note)


def state_of(connection: sqlite3.Connection) -> list[Any] | None:
    """Return the state of the ledger's files; None where it says nothing, since they were just written."""
    note = _note_of(connection)
    if note is None:
        return None
    state = _state(connection, note)
    newest = max(file[-1] for file in state[1:])
    return state if time.time_ns() - newest > SETTLED_S * 1e9 else None


def _state(connection: sqlite3.Connection, note: Path) -> list[Any]:
    ledger = note.with_suffix("")
    found = [file.stat() for file in (ledger, beside(ledger)[0]) if file.exists()]
    files = [file for file in found if file.st_size]  # opening it may make an empty log
    last = connection.execute("SELECT hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    about = [[each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns] for each in files]
    return [[RULE, last and last[0]], *about]


def _note_of(connection: sqlite3.Connection) -> Path | None:
    """Return where the note lies; None for a ledger in memory."""
    ledger = connection.execute("PRAGMA database_list").fetchone()[2]
    return Path(f"{ledger}.held") if ledger else None
