"""Grad-CAM's measurements as rows, bound to the digest of the checkpoint that was explained."""

import json
from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import Any

from boneexp.ledger.history import record_event
from boneexp.ledger.quarantine import require_sealed
from boneexp.ledger.seals import Subject
from boneexp.ledger.statements import insert_all

MEASURED, LOOKED_AT = "measured", "looked-at"


def record_explanations(
    connection: Connection,
    run_id: int,
    checkpoint_sha256: str,
    rows: Sequence[Mapping[str, Any]],
    now: float,
    *,
    purpose: str = MEASURED,
) -> None:
    """Keep one row per image, explained class and threshold.

    What is measured over the test part takes the place of all that was measured before. An image that a
    person looks at takes the place of its own rows of before, and never of one that was measured.

    Raises:
        Damaged: the rows that are there are not as they were sealed, which a new seal would cover up.
    """
    require_sealed(connection, [Subject("explanations", (run_id,))])
    if purpose == MEASURED:
        connection.execute("DELETE FROM explanations WHERE run_id = ? AND purpose = ?", (run_id, MEASURED))
    else:
        images = json.dumps([row["image_id"] for row in rows])
        connection.execute(
            """DELETE FROM explanations WHERE run_id = ? AND purpose = ?
               AND (image_id IN (SELECT value FROM json_each(?)) OR checkpoint_sha256 <> ?)""",
            (run_id, LOOKED_AT, images, checkpoint_sha256),
        )
    shared = {"run_id": run_id, "checkpoint_sha256": checkpoint_sha256, "explained_at": now}
    insert_all(connection, "explanations", [{**row, **shared, "purpose": purpose} for row in rows])
    about: dict[str, Any] = {"rows": len(rows), "purpose": purpose, "checkpoint_sha256": checkpoint_sha256}
    record_event(connection, now, "explained", run_id=run_id, **about)


def withdraw_explanations(connection: Connection, run_id: int, now: float) -> None:
    """Take out all explanations of a run, to measure them again; the event seals that none is left."""
    connection.execute("DELETE FROM explanations WHERE run_id = ?", (run_id,))
    record_event(connection, now, "explained", run_id=run_id, rows=0, withdrawn=True)
