"""Seals: digests of rows that must not change any more, kept in the events of the hash chain.

An event that settles something carries one digest per table, over all rows that count: a settled run with
its epochs, metrics and predictions, a decision, the heat maps of a run, a late result, what is known of a
dataset's images. Whoever changes such
a row has to change the event, too, and that breaks the chain. docs/ledger.md lists every column that is left
out, and why.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RULE = "boneexp-seal-1"  # other columns are another rule, and what was sealed by this one keeps this one

# What changes of a settled run: which settings are current, names, and where the data lie. A run that has
# not succeeded may be queued again after its data have moved, so its spec is sealed only on success.
RUN = {
    "runs": """SELECT id, experiment_ref, split, seed, config_hash, split_digest,
                      CASE state WHEN 'succeeded' THEN spec_json END, folder, state, failure_kind, failure,
                      attempt, micro_batch, best_epoch, checkpoint, checkpoint_sha256, queued_at, settled_at
               FROM runs WHERE id = ?""",
    "experiments": """SELECT id, experiment, config_digest, backbone, image_size, batch_size, annotations,
                             json_remove(settings_json, '$.name', '$.notes', '$.data.root', '$.data.name',
                                         '$.model.pretrained'),
                             data_fingerprint, queued_at
                      FROM experiments WHERE id = (SELECT experiment_ref FROM runs WHERE id = ?)""",
    "attempts": """SELECT run_id, number, worker, host, pid, boot_id, process_started, device, versions_json,
                          batch_size, micro_batch, started_at, renewed_at, ended_at, outcome, failure_kind,
                          failure, traceback
                   FROM attempts WHERE run_id = ? ORDER BY number""",
    "epochs": """SELECT run_id, epoch, attempt, train_loss, val_loss, val_accuracy, val_macro_auroc,
                        learning_rate, duration_s, ended_at
                 FROM epochs WHERE run_id = ? ORDER BY epoch, attempt""",
    "metrics": """SELECT run_id, part, metric, class_name, value, low, high
                  FROM metrics WHERE run_id = ? ORDER BY part, metric, class_name""",
    "predictions": """SELECT run_id, part, image_id, group_id, center, label, p_normal, p_benign, p_malignant
                      FROM predictions WHERE run_id = ? ORDER BY part, image_id""",
    "files": """SELECT path, run_id, kind, sha256, size_bytes, written_at
                FROM files WHERE run_id = ? ORDER BY path""",
}
PROMOTION = {
    "promotions": """SELECT id, action, experiment, stratified_run_id, center_run_id, reason, decided_by,
                            decided_at, evidence_json, undoes_id
                     FROM promotions WHERE id = ?""",
}
EXPLANATIONS = {
    "explanations": """SELECT run_id, part, image_id, explained_class, threshold, checkpoint_sha256, layer,
                              outcome, overlay, iou, energy_inside, pointing_hit, explained_at
                       FROM explanations WHERE run_id = ?
                       ORDER BY part, image_id, explained_class, threshold""",
}
LATE_RESULT = {
    "late_results": """SELECT run_id, attempt, part, metric, class_name, value, low, high, recorded_at
                       FROM late_results WHERE run_id = ? AND attempt = ?
                       ORDER BY part, metric, class_name""",
}
DATASET = {  # its name may change
    "datasets": """SELECT fingerprint, kind, images, counts_json, notes_json, recorded_at
                   FROM datasets WHERE fingerprint = ?""",
    "image_attributes": """SELECT data_fingerprint, image_id, attribute, value FROM image_attributes
                           WHERE data_fingerprint = ? ORDER BY image_id, attribute, value""",
}
QUERIES = {
    "run": RUN,
    "promotion": PROMOTION,
    "explanations": EXPLANATIONS,
    "late result": LATE_RESULT,
    "dataset": DATASET,
}
# Which event seals what; `sealed` names its subject, for what was settled before there were seals.
SEALED_BY = {
    "succeeded": "run",
    "failed": "run",
    "cancelled": "run",
    "promotion": "promotion",
    "explained": "explanations",
    "late-result": "late result",
    "dataset": "dataset",
}
# What must be sealed once it is there. Late results of schema 0001 were events without rows.
SUBJECTS = {
    "run": "SELECT id FROM runs WHERE state IN ('succeeded', 'failed', 'cancelled') ORDER BY id",
    "promotion": "SELECT id FROM promotions ORDER BY id",
    "explanations": "SELECT DISTINCT run_id FROM explanations ORDER BY run_id",
    "late result": "SELECT DISTINCT run_id, attempt FROM late_results ORDER BY run_id, attempt",
    "dataset": "SELECT fingerprint FROM datasets ORDER BY fingerprint",
}

Key = tuple[int | str | None, ...]
_as_json = json.JSONEncoder(separators=(",", ":"), default=repr).encode  # repr: bytes put in by hand


def seal_of(connection: sqlite3.Connection, subject: "Subject") -> dict[str, str]:
    """Return the subject's seal: by table, the SHA-256 over its rows as they are now.

    A row is a JSON list on a line of its own, without spaces, in the order of the primary key. Floats are
    written so that reading them gives the same bits. Rows are taken one by one, however many there are.
    """
    return {table: _digest(connection, query, subject.key) for table, query in QUERIES[subject.kind].items()}


def subject_of_event(
    kind: str, run_id: int | None, attempt: int | None, details: Mapping[str, Any]
) -> "Subject | None":
    """Return what an event of this kind seals; None if it seals nothing."""
    sealed = details.get("subject") if kind == "sealed" else SEALED_BY.get(kind)
    keys = {
        "run": (run_id,),
        "promotion": (details.get("promotion"),),
        "explanations": (run_id,),
        "late result": (run_id, attempt),
        "dataset": (details.get("fingerprint"),),
    }
    return Subject(sealed, keys[sealed]) if sealed in keys else None


def unsealed(connection: sqlite3.Connection) -> list["Subject"]:
    """Return what ought to be sealed and is not."""
    standing = standing_seals(connection)
    return [subject for subject in _to_be_sealed(connection) if subject not in standing]


def broken_seals(connection: sqlite3.Connection) -> Iterator["Broken"]:
    """Yield what is not as it was when it was sealed, and what ought to be sealed and is not."""
    standing = standing_seals(connection)
    for subject, (event, seal) in standing.items():
        changed = _changed(connection, subject, seal)
        if changed:
            yield Broken(subject, event, changed)
    for subject in _to_be_sealed(connection):
        if subject not in standing:
            yield Broken(subject, None, ())


def seal_holds(connection: sqlite3.Connection, subject: "Subject") -> bool:
    """Tell whether one subject is sealed, and still as it was then."""
    return not broken_among(connection, [subject])


def broken_among(connection: sqlite3.Connection, subjects: Iterable["Subject"]) -> list["Subject"]:
    """Return which of these are not sealed, or not as they were when they were sealed."""
    standing = standing_seals(connection)
    return [
        subject
        for subject in subjects
        if subject not in standing or _changed(connection, subject, standing[subject][1])
    ]


def results_hold(connection: sqlite3.Connection, run_id: int) -> bool:
    """Tell whether a run's epochs, metrics and predictions are as they were when it was settled."""
    subject = Subject("run", (run_id,))
    standing = standing_seals(connection).get(subject)
    results = {"epochs", "metrics", "predictions"}
    return standing is not None and results.isdisjoint(_changed(connection, subject, standing[1]))


