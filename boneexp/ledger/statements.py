"""INSERT and UPDATE by column name. Names of tables and columns come from this program, values from anywhere.

SQLAlchemy is not asked for them: it takes longer to compose a statement than SQLite takes to run it
(docs/performance.md).
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

Row = Mapping[str, Any]


def insert(connection: sqlite3.Connection, table: str, row: Row) -> int:
    """Insert a row; return the number that it was given."""
    number = connection.execute(_insert("INSERT", table, row), row).lastrowid
    return int(number or 0)


def insert_all(
    connection: sqlite3.Connection,
    table: str,
    rows: Sequence[Row],
    how: Literal["INSERT", "INSERT OR IGNORE", "INSERT OR REPLACE"] = "INSERT",
) -> None:
    """Insert rows that have the same columns; none is no mistake."""
    if rows:
        connection.executemany(_insert(how, table, rows[0]), rows)


def update(connection: sqlite3.Connection, table: str, key: Row, **values: Any) -> None:
    """Set columns of the rows whose columns are those of `key`."""
    changed = ", ".join(f"{name} = ?" for name in values)
    which = " AND ".join(f"{name} = ?" for name in key)
    connection.execute(f"UPDATE {table} SET {changed} WHERE {which}", (*values.values(), *key.values()))


def _insert(how: str, table: str, row: Row) -> str:
    return f"{how} INTO {table} ({', '.join(row)}) VALUES (:{', :'.join(row)})"


Facts = dict[str, Any]


def rows_of(connection: sqlite3.Connection, query: str, values: Sequence[object] = ()) -> list[Facts]:
    """Return what a query finds, each row by the names of its columns."""
    return [dict(row) for row in connection.execute(query, tuple(values))]


def each_row(connection: sqlite3.Connection, query: str) -> Iterator[Facts]:
    """Yield the rows of a query one by one."""
    return (dict(row) for row in connection.execute(query))


def tuples_of(
    connection: sqlite3.Connection, query: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """Return what a query finds, each row as a tuple."""
    return [tuple(row) for row in connection.execute(query, tuple(values))]
