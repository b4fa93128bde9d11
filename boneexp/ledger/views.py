"""Rows of the ledger's views, for whoever shows them. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from boneexp.errors import RunNotFound

Row = dict[str, Any]


def run_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return the view run_status: one row per run, oldest first."""
    return _rows(connection, "SELECT * FROM run_status ORDER BY run")


def status_rows(connection: sqlite3.Connection, at_most: int) -> list[Row]:
    """Return the rows of run_status that a person wants to see first: the unfinished, then the newest."""
    return _rows(
        connection,
        """SELECT * FROM run_status WHERE run IN
             (SELECT id FROM runs ORDER BY state = 'succeeded', id DESC LIMIT ?) ORDER BY run""",
        (at_most,),
    )


def state_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many runs are in which state, as run_status has it."""
    counts = dict(map(tuple, connection.execute("SELECT state, COUNT(*) FROM runs GROUP BY state")))
    held = "SELECT id FROM runs WHERE state = 'running'"  # some may be cancelled, with no worker to say so
    shown = f"SELECT state, COUNT(*) FROM run_status WHERE run IN ({held}) GROUP BY state"
    counts.pop("running", None)
    for state, count in connection.execute(shown):
        counts[state] = counts.get(state, 0) + count
    return counts


def unfinished_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return the rows of run_status that wait or run."""
    known = "SELECT id FROM runs WHERE state IN ('queued', 'running')"
    query = f"SELECT * FROM run_status WHERE run IN ({known}) AND state <> 'cancelled' ORDER BY run"
    return _rows(connection, query)


def known_hashes(connection: sqlite3.Connection) -> set[str]:
    """Return the hash of every run."""
    return {row[0] for row in connection.execute("SELECT config_hash FROM runs")}


def finished_folders(connection: sqlite3.Connection) -> list[str]:
    """Return where the files of the succeeded runs lie."""
    query = "SELECT folder FROM runs WHERE state = 'succeeded' ORDER BY id"
    return [row[0] for row in connection.execute(query)]


def run_row(connection: sqlite3.Connection, run_id: int) -> Row:
    """Return one row of run_status.

    Raises:
        RunNotFound: the ledger has no such run.
    """
    found = _rows(connection, "SELECT * FROM run_status WHERE run = ?", (run_id,))
    if not found:
        raise RunNotFound(f"the ledger has no run {run_id}; see which there are with: boneexp status")
    return found[0]


def waiting_settings(connection: sqlite3.Connection) -> list[Row]:
    """Return the settings and data that runs wait for, with how many runs each."""
    return _rows(
        connection,
        """SELECT e.settings_json, e.data_fingerprint AS fingerprint, d.images, COUNT(*) AS runs
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           WHERE r.state IN ('queued', 'running') GROUP BY e.id ORDER BY e.id""",
    )


def attempt_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return a run's attempts, oldest first, with their tracebacks."""
    return _rows(connection, "SELECT * FROM attempts WHERE run_id = ? ORDER BY number", (run_id,))


def epoch_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return a run's epochs as they count, oldest first; the first is epoch 1."""
    return _rows(connection, "SELECT * FROM epoch_history WHERE run = ? ORDER BY epoch", (run_id,))


def metric_rows(connection: sqlite3.Connection, run_id: int, part: str = "test") -> list[Row]:
    """Return a settled run's metrics with their intervals."""
    query = """SELECT metric, class_name, value, low, high, interval_method
               FROM metrics WHERE run_id = ? AND part = ?"""
    return _rows(connection, query, (run_id, part))


def late_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return figures of attempts that had lost the run and finished it all the same; they count nowhere."""
    query = "SELECT * FROM late_results WHERE run_id = ? ORDER BY attempt, part, metric, class_name"
    return _rows(connection, query, (run_id,))


def file_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return the files of a settled run with their digests."""
    return _rows(connection, "SELECT * FROM files WHERE run_id = ? ORDER BY path", (run_id,))


def event_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return a run's events, oldest first, each with its details as a dict."""
    rows = _rows(connection, "SELECT * FROM events WHERE run_id = ? ORDER BY id", (run_id,))
    return [{**row, "details": json.loads(row["details_json"])} for row in rows]


