"""Grad-CAM's measurements as rows, bound to the digest of the checkpoint that was explained."""

import json
from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import Any

from boneexp.ledger.history import record_event
from boneexp.ledger.statements import insert_all


def record_explanations(
    connection: Connection, run_id: int, checkpoint_sha256: str, rows: Sequence[Mapping[str, Any]], now: float
) -> None:
    """Keep one row per image, explained class and threshold.

    Explaining an image again replaces its rows; rows of another checkpoint of the run go.
    """
    images = json.dumps([row["image_id"] for row in rows])
    connection.execute(
        """DELETE FROM explanations WHERE run_id = ?
           AND (image_id IN (SELECT value FROM json_each(?)) OR checkpoint_sha256 <> ?)""",
        (run_id, images, checkpoint_sha256),
    )
    shared = {"run_id": run_id, "checkpoint_sha256": checkpoint_sha256, "explained_at": now}
    insert_all(connection, "explanations", [{**row, **shared} for row in rows])
    record_event(
        connection, now, "explained", run_id=run_id, rows=len(rows), checkpoint_sha256=checkpoint_sha256
    )
