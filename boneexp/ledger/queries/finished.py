"""Finished runs. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boneexp.ledger.queries.attempts import versions_of
from boneexp.ledger.queries.runs import RunStatus
from boneexp.ledger.statements import read


@dataclass(frozen=True)
class ComparedRun:
    """A finished current run with the digests of its images and of how these were split."""

    run: int
    experiment: str
    split: str
    fingerprint: str
    split_digest: str


@dataclass(frozen=True)
class CurrentRun:
    """A run of an experiment as it was queued last."""

    run: int
    split: str
    seed: int
    state: str


@dataclass(frozen=True)
class FinishedRun(RunStatus):
    """A finished run with digests and spec, and what its training set shares with its test set.

    The counts are None where they were not taken when the split was queued.
    """

    split_digest: str
    checkpoint_sha256: str
    spec_json: str
    versions_json: str | None
    test_images: int | None
    images_of_shared_groups: int | None
    images_of_shared_pictures: int | None
    images_without_group: int | None

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved spec."""
        return spec_of_json(self.spec_json)

    @property
    def versions(self) -> Mapping[str, str]:
        """The software that it ran with."""
        return versions_of(self.versions_json)


@dataclass(frozen=True)
class Origin:
    """Where the metrics of a finished current run come from."""

    run: int
    experiment: str
    split: str
    seed: int
    config_hash: str
    split_digest: str
    data_fingerprint: str
    checkpoint: str
    checkpoint_sha256: str
    device: str | None
    versions_json: str | None

    @property
    def versions(self) -> Mapping[str, str]:
        """The software that it ran with."""
        return versions_of(self.versions_json)


@dataclass(frozen=True)
class ExportedRun:
    """A succeeded run, perhaps of earlier settings: spec, digests, and the best checkpoint."""

    run: int
    experiment: str
    name: str
    split: str
    seed: int
    config_hash: str
    split_digest: str
    spec_json: str
    is_current: bool
    checkpoint: str
    checkpoint_sha256: str

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved spec."""
        return spec_of_json(self.spec_json)


@dataclass(frozen=True)
class SettledRun:
    """A run that succeeded, failed or was cancelled, its data, and the hash of the event that settled it."""

    run: int
    experiment: str
    name: str
    split: str
    seed: int
    config_hash: str
    spec_json: str
    is_current: bool
    state: str
    failure_kind: str | None
    failure: str | None
    queued_at: float
    settled_at: float
    best_epoch: int | None
    checkpoint_sha256: str | None
    data_name: str
    data_kind: str
    images: int
    data_fingerprint: str
    device: str | None
    started_at: float | None
    settled_by: str

    @property
    def spec(self) -> dict[str, Any]:
        """The resolved spec."""
        return spec_of_json(self.spec_json)


def compared_runs(connection: sqlite3.Connection) -> list[ComparedRun]:
    """Return the finished current runs of every experiment."""
    return read(
        connection,
        ComparedRun,
        """SELECT r.id AS run, e.experiment, r.split, e.data_fingerprint AS fingerprint, r.split_digest
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           WHERE r.is_current AND r.state = 'succeeded'
           ORDER BY r.split DESC, length(e.experiment), e.experiment, r.id""",
    )


def current_runs(connection: sqlite3.Connection, experiment: str) -> list[CurrentRun]:
    """Return the runs of an experiment that were queued last and not cancelled, finished or not."""
    return read(
        connection,
        CurrentRun,
        """SELECT r.id AS run, r.split, r.seed, r.state
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           WHERE e.experiment = ? AND r.is_current AND r.state <> 'cancelled'
           ORDER BY r.split, r.seed""",
        (experiment,),
    )


def runs_to_promote(connection: sqlite3.Connection, experiment: str) -> dict[str, int]:
    """Return the finished current run of each split of the lowest validation loss, stratified first.

    Where several seeds were run, validation chooses among them; the test set is never asked.
    """
    query = """SELECT r.split, r.id, MIN(h.val_loss) AS best_val_loss
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               LEFT JOIN epoch_history h ON h.run = r.id
               WHERE e.experiment = ? AND r.is_current AND r.state = 'succeeded'
               GROUP BY r.id ORDER BY r.split DESC, best_val_loss, r.seed"""
    best: dict[str, int] = {}
    for split, run, _ in connection.execute(query, (experiment,)):
        best.setdefault(split, run)
    return best


def finished_runs(connection: sqlite3.Connection, experiment_ref: int) -> list[FinishedRun]:
    """Return the succeeded runs of these settings, the stratified ones first."""
    return read(
        connection,
        FinishedRun,
        """SELECT s.*, r.split_digest, r.checkpoint_sha256, r.spec_json, a.versions_json,
                  o.images AS test_images, o.images_of_shared_groups, o.images_of_shared_pictures,
                  o.images_without_group
           FROM runs r JOIN run_status s ON s.run = r.id
           JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           LEFT JOIN split_overlaps o ON o.split_digest = r.split_digest
                AND o.data_fingerprint = e.data_fingerprint
                AND o.first_part = 'train' AND o.second_part = 'test'
           WHERE r.experiment_ref = ? AND r.state = 'succeeded'
           ORDER BY r.split DESC, r.seed""",
        (experiment_ref,),
    )


def current_origins(connection: sqlite3.Connection) -> list[Origin]:
    """Return where the metrics of the grid that was queued last come from: one row per finished run."""
    return read(
        connection,
        Origin,
        """SELECT r.id AS run, e.experiment, r.split, r.seed, r.config_hash, r.split_digest,
                  e.data_fingerprint, r.checkpoint, r.checkpoint_sha256, a.device, a.versions_json
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.is_current AND r.state = 'succeeded'
           ORDER BY length(e.experiment), e.experiment, r.split DESC, r.seed""",
    )


def exported_runs(connection: sqlite3.Connection) -> list[ExportedRun]:
    """Return the succeeded runs, of earlier settings too."""
    return read(
        connection,
        ExportedRun,
        """SELECT r.id AS run, e.experiment, e.name, r.split, r.seed, r.config_hash, r.split_digest,
                  r.spec_json, r.is_current, r.checkpoint, r.checkpoint_sha256
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           WHERE r.state = 'succeeded' ORDER BY r.id""",
    )


def settled_runs(connection: sqlite3.Connection) -> list[SettledRun]:
    """Return every run that succeeded, failed or was cancelled."""
    return read(
        connection,
        SettledRun,
        """SELECT r.id AS run, e.experiment, e.name, r.split, r.seed, r.config_hash, r.spec_json,
                  r.is_current, r.state, r.failure_kind, r.failure, r.queued_at, r.settled_at,
                  r.best_epoch + 1 AS best_epoch, r.checkpoint_sha256,
                  d.name AS data_name, d.kind AS data_kind, d.images,
                  d.fingerprint AS data_fingerprint, a.device,
                  (SELECT MIN(first.started_at) FROM attempts first WHERE first.run_id = r.id) AS started_at,
                  (SELECT v.hash FROM events v WHERE v.run_id = r.id
                   AND v.kind IN ('succeeded', 'failed', 'cancelled')
                   ORDER BY v.id DESC LIMIT 1) AS settled_by
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.state IN ('succeeded', 'failed', 'cancelled') ORDER BY r.id""",
    )


def spec_of_json(spec_json: str) -> dict[str, Any]:
    """Return a resolved spec."""
    found: dict[str, Any] = json.loads(spec_json)
    return found
