"""The curves of one run as points to draw: ROC, precision and recall, reliability. No drawing here."""

from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.calibration import BINS, bins_of
from boneexp.evaluation.intervals import wilson_interval


@dataclass(frozen=True)
class Bin:
    """The images whose highest probability falls into one bin; fractions in [0, 1], and a 95 % interval."""

    images: int
    confidence: float
    right: float
    low: float
    high: float


def roc_points(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return scikit-learn's ROC curve, (t + 1, 2) floats: false and true positive rate, from 0, 0 to 1, 1.

    Args:
        positive: (n,) bools; without a positive or without a negative the curve is empty, (0, 2).
        scores: (n,) floats with t different values, each of them a threshold.
    """
    if positive.all() or not positive.any():
        return np.empty((0, 2))
    from sklearn.metrics import roc_curve  # takes half as long to import as torch

    false_rates, true_rates, _ = roc_curve(positive, scores, drop_intermediate=False)
    return np.column_stack([false_rates, true_rates])


def precision_recall_points(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the corners of scikit-learn's precision-recall steps as (t + 1, 2) floats, recall and precision.

    Each precision holds from the recall before it up to its own, so that the area below the steps is the
    average precision. It is empty, (0, 2), without a positive. Arguments as `roc_points`.
    """
    if not positive.any():
        return np.empty((0, 2))
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, scores)
    precision[-1] = precision[-2]  # scikit-learn's curve starts at a precision of 1, whatever is ranked first
    return np.column_stack([recall, precision])[::-1]


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Bin, ...]:
    """Return the bins of the expected calibration error that hold an image, the least confident first.

    Args:
        labels: (n,) ints in [0, classes).
        probabilities: (n, classes) floats in [0, 1].
    """
    from sklearn.calibration import calibration_curve

    confidence = probabilities.max(axis=1).clip(max=1)  # a row may sum to a hair more than 1
    correct = probabilities.argmax(axis=1) == labels
    correct_fractions, mean_confidences = calibration_curve(correct, confidence, n_bins=BINS)
    images = np.unique(bins_of(confidence), return_counts=True)[1]
    found = []
    columns = images.tolist(), correct_fractions.tolist(), mean_confidences.tolist()
    for count, right, mean in zip(*columns, strict=True):
        low, high = wilson_interval(round(right * count), count, 0.95)
        assert low is not None and high is not None  # of at least one image
        found.append(Bin(count, mean, right, low, high))
    return tuple(found)


def thinned(points: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` of (k, 2) points, both ends among them, evenly in the way across and up."""
    if len(points) <= most:
        return points
    way = np.append(0, np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1)))
    inner = np.searchsorted(way, np.linspace(0, way[-1], most)[:-1])
    kept: np.ndarray = points[np.unique(np.append(inner, len(points) - 1))]
    return kept
