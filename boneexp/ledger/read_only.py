"""Opening a ledger to read it, even where nothing may be written: all that is committed, nothing left behind.

What was committed last lies in the WAL (-wal) and not in the ledger's file yet, and to find it a reader needs
the WAL's index (-shm). If that is missing, SQLite makes it, or fails where it cannot; told that the file
never changes, it ignores the WAL, and shows a ledger without its newest rows.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from boneexp.errors import Busy

# What a reader keeps at most: a comparison reads the rows of thousands of runs several times.
PAGES_KIB = 65_536


def opened_to_read(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a read-only connection whose rows can be read by column name.

    For whoever may write the ledger SQLite may make the index. A file that somebody else makes would lock the
    owner out: for all others the index is made in memory, and without a WAL the file is read as it lies.

    Raises:
        sqlite3.DatabaseError: it cannot be opened, or is no database.
    """
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    wal, index = beside(path)
    if os.access(path, os.W_OK) or (wal.exists() and index.exists()):
        with suppress(sqlite3.OperationalError):  # the file may be written, and its folder not
            return _probed(address, timeout_s, shared=True)
    alone = "vfs=unix-none" if wal.exists() and wal.stat().st_size else "immutable=1"
    return _probed(f"{address}&{alone}", timeout_s, shared=False)


@contextmanager
def not_written_meanwhile(path: Path, connection: sqlite3.Connection) -> Iterator[None]:
    """Raise Busy if a ledger that is read without a lock has been written by the end of the block."""
    if connection.execute("PRAGMA locking_mode").fetchone()[0] == "normal":
        yield
        return
    before = _stamps(path)
    yield
    if _stamps(path) != before:
        raise Busy(f"{path} was written while it was read; try again")


def beside(path: Path) -> tuple[Path, Path]:
    """Return where the ledger's WAL and its index lie, if there are any."""
    place = path.resolve()
    return place.with_name(f"{place.name}-wal"), place.with_name(f"{place.name}-shm")


def _probed(address: str, timeout_s: float, *, shared: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=timeout_s, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        if not shared:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # which keeps the index in memory
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        connection.execute(f"PRAGMA cache_size = -{PAGES_KIB}")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _stamps(path: Path) -> list[tuple[int, int]]:
    found = [file.stat() for file in (path, beside(path)[0]) if file.exists()]
    return [(each.st_size, each.st_mtime_ns) for each in found]
