"""Datasets and splits. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boneexp.ledger.statements import read, tuples_of


@dataclass(frozen=True)
class Dataset:
    """One dataset that runs were queued with."""

    fingerprint: str
    name: str
    kind: str
    images: int


@dataclass(frozen=True)
class CountedDataset(Dataset):
    """A dataset with its images by centre and class, and what its reader noted."""

    counts: Mapping[str, Mapping[str, int]]
    notes: Sequence[str]


@dataclass(frozen=True)
class Overlap:
    """What two parts of a split share, as it was counted when the split was queued."""

    first_part: str
    second_part: str
    images: int  # of the second part
    images_of_shared_groups: int
    images_of_shared_pictures: int
    images_without_group: int


@dataclass(frozen=True)
class SplitOverlap:
    """What test and training of a split share; the counts are None where they were not taken."""

    split: str
    group_column: str | None
    images: int | None
    images_of_shared_groups: int | None
    images_of_shared_pictures: int | None
    images_without_group: int | None


def fingerprints_of(connection: sqlite3.Connection, run_ids: Sequence[int]) -> list[str]:
    """Return the fingerprints of the data behind these runs."""
    query = """SELECT DISTINCT e.data_fingerprint FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE r.id IN (SELECT value FROM json_each(?)) ORDER BY 1"""
    return [row[0] for row in connection.execute(query, (json.dumps(list(run_ids)),))]


def part_overlaps(connection: sqlite3.Connection, run_id: int) -> list[Overlap]:
    """Return what each two parts of a run's split share; [] where that was not counted when it was queued."""
    query = """SELECT o.first_part, o.second_part, o.images, o.images_of_shared_groups,
                      o.images_of_shared_pictures, o.images_without_group
               FROM split_overlaps o
               JOIN runs r ON r.split_digest = o.split_digest
               JOIN experiments e ON e.id = r.experiment_ref AND e.data_fingerprint = o.data_fingerprint
               WHERE r.id = ? ORDER BY o.second_part, o.first_part"""
    return read(connection, Overlap, query, (run_id,))


def all_datasets(connection: sqlite3.Connection) -> list[Dataset]:
    """Return every dataset that a run was queued with, earlier ones too."""
    query = "SELECT fingerprint, name, kind, images FROM datasets ORDER BY fingerprint"
    return read(connection, Dataset, query)


def dataset_rows(connection: sqlite3.Connection) -> list[CountedDataset]:
    """Return the datasets behind the current runs, with counts by centre and class."""
    query = """SELECT d.fingerprint, d.name, d.kind, d.images, d.counts_json, d.notes_json FROM datasets d
               WHERE EXISTS (SELECT 1 FROM experiments e
                             JOIN runs r ON r.experiment_ref = e.id AND r.is_current
                             WHERE e.data_fingerprint = d.fingerprint)"""
    return [
        CountedDataset(fingerprint, name, kind, images, json.loads(counts), json.loads(notes))
        for fingerprint, name, kind, images, counts, notes in tuples_of(connection, query)
    ]


def split_rows(connection: sqlite3.Connection) -> list[SplitOverlap]:
    """Return each split behind a finished current run, and what its test set shares with training."""
    return read(
        connection,
        SplitOverlap,
        """SELECT r.split, json_extract(r.spec_json, '$.split.group_column') AS group_column,
                  o.images, o.images_of_shared_groups, o.images_of_shared_pictures, o.images_without_group
           FROM (SELECT MIN(r.id) AS run, e.data_fingerprint
                 FROM runs r JOIN experiments e ON e.id = r.experiment_ref
                 WHERE r.is_current AND r.state = 'succeeded'
                 GROUP BY r.split, r.split_digest, e.data_fingerprint) f
           JOIN runs r ON r.id = f.run
           LEFT JOIN split_overlaps o ON o.split_digest = r.split_digest
                AND o.data_fingerprint = f.data_fingerprint
                AND o.first_part = 'train' AND o.second_part = 'test'
           ORDER BY r.split DESC, r.id""",
    )
