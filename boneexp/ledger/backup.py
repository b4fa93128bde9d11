"""A copy of the ledger as it is at one moment, while others write: whole, and checked."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from boneexp.errors import Damaged, LedgerUnusable
from boneexp.files.atomic import sha256_of, whole_file


def back_up(source: sqlite3.Connection, target: Path, *, even_if_damaged: bool = False) -> str:
    """Copy the ledger behind `source` into the new file `target`; return the copy's SHA-256.

    SQLite's online backup takes the state of one moment, whatever is written meanwhile.

    Raises:
        LedgerUnusable: `target` is there already, or cannot be written; it is not there then, or as it was.
        Damaged: the copy, and so the ledger, is not sound; it is not kept, unless `even_if_damaged`.
    """
    if target.exists():
        raise LedgerUnusable(f"{target} is there already and was left as it is; name a new file")
    try:
        with whole_file(target) as part:
            with closing(sqlite3.connect(part)) as copy:
                copy.execute("PRAGMA journal_mode = OFF")  # it counts only when it is whole
                source.backup(copy)
            if not even_if_damaged:
                _require_sound(part)
            return sha256_of(part)
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnusable(
            f"the ledger cannot be backed up to {target} ({error}); free space there, or name another place"
        ) from error


def _require_sound(part: Path) -> None:
    """Read the copy as it lies, without a log beside it."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(part))}?immutable=1", uri=True)) as copy:
            found = [row[0] for row in copy.execute("PRAGMA integrity_check(1)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        raise Damaged(
            f"the ledger is damaged ({found[0]}), and so would be its copy, which was not kept; "
            "see what is wrong with: boneexp doctor"
        )
