"""Experiments, their settings and data, and the specs of runs. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from boneexp.ledger.statements import read, read_one, tuples_of


@dataclass(frozen=True)
class QueuedSettings:
    """The settings that an experiment was queued with.

    `as_written` holds digests of what the grid file itself said where `queue --set` gave other settings.
    """

    experiment: str
    settings_json: str
    weights_sha256: str
    as_written: frozenset[str]


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment with its resolved settings, and the dataset behind it."""

    experiment: str
    name: str
    settings_json: str
    data_name: str
    data_kind: str
    data_fingerprint: str
    images: int
    counts_json: str
    notes_json: str

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings."""
        return settings_of_json(self.settings_json)


@dataclass(frozen=True)
class GridExperiment:
    """One experiment of the grid that was queued last, with how many runs, splits and seeds it has."""

    experiment_ref: int
    experiment: str
    name: str
    settings_json: str
    data_name: str
    data_kind: str
    runs: int
    finished_runs: int
    splits: int
    seeds: int

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings."""
        return settings_of_json(self.settings_json)


@dataclass(frozen=True)
class RunOrigin:
    """Which settings (experiment_ref), split and assignment of images a run has."""

    run: int
    experiment_ref: int
    split: str
    split_digest: str


@dataclass(frozen=True)
class ChosenRun:
    """A run to be promoted: its split, the column that this keeps together, and facts about its dataset."""

    run: int
    split: str
    group_column: str | None
    kind: str
    name: str
    fingerprint: str
    images: int
    contradicting_images: int | None
    confidence: float
    only_class: str | None


@dataclass(frozen=True)
class StoredSpec:
    """A run's hash and the spec that it names."""

    run: int
    config_hash: str
    spec_json: str


@dataclass(frozen=True)
class WaitingSettings:
    """Settings and data that runs wait for, with how many runs."""

    settings_json: str
    fingerprint: str
    images: int
    runs: int


def queued_settings(connection: sqlite3.Connection, run_ids: Sequence[int] | None) -> list[QueuedSettings]:
    """Return the settings of the experiments behind these runs, or behind all that are current."""
    query = """SELECT e.experiment, e.settings_json, json_group_array(r.id) AS runs,
                      MAX(json_extract(r.spec_json, '$.weights_sha256')) AS weights_sha256
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE CASE WHEN ?1 IS NULL THEN r.is_current
                     ELSE r.id IN (SELECT value FROM json_each(?1)) END
               GROUP BY e.id ORDER BY e.id"""
    queued = """SELECT json_extract(details_json, '$.runs'), json_extract(details_json, '$.as_written')
                FROM events WHERE kind = 'queued' AND json_valid(details_json)
                AND json_type(details_json, '$.as_written') = 'object'"""
    written = [(set(json.loads(runs)), json.loads(digests)) for runs, digests in connection.execute(queued)]
    chosen = None if run_ids is None else json.dumps(list(run_ids))
    found = []
    for experiment, settings_json, runs, weights in tuples_of(connection, query, (chosen,)):
        of_these = [digests for queued, digests in written if not queued.isdisjoint(json.loads(runs))]
        as_written = frozenset(digests[experiment] for digests in of_these if experiment in digests)
        found.append(QueuedSettings(experiment, settings_json, weights, as_written))
    return found


def experiment_row(connection: sqlite3.Connection, experiment_ref: int) -> ExperimentRow:
    """Return one experiment."""
    return read(
        connection,
        ExperimentRow,
        """SELECT e.experiment, e.name, e.settings_json, d.name AS data_name, d.kind AS data_kind,
                  e.data_fingerprint, d.images, d.counts_json, d.notes_json
           FROM experiments e JOIN datasets d ON d.fingerprint = e.data_fingerprint WHERE e.id = ?""",
        (experiment_ref,),
    )[0]


def grid_experiments(connection: sqlite3.Connection) -> list[GridExperiment]:
    """Return the experiments of the grid that was queued last."""
    return read(
        connection,
        GridExperiment,
        """SELECT e.id AS experiment_ref, e.experiment, e.name, e.settings_json,
                  d.name AS data_name, d.kind AS data_kind, COUNT(*) AS runs,
                  SUM(r.state = 'succeeded') AS finished_runs,
                  COUNT(DISTINCT r.split) AS splits, COUNT(DISTINCT r.seed) AS seeds
           FROM experiments e
           JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           GROUP BY e.id ORDER BY e.experiment""",
    )


def run_origin(connection: sqlite3.Connection, run_id: int) -> RunOrigin | None:
    """Return where a run belongs; None if there is no such run."""
    query = "SELECT id AS run, experiment_ref, split, split_digest FROM runs WHERE id = ?"
    return read_one(connection, RunOrigin, query, (run_id,))


def chosen_run(connection: sqlite3.Connection, run_id: int) -> ChosenRun:
    """Return what is known of a run that is to be promoted."""
    return read(
        connection,
        ChosenRun,
        """SELECT r.id AS run, r.split, json_extract(r.spec_json, '$.split.group_column') AS group_column,
                  d.kind, d.name, d.fingerprint, d.images, d.contradicting_images,
                  COALESCE(json_extract(e.settings_json, '$.evaluation.confidence'), 0.95) AS confidence,
                  s.only_class
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           LEFT JOIN run_summaries s ON s.run_id = r.id AND s.part = 'test' WHERE r.id = ?""",
        (run_id,),
    )[0]


def stored_specs(connection: sqlite3.Connection) -> list[StoredSpec]:
    """Return the spec of every run."""
    return read(connection, StoredSpec, "SELECT id AS run, config_hash, spec_json FROM runs ORDER BY id")


def waiting_settings(connection: sqlite3.Connection) -> list[WaitingSettings]:
    """Return the settings and data that runs wait for."""
    return read(
        connection,
        WaitingSettings,
        """SELECT e.settings_json, e.data_fingerprint AS fingerprint, d.images, COUNT(*) AS runs
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           WHERE r.state IN ('queued', 'running') GROUP BY e.id ORDER BY e.id""",
    )


def images_of(connection: sqlite3.Connection, run_id: int) -> int:
    """Return how many images the dataset of a run has."""
    query = """SELECT d.images FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               JOIN datasets d ON d.fingerprint = e.data_fingerprint WHERE r.id = ?"""
    return int(connection.execute(query, (run_id,)).fetchone()[0])


def settings_of(connection: sqlite3.Connection, run_id: int) -> Mapping[str, Any]:
    """Return the resolved settings of a run's experiment."""
    query = "SELECT e.settings_json FROM runs r JOIN experiments e ON e.id = r.experiment_ref WHERE r.id = ?"
    found: Mapping[str, Any] = json.loads(connection.execute(query, (run_id,)).fetchone()[0])
    return found


def settings_of_json(settings_json: str) -> dict[str, Any]:
    """Return an experiment's settings, with what held before a setting of `data` was one."""
    from boneexp.study.settings import LESION_BEFORE  # loads pydantic, which a comparison does without

    settings: dict[str, Any] = json.loads(settings_json)
    before = {"decoding": "full", "lesion": LESION_BEFORE}
    return {**settings, "data": {**before, **settings.get("data", {})}}
