"""Opening the ledger: to read (changes nothing), to write (one transaction), or to upgrade it.

Reading and writing need sqlite3 alone, so that `status` answers at once and a claim takes as long as SQLite
does; the migrations need SQLAlchemy. A writer takes the write lock at the start of its transaction, so that
what it has read still holds when it writes.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from boneexp.errors import Busy, Damaged, LedgerUnusable
from boneexp.ledger.read_only import not_written_meanwhile, opened_to_read
from boneexp.ledger.same_file import forget, gone, is_known, require_same_file
from boneexp.ledger.transaction import close_idle, one_transaction, opened_to_write

if TYPE_CHECKING:
    from sqlalchemy import Connection


SCHEMA = "0005"
BUSY_TIMEOUT_S = 30


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a read-only connection whose rows can be read by column name.

    Raises:
        LedgerUnusable: there is no ledger at `path`, or it is of another schema, or no ledger at all.
        Busy: it was written while it had to be read without a lock.
    """
    _require_file(path)
    with closing(_read_only(path)) as connection:
        try:
            check_schema(path, connection)
            with not_written_meanwhile(path, connection):
                yield connection
        except sqlite3.OperationalError as error:
            raise _unusable(path, error) from error
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
    _require_file(path)
    if not os.access(path, os.R_OK):
        raise LedgerUnusable(f"{path} cannot be read; check the rights of the file and its folder")
    with _errors_as_damage(path):
        try:
            connection = _read_only(path)
        except (LedgerUnusable, UnicodeDecodeError) as error:
            raise Damaged(f"{path} is no ledger any more: {error.__cause__ or error}") from error
        with closing(connection), not_written_meanwhile(path, connection):
            _refuse_newer(path, connection)
            yield connection


def _refuse_newer(path: Path, connection: sqlite3.Connection) -> None:
    try:
        found = _schema_of(path, connection)
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
        unusable = _unusable(path, error)
        if isinstance(unusable, Busy):
            raise unusable from error
        raise Damaged(f"{path} is damaged: {error}") from error


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection inside one write transaction; it commits when the block succeeds.

    Raises:
        LedgerUnusable: the ledger is missing, of another schema, read-only, damaged or on a full disk.
        Busy: another process held the write lock for longer than the timeout.
    """
    _require_file(path)
    place = path.resolve()
    try:
        with one_transaction(place, BUSY_TIMEOUT_S) as connection:
            require_same_file(path, place)
            check_schema(path, connection)
            yield connection
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise _unusable(path, error) from error


def open_ledger(path: Path) -> Path:
    """Return `path` as a ledger of today's schema; a ledger that is not there yet is made.

    Raises:
        LedgerUnusable: the ledger is of another schema (the message names the command), or no ledger.
    """
    forget(path)  # whoever opens it means what lies there now
    close_idle()
    if not path.is_file() or path.stat().st_size == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # so that it has the rights that the umask gives, and not SQLite's own idea of them
        migrate(path)
    with reading(path):
        return path


def upgrade(path: Path, now: float) -> Path | None:
    """Bring an old ledger to today's schema; return the backup made first, or None if it was current.

    Backup and migrations happen under one write lock, so nothing is written in between; what goes wrong on
    the way leaves the ledger as it was. What today's rule of seals covers and an earlier one did not is
    sealed as it is now, unless its old seal is broken.

    Raises:
        LedgerUnusable: there is no ledger, it is newer than this program, or it is no ledger; or the backup
            or a migration cannot be made.
        Damaged: the ledger is not sound, and is not upgraded like that.
        Busy: another process held the write lock for longer than the timeout.
    """
    from boneexp.ledger.backup import back_up  # and what it needs: readers need none of it
    from boneexp.ledger.history import seal_on_upgrade

    _require_file(path)
    with closing(_read_only(path)) as connection:
        if _is_current(path, connection):
            return None
        with _migrating(path) as transaction:
            found = _schema_of(path, connection)
            if _is_current(path, connection):  # another process was faster
                return None
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            backup = path.with_name(f"{path.name}.schema-{found or 'none'}.{stamp}.backup")
            back_up(connection, backup)
            run_migrations(transaction)
            seal_on_upgrade(as_sqlite(transaction), found, now)
    _keep_a_log(path)
    return backup


def migrate(path: Path) -> None:
    """Make the tables and views of a new ledger, all in one transaction."""
    _keep_a_log(path)
    with _migrating(path) as transaction:
        run_migrations(transaction)


@contextmanager
def _migrating(path: Path) -> Iterator["Connection"]:
    """Yield SQLAlchemy's connection inside one write transaction, whatever schema the ledger has."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import DatabaseError
    from sqlalchemy.pool import NullPool

    place = path.resolve()
    engine = create_engine(
        "sqlite://", creator=lambda: opened_to_write(place, BUSY_TIMEOUT_S), poolclass=NullPool
    )

    @event.listens_for(engine, "begin")
    def _take_write_lock(connection: "Connection") -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as transaction:
            yield transaction
    except DatabaseError as error:
        raise _unusable(path, error.orig or error) from error
    except sqlite3.DatabaseError as error:
        raise _unusable(path, error) from error


