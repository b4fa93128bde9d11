"""What goes into an export: every finished run with its spec, its rows, and the software that made it.

sqlite3 alone, and nothing is changed. Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]


def finished_runs(connection: sqlite3.Connection) -> list[Row]:
    """Return the succeeded runs, of earlier settings too: spec, digests, and the best checkpoint."""
    return _rows(
        connection,
        """SELECT r.id AS run, e.experiment, e.name, r.split, r.seed, r.config_hash, r.split_digest,
                  r.spec_json, r.is_current, r.checkpoint, r.checkpoint_sha256
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           WHERE r.state = 'succeeded' ORDER BY r.id""",
    )


def settled_runs(connection: sqlite3.Connection) -> list[Row]:
    """Return every run that succeeded, failed or was cancelled, its data, and the event that settled it."""
    return _rows(
        connection,
        """SELECT r.id AS run, e.experiment, e.name, r.split, r.seed, r.config_hash, r.spec_json,
                  r.is_current, r.state, r.failure_kind, r.failure, r.queued_at, r.settled_at,
                  r.best_epoch + 1 AS best_epoch, r.checkpoint_sha256,
                  d.name AS data_name, d.kind AS data_kind, d.images,
                  d.fingerprint AS data_fingerprint, a.device,
                  (SELECT MIN(first.started_at) FROM attempts first WHERE first.run_id = r.id) AS started_at,
                  (SELECT v.hash FROM events v WHERE v.run_id = r.id
                   AND v.kind IN ('succeeded', 'failed', 'cancelled')
                   ORDER BY v.id DESC LIMIT 1) AS settled_by
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.state IN ('succeeded', 'failed', 'cancelled') ORDER BY r.id""",
    )


def spec_of(row: Row) -> Row:
    """Return the resolved spec of a run's row."""
    found: Row = json.loads(row["spec_json"])
    return found


def predictions(connection: sqlite3.Connection) -> Iterator[Row]:
    """Yield every stored prediction, in the order of run, part and image."""
    return _one_by_one(
        connection,
        """SELECT run_id AS run, part, image_id, group_id AS "group", center, label, p_normal, p_benign,
                  p_malignant
           FROM predictions ORDER BY run_id, part, image_id""",
    )


def metrics(connection: sqlite3.Connection) -> Iterator[Row]:
    """Yield every stored figure with its interval, in the order of run, part, metric and class."""
    return _one_by_one(
        connection,
        """SELECT run_id AS run, part, metric, class_name, value, low, high, interval_method
           FROM metrics ORDER BY run_id, part, metric, class_name""",
    )


def attempt_software(connection: sqlite3.Connection) -> list[Row]:
    """Return on which device and with which software each attempt worked, and how it ended."""
    return _rows(
        connection,
        """SELECT run_id AS run, number AS attempt, device, versions_json, outcome
           FROM attempts ORDER BY run_id, number""",
    )


def all_datasets(connection: sqlite3.Connection) -> list[Row]:
    """Return every dataset that a run was queued with, earlier ones too."""
    return _rows(connection, "SELECT fingerprint, name, kind, images FROM datasets ORDER BY fingerprint")


def last_event(connection: sqlite3.Connection) -> Row:
    """Return number, hash and time of the newest event."""
    return _rows(connection, "SELECT id, hash, at FROM events ORDER BY id DESC LIMIT 1")[0]


def sqlite_version(connection: sqlite3.Connection) -> str:
    """Return the version of SQLite that reads the ledger."""
    return str(connection.execute("SELECT sqlite_version()").fetchone()[0])


def _rows(connection: sqlite3.Connection, query: str) -> list[Row]:
    return list(_one_by_one(connection, query))


def _one_by_one(connection: sqlite3.Connection, query: str) -> Iterator[Row]:
    return (dict(row) for row in connection.execute(query))
