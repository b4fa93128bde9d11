"""Into the ledger: the dataset, what the study compares with, and every new cell of the grid as a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from boneexp.config import RunSpec, SelectionSettings, canonical_json
from boneexp.ledger.history import record_event
from boneexp.ledger.tables import datasets, experiments, runs, selection_keys, study_figures

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class DatasetFacts:
    """What the ledger keeps of a dataset; `counts` is by centre, then by class."""

    fingerprint: str
    name: str
    kind: str
    images: int
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


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
    added = [run for spec in specs if (run := _add(connection, spec, now, max_attempts)) is not None]
    hashes = [spec.config_hash for spec in specs]
    for spec in specs:
        _make_current(connection, spec)
    if added:
        record_event(connection, now, "queued", runs=added, config_hashes=hashes)
    names = {spec.experiment for spec in specs}
    waiting = (
        sa.select(runs.c.id)
        .join(experiments, experiments.c.id == runs.c.experiment_ref)
        .where(experiments.c.experiment.in_(names), runs.c.state == "queued", sa.not_(runs.c.is_current))
    )
    outdated = tuple(connection.scalars(waiting.order_by(runs.c.id)))
    return Enqueued(tuple(added), len(specs) - len(added), outdated)


def record_dataset(connection: Connection, facts: DatasetFacts, now: float) -> None:
    """Keep a dataset's facts; the same data under a new name take the new name."""
    values = {
        "name": facts.name,
        "kind": facts.kind,
        "images": facts.images,
        "counts_json": canonical_json(facts.counts),
        "notes_json": json.dumps(facts.notes),
    }
    same = datasets.c.fingerprint == facts.fingerprint
    if connection.execute(sa.update(datasets).where(same).values(**values)).rowcount == 0:
        new = sa.insert(datasets).values(fingerprint=facts.fingerprint, recorded_at=now, **values)
        connection.execute(new)


def record_study(
    connection: Connection,
    selection: SelectionSettings,
    targets: Mapping[str, float],
    baseline: Mapping[str, float],
) -> None:
    """Keep what decides the best experiment and what it is compared with, as the grid file says it now."""
    connection.execute(sa.delete(selection_keys))
    keys = [{"position": place, "figure": key} for place, key in enumerate(selection.order, start=1)]
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


def _add(connection: Connection, spec: RunSpec, now: float, max_attempts: int) -> int | None:
    known = connection.execute(
        sa.select(runs.c.id, runs.c.state).where(runs.c.config_hash == spec.config_hash)
    ).one_or_none()
    if known is not None:
        _follow_moved_files(connection, known.id, known.state, spec)
        _follow_new_name(connection, spec)
        return None
    values = {
        "experiment_ref": _experiment_of(connection, spec, now),
        "split": spec.split.name,
        "seed": spec.seed,
        "config_hash": spec.config_hash,
        "split_digest": spec.split_digest,
        "spec_json": spec.model_dump_json(),
        "folder": _folder_for(connection, spec),
        "is_current": True,
        "state": "queued",
        "attempt": 0,
        "killed_attempts": 0,
        "max_attempts": max_attempts,
        "micro_batch": spec.settings.training.batch_size,
        "stop_requested": False,
        "queued_at": now,
    }
    return int(connection.execute(sa.insert(runs).values(**values).returning(runs.c.id)).scalar_one())


def _follow_moved_files(connection: Connection, run_id: int, state: str, spec: RunSpec) -> None:
    """The hash leaves out where the data lie, so a run that has yet to begin learns where they are now."""
    if state in ("queued", "failed", "cancelled"):
        connection.execute(
            sa.update(runs).where(runs.c.id == run_id).values(spec_json=spec.model_dump_json())
        )


def _follow_new_name(connection: Connection, spec: RunSpec) -> None:
    """Name and notes decide nothing either, and may be bettered at any time."""
    settings = spec.settings
    values = {"name": settings.name, "settings_json": canonical_json(settings.model_dump(mode="json"))}
    same = experiments.c.config_digest == spec.experiment_digest
    connection.execute(sa.update(experiments).where(same).values(**values))


def _experiment_of(connection: Connection, spec: RunSpec, now: float) -> int:
    known = sa.select(experiments.c.id).where(experiments.c.config_digest == spec.experiment_digest)
    settings = spec.settings
    if (found := connection.scalar(known)) is not None:
        return int(found)
    values = {
        "experiment": spec.experiment,
        "name": settings.name,
        "config_digest": spec.experiment_digest,
        "backbone": settings.model.backbone,
        "image_size": settings.data.image_size,
        "batch_size": settings.training.batch_size,
        "annotations": settings.training.annotations,
        "settings_json": canonical_json(settings.model_dump(mode="json")),
        "data_fingerprint": spec.data_fingerprint,
        "queued_at": now,
    }
    added = connection.execute(sa.insert(experiments).values(**values).returning(experiments.c.id))
    return int(added.scalar_one())


def _folder_for(connection: Connection, spec: RunSpec) -> str:
    plain = f"experiments/{spec.experiment}/{spec.split.name}"
    if connection.scalar(sa.select(runs.c.id).where(runs.c.folder == plain)) is None:
        return plain
    return f"{plain}-seed{spec.seed}-{spec.config_hash[:8]}"


def _make_current(connection: Connection, spec: RunSpec) -> None:
    """Other settings of the experiment, and other deals of the same split, stop being current."""
    same_name = sa.select(experiments.c.id).where(experiments.c.experiment == spec.experiment)
    same_settings = sa.select(experiments.c.id).where(experiments.c.config_digest == spec.experiment_digest)
    other_settings = runs.c.experiment_ref.not_in(same_settings)
    other_deal = sa.and_(runs.c.split == spec.split.name, runs.c.split_digest != spec.split_digest)
    connection.execute(
        sa.update(runs)
        .where(runs.c.experiment_ref.in_(same_name), runs.c.is_current, sa.or_(other_settings, other_deal))
        .values(is_current=False)
    )
    connection.execute(sa.update(runs).where(runs.c.config_hash == spec.config_hash).values(is_current=True))
