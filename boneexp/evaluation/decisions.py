"""What a model's probabilities of a class are worth to whoever acts on them: net benefit, PPV and NPV."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.intervals import expit, normal_quantile

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
DECIMALS = 12  # of a net benefit, so that one of 0 is 0


@dataclass(frozen=True)
class NetBenefit:
    """The net benefit at one threshold, per image; of treating none it is 0."""

    threshold: float
    model: float
    treat_all: float


@dataclass(frozen=True)
class PredictiveValues:
    """PPV and NPV at a prevalence, each with its interval; None where undefined."""

    prevalence: float
    ppv: float | None
    ppv_low: float | None
    ppv_high: float | None
    npv: float | None
    npv_low: float | None
    npv_high: float | None


def decision_curve(
    positive: np.ndarray,
    scores: np.ndarray,
    thresholds: Sequence[float] = THRESHOLDS,
    prevalence: float | None = None,
) -> tuple[NetBenefit, ...]:
    """Return the net benefit of acting where the probability reaches a threshold.

    A threshold of 0.1 says that finding one case is worth nine false alarms: net benefit is the rate of true
    positives less that of false positives weighted by threshold / (1 - threshold).

    Args:
        positive: (n,) bools.
        scores: (n,) probabilities; an image is acted on where its own is at or above the threshold.
        thresholds: each between 0 and 1.
        prevalence: of the class where the model is to be used; None for that of these images.

    Returns:
        One per threshold; none without a positive or without a negative.

    Raises:
        ValueError: a threshold or the prevalence is not between 0 and 1.

    Source: Vickers and Elkin, Medical Decision Making 2006; at another prevalence Pauker and Kassirer, NEJM
    1975, from sensitivity and specificity.
    """
    for value in (*thresholds, *(() if prevalence is None else (prevalence,))):
        _require_open(value)
    if positive.all() or not positive.any():
        return ()
    frequency = float(positive.mean()) if prevalence is None else prevalence
    found = []
    for threshold in thresholds:
        acted = scores >= threshold
        odds = threshold / (1 - threshold)
        sensitivity, false_alarms = float(acted[positive].mean()), float(acted[~positive].mean())
        of_model = frequency * sensitivity - (1 - frequency) * false_alarms * odds
        of_all = frequency - (1 - frequency) * odds
        found.append(NetBenefit(threshold, *(round(each, DECIMALS) + 0.0 for each in (of_model, of_all))))
    return tuple(found)


def predictive_values(
    predicted: np.ndarray,
    positive: np.ndarray,
    prevalence: float,
    *,
    confidence: float = 0.95,
    design_effects: tuple[float, float] = (1.0, 1.0),
) -> PredictiveValues:
    """Return PPV and NPV by Bayes' formula from sensitivity and specificity, at a prevalence.

    Args:
        predicted: (n,) bools, what the model predicts positive.
        positive: (n,) bools, what is.
        prevalence: of the class where the model is to be used, between 0 and 1; it is taken as known.
        confidence: of the intervals.
        design_effects: by which the numbers of positives and of negatives are divided, where images come in
            groups.

    Returns:
        None without a positive or a negative; the PPV also where nothing is predicted positive, the NPV where
        all is.

    Raises:
        ValueError: the prevalence or `confidence` is not between 0 and 1.

    Source: intervals on the logit scale, Mercaldo, Lau and Zhou, Statistics in Medicine 2007; where
    sensitivity or specificity is 0 or 1 their adjusted form, z squared images added, half of them correct.
    """
    _require_open(prevalence)
    z = normal_quantile(confidence)
    if positive.all() or not positive.any():
        return PredictiveValues(prevalence, *(None,) * 6)
    rates = float(predicted[positive].mean()), float((~predicted[~positive]).mean())
    images = int(positive.sum()) / design_effects[0], int((~positive).sum()) / design_effects[1]
    at_an_end = any(rate in (0.0, 1.0) for rate in rates)
    added = z * z if at_an_end else 0.0
    smooth = [(rate * n + added / 2) / (n + added) for rate, n in zip(rates, images, strict=True)]
    sizes = [n + added for n in images]
    odds = prevalence / (1 - prevalence)
    ppv = _logit_interval(_fraction(rates[0] * odds, 1 - rates[1]), smooth, sizes, odds, z)
    npv = _logit_interval(_fraction(rates[1] / odds, 1 - rates[0]), smooth[::-1], sizes[::-1], 1 / odds, z)
    return PredictiveValues(prevalence, *ppv, *npv)


def _logit_interval(
    value: float | None, rates: Sequence[float], images: Sequence[float], odds: float, z: float
) -> tuple[float | None, float | None, float | None]:
    """Return a predictive value with its interval; rates are sensitivity, specificity (NPV: swapped)."""
    if value is None:
        return None, None, None
    found, spared = rates
    middle = math.log(found * odds / (1 - spared))
    error = math.sqrt((1 - found) / (found * images[0]) + spared / ((1 - spared) * images[1]))
    low, high = (expit(middle + way * z * error) for way in (-1, 1))
    return value, 0.0 if value == 0 else min(low, value), 1.0 if value == 1 else max(high, value)


def _fraction(true: float, false: float) -> float | None:
    return true / (true + false) if true + false > 0 else None


def _require_open(value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{value} must lie between 0 and 1, as 0.1 does")
