"""Into the ledger: the dataset, what the study compares with, and every new cell of the grid as a run."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from boneexp.config import ExperimentSettings, RunSpec, SelectionSettings, canonical_json
from boneexp.ledger.history import record_event
from boneexp.ledger.tables import (
    datasets,
    experiments,
    image_attributes,
    runs,
    selection_keys,
    study_figures,
)

MAX_ATTEMPTS = 3
Row = dict[str, Any]


@dataclass(frozen=True)
class DatasetFacts:
    """What the ledger keeps of a dataset; `counts` is by centre, then by class.

    `attributes` are (image id, attribute, value), such as ("IMG000001.jpeg", "site", "femur").
    """

    fingerprint: str
    name: str
    kind: str
    images: int
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    attributes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Enqueued:
    """What `enqueue` did: ids of new runs, how many were there, older runs of these experiments that wait."""

    added: tuple[int, ...]
    known: int
    outdated: tuple[int, ...]


def enqueue(
    connection: Connection, specs: Sequence[RunSpec], now: float, max_attempts: int = MAX_ATTEMPTS
) -> Enqueued:
    """Put every spec that the ledger does not know yet in the queue; the datasets must be recorded before.

    What was queued last is what `compare` shows: earlier settings of the same experiments stay in the
    ledger and stop being current. A new run is given up when its process has died `max_attempts` times in a
    row without an epoch.
    """
    by_hash = {spec.config_hash: spec for spec in specs}
    states = _states(connection, list(by_hash))
    _follow(connection, {key: by_hash[key] for key in states}, states)
    new = {key: spec for key, spec in by_hash.items() if key not in states}
    added = _add(connection, new, now, max_attempts)
    _make_current(connection, by_hash)
    if added:
        record_event(connection, now, "queued", runs=added, config_hashes=list(by_hash))
    waiting = (
        sa.select(runs.c.id)
        .join(experiments, experiments.c.id == runs.c.experiment_ref)
        .where(
            _among(experiments.c.experiment, {spec.experiment for spec in specs}),
            runs.c.state == "queued",
            sa.not_(runs.c.is_current),
        )
    )
    outdated = tuple(connection.scalars(waiting.order_by(runs.c.id)))
    return Enqueued(tuple(added), len(specs) - len(added), outdated)


def record_dataset(connection: Connection, facts: DatasetFacts, now: float) -> None:
    """Keep a dataset's facts; the same data under a new name take the new name.

    Attributes decide no result and are in no fingerprint: a table that was corrected replaces them, and the
    event seals what stands then.
    """
    values = {
        "kind": facts.kind,
        "images": facts.images,
        "counts_json": canonical_json(facts.counts),
        "notes_json": json.dumps(facts.notes),
    }
    known = _known_dataset(connection, facts.fingerprint, list(values))
    if known is None:
        new = {"fingerprint": facts.fingerprint, "name": facts.name, "recorded_at": now}
        connection.execute(sa.insert(datasets).values(**new, **values))
    else:
        same = datasets.c.fingerprint == facts.fingerprint
        connection.execute(sa.update(datasets).where(same).values(name=facts.name, **values))
    if known != (tuple(values.values()), sorted(set(facts.attributes))):
        _replace_attributes(connection, facts)
        counted = len(facts.attributes)
        record_event(connection, now, "dataset", fingerprint=facts.fingerprint, attributes=counted)


def record_study(
    connection: Connection,
    selection: SelectionSettings,
    targets: Mapping[str, float],
    baseline: Mapping[str, float],
) -> None:
    """Keep what decides the best experiment and what it is compared with, as the grid file says it now."""
    connection.execute(sa.delete(selection_keys))
    keys = [
        {"position": place, "figure": key, "part": selection.part}
        for place, key in enumerate(selection.order, start=1)
    ]
    connection.execute(sa.insert(selection_keys), keys)
    connection.execute(sa.delete(study_figures))
    kinds: dict[str, Mapping[str, float]] = {"target": targets, "baseline": baseline}
    rows = [
        {"kind": kind, "figure": figure, "value": value}
        for kind, figures in kinds.items()
        for figure, value in figures.items()
    ]
    if rows:
        connection.execute(sa.insert(study_figures), rows)


def _known_dataset(
    connection: Connection, fingerprint: str, columns: Sequence[str]
) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None:
    """Return what the ledger has of a dataset, the columns and the attributes; None if it has nothing."""
    facts = sa.select(*(datasets.c[column] for column in columns))
    row = connection.execute(facts.where(datasets.c.fingerprint == fingerprint)).one_or_none()
    if row is None:
        return None
    table = image_attributes.c
    named = sa.select(table.image_id, table.attribute, table.value).where(
        table.data_fingerprint == fingerprint
    )
    return tuple(row), sorted(map(tuple, connection.execute(named)))


def _replace_attributes(connection: Connection, facts: DatasetFacts) -> None:
    of_these = image_attributes.c.data_fingerprint == facts.fingerprint
    connection.execute(sa.delete(image_attributes).where(of_these))
    rows = [
        {"data_fingerprint": facts.fingerprint, "image_id": image_id, "attribute": name, "value": value}
        for image_id, name, value in sorted(set(facts.attributes))
    ]
    _execute_many(connection, sa.insert(image_attributes), rows)


def _states(connection: Connection, hashes: Collection[str]) -> dict[str, str]:
    """Return the state of each run that the ledger knows, by its hash."""
    known = sa.select(runs.c.config_hash, runs.c.state).where(_among(runs.c.config_hash, hashes))
    return {row.config_hash: row.state for row in connection.execute(known)}


def _follow(connection: Connection, known: Mapping[str, RunSpec], states: Mapping[str, str]) -> None:
    """Where the data lie, name and notes decide nothing and stand in no hash: they may change at any time.

    A run that has yet to begin learns where the data are now.
    """
    moved = [
        {"known_hash": key, "spec_json": spec.model_dump_json()}
        for key, spec in known.items()
        if states[key] in ("queued", "failed", "cancelled")
    ]
    same_run = sa.update(runs).where(runs.c.config_hash == sa.bindparam("known_hash"))
    _execute_many(connection, same_run, moved)
    settings = {spec.experiment_digest: spec.settings for spec in known.values()}
    named = [
        {"known_digest": digest, "name": each.name, "settings_json": _settings_json(each)}
        for digest, each in settings.items()
    ]
    same = sa.update(experiments).where(experiments.c.config_digest == sa.bindparam("known_digest"))
    _execute_many(connection, same, named)


def _add(connection: Connection, new: Mapping[str, RunSpec], now: float, max_attempts: int) -> list[int]:
    """Insert the runs, and their experiments where they are new; return the ids in the specs' order."""
    ids = _experiment_ids(connection, {spec.experiment_digest: spec for spec in new.values()}, now)
    folders = _folders(connection, new)
    rows = [
        {
            "experiment_ref": ids[spec.experiment_digest],
            "split": spec.split.name,
            "seed": spec.seed,
            "config_hash": key,
            "split_digest": spec.split_digest,
            "spec_json": spec.model_dump_json(),
            "folder": folders[key],
            "is_current": True,
            "state": "queued",
            "attempt": 0,
            "killed_attempts": 0,
            "max_attempts": max_attempts,
            "micro_batch": spec.settings.training.batch_size,
            "stop_requested": False,
            "queued_at": now,
        }
        for key, spec in new.items()
    ]
    _execute_many(connection, sa.insert(runs), rows)
    added = sa.select(runs.c.id).where(_among(runs.c.config_hash, new)).order_by(runs.c.id)
    return list(connection.scalars(added))