def standing_seals(connection: sqlite3.Connection) -> dict["Subject", tuple[int, Mapping[str, str]]]:
    """Return the last seal of each subject, with the event that carries it; a retried run has none."""
    standing: dict[Subject, tuple[int, Mapping[str, str]]] = {}
    query = "SELECT id, kind, run_id, attempt, details_json FROM events ORDER BY id"
    for event, kind, run_id, attempt, details_json in connection.execute(query):
        if kind == "retried":
            standing.pop(Subject("run", (run_id,)), None)
        details = _details(details_json)
        subject = subject_of_event(kind, run_id, attempt, details)
        if subject is not None and isinstance(details.get("seal"), dict):
            standing[subject] = (event, details["seal"])
    return standing


def _changed(connection: sqlite3.Connection, subject: "Subject", seal: Mapping[str, str]) -> tuple[str, ...]:
    try:
        now = seal_of(connection, subject)
    except sqlite3.DatabaseError:  # settings that are JSON no more, text that is no UTF-8
        return tuple(QUERIES[subject.kind])
    return tuple(table for table in now if seal.get(table) != now[table])


def _to_be_sealed(connection: sqlite3.Connection) -> Iterator["Subject"]:
    for kind, query in SUBJECTS.items():
        for row in connection.execute(query).fetchall():
            yield Subject(kind, tuple(row))


def _details(details_json: str) -> dict[str, Any]:
    """Return an event's details; those that were made unreadable seal nothing."""
    try:
        details = json.loads(details_json)
    except (TypeError, ValueError):
        return {}
    return details if isinstance(details, dict) else {}


def _digest(connection: sqlite3.Connection, query: str, key: Key) -> str:
    digest = hashlib.sha256(f"{RULE}\n".encode())
    for row in connection.execute(query, key):
        digest.update(f"{_as_json(tuple(row))}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Subject:
    """What is sealed: a run, a decision, a run's explanations or late result, a dataset; `key` says which."""

    kind: str
    key: Key

    def columns(self) -> dict[str, Any]:
        """Return the key as an event keeps it."""
        names = {"promotion": ("promotion",), "dataset": ("fingerprint",)}.get(
            self.kind, ("run_id", "attempt")
        )
        return dict(zip(names, self.key, strict=False))

    def __str__(self) -> str:
        """Say it: "run 3", "dataset 5f3a1c2b9d04", "late result of run 3, attempt 2"."""
        if self.kind == "dataset":
            return f"dataset {str(self.key[0])[:12]}"
        if self.kind in ("run", "promotion"):
            return f"{self.kind} {self.key[0]}"
        more = f", attempt {self.key[1]}" if len(self.key) > 1 else ""
        return f"{self.kind} of run {self.key[0]}{more}"


@dataclass(frozen=True)
class Broken:
    """A seal that does not hold: the event that carries it (None if there is none), and which tables."""

    subject: Subject
    event: int | None
    tables: tuple[str, ...]
