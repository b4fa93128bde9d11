"""A copy of the ledger to give away: whole, but for what names the machine.

Every run, event and decision is in it, since the chain of events can be checked only as a whole, and since a
reader must see what else was tried. Host names, process numbers and absolute paths are replaced. Seals over
the rows that held them no longer hold in the copy; they are named.
"""

import json
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from boneexp.errors import LedgerUnusable
from boneexp.ledger.backup import back_up
from boneexp.ledger.quarantine import require_untouched
from boneexp.ledger.sealed_rows import RULE, RULES
from boneexp.ledger.seals import broken_seals

WITHHELD = "withheld"
WITHHELD_DETAILS = '{"withheld":true}'
# The events that may name hosts and paths; none of them settles a result.
MAY_NAME_A_MACHINE = (
    "attempt-lost",
    "batch-halved",
    "cancelled",
    "claimed",
    "failed",
    "late-failure",
    "mended",
    "promotion-begun",
    "put-back",
)


@dataclass(frozen=True)
class Withheld:
    """What the copy withholds: the details of how many events, and which tables differ from their seal."""

    events: int
    seals: tuple[tuple[str, tuple[str, ...]], ...]


def slice_without_machine(connection: sqlite3.Connection, target: Path) -> Withheld:
    """Write the ledger behind `connection` into the new file `target`, as it is at one moment.

    The copy opens read-only, without a log beside it, and the same ledger gives the same bytes.

    Raises:
        Damaged: the history or a sealed row was changed, or the file is damaged; nothing is left.
        LedgerUnusable: `target` is there already, or cannot be written.
    """
    back_up(connection, target)
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.row_factory = sqlite3.Row
            copy.execute("PRAGMA journal_mode = DELETE")
            require_untouched(copy)
            withheld = _withhold(copy)
            copy.execute("VACUUM")  # what was replaced is in no free page either
        return withheld
    except sqlite3.Error as error:
        raise LedgerUnusable(f"{target} cannot be written: {error}") from error


def machine_paths(connection: sqlite3.Connection) -> set[str]:
    """Return the absolute paths that specs name: where data and weights lie."""
    query = """SELECT json_extract(spec_json, '$.settings.data.root') FROM runs
               UNION SELECT json_extract(spec_json, '$.settings.model.pretrained') FROM runs"""
    found = (row[0] for row in connection.execute(query))
    return {path for path in found if isinstance(path, str) and shown_path(path) != path}


def shown_path(path: str) -> str:
    """Return a path for others: one below the study's folder as it is, of any other the last name."""
    place = PurePosixPath(path)
    leads_away = place.is_absolute() or ".." in place.parts or path.startswith("~")
    return place.name if leads_away else path


def _withhold(copy: sqlite3.Connection) -> Withheld:
    names = {
        name
        for row in copy.execute("SELECT DISTINCT host, worker, boot_id FROM attempts")
        for name in row
        if name
    }
    copy.create_function("tells", 1, _tells(names), deterministic=True)
    copy.create_function("with_short_paths", 1, _with_short_paths, deterministic=True)
    copy.execute("BEGIN")
    copy.execute(
        f"""UPDATE attempts SET worker = '{WITHHELD}', host = '{WITHHELD}', pid = 0, boot_id = '{WITHHELD}',
                   process_started = '{WITHHELD}',
                   failure = CASE WHEN tells(failure) THEN '{WITHHELD}' ELSE failure END,
                   traceback = CASE WHEN traceback IS NOT NULL THEN '{WITHHELD}' END"""
    )
    copy.execute(f"UPDATE runs SET failure = '{WITHHELD}' WHERE tells(failure)")
    copy.execute("UPDATE runs SET spec_json = with_short_paths(spec_json)")
    copy.execute("UPDATE experiments SET settings_json = with_short_paths(settings_json)")
    kinds = ", ".join("?" * len(MAY_NAME_A_MACHINE))
    withheld = copy.execute(
        f"""UPDATE events SET details_json = '{WITHHELD_DETAILS}'
            WHERE kind IN ({kinds}) AND tells(details_json)""",
        MAY_NAME_A_MACHINE,
    )
    copy.execute("COMMIT")
    changed = [
        (str(each.subject), each.tables or tuple(RULES[RULE][each.subject.kind]))
        for each in broken_seals(copy)
    ]
    return Withheld(withheld.rowcount, tuple(changed))


def _tells(names: Collection[str]) -> Callable[[str | None], bool]:
    """Return a test of whether a text names a path, or the machine."""
    return lambda text: text is not None and ("/" in text or any(name in text for name in names))


def _with_short_paths(text: str) -> str:
    """Return a spec or settings in which an absolute path is its last name; others stay as they are."""
    value: dict[str, Any] = json.loads(text)
    settings = value.get("settings", value)
    for section, key in (("data", "root"), ("model", "pretrained")):
        path = settings[section][key]
        if isinstance(path, str):
            settings[section][key] = shown_path(path)
    shortened = json.dumps(value, separators=(",", ":"))
    return text if value == json.loads(text) else shortened
