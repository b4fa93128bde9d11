"""Calibration: whether the labels of each test part could have been drawn from the model's probabilities."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from boneexp.comparison.predictions import predictions_of_run
from boneexp.evaluation.calibration import Consistency, consistency
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.paired import holm
from boneexp.evaluation.temperature import tempered
from boneexp.ledger.queries.experiments import ChosenRun
from boneexp.ledger.queries.figures import metric_of_run
from boneexp.promotion.gate.conditions import Condition
from boneexp.study.decision_settings import PromotionSettings
from boneexp.text.labels import label

LEVEL = 0.05  # at which a calibrated model fails, over all test parts together
SEED = 42


@dataclass(frozen=True)
class Part:
    """One test part: how its labels fit the probabilities, and the class predicted for every image."""

    name: str
    tested: Consistency
    only_class: str  # "" where several classes are predicted

    def shown(self) -> str:
        """Say it in a few words."""
        tested = self.tested
        about = f"{tested.value:.3f}, {tested.expected:.3f} expected, p = {tested.p_value:.3f}"
        alone = f", every image predicted as {self.only_class}" if self.only_class else ""
        return f"{about}{alone} ({self.name})"


def calibration_condition(
    connection: sqlite3.Connection, runs: Sequence[ChosenRun], policy: PromotionSettings
) -> Condition:
    """Judge the calibration of the runs on their test parts."""
    parts, missing = [], []
    for run in runs:
        predictions = _probabilities(connection, run, scaled=policy.temperature_scaling)
        if predictions is None:
            missing.append(f"no temperature reported ({label(run.split)})")
        else:
            parts.append(part_of(label(run.split), predictions, policy.calibration_metric))
    met = is_calibrated(parts, policy.calibration_metric, policy.calibration_at_most)
    found = ", ".join([*(part.shown() for part in parts), *missing])
    return Condition(
        "calibration", "statistical", _requirement(policy), None if met and missing else met, found
    )


def part_of(name: str, predictions: Predictions, metric: str) -> Part:
    """Return what is judged of the predictions of one test part."""
    predicted = set(predictions.probabilities.argmax(axis=1).tolist())
    only = predictions.class_names[predicted.pop()] if len(predicted) == 1 else ""
    return Part(name, consistency(predictions, metric, seed=SEED), only)


def is_calibrated(parts: Sequence[Part], metric: str, at_most: float) -> bool:
    """Return whether no part speaks against the probabilities.

    A part does where the consistency test rejects, adjusted by Holm over the parts. With a bound above 0, a
    rejection counts only if the calibration error lies more than the bound above its mean under perfect
    calibration: it is the size that matters. Of log loss and Brier score a bound is one of the metric itself,
    without a test. A model that predicts one class for every image never passes: its probabilities can be
    those of the classes, and say nothing.
    """
    if any(part.only_class for part in parts):
        return False
    is_error = metric == "expected_calibration_error"
    if at_most > 0 and not is_error:
        return all(part.tested.value <= at_most for part in parts)
    adjusted = holm([part.tested.p_value for part in parts])
    rejected = [part for part, p_value in zip(parts, adjusted, strict=True) if (p_value or 0) < LEVEL]
    return not any(part.tested.excess > at_most or not is_error for part in rejected)


def _requirement(policy: PromotionSettings) -> str:
    scaled = " after temperature scaling" if policy.temperature_scaling else ""
    metric, at_most = f"{label(policy.calibration_metric)}{scaled}", policy.calibration_at_most
    if at_most == 0:
        return f"{metric}: what true probabilities would give"
    if policy.calibration_metric == "expected_calibration_error":
        return f"{metric}: at most {at_most:g} above what true probabilities would give"
    return f"{metric}: at most {at_most:g}"


def _probabilities(connection: sqlite3.Connection, run: ChosenRun, *, scaled: bool) -> Predictions | None:
    """Return a run's test predictions, scaled by its temperature if wanted; None where it has none."""
    predictions = predictions_of_run(connection, run.run, "test")
    if not scaled:
        return predictions
    temperature = metric_of_run(connection, run.run, "temperature")
    if temperature is None or temperature.value is None:
        return None
    return replace(predictions, probabilities=tempered(predictions.probabilities, temperature.value))
