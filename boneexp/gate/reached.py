"""What the experiments reached against a baseline that is kept: so that the decision can be told honestly."""

from collections.abc import Iterator
from typing import Any

from boneexp.selection import Comparison


def reached(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each experiment's figures that have a baseline, ready for JSON.

    `above` and `surely` (by the whole interval) are None where the images are not those of the baseline.
    """
    comparable = all(dataset["kind"] == "BTXRD" for dataset in comparison.datasets)
    return [
        {**row, "above": row["value"] > row["baseline"], "surely": _surely(row)}
        if comparable
        else {**row, "above": None, "surely": None}
        for row in _figures(comparison)
    ]


def _figures(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for figure, baseline in comparison.baseline.items():
        for row in comparison.rows:
            experiment = row["experiment_id"]
            value, (low, high) = comparison.value(experiment, figure), comparison.interval(experiment, figure)
            if value is not None:
                about = {"figure": figure, "baseline": baseline, "experiment": experiment}
                yield {**about, "value": value, "low": low, "high": high}


def _surely(row: dict[str, Any]) -> bool:
    """Tell whether the whole interval lies above; one without width proves nothing."""
    return row["low"] is not None and row["low"] > row["baseline"] and row["low"] != row["high"]
