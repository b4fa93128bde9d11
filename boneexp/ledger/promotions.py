"""Promotions: append-only rows. The last row is the default model now; a rollback is a row of its own.

Around each row stand events: a promotion is begun before anything is made, recorded, and settled when every
file agrees with the row; or given up, and then nothing has changed. So whoever comes after a kill knows what
to do (`promotion_cut_short`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from boneexp.ledger.history import record_event, record_files
from boneexp.ledger.queries.promotions import PromotionRow
from boneexp.ledger.statements import insert
from boneexp.results import WrittenFile
from boneexp.study.settings import canonical_json

PROMOTED_CHECKPOINT = "promoted checkpoint"


@dataclass(frozen=True)
class Standing:
    """What is the default: an experiment with its run on each split, or nothing (the baseline)."""

    experiment: str | None = None
    stratified_run_id: int | None = None
    center_run_id: int | None = None

    @property
    def runs(self) -> dict[str, int]:
        """The runs by split."""
        runs = {"stratified": self.stratified_run_id, "center_holdout": self.center_run_id}
        return {split: run_id for split, run_id in runs.items() if run_id is not None}


@dataclass(frozen=True)
class Promotion:
    """One decision of a person."""

    action: str
    standing: Standing
    reason: str
    decided_by: str
    evidence: dict[str, Any]
    undoes_id: int | None = None
    overrides: tuple[str, ...] = ()  # the conditions that bound and were not met, and that a person overrode


def begin_promotion(connection: Connection, place: Mapping[str, str], now: float) -> None:
    """Note that a promotion begins, and where its files are to be, so that any command can finish it."""
    record_event(connection, now, "promotion-begun", place=dict(place))


def give_up_promotion(connection: Connection, now: float) -> None:
    """Note that a promotion was ended before it was recorded."""
    record_event(connection, now, "promotion-given-up")


def noted_place(connection: Connection) -> dict[str, str] | None:
    """Return where the last promotion that began puts its files, as `begin_promotion` noted it."""
    query = """SELECT json_extract(details_json, '$.place') FROM events
               WHERE kind = 'promotion-begun' AND json_valid(details_json) ORDER BY id DESC LIMIT 1"""
    row = connection.execute(query).fetchone()
    found: dict[str, str] | None = json.loads(row[0]) if row and row[0] else None
    return found


def newest_promotion(connection: Connection) -> int | None:
    """Return the id of the last decision; None before the first."""
    newest: int | None = connection.execute("SELECT MAX(id) FROM promotions").fetchone()[0]
    return newest


def record_promotion(connection: Connection, promotion: Promotion, now: float) -> int:
    """Append a promotion; return its id."""
    row = {
        "action": promotion.action,
        **vars(promotion.standing),
        "reason": promotion.reason,
        "decided_by": promotion.decided_by,
        "decided_at": now,
        "evidence_json": canonical_json(promotion.evidence),
        "undoes_id": promotion.undoes_id,
    }
    added = insert(connection, "promotions", row)
    record_event(
        connection,
        now,
        "promotion",
        promotion=added,
        action=promotion.action,
        experiment=promotion.standing.experiment,
        reason=promotion.reason,
        decided_by=promotion.decided_by,
    )
    if promotion.overrides:
        record_event(
            connection,
            now,
            "override",
            promotion=added,
            conditions=list(promotion.overrides),
            reason=promotion.reason,
            decided_by=promotion.decided_by,
        )
    return added


def settle_promotion(
    connection: Connection, promotion: int, standing_files: tuple[WrittenFile, ...], now: float
) -> None:
    """Note that every file agrees with the decision; checkpoints promoted no more leave table `files`."""
    connection.execute("DELETE FROM files WHERE kind = ?", (PROMOTED_CHECKPOINT,))
    record_files(connection, standing_files, None, now)
    record_event(connection, now, "promotion-settled", promotion=promotion)


def standing(rows: Sequence[PromotionRow]) -> Standing:
    """Return the default that the promotion rows (oldest first) leave."""
    return standing_of(rows[-1] if rows else None)


def decisions_in_force(rows: Sequence[PromotionRow]) -> list[PromotionRow]:
    """Return the decisions that no rollback has undone, oldest first."""
    decisions: list[PromotionRow] = []
    for row in rows:
        if row.action == "rollback":
            decisions.pop()
        else:
            decisions.append(row)
    return decisions


def standing_of(row: PromotionRow | None) -> Standing:
    """Return the default that a decision left; the baseline where there was none."""
    if row is None:
        return Standing()
    return Standing(row.experiment, row.stratified_run_id, row.center_run_id)
