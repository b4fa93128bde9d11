"""Which schema a ledger has, and why a file cannot be used as one."""

import sqlite3
from pathlib import Path

from boneexp.errors import Busy, LedgerUnusable
from boneexp.ledger.read_only import opened_to_read
from boneexp.ledger.same_file import gone, is_known

SCHEMA = "0005"
BUSY_TIMEOUT_S = 30


def require_file(path: Path) -> None:
    """Raise LedgerUnusable if there is no ledger at `path`."""
    if not path.is_file():
        missing = (
            f"there is no ledger {path}; name yours with --ledger FILE, or begin a study: boneexp init "
            "writes its grid file, and boneexp queue makes the ledger"
        )
        raise gone(path) if is_known(path) else LedgerUnusable(missing)


def opened_read_only(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to a ledger of whatever schema."""
    try:
        return opened_to_read(path, BUSY_TIMEOUT_S)
    except sqlite3.OperationalError as error:
        raise unusable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise LedgerUnusable(
            f"{path} is not a boneexp ledger ({error}); name yours with --ledger FILE"
        ) from error


def check_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Raise LedgerUnusable, with the command that helps, unless the ledger has today's schema."""
    found = schema_of_ledger(path, connection)
    if found < SCHEMA:
        raise LedgerUnusable(
            f"{path} has schema {found or 'none'} and this boneexp needs {SCHEMA}; "
            f"upgrade it (a backup is made first) with: boneexp upgrade --ledger {path}"
        )
    if found > SCHEMA:
        raise LedgerUnusable(
            f"{path} has schema {found}, made by a newer boneexp than this one ({SCHEMA}); "
            "it was left as it is; install the newer version"
        )


def schema_of_ledger(path: Path, connection: sqlite3.Connection) -> str:
    """Return the ledger's schema; raise LedgerUnusable if the file is no ledger, or cannot be read."""
    try:
        return schema_of(connection)
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error) or "not a database" in str(error):
            raise LedgerUnusable(f"{path} is not a boneexp ledger; name yours with --ledger FILE") from error
        raise unusable(path, error) from error


def schema_of(connection: sqlite3.Connection) -> str:
    """Return the newest migration that was applied; "" if there was none."""
    return str(connection.execute("SELECT MAX(version_num) FROM alembic_version").fetchone()[0] or "")


def unusable(path: Path, error: BaseException) -> Busy | LedgerUnusable:
    """Return what to tell the user of an error of SQLite: what is wrong with the ledger, and what helps."""
    reason = str(error)
    if "locked" in reason:
        return Busy(f"{path} is held by another process for more than {BUSY_TIMEOUT_S} s; try again")
    if any(words in reason for words in ("readonly", "read-only", "unable to open")):
        rights = f"check the rights of the file, of its folder, and of {path.name}-wal and -shm beside it"
        return LedgerUnusable(f"{path} cannot be opened or written: {reason}; {rights}")
    if "full" in reason:
        return LedgerUnusable(f"the disk under {path} is full; nothing was lost; free space and try again")
    return LedgerUnusable(f"{path} cannot be used as a ledger: {reason}")
