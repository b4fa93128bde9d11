"""Decisions. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from boneexp.ledger.statements import read, read_one


@dataclass(frozen=True)
class PromotionRow:
    """A row of the table promotions: what a person decided. `id` is None while it is not recorded yet."""

    id: int | None
    action: str
    experiment: str | None
    stratified_run_id: int | None
    center_run_id: int | None
    reason: str
    decided_by: str
    decided_at: float
    evidence_json: str
    undoes_id: int | None

    @cached_property
    def evidence(self) -> dict[str, Any]:
        """The comparison and the conditions as they were when it was decided."""
        found: dict[str, Any] = json.loads(self.evidence_json)
        return found

    @property
    def runs(self) -> dict[str, int]:
        """The promoted runs by split."""
        runs = {"stratified": self.stratified_run_id, "center_holdout": self.center_run_id}
        return {split: run_id for split, run_id in runs.items() if run_id is not None}


@dataclass(frozen=True)
class DecisionRow:
    """One decision as `boneexp decisions` lists it."""

    id: int
    date: str
    action: str
    experiment: str | None
    decided_by: str
    reason: str
    unmet: str | None
    overridden: str | None
    undoes: int | None
    undone_by: int | None


@dataclass(frozen=True)
class _CutShort:
    promotion: int | None
    experiment: str | None
    begun: bool
    place_json: str | None


@dataclass(frozen=True)
class CutShort:
    """What an interrupted promotion left to do.

    `promotion` and `experiment` are of a decision whose files are not all in place (None where every one is),
    `begun` says that a promotion was begun and not recorded, and `place` where its files are.
    """

    promotion: int | None
    experiment: str | None
    begun: bool
    place: dict[str, str] | None


def promotion_rows(connection: sqlite3.Connection) -> list[PromotionRow]:
    """Return every promotion, oldest first."""
    return read(connection, PromotionRow, "SELECT * FROM promotions ORDER BY id")


def decision_rows(connection: sqlite3.Connection) -> list[DecisionRow]:
    """Return every decision, oldest first: when, what, by whom, why, what was not met, what undid it.

    `unmet` and `overridden` name conditions; None where the ledger has none of that decision. A rollback has
    those of the decision that it brings back.
    """
    return read(
        connection,
        DecisionRow,
        """SELECT p.id, strftime('%Y-%m-%dT%H:%M:%SZ', p.decided_at, 'unixepoch') AS date, p.action,
                  p.experiment, p.decided_by, p.reason,
                  CASE WHEN json_type(p.evidence_json, '$.gate') = 'object' THEN
                    (SELECT COALESCE(GROUP_CONCAT(json_extract(c.value, '$.name'), ', '), 'none')
                     FROM json_each(p.evidence_json, '$.gate.conditions') c
                     WHERE json_extract(c.value, '$.met') IS NOT 1) END AS unmet,
                  CASE WHEN json_type(p.evidence_json, '$.gate') = 'object' THEN
                    (SELECT COALESCE(GROUP_CONCAT(o.value, ', '), 'none')
                     FROM json_each(p.evidence_json, '$.gate.override.conditions') o) END AS overridden,
                  p.undoes_id AS undoes,
                  (SELECT MIN(u.id) FROM promotions u WHERE u.undoes_id = p.id) AS undone_by
           FROM promotions p ORDER BY p.id""",
    )


def promotion_cut_short(connection: sqlite3.Connection) -> CutShort | None:
    """Return what a promotion that has not come to its end left to do; None where there is nothing."""
    found = read_one(
        connection,
        _CutShort,
        """WITH told AS (SELECT id, kind, CASE WHEN json_valid(details_json) THEN details_json END AS details
                         FROM events WHERE run_id IS NULL AND kind LIKE 'promotion%'),
                last AS (SELECT MAX(id) AS id FROM promotions)
           SELECT p.id AS promotion, p.experiment,
                  COALESCE((SELECT kind = 'promotion-begun' FROM told WHERE kind <> 'promotion-settled'
                            ORDER BY id DESC LIMIT 1), 0) AS begun,
                  (SELECT json_extract(details, '$.place') FROM told WHERE kind = 'promotion-begun'
                   ORDER BY id DESC LIMIT 1) AS place_json
           FROM last LEFT JOIN promotions p ON p.id = last.id AND NOT EXISTS
                (SELECT 1 FROM told WHERE kind = 'promotion-settled'
                 AND json_extract(details, '$.promotion') = p.id)""",
    )
    if found is None or found.promotion is None and not found.begun:
        return None
    return CutShort(
        found.promotion, found.experiment, bool(found.begun), json.loads(found.place_json or "null")
    )
