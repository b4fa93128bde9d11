"""What the ledger keeps of a dataset: counts, notes, attributes of images, and what parts of splits share."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from boneexp.ledger.history import record_event
from boneexp.ledger.statements import insert, insert_all, read, record, update
from boneexp.study.settings import canonical_json

ALL_NOTES = "SELECT name, value FROM datasets, json_each(notes_json)"  # for a person to paste


@dataclass(frozen=True)
class SplitOverlap:
    """What two parts of one split share, counted when the split is queued."""

    split_digest: str
    first_part: str
    second_part: str
    images: int
    images_of_shared_groups: int
    images_of_shared_pictures: int
    images_without_group: int


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
    overlaps: tuple[SplitOverlap, ...] = ()  # of the splits that are queued


def record_dataset(connection: Connection, facts: DatasetFacts, now: float) -> None:
    """Keep a dataset's facts; the same data under a new name get the new name.

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
    """Keep what the parts of these splits share; return False if the ledger has it already."""
    digests = json.dumps(sorted({each.split_digest for each in facts.overlaps}))
    among = (
        "FROM split_overlaps WHERE data_fingerprint = ? AND split_digest IN (SELECT value FROM json_each(?))"
    )
    known = read(connection, SplitOverlap, f"SELECT * {among}", (facts.fingerprint, digests))
    if set(known) == set(facts.overlaps):
        return False
    connection.execute(f"DELETE {among}", (facts.fingerprint, digests))
    rows = [{"data_fingerprint": facts.fingerprint, **record(each)} for each in facts.overlaps]
    insert_all(connection, "split_overlaps", rows)
    return True
