"""Metrics of runs. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from boneexp.ledger.statements import read, read_each, read_one
from boneexp.results import MetricValue


@dataclass(frozen=True)
class StoredMetric:
    """One metric of one part of a run, as the table `metrics` has it."""

    run: int
    part: str
    metric: str
    class_name: str
    value: float | None
    low: float | None
    high: float | None
    interval_method: str


@dataclass(frozen=True)
class LateResult:
    """One metric of an attempt that had lost the run and finished it all the same; it counts nowhere."""

    run_id: int
    attempt: int
    part: str
    metric: str
    class_name: str
    value: float | None
    low: float | None
    high: float | None
    recorded_at: float
    interval_method: str


@dataclass(frozen=True)
class SeedValue:
    """One metric of one finished run; `test_set` names the images."""

    experiment: str
    split: str
    seed: int
    value: float | None
    test_set: str


@dataclass(frozen=True)
class MetricMean:
    """One metric of an experiment on a split: the mean over its finished seeds."""

    experiment: str
    split: str
    part: str
    runs: int
    value: float | None
    low: float | None
    high: float | None
    value_min: float | None
    value_max: float | None
    test_set: str


@dataclass(frozen=True)
class OverlapMean:
    """The mean Grad-CAM overlap of a run at one threshold."""

    threshold: float
    images: int
    iou: float
    energy_inside: float | None
    pointing_hits: float | None
    layer: str
    lesion: str


def metric_of_run(
    connection: sqlite3.Connection, run_id: int, metric: str, class_name: str = ""
) -> MetricValue | None:
    """Return a metric of a run's test part; None where it is not reported."""
    return read_one(
        connection,
        MetricValue,
        """SELECT metric, class_name, value, low, high, interval_method FROM metrics
           WHERE run_id = ? AND part = 'test' AND metric = ? AND class_name = ?""",
        (run_id, metric, class_name),
    )


def overlap_means(connection: sqlite3.Connection, run_id: int) -> list[OverlapMean]:
    """Return the mean Grad-CAM overlap over annotated images, each explained for its own class, by threshold.

    What was measured over the test part with the run's own checkpoint counts, what a person looked at not.
    """
    return read(
        connection,
        OverlapMean,
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


def metric_values(connection: sqlite3.Connection, part: str, metric: str, class_name: str) -> list[SeedValue]:
    """Return one metric of every finished current run."""
    return read(
        connection,
        SeedValue,
        """SELECT e.experiment, r.split, r.seed, m.value,
                  substr(e.data_fingerprint, 1, 8) || '-' || substr(r.split_digest, 1, 8) AS test_set
           FROM metrics m JOIN runs r ON r.id = m.run_id JOIN experiments e ON e.id = r.experiment_ref
           WHERE r.is_current AND r.state = 'succeeded' AND m.part = ? AND m.metric = ? AND m.class_name = ?
           ORDER BY length(e.experiment), e.experiment, r.split DESC, r.seed""",
        (part, metric, class_name),
    )


def metric_means(connection: sqlite3.Connection, part: str, metric: str, class_name: str) -> list[MetricMean]:
    """Return one metric of every experiment and split, from the view metric_figures."""
    return read(
        connection,
        MetricMean,
        """SELECT experiment, split, part, runs, value, low, high, value_min, value_max, test_set
           FROM metric_figures WHERE part = ? AND metric = ? AND class_name = ?
           ORDER BY length(experiment), experiment, split DESC""",
        (part, metric, class_name),
    )


EVERY_METRIC = """SELECT run_id AS run, part, metric, class_name, value, low, high, interval_method
                  FROM metrics ORDER BY run_id, part, metric, class_name"""


def every_metric(connection: sqlite3.Connection) -> Iterator[StoredMetric]:
    """Yield every stored metric with its interval, in the order of run, part, metric and class."""
    return read_each(connection, StoredMetric, EVERY_METRIC)


def metric_rows(connection: sqlite3.Connection, run_id: int, part: str = "test") -> list[MetricValue]:
    """Return a settled run's metrics with their intervals."""
    query = """SELECT metric, class_name, value, low, high, interval_method
               FROM metrics WHERE run_id = ? AND part = ?"""
    return read(connection, MetricValue, query, (run_id, part))


def late_rows(connection: sqlite3.Connection, run_id: int) -> list[LateResult]:
    """Return metrics of attempts that had lost the run and finished it all the same."""
    query = "SELECT * FROM late_results WHERE run_id = ? ORDER BY attempt, part, metric, class_name"
    return read(connection, LateResult, query, (run_id,))
