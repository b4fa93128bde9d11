"""Intervals of the compared metrics by another method than the stored ones, from the prediction rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from boneexp.comparison.predictions import Evaluated, EvaluatedRun
from boneexp.evaluation.metrics import evaluated as evaluated_metrics
from boneexp.ledger.queries.comparison import IntervalMethod, SplitResult
from boneexp.results import WITH_INTERVALS, Metric, MetricValue


@dataclass(frozen=True)
class Refined:
    """Results with intervals by another method, and how many runs have which."""

    results: Mapping[tuple[str, str], SplitResult]
    methods: tuple[IntervalMethod, ...]


def refined(
    results: Mapping[tuple[str, str], SplitResult], evaluated: Evaluated, part: str, method: str
) -> Refined:
    """Return the results, by experiment and split, with intervals by one of `evaluation.metrics.METHODS`.

    Means over several seeds have no interval, as before.
    """
    found, counts = dict(results), Counter[tuple[str, str]]()
    for key, result in results.items():
        runs = evaluated.of(*key)
        if result.finished_runs != 1 or len(runs) != 1:
            continue
        values = _values(runs[0], part, evaluated, method)
        ends = {
            metric.key: replace(result.metrics[metric.key], low=value.low, high=value.high)
            for metric, value in values.items()
        }
        found[key] = replace(result, metrics={**result.metrics, **ends})
        counts.update(
            (metric.name, value.interval_method) for metric, value in values.items() if value.low is not None
        )
    return Refined(found, tuple(IntervalMethod(*key, runs) for key, runs in counts.items()))


def _values(run: EvaluatedRun, part: str, settings: Evaluated, method: str) -> dict[Metric, MetricValue]:
    values = evaluated_metrics(
        run.parts[part],
        seed=run.seed,
        resamples=settings.resamples,
        confidence=settings.confidence,
        method=method,
    )
    by_metric = {Metric(value.metric, value.class_name): value for value in values}
    return {metric: by_metric[metric] for metric in WITH_INTERVALS}