def _experiment_ids(connection: Connection, by_digest: Mapping[str, RunSpec], now: float) -> dict[str, int]:
    """Return the row of each experiment by its digest; one that is not there yet is made."""
    columns = experiments.c.config_digest, experiments.c.id
    there = sa.select(*columns).where(_among(experiments.c.config_digest, by_digest))
    known = {row.config_digest for row in connection.execute(there)}
    rows = [
        {
            "experiment": spec.experiment,
            "name": spec.settings.name,
            "config_digest": digest,
            "backbone": spec.settings.model.backbone,
            "image_size": spec.settings.data.image_size,
            "batch_size": spec.settings.training.batch_size,
            "annotations": spec.settings.training.annotations,
            "settings_json": _settings_json(spec.settings),
            "data_fingerprint": spec.data_fingerprint,
            "queued_at": now,
        }
        for digest, spec in by_digest.items()
        if digest not in known
    ]
    _execute_many(connection, sa.insert(experiments), rows)
    return {row.config_digest: row.id for row in connection.execute(there)}


def _folders(connection: Connection, new: Mapping[str, RunSpec]) -> dict[str, str]:
    """Return a folder for each run: the plain one for the first of an experiment and split."""
    plain = {key: f"experiments/{spec.experiment}/{spec.split.name}" for key, spec in new.items()}
    there = sa.select(runs.c.folder).where(_among(runs.c.folder, set(plain.values())))
    taken = set(connection.scalars(there))
    folders = {}
    for key, spec in new.items():
        first = plain[key] not in taken
        folders[key] = plain[key] if first else f"{plain[key]}-seed{spec.seed}-{key[:8]}"
        taken.add(plain[key])
    return folders


def _make_current(connection: Connection, by_hash: Mapping[str, RunSpec]) -> None:
    """Other settings of the experiment, and other deals of the same split, stop being current."""
    settings = {spec.experiment: spec.experiment_digest for spec in by_hash.values()}
    deals = {(spec.experiment, spec.split.name): spec.split_digest for spec in by_hash.values()}
    same_name = sa.select(experiments.c.id).where(experiments.c.experiment == sa.bindparam("called"))
    other_settings = same_name.where(experiments.c.config_digest != sa.bindparam("digest"))
    ended = sa.update(runs).where(runs.c.is_current).values(is_current=False)
    _execute_many(
        connection,
        ended.where(runs.c.experiment_ref.in_(other_settings)),
        [{"called": experiment, "digest": digest} for experiment, digest in settings.items()],
    )
    other_deal = sa.and_(runs.c.split == sa.bindparam("part"), runs.c.split_digest != sa.bindparam("deal"))
    _execute_many(
        connection,
        ended.where(runs.c.experiment_ref.in_(same_name), other_deal),
        [{"called": experiment, "part": split, "deal": deal} for (experiment, split), deal in deals.items()],
    )
    standing = [
        key
        for key, spec in by_hash.items()
        if (settings[spec.experiment], deals[spec.experiment, spec.split.name])
        == (spec.experiment_digest, spec.split_digest)
    ]
    again = sa.update(runs).where(_among(runs.c.config_hash, standing)).values(is_current=True)
    connection.execute(again)


def _among(column: sa.Column[Any], values: Collection[str]) -> sa.ColumnElement[bool]:
    """Return the condition `column IN values`, with all of them in one parameter: SQLite takes 32,766."""
    listed = sa.func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(sa.select(listed.c.value))


def _execute_many(connection: Connection, statement: sa.Insert | sa.Update, rows: Sequence[Row]) -> None:
    if rows:  # without any, SQLAlchemy would execute it once
        connection.execute(statement, rows)


def _settings_json(settings: ExperimentSettings) -> str:
    return canonical_json(settings.model_dump(mode="json"))
