import os
import sqlite3
import stat

import pytest
import specs as make

from boneexp.errors import LedgerUnusable
from boneexp.ledger import database, tables, views
from boneexp.ledger.database import SCHEMA, open_ledger, reading, upgrade, writing


def test_the_migrations_make_exactly_the_tables_that_the_program_knows(ledger):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with writing(ledger) as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_schema_number_is_the_newest_migration():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(database._migrations()))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


def test_opening_a_new_ledger_makes_it_and_opening_it_again_changes_nothing(tmp_path):
    path = open_ledger(tmp_path / "new" / "ledger.db")
    before = path.read_bytes()
    assert open_ledger(path) == path
    assert path.read_bytes() == before


def test_a_missing_ledger_is_named_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(LedgerUnusable, match="boneexp queue --grid"), reading(tmp_path / "none.db"):
        pass
    with pytest.raises(LedgerUnusable, match="boneexp queue --grid"), writing(tmp_path / "none.db"):
        pass
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("these are notes and no database at all" * 50)
    with pytest.raises(LedgerUnusable, match="not a boneexp ledger"):
        open_ledger(text)
    assert text.read_text().startswith("these are notes")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE photos (id)")
    with pytest.raises(LedgerUnusable, match="not a boneexp ledger"):
        open_ledger(other)


def stamp(path, version):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


def test_an_old_ledger_names_the_command_that_upgrades_it(ledger):
    stamp(ledger, "0000")
    with pytest.raises(LedgerUnusable, match="boneexp upgrade --ledger"):
        open_ledger(ledger)


def test_a_newer_ledger_is_refused_unharmed(ledger):
    stamp(ledger, "9999")
    before = ledger.read_bytes()
    with pytest.raises(LedgerUnusable, match="newer boneexp"):
        open_ledger(ledger)
    with pytest.raises(LedgerUnusable, match="newer boneexp"):
        upgrade(ledger, now=0)
    assert ledger.read_bytes() == before


def test_an_upgrade_backs_the_ledger_up_first(tmp_path):
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as connection:  # as a first schema would find it: stamped with nothing
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    backup = upgrade(path, now=0)
    assert backup is not None
    assert backup.name == "ledger.db.schema-none.19700101T000000Z.backup"
    with sqlite3.connect(backup) as connection:
        assert connection.execute("SELECT COUNT(*) FROM alembic_version").fetchone() == (0,)
    with reading(path) as connection:
        assert views.run_rows(connection) == []
    assert upgrade(path, now=0) is None


def test_a_failed_transaction_leaves_nothing(ledger):
    with pytest.raises(RuntimeError), writing(ledger) as connection:
        make.queued(connection, make.specs(2))
        raise RuntimeError
    with reading(ledger) as connection:
        assert views.run_rows(connection) == []


def test_a_reader_cannot_write(ledger):
    with pytest.raises(LedgerUnusable), reading(ledger) as connection:
        connection.execute("DELETE FROM runs")


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere; the next test covers the file's rights"
)
def test_a_ledger_in_a_read_only_folder_can_be_read(ledger):
    ledger.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with reading(ledger) as connection:
            assert views.run_rows(connection) == []
    finally:
        ledger.parent.chmod(stat.S_IRWXU)


def test_a_ledger_whose_index_cannot_be_written_is_read_as_it_lies(ledger, monkeypatch):
    real = sqlite3.connect

    def without_index(address, **options):
        if "immutable" not in str(address):
            raise sqlite3.OperationalError("unable to open database file")
        return real(address, **options)

    with writing(ledger) as connection:
        make.queued(connection, make.specs(2))
    with real(ledger) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    monkeypatch.setattr(database.sqlite3, "connect", without_index)
    with reading(ledger) as connection:
        assert len(views.run_rows(connection)) == 2
