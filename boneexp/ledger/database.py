"""Opening the ledger: to read, which changes nothing, or to write, in one transaction.

Both need sqlite3 alone, so that `status` answers at once and a claim takes as long as SQLite does. A writer
takes the write lock at the start of its transaction, so that what it has read still holds when it writes.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from boneexp.errors import Busy, Damaged, LedgerUnusable
from boneexp.ledger.read_only import not_written_meanwhile
from boneexp.ledger.same_file import forget, require_same_file
from boneexp.ledger.schema import (
    BUSY_TIMEOUT_S,
    SCHEMA,
    check_schema,
    opened_read_only,
    require_file,
    schema_of_ledger,
    unusable,
)
from boneexp.ledger.transaction import close_idle, one_transaction


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a read-only connection whose rows can be read by column name.

    Raises:
        LedgerUnusable: there is no ledger at `path`, or it is of another schema, or no ledger at all.
        Busy: it was written while it had to be read without a lock.
    """
    require_file(path)
    with closing(opened_read_only(path)) as connection:
        try:
            check_schema(path, connection)
            with not_written_meanwhile(path, connection):
                yield connection
        except sqlite3.OperationalError as error:
            raise unusable(path, error) from error
        except sqlite3.DatabaseError as error:
            raise LedgerUnusable(f"{path} is not a ledger, or it is damaged: {error}") from error


@contextmanager
def examining(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a read-only connection to a ledger of this schema or an earlier one, however damaged it is.

    Raises:
        LedgerUnusable: there is no ledger at `path`, or it is newer than this program.
        Damaged: SQLite cannot make sense of the file, or of what the block reads.
        Busy: another process held the ledger for longer than the timeout, or it was written while it had to
            be read without a lock.
    """
    require_file(path)
    if not os.access(path, os.R_OK):
        raise LedgerUnusable(f"{path} cannot be read; check the rights of the file and its folder")
    with _errors_as_damage(path):
        try:
            connection = opened_read_only(path)
        except (LedgerUnusable, UnicodeDecodeError) as error:
            raise Damaged(f"{path} is no ledger any more: {error.__cause__ or error}") from error
        with closing(connection), not_written_meanwhile(path, connection):
            _refuse_newer(path, connection)
            yield connection


def _refuse_newer(path: Path, connection: sqlite3.Connection) -> None:
    try:
        found = schema_of_ledger(path, connection)
    except LedgerUnusable as error:
        raise Damaged(f"{path} is no ledger, or no whole one: {error.__cause__}") from error
    if found and not (found.isdigit() and len(found) == len(SCHEMA)):
        raise Damaged(f"{path} is damaged: {found[:20]!r} is no schema")
    if found > SCHEMA:
        check_schema(path, connection)


@contextmanager
def _errors_as_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        reason = unusable(path, error)
        if isinstance(reason, Busy):
            raise reason from error
        raise Damaged(f"{path} is damaged: {error}") from error


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection inside one write transaction; it commits when the block succeeds.

    Raises:
        LedgerUnusable: the ledger is missing, of another schema, read-only, damaged or on a full disk.
        Busy: another process held the write lock for longer than the timeout.
    """
    require_file(path)
    place = path.resolve()
    try:
        with one_transaction(place, BUSY_TIMEOUT_S) as connection:
            require_same_file(path, place)
            check_schema(path, connection)
            yield connection
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from error


def open_ledger(path: Path) -> Path:
    """Return `path` as a ledger of today's schema; a ledger that is not there yet is made.

    Raises:
        LedgerUnusable: the ledger is of another schema (the message names the command), or no ledger.
    """
    forget(path)  # whoever opens it means what lies there now
    close_idle()
    if not path.is_file() or path.stat().st_size == 0:
        from boneexp.ledger.upgrading import create  # loads SQLAlchemy

        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # so that it has the rights that the umask gives, and not SQLite's own idea of them
        create(path)
    with reading(path):
        return path


@contextmanager
def read_snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let every query of the block see the same ledger, whatever workers write meanwhile."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def sqlite_version(connection: sqlite3.Connection) -> str:
    """Return the version of SQLite that reads the ledger."""
    return str(connection.execute("SELECT sqlite_version()").fetchone()[0])
