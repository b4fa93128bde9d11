"""Calibration slope and intercept of each class."""

from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.calibration import LEAST_PROBABILITY
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import normal_quantile
from boneexp.evaluation.subgroups import FEWEST

STEPS = 100
FLATTEST = 1e-10  # information per image below which the fit runs off to infinity
STEEPEST = 1e4


@dataclass(frozen=True)
class Estimate:
    """A metric and its interval; None where it cannot be fitted."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Recalibration:
    """One class against the rest: 1 and 0 are perfect.

    A slope below 1 says that the probabilities are too extreme, an intercept below 0 that they are too high.
    """

    class_name: str
    images: int  # of the class
    slope: Estimate
    intercept: Estimate


def recalibrations(predictions: Predictions, confidence: float = 0.95) -> tuple[Recalibration, ...]:
    """Return calibration slope and intercept of each class against the rest.

    The slope is that of a logistic regression of the class on the logit of its probability; the intercept
    (calibration in the large) is fitted with the slope held at 1. Intervals are Wald's; where images come in
    groups, by the variance between groups.

    Returns:
        One per class. Nothing is fitted below FEWEST units (groups, or images) of the class or of the others.
        The slope is None where all probabilities are the same, and both are None where the class is
        separated without an error, so that no finite slope fits best.

    Raises:
        ValueError: `confidence` is not between 0 and 1.

    Source: Cox, Biometrika 1958; Van Calster et al., Journal of Clinical Epidemiology 2016 and BMC Medicine
    2019; clusters as in Liang and Zeger, Biometrika 1986.
    """
    reach, units = normal_quantile(confidence), predictions.unit_numbers
    found = []
    for label, name in enumerate(predictions.class_names):
        positive = predictions.labels == label
        own = np.clip(predictions.probabilities[:, label], LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        logits, slope, intercept = np.log(own / (1 - own)), Estimate(), Estimate()
        if min(len(np.unique(units[positive])), len(np.unique(units[~positive]))) >= FEWEST:
            both = np.column_stack([np.ones_like(logits), logits])
            slope = _estimate(both, np.zeros_like(logits), positive, units, reach)
            intercept = _estimate(both[:, :1], logits, positive, units, reach)
        found.append(Recalibration(name, int(positive.sum()), slope, intercept))
    return tuple(found)


def _estimate(
    design: np.ndarray, offset: np.ndarray, positive: np.ndarray, units: np.ndarray, reach: float
) -> Estimate:
    """Return the last coefficient of a logistic regression with its Wald interval."""
    coefficients = _fitted(design, offset, positive)
    if coefficients is None:
        return Estimate()
    expected = _logistic(design @ coefficients + offset)
    bread = np.linalg.inv(_information(design, expected))
    variance = float(bread[-1, -1])
    groups = int(units.max()) + 1
    if groups < len(units):
        scores = np.zeros((groups, design.shape[1]))
        np.add.at(scores, units, design * (positive - expected)[:, None])
        variance = float((bread @ (scores.T @ scores) @ bread)[-1, -1]) * groups / (groups - 1)
    value = float(coefficients[-1])
    return Estimate(value, value - reach * variance**0.5, value + reach * variance**0.5)


def _fitted(design: np.ndarray, offset: np.ndarray, positive: np.ndarray) -> np.ndarray | None:
    """Return the coefficients of highest likelihood by Newton's steps; None where they are not finite."""
    spread = design.std(axis=0)
    if (spread[1:] < 1e-9).any():
        return None
    coefficients = np.zeros(design.shape[1])
    likelihood = _likelihood(design @ coefficients + offset, positive)
    for _ in range(STEPS):
        expected = _logistic(design @ coefficients + offset)
        information = _information(design, expected)
        if np.linalg.eigvalsh(information)[0] < FLATTEST * len(design):
            return None
        step = np.linalg.solve(information, design.T @ (positive - expected))
        better = _likelihood(design @ (coefficients + step) + offset, positive)
        while better < likelihood and np.abs(step).max() > 1e-12:
            step = step / 2
            better = _likelihood(design @ (coefficients + step) + offset, positive)
        coefficients, likelihood = coefficients + step, better
        if np.abs(coefficients).max() > STEEPEST:
            return None
        if np.abs(step).max() < 1e-10:
            return coefficients
    return None


def _information(design: np.ndarray, expected: np.ndarray) -> np.ndarray:
    information: np.ndarray = (design * (expected * (1 - expected))[:, None]).T @ design
    return information


def _likelihood(logits: np.ndarray, positive: np.ndarray) -> float:
    """Return the log likelihood, without an overflow at large logits."""
    return float(np.where(positive, logits, 0).sum() - np.logaddexp(0, logits).sum())


def _logistic(logits: np.ndarray) -> np.ndarray:
    chances: np.ndarray = np.exp(-np.logaddexp(0, -logits))
    return chances
