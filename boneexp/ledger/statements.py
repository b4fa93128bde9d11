"""Typed rows out of the ledger, and INSERT and UPDATE by column name.

Names of tables and columns come from this program, values from anywhere. SQLAlchemy is not asked for them: it
takes longer to compose a statement than SQLite takes to run it (docs/performance.md).
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, TypeVar

Row = Mapping[str, Any]
Values = Sequence[object] | Mapping[str, object]
R = TypeVar("R")


def read(connection: sqlite3.Connection, kind: type[R], query: str, values: Values = ()) -> list[R]:
    """Return what a query finds, each row as a `kind`: a dataclass whose fields are the query's columns.

    `SELECT * FROM` reads the columns that `kind` has fields for.

    Raises:
        TypeError: the columns have other names than the fields, or another order.
    """
    return list(read_each(connection, kind, query, values))


def read_each(connection: sqlite3.Connection, kind: type[R], query: str, values: Values = ()) -> Iterator[R]:
    """Yield the rows of a query one by one, as `read` returns them."""
    names = field_names(kind)
    cursor = connection.execute(
        query.replace("SELECT * FROM", f"SELECT [{'], ['.join(names)}] FROM", 1), values
    )
    found = tuple(column[0] for column in cursor.description)
    if found != names:
        raise TypeError(f"{kind.__name__} has the fields {names}, and the query the columns {found}")
    return (kind(*row) for row in cursor)


def read_one(connection: sqlite3.Connection, kind: type[R], query: str, values: Values = ()) -> R | None:
    """Return the first row of a query as `read` returns it; None where there is none."""
    return next(iter(read(connection, kind, query, values)), None)


def field_names(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, which are the columns of its query."""
    return tuple(each.name for each in fields(kind))


def record(row: object) -> dict[str, Any]:
    """Return a row by the names of its columns, in their order: what `--json` and `--csv` show of it.

    dataclasses.asdict copies every value, which takes a second for ten thousand runs.
    """
    return {name: getattr(row, name) for name in field_names(type(row))}


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


def tuples_of(
    connection: sqlite3.Connection, query: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """Return what a query finds, each row as a tuple."""
    return [tuple(row) for row in connection.execute(query, tuple(values))]
