"""Upgrading ledgers of every earlier schema: no row is lost, work goes on, and what fails changes nothing."""

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Study
from full_ledger import ABANDONED, CANCELLED, FAILED, LATER, QUEUED
from settled_ledger import settle_next, settled_ledger
from typer.main import get_command

from boneexp.cli.app import app
from boneexp.comparison.compared import compared
from boneexp.errors import Busy, Damaged, LedgerUnusable
from boneexp.ledger import database, schema, tables, upgrading
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import reading, writing
from boneexp.ledger.quarantine import OF_EACH_RUN, quarantined
from boneexp.ledger.queries.runs import run_rows
from boneexp.ledger.queue import retry
from boneexp.ledger.schema import SCHEMA
from boneexp.ledger.seals import broken_seals
from boneexp.ledger.upgrading import upgrade

OLD = sorted((Path(__file__).parent / "ledgers").glob("*.db"))
SETTLED = {"explanations": 1, "promotion": 4, "run": 6}  # in each of them
BROKEN_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "{last}"


def upgrade():
    op.add_column("runs", sa.Column("half_done", sa.Integer()))
    op.execute("UPDATE runs SET half_done = 1, state = 'queued'")
    op.execute("DELETE FROM predictions")
    op.execute("DROP VIEW leaderboard")
    op.execute("INSERT INTO no_such_table VALUES (1)")
"""


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request, tmp_path):
    """A copy: opening a ledger makes files beside it."""
    return Path(shutil.copyfile(request.param, tmp_path / "ledger.db"))


def rows_of(path):
    """Return table -> its rows, in the order of their keys."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for (name,) in names
        }


def schema_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()


def backups(path):
    return sorted(each.name for each in path.parent.iterdir() if ".schema-" in each.name)


def test_there_is_a_ledger_of_every_earlier_schema():
    assert [path.stem for path in OLD] == [f"{number:04}" for number in range(1, int(SCHEMA))]


def test_a_kept_ledger_has_rows_in_every_table_of_its_schema(old):
    assert [name for name, rows in rows_of(old).items() if not rows] == []


def test_an_upgrade_keeps_every_row_of_every_table(old):
    before = rows_of(old)
    backup = upgrade(old, now=0)
    after = rows_of(old)
    assert rows_of(backup) == before
    assert set(after) == {*tables.metadata.tables, "alembic_version"}
    assert after.pop("alembic_version") == [(SCHEMA,)]
    for name in before.keys() - {"events", "alembic_version"}:
        columns = len(before[name][0])  # new ones come after
        assert [row[:columns] for row in after[name]] == before[name], name
    assert set(before["events"]) <= set(after["events"])  # to which the seals were added


