"""Predictions per image, grouped and counted. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from boneexp.ledger.statements import read, read_each, tuples_of
from boneexp.results import CLASS_NAMES, Prediction

# The class that an image was predicted as; of equal probabilities the first.
_PREDICTED = """CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
                         WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END"""


@dataclass(frozen=True)
class Shared:
    """How many images and groups a run predicted in validation and in test."""

    images: int
    groups: int


@dataclass(frozen=True)
class PredictedCount:
    """How many images of a part, centre and class were predicted as which class."""

    part: str
    center: int
    label: str
    predicted: str
    images: int


@dataclass(frozen=True)
class ClassCount:
    """How many images of a class a test set has; `units` are the groups among them, such as patients."""

    split: str
    test_set: str
    label: str
    images: int
    units: int


@dataclass(frozen=True)
class AttributeMember:
    """One predicted image with a value of an attribute."""

    attribute: str
    value: str
    image_id: str


@dataclass(frozen=True)
class WrongPrediction:
    """A test image that was predicted as another class than its own.

    `overlay` is a heat map of the run's own checkpoint for the predicted class, or else for the image's own
    class; None where none was drawn.
    """

    image_id: str
    center: int
    label: str
    predicted: str
    probability: float  # of the predicted class
    overlay: str | None
    explained_class: str | None


@dataclass(frozen=True)
class StoredPrediction:
    """One prediction, as a CSV of all of them has it."""

    run: int
    part: str
    image_id: str
    group: str
    center: int
    label: str
    p_normal: float
    p_benign: float
    p_malignant: float


def shared_by_parts(connection: sqlite3.Connection, run_id: int) -> Shared:
    """Return how many images and groups a run predicted in both parts."""
    query = """WITH val AS (SELECT * FROM predictions WHERE run_id = :run AND part = 'val'),
                    test AS (SELECT * FROM predictions WHERE run_id = :run AND part = 'test')
               SELECT (SELECT COUNT(*) FROM test WHERE image_id IN (SELECT image_id FROM val)) AS images,
                      (SELECT COUNT(DISTINCT group_id) FROM test
                       WHERE group_id <> '' AND group_id IN (SELECT group_id FROM val)) AS groups"""
    images, groups = connection.execute(query, {"run": run_id}).fetchone()
    return Shared(images, groups)


def predicted_counts(connection: sqlite3.Connection, run_id: int) -> list[PredictedCount]:
    """Return how many images of each part, centre and class were predicted as which class."""
    return read(
        connection,
        PredictedCount,
        f"""SELECT part, center, label, {_PREDICTED} AS predicted, COUNT(*) AS images
           FROM predictions WHERE run_id = ? GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
        (run_id,),
    )


def part_predictions(connection: sqlite3.Connection, run_id: int, part: str) -> list[Prediction]:
    """Return a run's predictions of a part, in the order of the image ids.

    Raises:
        ValueError: a label is not one of CLASS_NAMES.
    """
    return _predictions(connection, "run_id = ? AND part = ?", (run_id, part))


def class_counts(connection: sqlite3.Connection) -> list[ClassCount]:
    """Return how many images of each class every test set of the current runs has; one run is enough.

    An image without a group is a unit of its own.
    """
    return read(
        connection,
        ClassCount,
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


def attribute_members(connection: sqlite3.Connection, run_id: int, part: str) -> list[AttributeMember]:
    """Return which images of a run's part have which value of which attribute."""
    query = """SELECT attribute, value, image_id FROM predicted_attributes
               WHERE run = ? AND part = ? ORDER BY attribute, value, image_id"""
    return read(connection, AttributeMember, query, (run_id, part))


def wrong_predictions(connection: sqlite3.Connection, run_id: int) -> list[WrongPrediction]:
    """Return the test images that a run predicted wrongly, the most confident error first."""
    return read(
        connection,
        WrongPrediction,
        f"""WITH predicted AS (
             SELECT p.*, MAX(p_normal, p_benign, p_malignant) AS probability, {_PREDICTED} AS predicted
             FROM predictions p WHERE p.run_id = ? AND p.part = 'test'),
           drawn AS (
             SELECT x.image_id, x.explained_class, MAX(x.overlay) AS overlay
             FROM explanations x
             JOIN runs r ON r.id = x.run_id AND r.checkpoint_sha256 = x.checkpoint_sha256
             WHERE x.run_id = ? AND x.part = 'test' AND x.overlay <> ''
             GROUP BY x.image_id, x.explained_class)
           SELECT c.image_id, c.center, c.label, c.predicted, c.probability,
                  COALESCE(wrong.overlay, own.overlay) AS overlay,
                  CASE WHEN wrong.overlay IS NOT NULL THEN c.predicted
                       WHEN own.overlay IS NOT NULL THEN c.label END AS explained_class
           FROM predicted c
           LEFT JOIN drawn wrong ON wrong.image_id = c.image_id AND wrong.explained_class = c.predicted
           LEFT JOIN drawn own ON own.image_id = c.image_id AND own.explained_class = c.label
           WHERE c.predicted <> c.label
           ORDER BY c.probability DESC, c.image_id""",
        (run_id, run_id),
    )


EVERY_PREDICTION = """SELECT run_id AS run, part, image_id, group_id AS "group", center, label, p_normal,
                             p_benign, p_malignant
                      FROM predictions ORDER BY run_id, part, image_id"""


def every_prediction(connection: sqlite3.Connection) -> Iterator[StoredPrediction]:
    """Yield every stored prediction, in the order of run, part and image."""
    return read_each(connection, StoredPrediction, EVERY_PREDICTION)


def prediction_rows(connection: sqlite3.Connection, run_id: int) -> list[Prediction]:
    """Return a run's predictions, by part and image.

    Raises:
        ValueError: a label is not one of CLASS_NAMES.
    """
    return _predictions(connection, "run_id = ?", (run_id,))


def _predictions(connection: sqlite3.Connection, which: str, values: Sequence[object]) -> list[Prediction]:
    query = f"""SELECT part, image_id, group_id, center, label, p_normal, p_benign, p_malignant
                FROM predictions WHERE {which} ORDER BY part, image_id"""
    return [
        Prediction(part, image_id, group, center, CLASS_NAMES.index(label), (normal, benign, malignant))
        for part, image_id, group, center, label, normal, benign, malignant in tuples_of(
            connection, query, values
        )
    ]
