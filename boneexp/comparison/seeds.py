"""Several seeds: how far a metric moves with the seed, against how far the experiments lie apart."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.comparison.metric_names import lower_is_better
from boneexp.comparison.one_test_set import Elsewhere, on_one_test_set
from boneexp.evaluation.seeds import SeedStudy, seed_study
from boneexp.ledger.queries.figures import metric_values
from boneexp.results import COMPARED, SPLITS, Metric


@dataclass(frozen=True)
class MetricSpread:
    """One metric's spread over seeds and experiments on one split."""

    split: str
    part: str
    metric: Metric
    study: SeedStudy
    elsewhere: tuple[Elsewhere, ...]  # left out, since tested on other images


def seed_spreads(
    connection: sqlite3.Connection, metrics: Sequence[Metric] = COMPARED, *, part: str = "test"
) -> tuple[MetricSpread, ...]:
    """Return the spread of each metric on each split, of the finished current runs that have a value.

    Of each split those are taken that share the test set of most experiments.
    """
    found = []
    for metric in metrics:
        known = metric_values(connection, part, metric.name, metric.class_name)
        taken = on_one_test_set(known)
        for split in SPLITS:
            values: dict[str, list[float]] = {}
            for row in taken.rows:
                if row.split == split and row.value is not None:
                    values.setdefault(row.experiment, []).append(row.value)
            if values:
                study = seed_study(values, lower_is_better=lower_is_better(metric))
                others = tuple(each for each in taken.elsewhere if each.split == split)
                found.append(MetricSpread(split, part, metric, study, others))
    return tuple(found)
