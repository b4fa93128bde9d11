"""Seals: digests of rows that must not change any more, kept in the events of the hash chain.

An event that settles something carries one digest per table, over all rows that count: a settled run with
its epochs, metrics and predictions, a decision, the heat maps of a run, a late result, what is known of a
dataset's images. Whoever changes such a row has to change the event, too, and that breaks the chain.
docs/ledger.md lists every column that is left out, and why.
"""

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from boneexp.ledger.sealed_rows import FIRST_RULE, RULE, RULES

# Which event seals what; `sealed` names its subject, for what was settled before there were seals.
SEALED_BY = {
    "succeeded": "run",
    "failed": "run",
    "cancelled": "run",
    "promotion": "promotion",
    "explained": "explanations",
    "late-result": "late result",
    "dataset": "dataset",
    "study": "study",
    "queued": "grid",
    "grid": "grid",
}
# What must be sealed once it is there. Late results of schema 0001 were events without rows.
SUBJECTS = {
    "run": "SELECT id FROM runs WHERE state IN ('succeeded', 'failed', 'cancelled') ORDER BY id",
    "promotion": "SELECT id FROM promotions ORDER BY id",
    "explanations": "SELECT DISTINCT run_id FROM explanations ORDER BY run_id",
    "late result": "SELECT DISTINCT run_id, attempt FROM late_results ORDER BY run_id, attempt",
    "dataset": "SELECT fingerprint FROM datasets ORDER BY fingerprint",
    "study": """SELECT 1 WHERE EXISTS (SELECT 1 FROM selection_keys)
                OR EXISTS (SELECT 1 FROM study_figures)""",
    "grid": "SELECT 1 WHERE EXISTS (SELECT 1 FROM runs)",
}
THE_ONLY_ONE = ("study", "grid")  # of its kind, and so without a key
# Since which schema: what is older gets its seal when the ledger is upgraded, and only then.
SEALED_SINCE = {**dict.fromkeys(SUBJECTS, "0002"), "dataset": "0003", "study": "0005", "grid": "0005"}

Key = tuple[int | str | None, ...]
_as_json = json.JSONEncoder(separators=(",", ":"), default=repr).encode  # repr: bytes put in by hand


def seal_of(connection: sqlite3.Connection, subject: "Subject", rule: str = RULE) -> dict[str, str]:
    """Return the subject's seal by a rule: by table, the SHA-256 over its rows as they are now.

    A row is a JSON list on a line of its own, without spaces, in the order of the primary key. Floats are
    written so that reading them gives the same bits. Rows are taken one by one, however many there are.
    """
    queries = RULES[rule][subject.kind]
    return {table: rows_digest(connection, rule, query, subject.key) for table, query in queries.items()}


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
        "study": (),
        "grid": (),
    }
    return Subject(sealed, keys[sealed]) if sealed in keys else None


def to_be_sealed_by_upgrade(connection: sqlite3.Connection, schema: str) -> list["Subject"]:
    """Return what a ledger of an earlier schema has no seal for by today's rule, and may be given one.

    That is what was never sealed in its schema, and what is still as an earlier rule sealed it. A seal that
    is missing although the schema had it, or that is broken, stays so.
    """
    standing = standing_seals(connection)
    never = [
        subject
        for subject in _to_be_sealed(connection)
        if subject not in standing and schema < SEALED_SINCE[subject.kind]
    ]
    whole = [subject for subject, seal in standing.items() if not _changed(connection, subject, seal)]
    return [*never, *(subject for subject in whole if standing[subject].rule != RULE)]


def is_sealed_as_it_is(connection: sqlite3.Connection, subject: "Subject") -> bool:
    """Return True if a seal by today's rule stands that covers the rows as they are now."""
    seal = standing_seals(connection).get(subject)
    return seal is not None and seal.rule == RULE and not _changed(connection, subject, seal)


def broken_seals(
    connection: sqlite3.Connection, kinds: Collection[str] = tuple(SUBJECTS)
) -> Iterator["Broken"]:
    """Yield what, of these kinds, is not as it was when it was sealed, or ought to be sealed and is not."""
    standing = standing_seals(connection)
    for subject, seal in standing.items():
        changed = subject.kind in kinds and _changed(connection, subject, seal)
        if changed:
            yield Broken(subject, seal.event, changed)
    for subject in _to_be_sealed(connection, kinds):
        if subject not in standing:
            yield Broken(subject, None, ())


def seal_holds(connection: sqlite3.Connection, subject: "Subject", tables: Collection[str] = ()) -> bool:
    """Return True if one subject is sealed, and still as it was then; of all its tables or of some."""
    seal = standing_seals(connection).get(subject)
    return seal is not None and not _changed(connection, subject, seal, tables)