def spec_json(connection: sqlite3.Connection, run_id: int) -> str:
    """Return the run's resolved spec as JSON."""
    run_row(connection, run_id)
    return str(connection.execute("SELECT spec_json FROM runs WHERE id = ?", (run_id,)).fetchone()[0])


def comparison_rows(connection: sqlite3.Connection, part: str = "test") -> list[Row]:
    """Return a part of the view part_comparison: one row per experiment with its ten columns."""
    return _rows(
        connection,
        """SELECT experiment_id, backbone, image_size, annotations,
                  stratified_accuracy, stratified_macro_auroc, stratified_malignant_sensitivity,
                  center_holdout_accuracy, center_holdout_macro_auroc, center_holdout_malignant_sensitivity
           FROM part_comparison WHERE part = ? ORDER BY length(experiment_id), experiment_id""",
        (part,),
    )


def leaderboard_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return the view leaderboard: place and test set of each experiment that can be ranked."""
    return _rows(connection, "SELECT * FROM leaderboard")


def figure_rows(connection: sqlite3.Connection, part: str = "test") -> list[Row]:
    """Return a part of the view part_figures: per experiment and split, with intervals and seed counts."""
    query = "SELECT * FROM part_figures WHERE part = ? ORDER BY experiment, split"
    return _rows(connection, query, (part,))


def interval_methods(connection: sqlite3.Connection, part: str = "test") -> list[Row]:
    """Return by which methods the intervals of the compared figures were made, and of how many runs each."""
    return _rows(
        connection,
        """SELECT m.metric, m.interval_method, COUNT(DISTINCT m.run_id) AS runs
           FROM runs r JOIN metrics m ON m.run_id = r.id AND m.part = ?
                AND (m.metric, m.class_name) IN (VALUES ('accuracy', ''), ('macro_auroc', ''),
                                                        ('sensitivity', 'Malignant'),
                                                        ('specificity', 'Malignant'))
           WHERE r.is_current AND r.state = 'succeeded' AND m.low IS NOT NULL
           GROUP BY m.metric, m.interval_method ORDER BY m.metric, m.interval_method""",
        (part,),
    )


def overlap_figures(connection: sqlite3.Connection) -> dict[str, float]:
    """Return the mean Grad-CAM IoU at 0.5 of each experiment, on its stratified run."""
    query = """SELECT o.experiment, AVG(o.iou) AS iou FROM gradcam_overlap o JOIN runs r ON r.id = o.run
               WHERE o.split = 'stratified' AND o.threshold = 0.5 AND r.is_current GROUP BY o.experiment"""
    return {row["experiment"]: row["iou"] for row in connection.execute(query)}


def study_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return the study's targets and baseline: each figure, its images, and of which data it is."""
    query = "SELECT kind, figure, value, images, comparable_to FROM study_figures ORDER BY rowid"
    return _rows(connection, query)


def confidences(connection: sqlite3.Connection) -> dict[str, float]:
    """Return the confidence of the stored intervals of each current experiment, by its id."""
    query = """SELECT DISTINCT e.experiment,
                      COALESCE(json_extract(e.settings_json, '$.evaluation.confidence'), 0.95) AS confidence
               FROM experiments e JOIN runs r ON r.experiment_ref = e.id AND r.is_current"""
    return {row["experiment"]: row["confidence"] for row in connection.execute(query)}


def selection_order(connection: sqlite3.Connection) -> list[str]:
    """Return the figures that decide the best experiment, in order."""
    rows = _rows(connection, "SELECT figure FROM selection_keys ORDER BY position")
    return [row["figure"] for row in rows]


def selection_part(connection: sqlite3.Connection) -> str:
    """Return the part whose figures decide the best experiment, "test" or "val"."""
    query = "SELECT COALESCE(MAX(part), 'test') FROM selection_keys"
    return str(connection.execute(query).fetchone()[0])


