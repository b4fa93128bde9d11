"""A metric of a run's test part with its stored interval, for conditions that hold it against something."""

import sqlite3

from boneexp.comparison.metric_names import metric_named
from boneexp.evaluation.multiplicity import Estimate
from boneexp.ledger.queries.experiments import ChosenRun
from boneexp.ledger.queries.figures import metric_of_run
from boneexp.text.labels import split_of


def estimate_of_run(connection: sqlite3.Connection, run: ChosenRun, figure: str) -> Estimate | None:
    """Return a metric such as "stratified_accuracy" of a run; None where it or its interval is unknown."""
    key = split_of(figure)[1]
    metric = metric_named(key)
    found = metric_of_run(connection, run.run, metric.name, metric.class_name)
    if found is None or found.value is None or found.low is None or found.high is None:
        return None
    return Estimate(key, found.value, found.low, found.high, run.confidence)
