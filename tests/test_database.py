import gc
import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import specs as make

from boneexp.errors import Busy, LedgerUnusable
from boneexp.ledger import database, network, tables, upgrading
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.network import kind_of_file_system, network_file_system
from boneexp.ledger.queries.runs import run_rows
from boneexp.ledger.schema import SCHEMA
from boneexp.ledger.transaction import close_idle
from boneexp.ledger.upgrading import upgrade


def test_the_migrations_make_exactly_the_tables_that_the_program_knows(ledger):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with upgrading._migrating(ledger) as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_schema_number_is_the_newest_migration():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(upgrading._migrations()))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


def test_opening_a_new_ledger_makes_it_and_opening_it_again_changes_nothing(tmp_path):
    path = open_ledger(tmp_path / "new" / "ledger.db")
    before = path.read_bytes()
    assert open_ledger(path) == path
    assert path.read_bytes() == before


def test_a_missing_ledger_is_named_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(LedgerUnusable, match="boneexp init"), reading(tmp_path / "none.db"):
        pass
    with pytest.raises(LedgerUnusable, match="boneexp init"), writing(tmp_path / "none.db"):
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
        assert run_rows(connection) == []
    assert upgrade(path, now=0) is None


def test_a_failed_transaction_leaves_nothing(ledger):
    with pytest.raises(RuntimeError), writing(ledger) as connection:
        make.queued(connection, make.specs(2))
        raise RuntimeError
    with reading(ledger) as connection:
        assert run_rows(connection) == []


def test_a_connection_is_kept_for_the_next_who_writes_whatever_became_of_the_first(ledger):
    with pytest.raises(RuntimeError), writing(ledger) as first:
        raise RuntimeError
    with writing(ledger) as second:
        assert second is first
    with sqlite3.connect(ledger, timeout=0) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody holds the lock any more


def test_who_writes_while_another_thread_does_has_a_connection_of_its_own(ledger):
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda seed: queue_one(ledger, seed), range(40)))
    assert sorted(added) == list(range(1, 41))
    with reading(ledger) as connection:
        assert first_broken_event(connection) is None


def queue_one(path, seed):
    with writing(path) as connection:
        return make.queued(connection, [make.spec(seed=seed)]).added[0]


def test_a_reader_cannot_write(ledger):
    with pytest.raises(LedgerUnusable), reading(ledger) as connection:
        connection.execute("DELETE FROM runs")


def test_a_writer_that_waits_too_long_is_told_so_in_one_sentence(ledger, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    close_idle()
    holder = sqlite3.connect(ledger, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="is held by another process"), writing(ledger):
        raise AssertionError
    with reading(ledger) as connection:
        assert run_rows(connection) == []
    holder.execute("ROLLBACK")
    with writing(ledger) as connection:
        make.queued(connection, make.specs(1))


def test_an_upgrade_that_finds_the_ledger_held_says_so_and_changes_nothing(ledger, monkeypatch):
    stamp(ledger, "0000")
    monkeypatch.setattr(upgrading, "BUSY_TIMEOUT_S", 0)
    close_idle()
    holder = sqlite3.connect(ledger, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="is held by another process"):
        upgrade(ledger, now=0)
    holder.execute("ROLLBACK")
    assert holder.execute("SELECT version_num FROM alembic_version").fetchone() == ("0000",)


def runs_in(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]


@pytest.mark.parametrize("move", ["delete", "rename"])
def test_a_ledger_that_vanished_while_it_was_in_use_stops_the_writer_and_is_not_made_anew(ledger, move):
    with writing(ledger) as connection:
        make.queued(connection, make.specs(1))
    if move == "delete":
        ledger.unlink()
    else:
        ledger.rename(ledger.with_name("moved.db"))
    with pytest.raises(LedgerUnusable, match="is gone"), reading(ledger):
        raise AssertionError
    with pytest.raises(LedgerUnusable) as said, writing(ledger):
        raise AssertionError
    for words in ("deleted or moved while it was in use", "under the artifacts folder", "boneexp run --all"):
        assert words in str(said.value)
    assert not ledger.exists()


def test_a_ledger_that_vanishes_while_its_lock_is_waited_for_is_not_written(ledger, monkeypatch):
    with writing(ledger) as connection:
        make.queued(connection, make.specs(1))
    look = database.require_same_file

    def vanishes(*paths):
        ledger.rename(ledger.with_name("moved.db"))
        look(*paths)

    monkeypatch.setattr(database, "require_same_file", vanishes)
    with pytest.raises(LedgerUnusable, match="is gone"), writing(ledger) as connection:
        make.queued(connection, make.specs(3))
    monkeypatch.undo()
    ledger.with_name("moved.db").rename(ledger)
    assert runs_in(ledger) == 1
    with writing(ledger) as connection:  # it came back, and is the same file
        make.queued(connection, make.specs(3))
    assert runs_in(ledger) == 3


def test_a_ledger_that_was_replaced_while_it_was_in_use_is_not_written(ledger, tmp_path):
    with writing(ledger) as connection:
        make.queued(connection, make.specs(1))
    with sqlite3.connect(ledger) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
    (tmp_path / "backup.db").replace(ledger)
    with pytest.raises(LedgerUnusable, match="is another file than before") as said, writing(ledger):
        raise AssertionError
    assert "ledger.db-wal and ledger.db-shm" in str(said.value)
    close_idle()  # which closes the former one
    gc.collect()
    for end in ("-wal", "-shm"):
        ledger.with_name(f"ledger.db{end}").unlink()
    assert runs_in(ledger) == 1
    with writing(open_ledger(ledger)) as connection:  # who opens it means the new one
        make.queued(connection, make.specs(3))
    assert runs_in(ledger) == 3


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
//server/share /mnt/my\\040share cifs rw 0 0
me@server: /mnt/far fuse.sshfs rw 0 0
tmpfs /home/scratch tmpfs rw 0 0
/dev/sdb1 /data xfs rw 0 0
server:/data /data nfs rw 0 0
C:\\134 /mnt/c 9p rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/study/ledger.db", "ext4"),
        ("/home/anna/ledger.db", "nfs4"),
        ("/homework/ledger.db", "ext4"),
        ("/home/scratch/ledger.db", "tmpfs"),
        ("/mnt/my share/ledger.db", "cifs"),
        ("/mnt/far/off/ledger.db", "fuse.sshfs"),
        ("/data/ledger.db", "nfs"),
        ("/mnt/c/ledger.db", "9p"),
    ],
)
def test_a_file_system_is_known_by_the_deepest_and_newest_mount(tmp_path, path, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert kind_of_file_system(Path(path), mounts) == kind
    assert kind_of_file_system(Path(path), tmp_path / "none") == ""


def test_a_network_file_system_is_named_and_a_local_one_is_not(monkeypatch):
    for kind, named in (("nfs4", "nfs4"), ("fuse.sshfs", "fuse.sshfs"), ("ext4", None), ("", None)):
        monkeypatch.setattr(network, "kind_of_file_system", lambda _, kind=kind: kind)
        assert network_file_system(Path("ledger.db")) == named


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere; the next test covers the file's rights"
)
def test_a_ledger_in_a_read_only_folder_can_be_read(ledger):
    ledger.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with reading(ledger) as connection:
            assert run_rows(connection) == []
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
        assert len(run_rows(connection)) == 2
