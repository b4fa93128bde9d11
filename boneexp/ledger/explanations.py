"""Grad-CAM's measurements as rows, bound to the digest of the checkpoint that was explained."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from boneexp.ledger.history import record_event
from boneexp.ledger.tables import explanations


def record_explanations(
    connection: Connection, run_id: int, checkpoint_sha256: str, rows: Sequence[Mapping[str, Any]], now: float
) -> None:
    """Keep one row per image, explained class and threshold.

    Explaining an image again replaces its rows; rows of another checkpoint of the run go.
    """
    images = {row["image_id"] for row in rows}
    stale = sa.or_(explanations.c.image_id.in_(images), explanations.c.checkpoint_sha256 != checkpoint_sha256)
    connection.execute(sa.delete(explanations).where(explanations.c.run_id == run_id, stale))
    shared = {"run_id": run_id, "checkpoint_sha256": checkpoint_sha256, "explained_at": now}
    if rows:
        connection.execute(sa.insert(explanations), [{**row, **shared} for row in rows])
    record_event(
        connection, now, "explained", run_id=run_id, rows=len(rows), checkpoint_sha256=checkpoint_sha256
    )
