"""Into the ledger: the dataset, what the study compares with, and every new cell of the grid as a run."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from boneexp.errors import Damaged
from boneexp.ledger.history import record_event, seal_if_changed
from boneexp.ledger.seals import Subject, seal_holds
from boneexp.ledger.statements import insert, insert_all, update
from boneexp.study.decision_settings import BaselineSettings, ReferenceSettings, SelectionSettings
from boneexp.study.settings import STEERS_ONLY, ExperimentSettings, RunSpec, canonical_json

MAX_ATTEMPTS = 3
ALL_NOTES = "SELECT name, value FROM datasets, json_each(notes_json)"  # for a person to paste
PUBLISHED = "BTXRD"  # the data that baseline and targets are of where the grid file names none
Row = dict[str, Any]
GRID = Subject("grid", ())
AMONG = "IN (SELECT value FROM json_each(?))"  # all values in one parameter: SQLite takes 32,766

OUTDATED = f"""SELECT r.id FROM experiments e JOIN runs r ON r.experiment_ref = e.id
               WHERE e.experiment {AMONG} AND r.state = 'queued' AND NOT r.is_current ORDER BY r.id"""
FOLLOWING = """UPDATE experiments SET name = :name,
                 settings_json = json_set(settings_json, '$.name', :name, '$.notes', :notes,
                                          '$.data.root', :root, '$.data.name', :data_name,
                                          '$.model.pretrained', json(:weights))
               WHERE config_digest = :digest"""
OTHER_SETTINGS = """UPDATE runs SET is_current = 0 WHERE is_current AND experiment_ref IN
                      (SELECT id FROM experiments WHERE experiment = ? AND config_digest <> ?)"""
OTHER_DEAL = """UPDATE runs SET is_current = 0 WHERE is_current AND split = ? AND split_digest <> ?
                AND experiment_ref IN (SELECT id FROM experiments WHERE experiment = ?)"""


@dataclass(frozen=True)
class DatasetFacts:
    """What the ledger keeps of a dataset; `counts` is by centre, then by class.

    `attributes` are (image id, attribute, value), such as ("IMG000001.jpeg", "site", "femur"). What parts of
    earlier splits share stays in the ledger.
    """

    fingerprint: str
    name: str
    kind: str
    images: int
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    attributes: tuple[tuple[str, str, str], ...] = ()
    contradicting_images: int | None = None  # that look the same as one of another class; None: not counted
    overlaps: tuple[Row, ...] = ()  # rows of split_overlaps, of the splits that are queued


@dataclass(frozen=True)
class Enqueued:
    """What `enqueue` did: ids of new runs, how many were there, older runs of these experiments that wait."""

    added: tuple[int, ...]
    known: int
    outdated: tuple[int, ...]


def enqueue(
    connection: Connection,
    specs: Sequence[RunSpec],
    now: float,
    max_attempts: int = MAX_ATTEMPTS,
    as_written: Mapping[str, str] | None = None,
) -> Enqueued:
    """Put every spec that the ledger does not know yet in the queue; the datasets must be recorded before.

    What was queued last is what `compare` shows: earlier settings of the same experiments stay in the
    ledger and stop being current. A new run is given up when its process has died `max_attempts` times in a
    row without an epoch. `as_written` are digests of what the grid file said of experiments that have other
    settings here.

    Raises:
        Damaged: somebody changed which runs are current, or names and notes, and queueing does not put that
            right.
    """
    untouched = seal_holds(connection, GRID) or not _has_runs(connection)
    by_hash = {spec.config_hash: spec for spec in specs}
    states = _states(connection, list(by_hash))
    _follow(connection, {key: by_hash[key] for key in states}, states)
    new = {key: spec for key, spec in by_hash.items() if key not in states}
    added = _add(connection, new, now, max_attempts)
    _make_current(connection, by_hash)
    if not untouched and not seal_holds(connection, GRID):
        raise Damaged(
            "tables runs and experiments: which runs are current, or names and notes, are not as they were "
            "queued; nothing was queued, since that would cover it up; queue what was queued last, without "
            "new runs, or put a backup in the ledger's place; see: boneexp doctor"
        )
    if added:
        details: dict[str, Any] = {"runs": added, "config_hashes": list(by_hash)}
        if as_written:
            details["as_written"] = dict(as_written)
        record_event(connection, now, "queued", **details)
    seal_if_changed(connection, "grid", now)
    names = {spec.experiment for spec in specs}
    outdated = tuple(row[0] for row in connection.execute(OUTDATED, (_listed(names),)))
    return Enqueued(tuple(added), len(specs) - len(added), outdated)


def record_dataset(connection: Connection, facts: DatasetFacts, now: float) -> None:
    """Keep a dataset's facts; the same data under a new name take the new name.

    Attributes decide no result and are in no fingerprint: a table that was corrected replaces them, and the
    event seals what stands then.
    """
    values = {
        "name": facts.name,
        "kind": facts.kind,
        "images": facts.images,
        "counts_json": canonical_json(facts.counts),
        "notes_json": json.dumps(facts.notes),
        "contradicting_images": facts.contradicting_images,
    }
    known = _known_dataset(connection, facts.fingerprint, list(values))
    if known is None:
        new = {"fingerprint": facts.fingerprint, "recorded_at": now}
        insert(connection, "datasets", {**new, **values})
    else:
        update(connection, "datasets", {"fingerprint": facts.fingerprint}, **values)
    shared = _replace_overlaps(connection, facts)
    if known != (tuple(values.values()), sorted(set(facts.attributes))) or shared:
        _replace_attributes(connection, facts)
        counted = len(facts.attributes)
        record_event(connection, now, "dataset", fingerprint=facts.fingerprint, attributes=counted)


def record_study(
    connection: Connection,
    selection: SelectionSettings,
    targets: ReferenceSettings,
    baseline: BaselineSettings,
    now: float,
) -> None:
    """Keep what decides the best experiment and what it is compared with, as the grid file says it now.

    Of which data baseline and targets are stands in one of both tables, or in each; else they are BTXRD's.
    """
    connection.execute("DELETE FROM selection_keys")
    keys = [
        {"position": place, "figure": key, "part": selection.part}
        for place, key in enumerate(selection.order, start=1)
    ]
    insert_all(connection, "selection_keys", keys)
    connection.execute("DELETE FROM study_figures")
    named = baseline.comparable_to or targets.comparable_to or PUBLISHED
    sizes = {"target": {}, "baseline": baseline.sizes}
    rows = [
        {
            "kind": kind,
            "figure": figure,
            "value": value,
            "images": sizes[kind].get(figure),
            "comparable_to": settings.comparable_to or named,
        }
        for kind, settings in (("target", targets), ("baseline", baseline))
        for figure, value in settings.figures.items()
    ]
    insert_all(connection, "study_figures", rows)
    seal_if_changed(connection, "study", now)


def _has_runs(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None


def _known_dataset(
    connection: Connection, fingerprint: str, columns: Sequence[str]
) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None:
    """Return what the ledger has of a dataset, the columns and the attributes; None if it has nothing."""
    facts = f"SELECT {', '.join(columns)} FROM datasets WHERE fingerprint = ?"
    row = connection.execute(facts, (fingerprint,)).fetchone()
    if row is None:
        return None
    named = "SELECT image_id, attribute, value FROM image_attributes WHERE data_fingerprint = ?"
    return tuple(row), sorted(map(tuple, connection.execute(named, (fingerprint,))))


def _replace_attributes(connection: Connection, facts: DatasetFacts) -> None:
    connection.execute("DELETE FROM image_attributes WHERE data_fingerprint = ?", (facts.fingerprint,))
    rows = [
        {"data_fingerprint": facts.fingerprint, "image_id": image_id, "attribute": name, "value": value}
        for image_id, name, value in sorted(set(facts.attributes))
    ]
    insert_all(connection, "image_attributes", rows)


def _replace_overlaps(connection: Connection, facts: DatasetFacts) -> bool:
    """Keep what the parts of these splits share; False where the ledger has it already."""
    new = [{"data_fingerprint": facts.fingerprint, **row} for row in facts.overlaps]
    digests = json.dumps(sorted({row["split_digest"] for row in new}))
    among = (
        "FROM split_overlaps WHERE data_fingerprint = ? AND split_digest IN (SELECT value FROM json_each(?))"
    )
    known = [dict(row) for row in connection.execute(f"SELECT * {among}", (facts.fingerprint, digests))]
    if sorted(known, key=_by_parts) == sorted(new, key=_by_parts):
        return False
    connection.execute(f"DELETE {among}", (facts.fingerprint, digests))
    insert_all(connection, "split_overlaps", new)
    return True


def _by_parts(row: Row) -> tuple[str, ...]:
    return row["split_digest"], row["first_part"], row["second_part"]


def _states(connection: Connection, hashes: Collection[str]) -> dict[str, str]:
    """Return the state of each run that the ledger knows, by its hash."""
    known = f"SELECT config_hash, state FROM runs WHERE config_hash {AMONG}"
    return dict(map(tuple, connection.execute(known, (_listed(hashes),))))


def _follow(connection: Connection, known: Mapping[str, RunSpec], states: Mapping[str, str]) -> None:
    """Where the data and weights lie, name and notes decide nothing and stand in no hash: they may change.

    A run that has yet to begin, or may be queued again, learns where the data are, and how long it may take.
    Of an experiment's settings no more than that is replaced: the rest is sealed as it was written, with the
    keys that boneexp had then.
    """
    moved = [
        (spec.model_dump_json(), key)
        for key, spec in known.items()
        if states[key] in ("queued", "failed", "cancelled")
    ]
    connection.executemany("UPDATE runs SET spec_json = ? WHERE config_hash = ?", moved)
    settings = {spec.experiment_digest: spec.settings for spec in known.values()}
    named = [
        {
            "digest": digest,
            "name": each.name,
            "notes": each.notes,
            "root": each.data.root,
            "data_name": each.data.name,
            "weights": canonical_json(each.model.pretrained),
        }
        for digest, each in settings.items()
    ]
    connection.executemany(FOLLOWING, named)


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
    insert_all(connection, "runs", rows)
    added = f"SELECT id FROM runs WHERE config_hash {AMONG} ORDER BY id"
    return [row[0] for row in connection.execute(added, (_listed(new),))]


def _experiment_ids(connection: Connection, by_digest: Mapping[str, RunSpec], now: float) -> dict[str, int]:
    """Return the row of each experiment by its digest; one that is not there yet is made."""
    there = f"SELECT config_digest, id FROM experiments WHERE config_digest {AMONG}"
    digests = _listed(by_digest)
    known = dict(map(tuple, connection.execute(there, (digests,))))
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
    insert_all(connection, "experiments", rows)
    return dict(map(tuple, connection.execute(there, (digests,))))


def _folders(connection: Connection, new: Mapping[str, RunSpec]) -> dict[str, str]:
    """Return a folder for each run: the plain one for the first of an experiment and split."""
    plain = {key: f"experiments/{spec.experiment}/{spec.split.name}" for key, spec in new.items()}
    there = f"SELECT folder FROM runs WHERE folder {AMONG}"
    taken = {row[0] for row in connection.execute(there, (_listed(set(plain.values())),))}
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
    connection.executemany(OTHER_SETTINGS, settings.items())
    others = [(split, deal, experiment) for (experiment, split), deal in deals.items()]
    connection.executemany(OTHER_DEAL, others)
    standing = [
        key
        for key, spec in by_hash.items()
        if (settings[spec.experiment], deals[spec.experiment, spec.split.name])
        == (spec.experiment_digest, spec.split_digest)
    ]
    again = f"UPDATE runs SET is_current = 1 WHERE NOT is_current AND config_hash {AMONG}"
    connection.execute(again, (_listed(standing),))


def _listed(values: Collection[str]) -> str:
    """Return the values as AMONG takes them."""
    return json.dumps(list(values))


def _settings_json(settings: ExperimentSettings) -> str:
    """Return every setting that an experiment's results may rest on; what only steers its runs is theirs."""
    return canonical_json(settings.model_dump(mode="json", exclude=STEERS_ONLY))
