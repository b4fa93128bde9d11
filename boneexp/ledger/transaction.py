"""One write transaction, on a connection that is kept for the next: to open one takes longer than a claim."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

MOST_LEDGERS = 8  # of which connections are kept
_idle: dict[Path, list[sqlite3.Connection]] = {}  # by ledger: those that nobody uses now


@contextmanager
def one_transaction(place: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Yield a connection of one's own, inside a transaction that holds the write lock from its start.

    It commits when the block succeeds, and is rolled back otherwise. `place` is the ledger's resolved path.
    """
    idle = _idle_at(place)
    try:
        connection = idle.pop()
    except IndexError:
        connection = opened_to_write(place, timeout_s)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.commit()
    finally:
        connection.rollback()  # without effect after the commit
        idle.append(connection)


def opened_to_write(place: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a connection whose rows can be read by column name; a ledger that is gone is not made again."""
    address = f"file:{quote(str(place))}?mode=rw"
    connection = sqlite3.connect(
        address, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def close_idle() -> None:
    """Close every connection that nobody uses now."""
    while _idle:
        _, idle = _idle.popitem()
        while idle:
            idle.pop().close()


def _idle_at(place: Path) -> list[sqlite3.Connection]:
    if place not in _idle and len(_idle) >= MOST_LEDGERS:
        close_idle()
    return _idle.setdefault(place, [])
