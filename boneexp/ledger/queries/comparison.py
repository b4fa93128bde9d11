"""What is compared: the comparison's rows, the leaderboard, the study's targets and rule. sqlite3 alone.

Every query here can be pasted into `sqlite3 ledger.db`, and nothing is changed.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from boneexp.ledger.statements import read, tuples_of
from boneexp.results import COMPARED, SPLITS, WITH_INTERVALS, Metric


@dataclass(frozen=True)
class SeedMean:
    """A mean over the finished seeds, their lowest and highest, and the interval where there is one run."""

    value: float | None = None
    lowest: float | None = None
    highest: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0

    @property
    def has_spread(self) -> bool:
        """Whether there are several seeds, whose lowest and highest are known."""
        return self.seeds > 1 and self.lowest is not None and self.highest is not None


@dataclass(frozen=True)
class SplitResult:
    """An experiment on a split: the runs that were queued last, and their metrics by key."""

    experiment_ref: int
    experiment: str
    split: str
    planned_runs: int
    test_set: str
    smaller_batches: int  # runs with smaller micro-batches than planned
    single_class: int  # runs that predict one class only
    finished_runs: int
    metrics: Mapping[str, SeedMean]


@dataclass(frozen=True)
class ComparedExperiment:
    """One row of the comparison; `means` has one for each split and compared metric, None where unknown."""

    experiment_id: str
    backbone: str | None
    image_size: int | None
    annotations: str | None
    means: Mapping[str, float | None]


@dataclass(frozen=True)
class RankedExperiment:
    """One row of the leaderboard; `keys` are the values that the selection rule compares, in its order."""

    place: int
    experiment_id: str
    single_class: int
    keys: tuple[float | None, ...]
    test_set: str


@dataclass(frozen=True)
class PartUse:
    """How often a split's test part was evaluated, and how many decisions were taken in view of it."""

    split: str
    finished_runs: int
    late_results: int
    experiments: int
    seeds: int
    decisions: int


@dataclass(frozen=True)
class IntervalMethod:
    """By which method the intervals of a metric were made, and of how many runs."""

    metric: str
    interval_method: str
    runs: int


@dataclass(frozen=True)
class StudyReference:
    """One target or baseline value of the study: of how many images, and comparable to which data."""

    kind: str
    figure: str
    value: float
    images: int | None
    comparable_to: str


def uses_of_test_parts(connection: sqlite3.Connection) -> list[PartUse]:
    """Return how often each test part was evaluated, and used to choose."""
    return read(connection, PartUse, "SELECT * FROM test_part_uses")


def comparison_rows(connection: sqlite3.Connection, part: str = "test") -> list[ComparedExperiment]:
    """Return a part of the view part_comparison: one row per experiment."""
    names = [f"{split}_{metric.key}" for split in SPLITS for metric in COMPARED]
    query = f"""SELECT experiment_id, backbone, image_size, annotations, {", ".join(names)}
                FROM part_comparison WHERE part = ? ORDER BY length(experiment_id), experiment_id"""
    return [
        ComparedExperiment(experiment, backbone, size_px, annotations, dict(zip(names, means, strict=True)))
        for experiment, backbone, size_px, annotations, *means in tuples_of(connection, query, (part,))
    ]


def leaderboard_rows(connection: sqlite3.Connection) -> list[RankedExperiment]:
    """Return the view leaderboard: place and test set of each experiment that can be ranked."""
    query = "SELECT place, experiment_id, single_class, key_1, key_2, key_3, test_set FROM leaderboard"
    return [
        RankedExperiment(place, experiment, single_class, tuple(keys), test_set)
        for place, experiment, single_class, *keys, test_set in tuples_of(connection, query)
    ]


def split_results(connection: sqlite3.Connection, part: str = "test") -> list[SplitResult]:
    """Return a part of the view part_figures: per experiment and split, with intervals and seed counts."""
    query = f"""SELECT experiment_ref, experiment, split, planned_runs, test_set, smaller_batches,
                       single_class, finished_runs, {", ".join(map(_seed_mean, WITH_INTERVALS))}
                FROM part_figures WHERE part = ? ORDER BY experiment, split"""
    return [_split_result(row) for row in tuples_of(connection, query, (part,))]


def _split_result(row: Sequence[Any]) -> SplitResult:
    ref, experiment, split, planned, test_set, smaller, single, finished = row[:8]
    metrics = {}
    for number, metric in enumerate(WITH_INTERVALS):
        value, lowest, highest, low, high = row[8 + 5 * number : 13 + 5 * number]
        metrics[metric.key] = SeedMean(value, lowest, highest, low, high, finished)
    return SplitResult(ref, experiment, split, planned, test_set, smaller, single, finished, metrics)


def _seed_mean(metric: Metric) -> str:
    """Return the columns of a metric in part_figures, in the order of SeedMean's fields."""
    spread = f"{metric.key}_min, {metric.key}_max" if metric in COMPARED else "NULL, NULL"
    return f"{metric.key}, {spread}, {metric.key}_low, {metric.key}_high"


def interval_methods(connection: sqlite3.Connection, part: str = "test") -> list[IntervalMethod]:
    """Return by which methods the intervals of the compared metrics were made, and of how many runs each."""
    return read(
        connection,
        IntervalMethod,
        """SELECT m.metric, m.interval_method, COUNT(DISTINCT m.run_id) AS runs
           FROM runs r JOIN metrics m ON m.run_id = r.id AND m.part = ?
                AND (m.metric, m.class_name) IN (VALUES ('accuracy', ''), ('macro_auroc', ''),
                                                        ('sensitivity', 'Malignant'),
                                                        ('specificity', 'Malignant'))
           WHERE r.is_current AND r.state = 'succeeded' AND m.low IS NOT NULL
           GROUP BY m.metric, m.interval_method ORDER BY m.metric, m.interval_method""",
        (part,),
    )


def overlap_ious(connection: sqlite3.Connection) -> dict[str, float]:
    """Return the mean Grad-CAM IoU at 0.5 of each experiment, on its stratified run."""
    query = """SELECT o.experiment, AVG(o.iou) AS iou FROM gradcam_overlap o JOIN runs r ON r.id = o.run
               WHERE o.split = 'stratified' AND o.threshold = 0.5 AND r.is_current GROUP BY o.experiment"""
    return {row["experiment"]: row["iou"] for row in connection.execute(query)}


def study_rows(connection: sqlite3.Connection) -> list[StudyReference]:
    """Return the study's targets and baseline."""
    query = "SELECT kind, figure, value, images, comparable_to FROM study_figures ORDER BY rowid"
    return read(connection, StudyReference, query)


def confidences(connection: sqlite3.Connection) -> dict[str, float]:
    """Return the confidence of the stored intervals of each current experiment, by its id."""
    query = """SELECT DISTINCT e.experiment,
                      COALESCE(json_extract(e.settings_json, '$.evaluation.confidence'), 0.95) AS confidence
               FROM experiments e JOIN runs r ON r.experiment_ref = e.id AND r.is_current"""
    return {row["experiment"]: row["confidence"] for row in connection.execute(query)}


def selection_order(connection: sqlite3.Connection) -> list[str]:
    """Return the metrics that decide the best experiment, in order."""
    return [row[0] for row in connection.execute("SELECT figure FROM selection_keys ORDER BY position")]


def selection_part(connection: sqlite3.Connection) -> str:
    """Return the part whose metrics decide the best experiment, "test" or "val"."""
    query = "SELECT COALESCE(MAX(part), 'test') FROM selection_keys"
    return str(connection.execute(query).fetchone()[0])
