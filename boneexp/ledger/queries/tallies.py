"""How many runs and attempts there are. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3
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
