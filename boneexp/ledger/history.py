"""What happened, in order: an append-only chain of events that cannot be changed without a trace.

Each event's hash covers its content and the hash before it. An event that settles something carries a seal
over the rows that it settles, so that these cannot be changed without a trace either.
"""

from sqlite3 import Connection
from typing import Any, Literal

from boneexp.ledger.chain import FIRST_HASH, event_hash
from boneexp.ledger.sealed_rows import RULE
from boneexp.ledger.seals import (
    Subject,
    is_sealed_as_it_is,
    seal_of,
    subject_of_event,
    to_be_sealed_by_upgrade,
)
from boneexp.ledger.statements import insert, insert_all
from boneexp.results import WrittenFile
from boneexp.study.settings import canonical_json


def record_event(
    connection: Connection,
    now: float,
    kind: str,
    *,
    run_id: int | None = None,
    attempt: int | None = None,
    **details: Any,
) -> None:
    """Append one event to the chain; rows that it settles must be written before, since it seals them."""
    subject = subject_of_event(kind, run_id, attempt, details)
    if subject is not None:
        details.update(rule=RULE, seal=seal_of(connection, subject))
    last = connection.execute("SELECT hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    previous = FIRST_HASH if last is None else last[0]
    details_json = canonical_json(details)
    now = float(now)  # as the column keeps it, so that the hash can be computed again
    row = {"at": now, "kind": kind, "run_id": run_id, "attempt": attempt, "details_json": details_json}
    digest = event_hash(previous, now, kind, (run_id, attempt), details_json)
    insert(connection, "events", {**row, "previous_hash": previous, "hash": digest})


def seal_on_upgrade(connection: Connection, schema: str, now: float) -> None:
    """Seal by today's rule, as it is now, what the ledger's earlier `schema` sealed less of or not at all."""
    for subject in to_be_sealed_by_upgrade(connection, schema):
        record_event(connection, now, "sealed", subject=subject.kind, **subject.columns())


def seal_if_changed(connection: Connection, kind: Literal["study", "grid"], now: float) -> None:
    """Seal what the study compares with, or which runs are current, once it is otherwise than before."""
    if not is_sealed_as_it_is(connection, Subject(kind, ())):
        record_event(connection, now, kind)


def record_files(
    connection: Connection, files: tuple[WrittenFile, ...], run_id: int | None, now: float
) -> None:
    """Record files that are in place; a file written again replaces its row."""
    rows = [{**vars(file), "run_id": run_id, "written_at": now} for file in files]
    insert_all(connection, "files", rows, "INSERT OR REPLACE")
