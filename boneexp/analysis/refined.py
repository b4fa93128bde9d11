"""Intervals of the compared figures, of another kind than the stored percentile bootstrap."""

from collections.abc import Mapping
from typing import Any

from boneexp.analysis.evaluated import Evaluated
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import wilson_interval
from boneexp.evaluation.metrics import evaluated as evaluated_metrics
from boneexp.results import CLASS_NAMES

Row = dict[str, Any]
Interval = tuple[float | None, float | None]
COLUMNS = {
    ("accuracy", ""): "accuracy",
    ("macro_auroc", ""): "macro_auroc",
    ("sensitivity", "Malignant"): "malignant_sensitivity",
    ("specificity", "Malignant"): "malignant_specificity",
}


def refined(
    figures: Mapping[tuple[str, str], Row], evaluated: Evaluated, part: str, method: str
) -> dict[tuple[str, str], Row]:
    """Return rows of part_figures with intervals by `method`, "bca" or "wilson".

    Means over several seeds have none, as before; nor does Wilson fit where images come in groups, and there
    the stored interval stays.
    """
    found = dict(figures)
    for (experiment, split), row in figures.items():
        runs = evaluated.of(experiment, split)
        if row["finished_runs"] == 1 and len(runs) == 1:
            intervals = _intervals(runs[0].parts[part], (runs[0].seed, evaluated), method)
            ends = {f"{name}_low": low for name, (low, _) in intervals.items()}
            ends |= {f"{name}_high": high for name, (_, high) in intervals.items()}
            found[experiment, split] = {**row, **ends}
    return found


def _intervals(predictions: Predictions, settings: tuple[int, Evaluated], method: str) -> dict[str, Interval]:
    if method == "wilson":
        return {} if predictions.groups is not None else _wilson(predictions, settings[1].confidence)
    seed, asked = settings
    values = evaluated_metrics(
        predictions, seed=seed, resamples=asked.resamples, confidence=asked.confidence, method=method
    )
    return {
        COLUMNS[value.metric, value.class_name]: (value.low, value.high)
        for value in values
        if (value.metric, value.class_name) in COLUMNS
    }


def _wilson(predictions: Predictions, confidence: float) -> dict[str, Interval]:
    malignant = predictions.labels == CLASS_NAMES.index("Malignant")
    called = predictions.probabilities.argmax(axis=1)
    right = called == predictions.labels
    spared = called != CLASS_NAMES.index("Malignant")
    counts = {
        "accuracy": (right.sum(), len(right)),
        "malignant_sensitivity": (right[malignant].sum(), malignant.sum()),
        "malignant_specificity": (spared[~malignant].sum(), (~malignant).sum()),
    }
    return {name: wilson_interval(float(hits), float(of), confidence) for name, (hits, of) in counts.items()}
