"""Rows of a settled run brought back: only those are kept that its seal was made of, bit for bit.

So it does not matter where they come from, and nothing is ever sealed again to cover what was changed.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from boneexp.ledger.seals import Subject, broken_among, seal_holds, standing_seals
from boneexp.ledger.statements import insert_all
from boneexp.ledger.summaries import summarise

RESTORABLE = ("predictions", "metrics", "run_summaries")  # in the order in which they rest on one another


def restorable_runs(connection: sqlite3.Connection) -> dict[int, tuple[str, ...]]:
    """Return the runs of which rows may come back, each with those of RESTORABLE that are not as sealed."""
    standing = standing_seals(connection)
    wanted = {subject: RESTORABLE for subject in standing if subject.kind == "run"}
    broken = broken_among(connection, standing, wanted)
    return {int(each.subject.key[0] or 0): each.tables for each in broken if each.tables}


def table_holds(connection: sqlite3.Connection, run_id: int, table: str) -> bool:
    """Return True if the rows of a run in one table are those that were sealed."""
    return seal_holds(connection, Subject("run", (run_id,)), (table,))


def put_rows_back(
    connection: sqlite3.Connection, run_id: int, table: str, rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Replace a run's rows in one of RESTORABLE, if these are what was sealed; return whether they are."""
    connection.execute("SAVEPOINT rows")
    connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
    try:
        insert_all(connection, table, [{**row, "run_id": run_id} for row in rows])
        holds = table_holds(connection, run_id, table)
    except sqlite3.DatabaseError:
        holds = False
    if not holds:
        connection.execute("ROLLBACK TO rows")
    connection.execute("RELEASE rows")
    return holds


def put_summary_back(connection: sqlite3.Connection, run_id: int) -> bool:
    """Make a run's summary again, if the run is there and its metrics are sealed; return whether they are."""
    known = connection.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone()
    if known is None or not table_holds(connection, run_id, "metrics"):
        return False
    connection.execute("DELETE FROM run_summaries WHERE run_id = ?", (run_id,))
    summarise(connection, run_id)
    return True
