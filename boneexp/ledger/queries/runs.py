"""The state of runs. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from boneexp.errors import RunNotFound
from boneexp.ledger.statements import read, read_one


@dataclass(frozen=True)
class RunStatus:
    """One run as the view run_status has it; what its newest attempt has not told yet is None."""

    run: int
    experiment: str
    name: str
    split: str
    seed: int
    state: str
    failure_kind: str | None
    failure: str | None
    attempts: int
    config_hash: str
    checkpoint: str | None
    folder: str
    is_current: bool
    lease_expired: bool
    stop_requested: bool
    epochs_done: int | None
    epochs_planned: int
    best_epoch: int | None
    batch_size: int
    micro_batch: int
    worker: str | None
    host: str | None
    device: str | None
    started_at: float | None
    renewed_at: float | None
    queued_at: float
    settled_at: float | None
    training_s: float | None
    accuracy: float | None
    macro_auroc: float | None
    malignant_sensitivity: float | None


def run_row(connection: sqlite3.Connection, run_id: int) -> RunStatus:
    """Return one run.

    Raises:
        RunNotFound: the ledger has no such run.
    """
    found = read_one(connection, RunStatus, "SELECT * FROM run_status WHERE run = ?", (run_id,))
    if found is None:
        raise RunNotFound(f"the ledger has no run {run_id}; see which there are with: boneexp status")
    return found


def run_rows(connection: sqlite3.Connection) -> list[RunStatus]:
    """Return every run, oldest first."""
    return read(connection, RunStatus, "SELECT * FROM run_status ORDER BY run")


def status_rows(connection: sqlite3.Connection, at_most: int) -> list[RunStatus]:
    """Return the runs that a person wants to see first: the unfinished, then the newest."""
    return read(
        connection,
        RunStatus,
        """SELECT * FROM run_status WHERE run IN
             (SELECT id FROM runs ORDER BY state = 'succeeded', id DESC LIMIT ?) ORDER BY run""",
        (at_most,),
    )


def unfinished_rows(connection: sqlite3.Connection) -> list[RunStatus]:
    """Return the runs that wait or run."""
    known = "SELECT id FROM runs WHERE state IN ('queued', 'running')"
    query = f"SELECT * FROM run_status WHERE run IN ({known}) AND state <> 'cancelled' ORDER BY run"
    return read(connection, RunStatus, query)


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


def runs_in_state(connection: sqlite3.Connection, states: Sequence[str]) -> list[int]:
    """Return the ids of the runs in one of `states`."""
    marks = ", ".join("?" * len(states))
    query = f"SELECT id FROM runs WHERE state IN ({marks}) ORDER BY id"
    return [row[0] for row in connection.execute(query, tuple(states))]


def known_hashes(connection: sqlite3.Connection) -> set[str]:
    """Return the hash of every run."""
    return {row[0] for row in connection.execute("SELECT config_hash FROM runs")}


def spec_json(connection: sqlite3.Connection, run_id: int) -> str:
    """Return the run's resolved spec as JSON.

    Raises:
        RunNotFound: the ledger has no such run.
    """
    run_row(connection, run_id)
    return str(connection.execute("SELECT spec_json FROM runs WHERE id = ?", (run_id,)).fetchone()[0])


def cancelled_note(connection: sqlite3.Connection, experiment: str) -> str:
    """Say which runs of an experiment, as it was queued last, were cancelled; "" where none was."""
    query = """SELECT r.run FROM run_status r
               WHERE r.experiment = ? AND r.is_current AND r.state = 'cancelled' ORDER BY r.run"""
    runs = " ".join(str(row[0]) for row in connection.execute(query, (experiment,)))
    return f"runs of it were cancelled; queue them again with: boneexp retry {runs}" if runs else ""
