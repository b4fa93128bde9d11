"""Temperature scaling: one number, fitted on validation, that makes probabilities more or less confident.

The predicted class stays the same.
"""

from dataclasses import replace

import numpy as np

from boneexp.evaluation.calibration import LEAST_PROBABILITY
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.metrics import LOWER_IS_BETTER, evaluated
from boneexp.results import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, MetricValue

LOWEST, HIGHEST = LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE
TEMPERED = ("temperature", *(f"{metric}_tempered" for metric in LOWER_IS_BETTER))


def tempered_values(
    validation: Predictions,
    test: Predictions,
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "analytic",
) -> tuple[MetricValue, ...]:
    """Return the temperature fitted on validation, and the calibration metrics of the test set with it.

    Returns:
        The metrics of TEMPERED, over all classes. Intervals hold the temperature fixed.

    Raises:
        ValueError: as `evaluated`.
    """
    temperature = fit_temperature(validation.labels, validation.probabilities)
    after_scaling = replace(test, probabilities=tempered(test.probabilities, temperature))
    values = evaluated(after_scaling, seed=seed, resamples=resamples, confidence=confidence, method=method)
    after = {value.metric: value for value in values if not value.class_name}
    return (
        MetricValue("temperature", "", temperature, None, None),
        *(replace(after[metric], metric=f"{metric}_tempered") for metric in LOWER_IS_BETTER),
    )


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature at which the log loss is lowest.

    Args:
        labels: (n,) ints in [0, classes).
        probabilities: (n, classes) floats in [0, 1]; of a softmax they tell the logits but for a constant.

    Returns:
        A temperature from LOWEST to HIGHEST; above 1 if the probabilities were overconfident. A bound is
        returned where the loss still falls there: every image correct, or uninformative probabilities.

    Source: Guo et al., ICML 2017. The loss is convex in 1 / temperature; the root of its slope is exact to
    the last digits, and a search for the minimum itself only to half of them.
    """
    from scipy.optimize import brentq  # half a second, which light commands do not have

    logits = _logits(probabilities)
    own = logits[np.arange(len(labels)), labels].mean()

    def slope(sharpness: float) -> float:
        expected = (_softmax(logits * sharpness) * logits).sum(axis=1).mean()
        return float(expected - own)

    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(low) >= 0:
        return HIGHEST
    if slope(high) <= 0:
        return LOWEST
    return 1 / float(brentq(slope, low, high, xtol=1e-15))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return (n, classes) probabilities at another temperature; those of exactly 0 count as 2.2e-16."""
    return _softmax(_logits(probabilities) / temperature)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    logits: np.ndarray = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    return logits


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return probabilities
