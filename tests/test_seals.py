"""Whoever changes a row of something settled leaves a trace; what may change leaves none."""

import hashlib
import json
import sqlite3
from contextlib import closing

import pytest
import specs as make
from full_ledger import FAILED, full_ledger
from settled_ledger import NOW, settled_ledger

from boneexp.ledger import tables
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import reading, writing
from boneexp.ledger.history import record_event
from boneexp.ledger.queue import retry
from boneexp.ledger.sealed_rows import FIRST_RULE, RULE, RULES
from boneexp.ledger.seals import Subject, broken_seals, seal_of, standing_seals
from boneexp.study.settings import digest_of

FINISHED = 3
DATASET = digest_of("BTXRD")
# What changes of a settled run, and is not sealed; docs/ledger.md says why.
LEFT_OUT = {
    ("runs", "killed_attempts"),
    ("runs", "max_attempts"),
    ("runs", "lease_until"),
    ("runs", "stop_requested"),
}
OF_RUN = {
    "runs": "id = 3",
    "experiments": "id = (SELECT experiment_ref FROM runs WHERE id = 3)",
    **dict.fromkeys(("attempts", "epochs", "metrics", "predictions", "files", "explanations"), "run_id = 3"),
    "run_summaries": "run_id = 3",
    "promotions": "id = 2",
    "datasets": "1",
    "image_attributes": "attribute = 'sex'",
    "study_figures": "kind = 'target'",
    "selection_keys": "1",
}
COLUMNS = [(table, column.name) for table in OF_RUN for column in tables.metadata.tables[table].columns]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    path = full_ledger(tmp_path_factory.mktemp("full") / "ledger.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def scratch(full):
    """A copy in memory, to be changed by hand as with the sqlite3 program: nothing is checked there."""
    with closing(sqlite3.connect(":memory:")) as connection:
        with closing(sqlite3.connect(full)) as source:
            source.backup(connection)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        yield connection


def broken(connection):
    return {(str(each.subject), table) for each in broken_seals(connection) for table in each.tables}


def test_everything_settled_is_sealed_and_every_seal_holds(full):
    with reading(full) as connection:
        assert list(broken_seals(connection)) == []
        assert {subject.kind for subject in standing_seals(connection)} == set(RULES[RULE])
        assert first_broken_event(connection) is None


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_changed_value_is_found_in_every_column_but_those_that_may_change(scratch, table, column):
    other = f"CASE typeof({column}) WHEN 'text' THEN {column} || 'x' ELSE coalesce({column}, 0) + 1 END"
    where = f"rowid = (SELECT rowid FROM {table} WHERE {OF_RUN[table]} LIMIT 1)"
    if table == "image_attributes":
        where = f"{OF_RUN[table]} AND image_id = 'IMG000000-test.jpeg'"
    if table in ("metrics", "predictions", "run_summaries"):  # without rowid
        where = f"{OF_RUN[table]} AND part = 'test'"
    if table == "epochs":
        where = f"{OF_RUN[table]} AND epoch = 1"
    if column == "settings_json":
        other = "json_set(settings_json, '$.training.epochs', 1)"
    changed = scratch.execute(f"UPDATE OR REPLACE {table} SET {column} = {other} WHERE {where}").rowcount
    assert changed
    found = {where for _, where in broken(scratch)}
    assert found == set() if (table, column) in LEFT_OUT else table in found


@pytest.mark.parametrize("column", ["data.root", "model.pretrained"])
def test_settings_that_decide_nothing_may_change(scratch, column):
    changed = f"UPDATE experiments SET settings_json = json_set(settings_json, '$.{column}', 'new')"
    scratch.execute(changed)
    assert broken(scratch) == set()


@pytest.mark.parametrize("change", [
    "DELETE FROM metrics WHERE run_id = 3 AND metric = 'accuracy' AND part = 'test'",
    "INSERT INTO metrics VALUES (3, 'test', 'beauty', '', 1, NULL, NULL, 'percentile')",
    "UPDATE metrics SET value = 9e999 WHERE run_id = 3 AND metric = 'accuracy'",
    "UPDATE metrics SET metric = x'ff00' WHERE run_id = 3 AND metric = 'accuracy'",
    "UPDATE metrics SET metric = CAST(x'ff00' AS TEXT) WHERE run_id = 3 AND metric = 'accuracy'",
    "DELETE FROM predictions WHERE run_id = 3 AND image_id = 'IMG000000-test.jpeg'",
    "UPDATE runs SET state = 'queued' WHERE id = 3",
    "UPDATE experiments SET settings_json = 'none'",
    "DELETE FROM runs WHERE id = 3",
])  # fmt: skip
def test_rows_that_come_or_go_or_cannot_be_read_are_found(scratch, change):
    assert broken(scratch) == set()
    assert scratch.execute(change).rowcount
    assert "run 3" in {str(each.subject) for each in broken_seals(scratch)}


def test_a_float_is_sealed_bit_by_bit(scratch):
    def value(number):
        scratch.execute("UPDATE metrics SET value = ? WHERE run_id = 3 AND metric = 'accuracy'", (number,))
        return seal_of(scratch, Subject("run", (FINISHED,)))["metrics"]

    assert value(0.1) != value(0.1 + 2**-56)
    assert value(0.1) == value(0.1)


def test_a_seal_is_the_digest_that_the_page_describes(scratch):
    rows = scratch.execute("SELECT * FROM metrics WHERE run_id = 3 ORDER BY part, metric, class_name")
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    text = "\n".join(["boneexp-seal-2", *lines, ""])
    seal = seal_of(scratch, Subject("run", (FINISHED,)))
    assert seal["metrics"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_failed_run_is_sealed_until_it_is_queued_again(tmp_path):
    path = full_ledger(tmp_path / "ledger.db")
    with writing(path) as connection:
        assert Subject("run", (FAILED,)) in standing(path)
        retry(connection, FAILED, NOW)
    assert Subject("run", (FAILED,)) not in standing(path)
    with reading(path) as connection:
        assert list(broken_seals(connection)) == []


def standing(path):
    with reading(path) as connection:
        return standing_seals(connection)


def test_data_that_moved_change_the_spec_of_a_failed_run_and_break_no_seal(tmp_path):
    path = full_ledger(tmp_path / "ledger.db")
    moved = dict.fromkeys(("E2", "E3"), {"data": {"root": "elsewhere"}})
    better = dict.fromkeys(("E2", "E3"), "a better name")
    settled_ledger(path, experiments=("E2", "E3"), settle=False, designs=moved, names=better)
    with sqlite3.connect(path) as connection:
        assert "elsewhere" in connection.execute("SELECT spec_json FROM runs WHERE id = 5").fetchone()[0]
        assert list(broken_seals(connection)) == []


def test_cutting_off_the_event_that_sealed_a_run_is_found(scratch):
    (last,) = scratch.execute("SELECT MAX(id) FROM events WHERE kind = 'failed'").fetchone()
    scratch.execute("DELETE FROM events WHERE id >= ?", (last,))
    found = {(str(each.subject), each.event) for each in broken_seals(scratch)}
    assert ("run 5", None) in found
    assert ("promotion 4", None) in found
    assert ("explanations of run 3", None) in found
    assert ("the grid", None) not in found  # it was queued before


def test_details_that_are_no_json_seal_nothing_and_stop_nobody(scratch):
    scratch.execute("UPDATE events SET details_json = 'none' WHERE kind = 'succeeded' AND run_id = 3")
    scratch.execute("UPDATE events SET details_json = '[]' WHERE kind = 'promotion'")
    found = {str(each.subject) for each in broken_seals(scratch)}
    assert found == {"run 3", *(f"promotion {number}" for number in (1, 2, 3, 4))}


def test_an_event_that_cannot_be_hashed_breaks_the_chain(scratch):
    scratch.row_factory = sqlite3.Row
    assert first_broken_event(scratch) is None
    for column, value in (("details_json", b"\xff"), ("at", float("inf"))):
        scratch.execute(f"UPDATE events SET {column} = ? WHERE id = 7", (value,))
        assert first_broken_event(scratch) == 7


@pytest.mark.parametrize(
    "column", ["run_id", "attempt", "kind", "at", "details_json", "previous_hash", "hash"]
)
def test_an_event_changed_in_any_column_breaks_the_chain_there(scratch, column):
    (event,) = scratch.execute("SELECT id FROM events WHERE kind = 'claimed' AND run_id = 3").fetchone()
    scratch.execute(f"UPDATE events SET {column} = 4 WHERE id = ?", (event,))
    assert first_broken_event(scratch) == event


def test_a_late_result_is_sealed_with_its_rows(ledger):
    late = "INSERT INTO late_results VALUES (1, 2, 'test', 'accuracy', '', 0.5, NULL, NULL, 9, 'percentile')"
    with writing(ledger) as connection:
        make.queued(connection, make.specs(1))
        connection.execute(late)
        record_event(connection, 9, "late-result", run_id=1, attempt=2)
    with sqlite3.connect(ledger) as connection:
        assert list(broken_seals(connection)) == []
        connection.execute("UPDATE late_results SET value = 0.6")
        assert broken(connection) == {("late result of run 1, attempt 2", "late_results")}


@pytest.fixture
def first_rule(scratch):
    """The same, but for the rule: what was sealed before there was another one, with its intervals."""
    for table in ("metrics", "late_results"):
        scratch.execute(f"UPDATE {table} SET interval_method = 'percentile'")
    for event, details_json in scratch.execute("SELECT id, details_json FROM events").fetchall():
        details = json.loads(details_json)
        rule = details.pop("rule", None)
        subject = next((each for each, seal in standing_seals(scratch).items() if seal.event == event), None)
        if rule and subject and subject.kind in RULES[FIRST_RULE]:
            details["seal"] = seal_of(scratch, subject, FIRST_RULE)
        elif rule:
            del details["seal"]
        scratch.execute("UPDATE events SET details_json = ? WHERE id = ?", (json.dumps(details), event))
    return scratch


def test_a_seal_that_names_no_rule_is_held_against_the_columns_of_the_first(first_rule):
    assert {str(each.subject) for each in broken_seals(first_rule)} == {"the study", "the grid"}
    first_rule.execute("UPDATE run_summaries SET accuracy = 1 WHERE run_id = 3")  # is not in that rule
    assert "run 3" not in {str(each.subject) for each in broken_seals(first_rule)}


@pytest.mark.parametrize(("table", "change", "subject"), [
    ("metrics", "interval_method = 'wilson'", "run 3"),
    ("late_results", "interval_method = 'wilson'", "late result of run 5, attempt 1"),
    ("explanations", "purpose = 'looked-at'", "explanations of run 3"),
    ("explanations", "lesion = 'outline'", "explanations of run 3"),
])  # fmt: skip
def test_a_column_that_came_later_cannot_be_changed_under_an_old_seal(first_rule, table, change, subject):
    assert subject not in {str(each.subject) for each in broken_seals(first_rule)}
    first_rule.execute(f"UPDATE {table} SET {change}")
    assert (subject, table) in broken(first_rule)


def test_a_seal_by_a_rule_that_is_not_known_does_not_hold(scratch):
    scratch.execute("UPDATE events SET details_json = json_set(details_json, '$.rule', 'mine') WHERE id = 1")
    assert broken(scratch) == {
        (f"dataset {DATASET[:12]}", table) for table in ("datasets", "image_attributes", "split_overlaps")
    }
