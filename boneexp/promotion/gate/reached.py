"""What the experiments reached against a baseline that is kept: so that the decision can be told honestly."""

from collections.abc import Iterator
from typing import Any

from boneexp.comparison.ranking import Comparison


def reached(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each experiment's figures that have a baseline, ready for JSON.

    `above` and `surely` (by the whole interval of the difference, which allows for the best of several) are
    None where the images are not those of the baseline.
    """
    return list(_figures(comparison))


def _figures(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for figure, baseline in comparison.baseline.items():
        for row in comparison.rows:
            experiment = row["experiment_id"]
            value, (low, high) = comparison.value(experiment, figure), comparison.interval(experiment, figure)
            if value is not None:
                about = {"figure": figure, "baseline": baseline.value, "experiment": experiment}
                yield {
                    **about,
                    "value": value,
                    "low": low,
                    "high": high,
                    **_above(comparison, experiment, figure),
                }


def _above(comparison: Comparison, experiment: str, figure: str) -> dict[str, bool | None]:
    delta, difference = comparison.deltas(experiment)[figure], comparison.difference(experiment, figure)
    if delta is None:
        return {"above": None, "surely": None}
    return {"above": delta > 0, "surely": difference is not None and difference.low > 0}
