"""Attempts and epochs. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from boneexp.ledger.statements import read, read_one


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run, as the table has it."""

    run_id: int
    number: int
    worker: str
    host: str
    pid: int
    boot_id: str
    process_started: str
    device: str
    versions_json: str
    batch_size: int
    micro_batch: int
    started_at: float
    renewed_at: float
    ended_at: float | None
    outcome: str | None
    failure_kind: str | None
    failure: str | None
    traceback: str | None

    @property
    def versions(self) -> Mapping[str, str]:
        """The software that it ran with."""
        return versions_of(self.versions_json)


@dataclass(frozen=True)
class Epoch:
    """One epoch of a run as it counts; the first is epoch 1."""

    run: int
    epoch: int
    attempt: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_auroc: float | None
    learning_rate: float
    duration_s: float
    ended_at: float


@dataclass(frozen=True)
class Process:
    """The process of some machine that made an attempt."""

    host: str
    pid: int
    boot_id: str
    process_started: str


@dataclass(frozen=True)
class RunningAttempt(Process):
    """An attempt that holds a run: until when, and whether somebody has cancelled the run."""

    run: int
    folder: str
    lease_until: float | None
    stop_requested: bool
    worker: str


@dataclass(frozen=True)
class Software:
    """On which device and with which software an attempt ran, and how it ended."""

    run: int
    attempt: int
    device: str
    versions_json: str
    outcome: str | None

    @property
    def versions(self) -> Mapping[str, str]:
        """The software that it ran with."""
        return versions_of(self.versions_json)


def attempts_of_run(connection: sqlite3.Connection, run_id: int) -> list[Attempt]:
    """Return a run's attempts, oldest first."""
    return read(connection, Attempt, "SELECT * FROM attempts WHERE run_id = ? ORDER BY number", (run_id,))


def epochs_of_run(connection: sqlite3.Connection, run_id: int) -> list[Epoch]:
    """Return a run's epochs as they count, oldest first."""
    return read(connection, Epoch, "SELECT * FROM epoch_history WHERE run = ? ORDER BY epoch", (run_id,))


def running_attempts(connection: sqlite3.Connection) -> list[RunningAttempt]:
    """Return the attempts that hold a run."""
    return read(
        connection,
        RunningAttempt,
        """SELECT a.host, a.pid, a.boot_id, a.process_started, r.id AS run, r.folder, r.lease_until,
                  r.stop_requested, a.worker
           FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.state = 'running' ORDER BY r.id""",
    )


def process_of_attempt(connection: sqlite3.Connection, run_id: int, number: int) -> Process | None:
    """Return the process that made an attempt; None if there was no such attempt."""
    query = "SELECT * FROM attempts WHERE run_id = ? AND number = ?"
    return read_one(connection, Process, query, (run_id, number))


def software_of_attempts(connection: sqlite3.Connection) -> list[Software]:
    """Return device, software and outcome of every attempt."""
    return read(
        connection,
        Software,
        """SELECT run_id AS run, number AS attempt, device, versions_json, outcome
           FROM attempts ORDER BY run_id, number""",
    )


def versions_of(versions_json: str | None) -> Mapping[str, str]:
    """Return versions by package; none of an attempt that is not known."""
    found: Mapping[str, str] = json.loads(versions_json or "{}")
    return found
