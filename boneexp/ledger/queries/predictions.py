"""Predictions per image, grouped and counted. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any

from boneexp.ledger.statements import Facts, each_row, rows_of


def subgroup_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return what the view subgroup_figures has of a run's test part; the view itself reads every run."""
    query = """WITH called AS (
                 SELECT image_id, label,
                        CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
                             WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END AS predicted
                 FROM predictions WHERE run_id = :run AND part = 'test')
               SELECT r.split, a.attribute, a.value, COUNT(*) AS images,
                      SUM(c.label = 'Malignant') AS malignant_images, AVG(c.predicted = c.label) AS accuracy,
                      AVG(c.predicted = 'Malignant') FILTER (WHERE c.label = 'Malignant')
                        AS malignant_sensitivity
               FROM called c JOIN runs r ON r.id = :run
               JOIN predicted_attributes a ON a.run = :run AND a.part = 'test' AND a.image_id = c.image_id
               GROUP BY a.attribute, a.value ORDER BY a.attribute, a.value"""
    return [dict(row) for row in connection.execute(query, {"run": run_id})]


def shared_by_parts(connection: sqlite3.Connection, run_id: int) -> Facts:
    """Return how many images and groups a run predicted in both parts, and how many images have no group."""
    query = """WITH val AS (SELECT * FROM predictions WHERE run_id = :run AND part = 'val'),
                    test AS (SELECT * FROM predictions WHERE run_id = :run AND part = 'test')
               SELECT (SELECT COUNT(*) FROM test WHERE image_id IN (SELECT image_id FROM val)) AS images,
                      (SELECT COUNT(DISTINCT group_id) FROM test
                       WHERE group_id <> '' AND group_id IN (SELECT group_id FROM val)) AS groups,
                      (SELECT COUNT(*) FROM predictions
                       WHERE run_id = :run AND group_id = '') AS images_without_group"""
    return dict(connection.execute(query, {"run": run_id}).fetchone())


def answer_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return how many images of each part, centre and class were called what; of equals the first class."""
    return rows_of(
        connection,
        """SELECT part, center, label,
                  CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
                       WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END AS predicted,
                  COUNT(*) AS images
           FROM predictions WHERE run_id = ? GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
        (run_id,),
    )


def part_predictions(connection: sqlite3.Connection, run_id: int, part: str) -> list[tuple[Any, ...]]:
    """Return (image, group, label, three probabilities) of each image of a part, in the order of the ids."""
    query = """SELECT image_id, group_id, label, p_normal, p_benign, p_malignant
               FROM predictions WHERE run_id = ? AND part = ? ORDER BY image_id"""
    return [tuple(row) for row in connection.execute(query, (run_id, part))]


def test_class_counts(connection: sqlite3.Connection) -> list[Facts]:
    """Return how many images of each class every test set of the current runs has; one run tells.

    `units` are the groups among them, such as patients; an image without a group is one of its own.
    """
    return rows_of(
        connection,
        """SELECT f.split, f.test_set, p.label, COUNT(*) AS images,
                  COUNT(DISTINCT CASE WHEN p.group_id = '' THEN 'i' || p.image_id ELSE 'g' || p.group_id END)
                    AS units
           FROM (SELECT r.split, MIN(r.id) AS run,
                        substr(e.data_fingerprint, 1, 8) || '-' || substr(r.split_digest, 1, 8) AS test_set
                 FROM runs r JOIN experiments e ON e.id = r.experiment_ref
                 WHERE r.is_current AND r.state = 'succeeded' GROUP BY r.split, test_set) f
           JOIN predictions p ON p.run_id = f.run AND p.part = 'test'
           GROUP BY f.split, f.test_set, p.label ORDER BY f.split DESC, f.test_set, p.label""",
    )


def attribute_members(connection: sqlite3.Connection, run_id: int, part: str) -> list[Facts]:
    """Return which images of a run's part have which value of which attribute."""
    query = """SELECT attribute, value, image_id FROM predicted_attributes
               WHERE run = ? AND part = ? ORDER BY attribute, value, image_id"""
    return rows_of(connection, query, (run_id, part))


def mistaken_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return the test images that a run called wrongly, the surest mistake first; of equals by image.

    `overlay` is a heat map of the run's own checkpoint for the called class, or else for the image's own
    class; NULL where none was drawn.
    """
    return rows_of(
        connection,
        """WITH called AS (
             SELECT p.*, MAX(p_normal, p_benign, p_malignant) AS p_called,
                    CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
                         WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END AS predicted
             FROM predictions p WHERE p.run_id = ? AND p.part = 'test'),
           drawn AS (
             SELECT x.image_id, x.explained_class, MAX(x.overlay) AS overlay
             FROM explanations x
             JOIN runs r ON r.id = x.run_id AND r.checkpoint_sha256 = x.checkpoint_sha256
             WHERE x.run_id = ? AND x.part = 'test' AND x.overlay <> ''
             GROUP BY x.image_id, x.explained_class)
           SELECT c.image_id, c.center, c.label, c.predicted, c.p_called,
                  COALESCE(said.overlay, own.overlay) AS overlay,
                  CASE WHEN said.overlay IS NOT NULL THEN c.predicted
                       WHEN own.overlay IS NOT NULL THEN c.label END AS explained_class
           FROM called c
           LEFT JOIN drawn said ON said.image_id = c.image_id AND said.explained_class = c.predicted
           LEFT JOIN drawn own ON own.image_id = c.image_id AND own.explained_class = c.label
           WHERE c.predicted <> c.label
           ORDER BY c.p_called DESC, c.image_id""",
        (run_id, run_id),
    )


EVERY_PREDICTION = """SELECT run_id AS run, part, image_id, group_id AS "group", center, label, p_normal,
                             p_benign, p_malignant
                      FROM predictions ORDER BY run_id, part, image_id"""


def every_prediction(connection: sqlite3.Connection) -> Iterator[Facts]:
    """Yield every stored prediction, in the order of run, part and image."""
    return each_row(connection, EVERY_PREDICTION)


def prediction_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return a run's per-image predictions."""
    return rows_of(
        connection, "SELECT * FROM predictions WHERE run_id = ? ORDER BY part, image_id", (run_id,)
    )
