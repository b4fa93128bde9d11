"""Metrics and summaries of a settled run put back: only those that its seal was made of, bit for bit.

Nothing is ever sealed again to cover what was changed.
"""

import sqlite3
from collections.abc import Mapping, Sequence

from boneexp.ledger.seals import Subject, broken_among, seal_holds, standing_seals
from boneexp.ledger.statements import insert_all
from boneexp.ledger.summaries import summarise
from boneexp.results import MetricValue

RESTORABLE = ("metrics", "run_summaries")  # in the order in which they rest on one another


def restorable_runs(connection: sqlite3.Connection) -> dict[int, tuple[str, ...]]:
    """Return the runs of which rows may come back, each with those of RESTORABLE that are not as sealed."""
    standing = standing_seals(connection)
    wanted = {subject: RESTORABLE for subject in standing if subject.kind == "run"}
    broken = broken_among(connection, standing, wanted)
    return {int(each.subject.key[0] or 0): each.tables for each in broken if each.tables}


def table_holds(connection: sqlite3.Connection, run_id: int, table: str) -> bool:
    """Return whether the rows of a run in one table are those that were sealed."""
    return seal_holds(connection, Subject("run", (run_id,)), (table,))


def put_metrics_back(
    connection: sqlite3.Connection, run_id: int, metrics: Mapping[str, Sequence[MetricValue]]
) -> bool:
    """Replace a run's metrics (by set) if these are what was sealed; return whether they are."""
    rows = [
        {"run_id": run_id, "part": part, **vars(value)}
        for part, values in metrics.items()
        for value in values
    ]
    connection.execute("SAVEPOINT metrics")
    connection.execute("DELETE FROM metrics WHERE run_id = ?", (run_id,))
    insert_all(connection, "metrics", rows)
    holds = table_holds(connection, run_id, "metrics")
    if not holds:
        connection.execute("ROLLBACK TO metrics")
    connection.execute("RELEASE metrics")
    return holds


def put_summary_back(connection: sqlite3.Connection, run_id: int) -> bool:
    """Make a run's summary again, if the run is there and its metrics are sealed; return whether they are."""
    known = connection.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone()
    if known is None or not table_holds(connection, run_id, "metrics"):
        return False
    connection.execute("DELETE FROM run_summaries WHERE run_id = ?", (run_id,))
    summarise(connection, run_id)
    return True
