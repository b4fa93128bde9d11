"""Decisions. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3

from boneexp.ledger.statements import Facts, rows_of


def promotion_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return every promotion, oldest first, with its evidence as a dict."""
    rows = rows_of(connection, "SELECT * FROM promotions ORDER BY id")
    return [{**row, "evidence": json.loads(row["evidence_json"])} for row in rows]


def decision_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return every decision, oldest first: when, what, by whom, why, what was not met, what undid it.

    `unmet` and `overridden` name conditions; None where the ledger has none of that decision. A rollback has
    those of the decision that it brings back.
    """
    return rows_of(
        connection,
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


def promotion_cut_short(connection: sqlite3.Connection) -> Facts | None:
    """Return what a promotion that has not come to its end left to do; None where there is nothing.

    `promotion` and `experiment` are of a decision whose files are not all in place (NULL where every one is),
    `begun` says that a promotion was begun and not recorded, and `place` where its files are.
    """
    (found,) = rows_of(
        connection,
        """WITH told AS (SELECT id, kind, CASE WHEN json_valid(details_json) THEN details_json END AS details
                         FROM events WHERE run_id IS NULL AND kind LIKE 'promotion%'),
                last AS (SELECT MAX(id) AS id FROM promotions)
           SELECT p.id AS promotion, p.experiment,
                  COALESCE((SELECT kind = 'promotion-begun' FROM told WHERE kind <> 'promotion-settled'
                            ORDER BY id DESC LIMIT 1), 0) AS begun,
                  (SELECT json_extract(details, '$.place') FROM told WHERE kind = 'promotion-begun'
                   ORDER BY id DESC LIMIT 1) AS place
           FROM last LEFT JOIN promotions p ON p.id = last.id AND NOT EXISTS
                (SELECT 1 FROM told WHERE kind = 'promotion-settled'
                 AND json_extract(details, '$.promotion') = p.id)""",
    )
    if found["promotion"] is None and not found["begun"]:
        return None
    return {**found, "place": json.loads(found["place"] or "null")}
