"""Intervals of the compared figures by another method than the stored ones, from the prediction rows."""

from collections.abc import Mapping
from typing import Any

from boneexp.comparison.predictions import Evaluated, EvaluatedRun
from boneexp.evaluation.metrics import evaluated as evaluated_metrics
from boneexp.results import MetricValue

Row = dict[str, Any]
COLUMNS = {
    ("accuracy", ""): "accuracy",
    ("macro_auroc", ""): "macro_auroc",
    ("sensitivity", "Malignant"): "malignant_sensitivity",
    ("specificity", "Malignant"): "malignant_specificity",
}


def refined(
    figures: Mapping[tuple[str, str], Row], evaluated: Evaluated, part: str, method: str
) -> tuple[dict[tuple[str, str], Row], tuple[Row, ...]]:
    """Return rows of part_figures with intervals by `method`, and how many runs have which.

    Args:
        figures: the rows, by experiment and split.
        evaluated: the runs with their predictions.
        part: "val" or "test".
        method: one of `boneexp.evaluation.metrics.METHODS`.

    Returns:
        The rows, and rows of metric, interval_method and runs. Means over several seeds have no interval, as
        before.
    """
    found, counts = dict(figures), dict[tuple[str, str], int]()
    for (experiment, split), row in figures.items():
        runs = evaluated.of(experiment, split)
        if row["finished_runs"] == 1 and len(runs) == 1:
            values = _values(runs[0], part, evaluated, method)
            ends = {f"{COLUMNS[key]}_low": value.low for key, value in values.items()}
            ends |= {f"{COLUMNS[key]}_high": value.high for key, value in values.items()}
            found[experiment, split] = {**row, **ends}
            for (metric, _), value in values.items():
                if value.low is not None:
                    counts[metric, value.interval_method] = counts.get((metric, value.interval_method), 0) + 1
    methods = (
        {"metric": metric, "interval_method": name, "runs": runs} for (metric, name), runs in counts.items()
    )
    return found, tuple(methods)


def _values(
    run: EvaluatedRun, part: str, asked: Evaluated, method: str
) -> dict[tuple[str, str], MetricValue]:
    values = evaluated_metrics(
        run.parts[part], seed=run.seed, resamples=asked.resamples, confidence=asked.confidence, method=method
    )
    keyed = {(value.metric, value.class_name): value for value in values}
    return {key: keyed[key] for key in COLUMNS}