def test_an_upgraded_ledger_has_the_schema_of_a_new_one(old, tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    new = database.open_ledger(tmp_path / "new" / "ledger.db")
    upgrade(old, now=0)
    with upgrading._migrating(old) as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    assert schema_of(old) == schema_of(new)


def test_an_upgrade_seals_by_todays_rule_what_earlier_rules_sealed_less_of_or_not_at_all(old):
    upgrade(old, now=7.0)
    with reading(old) as connection:
        assert first_broken_event(connection) is None
        assert list(broken_seals(connection)) == []
        sealed = connection.execute(
            "SELECT json_extract(details_json, '$.subject') AS subject, COUNT(*), MIN(at), MAX(at)"
            " FROM events WHERE kind = 'sealed' GROUP BY subject"
        ).fetchall()
        late = connection.execute("SELECT COUNT(DISTINCT run_id) FROM late_results").fetchone()[0]
    counts = {"dataset": 1, "grid": 1, **SETTLED, "study": 1, **({"late result": 1} if late else {})}
    assert [tuple(row) for row in sealed] == [(kind, counts[kind], 7.0, 7.0) for kind in sorted(counts)]


@pytest.mark.parametrize(("change", "subject"), [
    ("DELETE FROM events WHERE id >= (SELECT MAX(id) FROM events WHERE kind = 'failed')", "run 5"),
    ("UPDATE metrics SET value = 1 WHERE run_id = 3 AND metric = 'accuracy'", "run 3"),
    ("UPDATE image_attributes SET value = 'male' WHERE attribute = 'sex'", "dataset"),
])  # fmt: skip
def test_an_upgrade_seals_nothing_over_a_seal_that_is_broken_or_was_cut_off(change, subject, tmp_path):
    old = Path(shutil.copyfile(OLD[-1], tmp_path / "ledger.db"))
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute(change).rowcount
        connection.commit()
    upgrade(old, now=7.0)
    with reading(old) as connection:
        found = [str(each.subject) for each in broken_seals(connection)]
        assert [each for each in found if each.startswith(subject)]
        assert "the study" not in found
        if subject == "run 3":  # by its old seal, which knows no summaries
            assert "run 3: table metrics" in quarantined(connection)["E2"][0]


def test_the_summary_of_a_run_under_an_old_seal_is_held_against_its_metrics(tmp_path):
    old = Path(shutil.copyfile(OLD[-1], tmp_path / "ledger.db"))
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE epochs SET val_loss = 0 WHERE run_id = 3")  # so that it keeps its old seal
        connection.execute("UPDATE run_summaries SET accuracy = 1 WHERE run_id = 3 AND part = 'test'")
        connection.commit()
    upgrade(old, now=7.0)
    with reading(old) as connection:
        assert quarantined(connection, OF_EACH_RUN) == {
            "E2": ("run 3: table run_summaries does not say what its sealed metrics say",)
        }


def test_runs_go_on_after_an_upgrade(old):
    upgrade(old, now=0)
    with writing(old) as connection:
        retry(connection, FAILED, LATER + 10_000)
        retry(connection, CANCELLED, LATER + 10_000)
    done = [settle_next(old, LATER + 20_000).run_id for _ in range(4)]
    assert sorted(done) == [FAILED, CANCELLED, ABANDONED, QUEUED]
    with reading(old) as connection:
        assert {row.state for row in run_rows(connection)} == {"succeeded"}
        found = compared(connection)
        assert first_broken_event(connection) is None
        assert list(broken_seals(connection)) == []
    assert found.best == "E4"
    assert all(row.means["center_holdout_accuracy"] is not None for row in found.rows)


def test_the_old_grid_queued_again_is_known_and_breaks_no_seal(old):
    upgrade(old, now=0)
    with closing(sqlite3.connect(old)) as connection:
        runs = connection.execute("SELECT COUNT(*) FROM runs").fetchone()
    grid = ("E1", "E2", "E3", "E4")
    before = dict.fromkeys(grid, {"data": {"lesion": "union"}})  # as it was before this was a setting
    settled_ledger(old, experiments=grid, names={"E1": "another name"}, designs=before, settle=False)
    with reading(old) as connection:
        assert tuple(connection.execute("SELECT COUNT(*) FROM runs").fetchone()) == runs
        assert list(broken_seals(connection)) == []
        query = "SELECT name, json_extract(settings_json, '$.name') FROM experiments WHERE experiment = 'E1'"
        assert tuple(connection.execute(query).fetchone()) == ("another name", "another name")
        annotated = connection.execute("SELECT COUNT(*) FROM experiments WHERE annotations").fetchone()[0]
    settled_ledger(old, experiments=grid, settle=False)
    with reading(old) as connection:
        new = "SELECT COUNT(*) FROM runs WHERE id > ?"
        assert connection.execute(new, runs).fetchone()[0] == 2 * annotated > 0  # on both splits


def test_a_migration_that_fails_in_the_middle_leaves_the_old_schema_and_every_row(old, tmp_path, monkeypatch):
    broken = tmp_path / "migrations"
    shutil.copytree(upgrading._migrations(), broken)
    (broken / "versions" / "9998_broken.py").write_text(BROKEN_MIGRATION.format(last=SCHEMA))
    before = rows_of(old), schema_of(old)
    monkeypatch.setattr(upgrading, "_migrations", lambda: broken)
    with pytest.raises(LedgerUnusable, match="no_such_table"):
        upgrade(old, now=0)
    assert (rows_of(old), schema_of(old)) == before
    monkeypatch.undo()
    upgrade(old, now=1)
    assert rows_of(old)["alembic_version"] == [(SCHEMA,)]


def test_without_room_for_the_backup_nothing_is_upgraded(old):
    before = old.read_bytes()
    program = (
        "import resource, sys; from boneexp.cli.app import app;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        f"app(['upgrade', '--ledger', {str(old)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be backed up to" in done.stderr
    assert "Traceback" not in done.stderr
    assert old.read_bytes() == before
    assert backups(old) == []


def test_a_backup_that_is_there_already_is_not_overwritten(old):
    with closing(sqlite3.connect(old)) as connection:
        found = schema.schema_of(connection)
    taken = old.with_name(f"ledger.db.schema-{found}.19700101T000000Z.backup")
    taken.write_text("kept")
    before = rows_of(old)
    with pytest.raises(LedgerUnusable, match="is there already"):
        upgrade(old, now=0)
    assert taken.read_text() == "kept"
    assert rows_of(old) == before


def test_a_damaged_ledger_is_not_upgraded(old):
    content = bytearray(old.read_bytes())
    content[20 * 4096 : 40 * 4096] = bytes(20 * 4096)
    old.write_bytes(content)
    with pytest.raises((Damaged, LedgerUnusable)):
        upgrade(old, now=0)
    assert old.read_bytes() == content
    assert backups(old) == []


def test_an_upgrade_gives_up_when_another_process_holds_the_ledger(old, monkeypatch):
    before = rows_of(old)
    monkeypatch.setattr(upgrading, "BUSY_TIMEOUT_S", 0.05)
    with closing(sqlite3.connect(old, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE runs SET stop_requested = 1")
        with pytest.raises(Busy):
            upgrade(old, now=0)
        other.execute("ROLLBACK")
    assert rows_of(old) == before
    assert backups(old) == []


def test_of_two_upgrades_at_once_one_does_it(old):
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda now: upgrade(old, now), (0, 1)))
    assert sorted(backup is None for backup in done) == [False, True]
    assert len(backups(old)) == 1
    with reading(old) as connection:
        assert list(broken_seals(connection)) == []


def test_doctor_looks_at_an_old_ledger_as_far_as_it_can_and_names_the_upgrade(old):
    study = Study(old.parent)
    found = {each["check"]: each for each in study.json("doctor")["findings"]}
    assert found["schema"]["severity"] == "warning"
    assert found["schema"]["mend"] == "boneexp upgrade --ledger ledger.db"
    assert found["integrity"]["severity"] == found["history"]["severity"] == "ok"
    assert "seals" not in found
    assert study.json("doctor", "--fix", "--yes")["steps"] == []
    study("backup", "old.db")
    assert rows_of(old.with_name("old.db")) == rows_of(old)


def test_a_worker_that_still_runs_the_old_program_writes_nothing_more(ledger):
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(LedgerUnusable, match="newer boneexp"), writing(ledger) as connection:
        connection.execute("DELETE FROM runs")


COMMANDS = {
    "queue": (),
    "run": ("--next",),
    "status": (),
    "show": ("1",),
    "compare": (),
    "report": (),
    "report --check": (),
    "export --bundle": ("study.zip",),
    "reproduce": ("1",),
    "promote": ("E2", "--yes"),
    "gradcam": (),
    "retry": (str(FAILED),),
    "cancel": (str(QUEUED),),
    "upgrade": (),
    "doctor": (),
    "doctor --fix": ("--yes",),
    "backup": ("copy.db",),
    "rollback": ("--yes",),
    "decisions": (),
}
NO_LEDGER = {"init", "data", "verify-resume"}


def test_the_commands_below_are_all_that_open_a_ledger():
    assert set(get_command(app).commands) - NO_LEDGER == {command.split(" ")[0] for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_newer_ledger_is_refused_unharmed_by_every_command(command, study: Study):
    shutil.copyfile(OLD[-1], study.ledger)
    with closing(sqlite3.connect(study.ledger)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = study.ledger.read_bytes()
    refused = study(*command.split(" "), *COMMANDS[command], code=1)
    assert "made by a newer boneexp than this one" in refused.output
    assert study.ledger.read_bytes() == before
    assert backups(study.ledger) == []
