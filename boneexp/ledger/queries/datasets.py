"""Datasets and splits. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Sequence

from boneexp.ledger.statements import Facts, rows_of


def fingerprints_of(connection: sqlite3.Connection, run_ids: Sequence[int]) -> list[str]:
    """Return the fingerprints of the data behind these runs."""
    query = """SELECT DISTINCT e.data_fingerprint FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE r.id IN (SELECT value FROM json_each(?)) ORDER BY 1"""
    return [row[0] for row in connection.execute(query, (json.dumps(list(run_ids)),))]


def part_overlaps(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return what each two parts of a run's split share; [] where that was not counted when it was queued."""
    query = """SELECT o.* FROM split_overlaps o
               JOIN runs r ON r.split_digest = o.split_digest
               JOIN experiments e ON e.id = r.experiment_ref AND e.data_fingerprint = o.data_fingerprint
               WHERE r.id = ? ORDER BY o.second_part, o.first_part"""
    return [dict(row) for row in connection.execute(query, (run_id,))]


def all_datasets(connection: sqlite3.Connection) -> list[Facts]:
    """Return every dataset that a run was queued with, earlier ones too."""
    return rows_of(connection, "SELECT fingerprint, name, kind, images FROM datasets ORDER BY fingerprint")


def dataset_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return the datasets behind the current runs, with counts by centre and class."""
    rows = rows_of(
        connection,
        """SELECT d.* FROM datasets d
           WHERE EXISTS (SELECT 1 FROM experiments e JOIN runs r ON r.experiment_ref = e.id AND r.is_current
                         WHERE e.data_fingerprint = d.fingerprint)""",
    )
    for row in rows:
        row |= {"counts": json.loads(row["counts_json"]), "notes": json.loads(row["notes_json"])}
    return rows


def split_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return each split behind a finished current run, its group column, and what test shares with training.

    The counts are NULL where they were not taken when the split was queued.
    """
    return rows_of(
        connection,
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