def _keep_a_log(path: Path) -> None:
    """Write ahead into a log beside the ledger, so that readers and a writer do not wait for each other."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError as error:
        raise _unusable(path, error) from error


def run_migrations(transaction: "Connection") -> None:
    """Run the migrations that the ledger lacks, inside its transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    config.attributes["connection"] = transaction
    command.upgrade(config, "head")


def _is_current(path: Path, connection: sqlite3.Connection) -> bool:
    """Tell whether the ledger has today's schema; raise LedgerUnusable if it has a newer one."""
    found = _schema_of(path, connection)
    if found > SCHEMA:
        check_schema(path, connection)
    return found == SCHEMA


def schema_of(connection: sqlite3.Connection) -> str:
    """Return the newest migration that was applied; "" if there was none."""
    return str(connection.execute("SELECT MAX(version_num) FROM alembic_version").fetchone()[0] or "")


def as_sqlite(connection: "Connection") -> sqlite3.Connection:
    """Return the connection below, whose rows are what SQLite returns, inside the same transaction."""
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def check_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Raise LedgerUnusable, with the command that helps, unless the ledger has today's schema."""
    found = _schema_of(path, connection)
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


def _schema_of(path: Path, connection: sqlite3.Connection) -> str:
    try:
        return schema_of(connection)
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error) or "not a database" in str(error):
            raise LedgerUnusable(f"{path} is not a boneexp ledger; name yours with --ledger FILE") from error
        raise _unusable(path, error) from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        missing = (
            f"there is no ledger {path}; name yours with --ledger FILE, or begin a study: boneexp init "
            "writes its grid file, and boneexp queue makes the ledger"
        )
        raise gone(path) if is_known(path) else LedgerUnusable(missing)


def _read_only(path: Path) -> sqlite3.Connection:
    try:
        return opened_to_read(path, BUSY_TIMEOUT_S)
    except sqlite3.OperationalError as error:
        raise _unusable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise LedgerUnusable(
            f"{path} is not a boneexp ledger ({error}); name yours with --ledger FILE"
        ) from error


def _migrations() -> Path:
    """Return where the migrations lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _unusable(path: Path, error: BaseException) -> Busy | LedgerUnusable:
    said = str(error)
    if "locked" in said:
        return Busy(f"{path} is held by another process for more than {BUSY_TIMEOUT_S} s; try again")
    if any(words in said for words in ("readonly", "read-only", "unable to open")):
        rights = f"check the rights of the file, of its folder, and of {path.name}-wal and -shm beside it"
        return LedgerUnusable(f"{path} cannot be opened or written: {said}; {rights}")
    if "full" in said:
        return LedgerUnusable(f"the disk under {path} is full; nothing was lost; free space and try again")
    return LedgerUnusable(f"{path} cannot be used as a ledger: {said}")


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
