"""Upgrading ledgers of every earlier schema: nothing is lost, and work goes on."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from boneexp.ledger import tables, views
from boneexp.ledger.database import SCHEMA, reading, upgrade, writing

OLD = sorted((Path(__file__).parent / "ledgers").glob("*.db"))


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request, tmp_path):
    """A copy: opening a ledger makes files beside it."""
    return Path(shutil.copyfile(request.param, tmp_path / "ledger.db"))


def rows_of(path):
    """Return table -> its rows, in the order of their keys."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'alembic_version'"
        ).fetchall()
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for (name,) in names
        }


def test_there_is_a_ledger_of_every_earlier_schema():
    assert [path.stem for path in OLD] == [f"{number:04}" for number in range(1, int(SCHEMA))]


def test_a_kept_ledger_has_rows_in_every_table_of_its_schema(old):
    assert [name for name, rows in rows_of(old).items() if not rows] == []


def test_an_upgrade_keeps_every_row_of_every_table(old):
    before = rows_of(old)
    backup = upgrade(old, now=0)
    after = rows_of(old)
    assert {name: after[name] for name in before} == before
    assert rows_of(backup) == before
    assert set(after) == set(tables.metadata.tables)


def test_an_upgraded_ledger_has_the_schema_of_a_new_one(old):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    upgrade(old, now=0)
    with writing(old) as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    with reading(old) as connection:
        assert len(views.run_rows(connection)) == 8
