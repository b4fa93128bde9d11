"""Whether the ledger is sound as a database and as the migrations make it; and fixing what can be fixed."""

import sqlite3
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import create_engine

from boneexp.ledger.upgrading import as_sqlite, run_migrations

AT_MOST = 20  # problems of one kind that are listed
Objects = dict[tuple[str, str], str]  # (type, name) -> the SQL that made it


@dataclass(frozen=True)
class Difference:
    """A table, view, index or trigger that is missing, changed, or not of the migrations."""

    how: str
    type: str
    name: str


def integrity_problems(connection: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with pages, indices and constraints."""
    rows = connection.execute(f"PRAGMA integrity_check({AT_MOST})")
    return [row[0] for row in rows if row[0] != "ok"]


def foreign_key_problems(connection: sqlite3.Connection) -> list[str]:
    """Return which rows name a row that is not there."""
    rows = connection.execute("PRAGMA foreign_key_check").fetchmany(AT_MOST)
    return [
        f"a row of {row[0]} ({row[1] or 'without number'}) names one of {row[2]} that is gone" for row in rows
    ]


def differences(connection: sqlite3.Connection) -> list[Difference]:
    """Return where tables, views, indices and triggers are not those of a new ledger."""
    found, right = _objects(connection), _objects_of_a_new_ledger()
    missing = [Difference("missing", *key) for key in right if key not in found]
    changed = [Difference("changed", *key) for key in right if key in found and found[key] != right[key]]
    return [*missing, *changed, *(Difference("extra", *key) for key in found if key not in right)]


def rebuild(connection: sqlite3.Connection, wrong: list[Difference]) -> None:
    """Make views and indices that are missing or changed again, as the migrations do; tables stay."""
    right = _objects_of_a_new_ledger()
    for each in wrong:
        if is_rebuildable(each):
            connection.execute(f'DROP {each.type} IF EXISTS "{each.name}"')
            connection.execute(right[each.type, each.name])


def is_rebuildable(difference: Difference) -> bool:
    """Whether it holds no data of its own."""
    return difference.type in ("view", "index") and difference.how != "extra"


def rebuild_indices(connection: sqlite3.Connection) -> None:
    """Make every index again from its table."""
    connection.execute("REINDEX")


def _objects(connection: sqlite3.Connection) -> Objects:
    """Return all but SQLite's own."""
    query = (
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid"
    )
    return {(row[0], row[1]): row[2] for row in connection.execute(query)}


@lru_cache(maxsize=1)
def _objects_of_a_new_ledger() -> Objects:
    with create_engine("sqlite://").begin() as connection:
        run_migrations(connection)
        return _objects(as_sqlite(connection))
