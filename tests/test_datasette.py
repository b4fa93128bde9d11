"""docs/datasette.yaml names what a ledger has, and its queries run; Datasette itself is not needed."""

import sqlite3
from pathlib import Path

import pytest
import yaml
from full_ledger import full_ledger

PATH = Path(__file__).parents[1] / "docs" / "datasette.yaml"
RESEARCH_ONLY = "Research use only, not for clinical use."
METADATA = yaml.safe_load(PATH.read_text(encoding="utf-8"))
LEDGER = METADATA["databases"]["ledger"]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    with sqlite3.connect(full_ledger(tmp_path_factory.mktemp("datasette") / "ledger.db")) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def columns_of(connection):
    names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    return {
        name: {row["name"] for row in connection.execute(f"PRAGMA table_info({name})")} for (name,) in names
    }


def answer(connection, query, **values):
    given = {name: values.get(name, "") for name in LEDGER["queries"][query].get("params", [])}
    return [dict(row) for row in connection.execute(LEDGER["queries"][query]["sql"], given)]


def test_the_warning_is_on_top_and_on_the_ledger():
    assert METADATA["description"].startswith(RESEARCH_ONLY)
    assert LEDGER["description"].startswith(RESEARCH_ONLY)


def test_every_table_and_view_is_described_and_no_other(ledger):
    found = columns_of(ledger)
    assert set(LEDGER["tables"]) == set(found) - {"alembic_version"}
    assert [name for name, about in LEDGER["tables"].items() if len(about["description"]) < 10] == []


@pytest.mark.parametrize("name", LEDGER["tables"])
def test_a_described_column_is_there(ledger, name):
    described = LEDGER["tables"][name].get("columns", {})
    assert set(described) - columns_of(ledger)[name] == set()
    assert all(described.values())


def test_the_queries_are_those_that_the_page_promises():
    assert list(LEDGER["queries"]) == [
        "leaderboard",
        "runs",
        "accuracy_by_centre",
        "confusion",
        "event_chain",
    ]
    assert all(query["title"] and query["description"] for query in LEDGER["queries"].values())


def test_the_leaderboard_and_the_runs_are_those_of_the_views(ledger):
    best = answer(ledger, "leaderboard")
    assert [(row["place"], row["experiment_id"]) for row in best] == [
        (row["place"], row["experiment_id"])
        for row in ledger.execute("SELECT place, experiment_id FROM leaderboard ORDER BY test_set, place")
        for _ in range(2)
    ]
    assert [row["run"] for row in answer(ledger, "runs")] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("part", ["", "test", "val"])
def test_accuracy_by_centre_adds_up_to_the_accuracy_of_each_run(ledger, part):
    found = answer(ledger, "accuracy_by_centre", part=part)
    query = "SELECT run_id, value FROM metrics WHERE metric = 'accuracy' AND part = ?"
    stored = dict(map(tuple, ledger.execute(query, (part or "test",))))
    for run, accuracy in stored.items():
        rows = [row for row in found if row["run"] == run]
        right = sum(round(row["accuracy"] * row["images"]) for row in rows)
        assert right / sum(row["images"] for row in rows) == pytest.approx(accuracy)
    assert set(stored) == {row["run"] for row in found}


def test_the_confusion_matrix_gives_the_sensitivity_of_each_class(ledger):
    everything = answer(ledger, "confusion")
    assert len(everything) == 12
    for row in everything:
        calls = [row["called_normal"], row["called_benign"], row["called_malignant"]]
        place = ("Normal", "Benign", "Malignant").index(row["is_class"])
        (stored,) = ledger.execute(
            "SELECT value FROM metrics WHERE run_id = ? AND part = 'test' AND metric = 'sensitivity'"
            " AND class_name = ?",
            (row["run"], row["is_class"]),
        ).fetchone()
        assert calls[place] / sum(calls) == pytest.approx(stored)
    assert answer(ledger, "confusion", run="2") == [row for row in everything if row["run"] == 2]


def test_the_event_chain_follows_and_a_change_of_it_shows(ledger):
    events = answer(ledger, "event_chain")
    assert [row["id"] for row in events] == list(range(len(events), 0, -1))
    assert {row["follows"] for row in events} == {1}
    ledger.execute("UPDATE events SET previous_hash = 'x' WHERE id = 3")
    assert [row["id"] for row in answer(ledger, "event_chain") if not row["follows"]] == [3]
    ledger.rollback()
