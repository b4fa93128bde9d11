"""How many runs and attempts there are. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from boneexp.ledger.statements import read


@dataclass(frozen=True)
class RunTally:
    """How many runs the ledger has, how many are of the grid that was queued last, and in which state."""

    runs: int
    current: int
    succeeded: int
    failed: int
    running: int
    queued: int
    cancelled: int


@dataclass(frozen=True)
class AttemptTally:
    """How many attempts ended in one way."""

    outcome: str
    failure_kind: str | None
    attempts: int


def state_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many runs are in which state, as run_status has it."""
    counts = dict(map(tuple, connection.execute("SELECT state, COUNT(*) FROM runs GROUP BY state")))
    held = "SELECT id FROM runs WHERE state = 'running'"  # some may be cancelled, with no worker to say so
    shown = f"SELECT state, COUNT(*) FROM run_status WHERE run IN ({held}) GROUP BY state"
    counts.pop("running", None)
    for state, count in connection.execute(shown):
        counts[state] = counts.get(state, 0) + count
    return counts


def count_current_runs(connection: sqlite3.Connection, experiments: Collection[str] | None = None) -> int:
    """Count the runs that were queued last and not cancelled, of these experiments or of all."""
    query = "SELECT COUNT(*) FROM runs r WHERE r.is_current AND r.state <> 'cancelled'"
    if experiments is None:
        return int(connection.execute(query).fetchone()[0])
    named = """ AND r.experiment_ref IN (SELECT id FROM experiments
                WHERE experiment IN (SELECT value FROM json_each(?)))"""
    return int(connection.execute(query + named, (json.dumps(list(experiments)),)).fetchone()[0])


def run_tally(connection: sqlite3.Connection) -> RunTally:
    """Return how many runs the ledger has."""
    return read(
        connection,
        RunTally,
        """SELECT COUNT(*) AS runs, COALESCE(SUM(is_current), 0) AS current,
                  COALESCE(SUM(state = 'succeeded'), 0) AS succeeded,
                  COALESCE(SUM(state = 'failed'), 0) AS failed,
                  COALESCE(SUM(state = 'running'), 0) AS running,
                  COALESCE(SUM(state = 'queued'), 0) AS queued,
                  COALESCE(SUM(state = 'cancelled'), 0) AS cancelled
           FROM runs""",
    )[0]


def attempt_tally(connection: sqlite3.Connection) -> list[AttemptTally]:
    """Return how many attempts ended how, and of what kind the failures were; the most frequent first."""
    return read(
        connection,
        AttemptTally,
        """SELECT COALESCE(outcome, 'running') AS outcome, failure_kind, COUNT(*) AS attempts
           FROM attempts GROUP BY 1, 2 ORDER BY attempts DESC, 1, 2""",
    )
