"""A new ledger's tables and views, and an old ledger brought to today's schema.

The migrations need SQLAlchemy and Alembic, which neither readers nor writers load.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from boneexp.ledger.schema import (
    BUSY_TIMEOUT_S,
    SCHEMA,
    check_schema,
    opened_read_only,
    require_file,
    schema_of_ledger,
    unusable,
)
from boneexp.ledger.transaction import opened_to_write

if TYPE_CHECKING:
    from sqlalchemy import Connection


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

    require_file(path)
    with closing(opened_read_only(path)) as connection:
        if _is_current(path, connection):
            return None
        with _migrating(path) as transaction:
            found = schema_of_ledger(path, connection)
            if _is_current(path, connection):  # another process was faster
                return None
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            backup = path.with_name(f"{path.name}.schema-{found or 'none'}.{stamp}.backup")
            back_up(connection, backup)
            run_migrations(transaction)
            seal_on_upgrade(as_sqlite(transaction), found, now)
    _keep_a_log(path)
    return backup


def create(path: Path) -> None:
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
        raise unusable(path, error.orig or error) from error
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from error


def _keep_a_log(path: Path) -> None:
    """Write ahead into a log beside the ledger, so that readers and a writer do not wait for each other."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from error


def run_migrations(transaction: "Connection") -> None:
    """Run the migrations that the ledger lacks, inside its transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    config.attributes["connection"] = transaction
    command.upgrade(config, "head")


def _is_current(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether the ledger has today's schema; raise LedgerUnusable if it has a newer one."""
    found = schema_of_ledger(path, connection)
    if found > SCHEMA:
        check_schema(path, connection)
    return found == SCHEMA


def as_sqlite(connection: "Connection") -> sqlite3.Connection:
    """Return the connection below, whose rows are what SQLite returns, inside the same transaction."""
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def _migrations() -> Path:
    """Return where the migrations lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"
