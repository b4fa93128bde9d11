"""Every new combination of the grid becomes a run in the queue, under its experiment."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from boneexp.errors import Damaged
from boneexp.ledger.history import record_event, seal_if_changed
from boneexp.ledger.seals import Subject, seal_holds
from boneexp.ledger.statements import insert_all
from boneexp.study.settings import STEERS_ONLY, ExperimentSettings, RunSpec, canonical_json

MAX_ATTEMPTS = 3
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
OTHER_ASSIGNMENT = """UPDATE runs SET is_current = 0 WHERE is_current AND split = ? AND split_digest <> ?
                AND experiment_ref IN (SELECT id FROM experiments WHERE experiment = ?)"""


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


def _has_runs(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None


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
    """Other settings of the experiment, and other assignments of the same split, stop being current."""
    settings = {spec.experiment: spec.experiment_digest for spec in by_hash.values()}
    digests = {(spec.experiment, spec.split.name): spec.split_digest for spec in by_hash.values()}
    connection.executemany(OTHER_SETTINGS, settings.items())
    others = [(split, digest, experiment) for (experiment, split), digest in digests.items()]
    connection.executemany(OTHER_ASSIGNMENT, others)
    standing = [
        key
        for key, spec in by_hash.items()
        if (settings[spec.experiment], digests[spec.experiment, spec.split.name])
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
