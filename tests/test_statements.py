"""Rows come out of the ledger as dataclasses whose fields are the columns."""

import sqlite3
from dataclasses import dataclass

import pytest

from boneexp.ledger.statements import read, read_each, read_one, record


@dataclass(frozen=True)
class Pair:
    first: int
    group: str


@pytest.fixture
def pairs():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.execute('CREATE TABLE pairs ("group" TEXT, extra TEXT, first INTEGER)')
    connection.executemany("INSERT INTO pairs VALUES (?, 'x', ?)", [("a", 1), ("b", 2)])
    yield connection
    connection.close()


def test_a_query_for_all_columns_reads_those_that_the_dataclass_has(pairs):
    query = "SELECT * FROM pairs WHERE first > ? ORDER BY first"
    assert read(pairs, Pair, query, (0,)) == [Pair(1, "a"), Pair(2, "b")]
    assert read_one(pairs, Pair, query, (1,)) == Pair(2, "b")
    assert read_one(pairs, Pair, query, (2,)) is None


def test_named_values_and_rows_one_by_one(pairs):
    query = 'SELECT first, "group" FROM pairs WHERE first = :which'
    assert next(read_each(pairs, Pair, query, {"which": 2})) == Pair(2, "b")


@pytest.mark.parametrize("columns", ['"group", first', "first", 'first, "group" AS centre'])
def test_a_query_whose_columns_are_not_the_fields_is_refused(pairs, columns):
    with pytest.raises(TypeError, match="Pair has the fields"):
        read(pairs, Pair, f"SELECT {columns} FROM pairs")


def test_a_column_that_is_not_there_is_an_error_and_no_text(pairs):
    @dataclass(frozen=True)
    class Wrong:
        missing: str

    with pytest.raises(sqlite3.OperationalError, match="missing"):
        read(pairs, Wrong, "SELECT * FROM pairs")


def test_a_record_has_the_columns_in_their_order():
    assert list(record(Pair(1, "a")).items()) == [("first", 1), ("group", "a")]