def broken_among(
    connection: sqlite3.Connection,
    standing: Mapping["Subject", "Seal"],
    wanted: Mapping["Subject", Collection[str]],
) -> Iterator["Broken"]:
    """Yield which of the wanted subjects are not as they were sealed, or ought to be sealed and are not.

    Of each subject these of its tables are looked at; all of them where none is named.
    """
    never = [subject for subject in wanted if subject not in standing]
    ought = set(_to_be_sealed(connection)) if never else set()
    for subject, tables in wanted.items():
        if subject in ought and subject not in standing:
            yield Broken(subject, None, ())
        elif subject in standing:
            seal = standing[subject]
            if changed := _changed(connection, subject, seal, tables):
                yield Broken(subject, seal.event, changed)


def results_hold(connection: sqlite3.Connection, run_id: int) -> bool:
    """Return True if a run's epochs, metrics and predictions are as they were when it was settled."""
    return seal_holds(connection, Subject("run", (run_id,)), ("epochs", "metrics", "predictions"))


def standing_seals(connection: sqlite3.Connection) -> dict["Subject", "Seal"]:
    """Return the last seal of each subject; a retried run has none."""
    standing: dict[Subject, Seal] = {}
    query = "SELECT id, kind, run_id, attempt, details_json FROM events ORDER BY id"
    for event, kind, run_id, attempt, details_json in connection.execute(query):
        if kind == "retried":
            standing.pop(Subject("run", (run_id,)), None)
        details = _details(details_json)
        subject = subject_of_event(kind, run_id, attempt, details)
        if subject is not None and isinstance(details.get("seal"), dict):
            standing[subject] = Seal(event, details.get("rule", FIRST_RULE), details["seal"])
    return standing


def _changed(
    connection: sqlite3.Connection, subject: "Subject", seal: "Seal", wanted: Collection[str] = ()
) -> tuple[str, ...]:
    """Return which of the tables, of all where none is wanted, do not have the rows that were sealed."""
    queries = RULES.get(seal.rule, {}).get(subject.kind)
    if queries is None:
        return tuple(RULES[RULE][subject.kind])
    found = []
    for table in [name for name in queries if not wanted or name in wanted]:
        try:
            now = rows_digest(connection, seal.rule, queries[table], subject.key)
        except sqlite3.DatabaseError:  # settings that are JSON no more, text that is no UTF-8
            now = ""
        if seal.digests.get(table) != now:
            found.append(table)
    return tuple(found)


def _to_be_sealed(
    connection: sqlite3.Connection, kinds: Collection[str] = tuple(SUBJECTS)
) -> Iterator["Subject"]:
    for kind in (each for each in SUBJECTS if each in kinds):
        for row in connection.execute(SUBJECTS[kind]).fetchall():
            yield Subject(kind, () if kind in THE_ONLY_ONE else tuple(row))


def _details(details_json: str) -> dict[str, Any]:
    """Return an event's details; those that were made unreadable seal nothing."""
    try:
        details = json.loads(details_json)
    except (TypeError, ValueError):
        return {}
    return details if isinstance(details, dict) else {}


def rows_digest(connection: sqlite3.Connection, rule: str, query: str, key: Key) -> str:
    """Return the digest of the rows of a table that a rule names."""
    digest = hashlib.sha256(f"{rule}\n".encode())
    for row in connection.execute(query, key):
        digest.update(f"{_as_json(tuple(row))}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Subject:
    """What is sealed; `key` says which.

    A run, a decision, a run's explanations or late result, a dataset, the study's references, or the grid.
    """

    kind: str
    key: Key

    def columns(self) -> dict[str, Any]:
        """Return the key as an event keeps it."""
        own = {"promotion": ("promotion",), "dataset": ("fingerprint",)}
        names = own.get(self.kind, ("run_id", "attempt"))
        return dict(zip(names, self.key, strict=False))

    def __str__(self) -> str:
        """Name it: "run 3", "dataset 5f3a1c2b9d04", "late result of run 3, attempt 2"."""
        if self.kind in THE_ONLY_ONE:
            return f"the {self.kind}"
        if self.kind == "dataset":
            return f"dataset {str(self.key[0])[:12]}"
        if self.kind in ("run", "promotion"):
            return f"{self.kind} {self.key[0]}"
        more = f", attempt {self.key[1]}" if len(self.key) > 1 else ""
        return f"{self.kind} of run {self.key[0]}{more}"


@dataclass(frozen=True)
class Seal:
    """A seal as its event keeps it: the rule that it was made by, and the digest of each table."""

    event: int
    rule: str
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Broken:
    """A seal that does not hold: the event that carries it (None if there is none), and which tables."""

    subject: Subject
    event: int | None
    tables: tuple[str, ...]

    def __str__(self) -> str:
        """Describe it: "run 3: table metrics is not as event 17 sealed it"."""
        if self.event is None:
            return f"{self.subject}: no event seals it: events were removed, or rows put in by hand"
        if len(self.tables) == 1:
            return f"{self.subject}: table {self.tables[0]} is not as event {self.event} sealed it"
        return f"{self.subject}: tables {', '.join(self.tables)} are not as event {self.event} sealed them"
