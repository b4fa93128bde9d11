"""Metrics and what is compared. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3
from collections.abc import Iterator

from boneexp.ledger.statements import Facts, each_row, rows_of


def test_figures(connection: sqlite3.Connection, run_id: int) -> Facts:
    """Return the row of the view run_metrics of a run's test part; empty where it has none."""
    query = "SELECT * FROM run_metrics WHERE run = ? AND part = 'test'"
    return dict(connection.execute(query, (run_id,)).fetchone() or {})


def test_metric(connection: sqlite3.Connection, run_id: int, metric: str) -> float | None:
    """Return a metric over all classes of a run's test part; None where it is not reported."""
    query = """SELECT value FROM metrics
               WHERE run_id = ? AND part = 'test' AND metric = ? AND class_name = ''"""
    row = connection.execute(query, (run_id, metric)).fetchone()
    return None if row is None else row[0]


def overlap_means(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return the mean Grad-CAM overlap over annotated images, each explained for its own class, by threshold.

    What was measured over the test part with the run's own checkpoint counts, what a person looked at not.
    """
    return rows_of(
        connection,
        """SELECT x.threshold, COUNT(*) AS images, AVG(x.iou) AS iou, AVG(x.energy_inside) AS energy_inside,
                  AVG(x.pointing_hit) AS pointing_hits, MIN(x.layer) AS layer,
                  MIN(x.lesion) AS lesion
           FROM explanations x
           JOIN runs r ON r.id = x.run_id AND r.checkpoint_sha256 = x.checkpoint_sha256
           JOIN predictions p ON p.run_id = x.run_id AND p.part = x.part AND p.image_id = x.image_id
                AND p.label = x.explained_class
           WHERE x.run_id = ? AND x.part = 'test' AND x.purpose = 'measured' AND x.iou IS NOT NULL
           GROUP BY x.threshold ORDER BY x.threshold""",
        (run_id,),
    )


def metric_values(connection: sqlite3.Connection, part: str, metric: str, class_name: str) -> list[Facts]:
    """Return one figure of every finished current run."""
    return rows_of(
        connection,
        """SELECT e.experiment, r.split, r.seed, m.value,
                  substr(e.data_fingerprint, 1, 8) || '-' || substr(r.split_digest, 1, 8) AS test_set
           FROM metrics m JOIN runs r ON r.id = m.run_id JOIN experiments e ON e.id = r.experiment_ref
           WHERE r.is_current AND r.state = 'succeeded' AND m.part = ? AND m.metric = ? AND m.class_name = ?
           ORDER BY length(e.experiment), e.experiment, r.split DESC, r.seed""",
        (part, metric, class_name),
    )


def metric_figures(connection: sqlite3.Connection, part: str, metric: str, class_name: str) -> list[Facts]:
    """Return the view metric_figures of one figure."""
    return rows_of(
        connection,
        """SELECT * FROM metric_figures WHERE part = ? AND metric = ? AND class_name = ?
           ORDER BY length(experiment), experiment, split DESC""",
        (part, metric, class_name),
    )


def test_part_uses(connection: sqlite3.Connection) -> list[Facts]:
    """Return the view test_part_uses: how often each test part was evaluated, and used to choose."""
    return rows_of(connection, "SELECT * FROM test_part_uses")


EVERY_METRIC = """SELECT run_id AS run, part, metric, class_name, value, low, high, interval_method
                  FROM metrics ORDER BY run_id, part, metric, class_name"""


def every_metric(connection: sqlite3.Connection) -> Iterator[Facts]:
    """Yield every stored figure with its interval, in the order of run, part, metric and class."""
    return each_row(connection, EVERY_METRIC)


def metric_rows(connection: sqlite3.Connection, run_id: int, part: str = "test") -> list[Facts]:
    """Return a settled run's metrics with their intervals."""
    query = """SELECT metric, class_name, value, low, high, interval_method
               FROM metrics WHERE run_id = ? AND part = ?"""
    return rows_of(connection, query, (run_id, part))


def late_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return figures of attempts that had lost the run and finished it all the same; they count nowhere."""
    query = "SELECT * FROM late_results WHERE run_id = ? ORDER BY attempt, part, metric, class_name"
    return rows_of(connection, query, (run_id,))


def comparison_rows(connection: sqlite3.Connection, part: str = "test") -> list[Facts]:
    """Return a part of the view part_comparison: one row per experiment with its ten columns."""
    return rows_of(
        connection,
        """SELECT experiment_id, backbone, image_size, annotations,
                  stratified_accuracy, stratified_macro_auroc, stratified_malignant_sensitivity,
                  center_holdout_accuracy, center_holdout_macro_auroc, center_holdout_malignant_sensitivity
           FROM part_comparison WHERE part = ? ORDER BY length(experiment_id), experiment_id""",
        (part,),
    )


def leaderboard_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return the view leaderboard: place and test set of each experiment that can be ranked."""
    return rows_of(connection, "SELECT * FROM leaderboard")


def figure_rows(connection: sqlite3.Connection, part: str = "test") -> list[Facts]:
    """Return a part of the view part_figures: per experiment and split, with intervals and seed counts."""
    query = "SELECT * FROM part_figures WHERE part = ? ORDER BY experiment, split"
    return rows_of(connection, query, (part,))


def interval_methods(connection: sqlite3.Connection, part: str = "test") -> list[Facts]:
    """Return by which methods the intervals of the compared figures were made, and of how many runs each."""
    return rows_of(
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


def study_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return the study's targets and baseline: each figure, its images, and of which data it is."""
    query = "SELECT kind, figure, value, images, comparable_to FROM study_figures ORDER BY rowid"
    return rows_of(connection, query)


def confidences(connection: sqlite3.Connection) -> dict[str, float]:
    """Return the confidence of the stored intervals of each current experiment, by its id."""
    query = """SELECT DISTINCT e.experiment,
                      COALESCE(json_extract(e.settings_json, '$.evaluation.confidence'), 0.95) AS confidence
               FROM experiments e JOIN runs r ON r.experiment_ref = e.id AND r.is_current"""
    return {row["experiment"]: row["confidence"] for row in connection.execute(query)}


def selection_order(connection: sqlite3.Connection) -> list[str]:
    """Return the figures that decide the best experiment, in order."""
    rows = rows_of(connection, "SELECT figure FROM selection_keys ORDER BY position")
    return [row["figure"] for row in rows]


def selection_part(connection: sqlite3.Connection) -> str:
    """Return the part whose figures decide the best experiment, "test" or "val"."""
    query = "SELECT COALESCE(MAX(part), 'test') FROM selection_keys"
    return str(connection.execute(query).fetchone()[0])


def overlap_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return the Grad-CAM overlaps of a run: one row per image, class and threshold."""
    query = "SELECT * FROM explanations WHERE run_id = ? ORDER BY image_id, explained_class, threshold"
    return rows_of(connection, query, (run_id,))