def dataset_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return the datasets behind the current runs, with counts by centre and class."""
    rows = _rows(
        connection,
        """SELECT d.* FROM datasets d
           WHERE EXISTS (SELECT 1 FROM experiments e JOIN runs r ON r.experiment_ref = e.id AND r.is_current
                         WHERE e.data_fingerprint = d.fingerprint)""",
    )
    for row in rows:
        row |= {"counts": json.loads(row["counts_json"]), "notes": json.loads(row["notes_json"])}
    return rows


def split_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return each split behind a finished current run, its group column, and what test shares with training.

    The counts are NULL where they were not taken when the split was queued.
    """
    return _rows(
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


def current_runs(connection: sqlite3.Connection, experiment: str) -> list[Row]:
    """Return the runs of an experiment that were queued last, with state, checkpoint and digests."""
    return _rows(
        connection,
        """SELECT r.*, e.experiment, e.name, e.backbone, e.image_size, e.batch_size, e.annotations,
                  e.settings_json, e.data_fingerprint
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           WHERE e.experiment = ? AND r.is_current AND r.state <> 'cancelled'
           ORDER BY r.split, r.seed""",
        (experiment,),
    )


def runs_in_state(connection: sqlite3.Connection, states: Sequence[str]) -> list[int]:
    """Return the ids of the runs in one of `states`."""
    marks = ", ".join("?" * len(states))
    rows = _rows(connection, f"SELECT id FROM runs WHERE state IN ({marks}) ORDER BY id", states)
    return [row["id"] for row in rows]


def overlap_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return the Grad-CAM overlaps of a run: one row per image, class and threshold."""
    query = "SELECT * FROM explanations WHERE run_id = ? ORDER BY image_id, explained_class, threshold"
    return _rows(connection, query, (run_id,))


def promotion_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return every promotion, oldest first, with its evidence as a dict."""
    rows = _rows(connection, "SELECT * FROM promotions ORDER BY id")
    return [{**row, "evidence": json.loads(row["evidence_json"])} for row in rows]


def decision_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return every decision, oldest first: when, what, by whom, why, what was not met, what undid it.

    `unmet` and `overridden` name conditions; None where the ledger has none of that decision. A rollback has
    those of the decision that it brings back.
    """
    return _rows(
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


def _rows(connection: sqlite3.Connection, query: str, values: Sequence[object] = ()) -> list[Row]:
    return [dict(row) for row in connection.execute(query, tuple(values))]


def promotion_cut_short(connection: sqlite3.Connection) -> Row | None:
    """Return what a promotion that has not come to its end left to do; None where there is nothing.

    `promotion` and `experiment` are of a decision whose files are not all in place (NULL where every one is),
    `begun` says that a promotion was begun and not recorded, and `place` where its files are.
    """
    (found,) = _rows(
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


def promotable_runs(connection: sqlite3.Connection, experiment: str) -> list[Row]:
    """Return an experiment's finished current runs per split, lowest validation loss first.

    Where several seeds were run, validation chooses among them; the test part is never asked.
    """
    return _rows(
        connection,
        """SELECT r.id AS run, r.split, r.seed, MIN(h.val_loss) AS best_val_loss
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN epoch_history h ON h.run = r.id
           WHERE e.experiment = ? AND r.is_current AND r.state = 'succeeded'
           GROUP BY r.id ORDER BY r.split, best_val_loss, r.seed""",
        (experiment,),
    )


def images_of(connection: sqlite3.Connection, run_id: int) -> int:
    """Return how many images the dataset of a run has."""
    query = """SELECT d.images FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               JOIN datasets d ON d.fingerprint = e.data_fingerprint WHERE r.id = ?"""
    return int(connection.execute(query, (run_id,)).fetchone()[0])


def settings_of(connection: sqlite3.Connection, run_id: int) -> Row:
    """Return the resolved settings of a run's experiment."""
    query = "SELECT e.settings_json FROM runs r JOIN experiments e ON e.id = r.experiment_ref WHERE r.id = ?"
    found: Row = json.loads(connection.execute(query, (run_id,)).fetchone()[0])
    return found


def prediction_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return a run's per-image predictions."""
    return _rows(connection, "SELECT * FROM predictions WHERE run_id = ? ORDER BY part, image_id", (run_id,))


def checkpoint_of(connection: sqlite3.Connection, run_id: int) -> tuple[str, str]:
    """Return path and SHA-256 of a finished run's best checkpoint."""
    query = "SELECT checkpoint, checkpoint_sha256 FROM runs WHERE id = ?"
    row = connection.execute(query, (run_id,)).fetchone()
    return str(row["checkpoint"]), str(row["checkpoint_sha256"])
