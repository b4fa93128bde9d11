"""The curves of one run as points to draw: ROC, precision and recall, reliability. No drawing here."""

from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.calibration import bins_of
from boneexp.evaluation.intervals import wilson_interval
from boneexp.evaluation.ranks import ranking


@dataclass(frozen=True)
class Bin:
    """The images whose highest probability falls into one bin; shares in [0, 1], a 95 % Wilson interval."""

    images: int
    confidence: float
    right: float
    low: float
    high: float


def running_counts(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return images and positives at or above each threshold, from none to all: two (t + 1,) int arrays.

    Args:
        positive: (n,) bools.
        scores: (n,) floats; equal ones share a threshold, of which there are t.
    """
    order, ends = ranking(scores)
    return np.append(0, ends + 1), np.append(0, np.cumsum(positive[order])[ends])


def roc_points(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the ROC curve as (t + 1, 2) floats, false and true positive rate, from (0, 0) to (1, 1).

    It is empty, (0, 2), without a positive or without a negative. Arguments as `running_counts`.
    """
    if positive.all() or not positive.any():
        return np.empty((0, 2))
    drawn, hits = running_counts(positive, scores)
    misses = drawn - hits
    return np.column_stack([misses / misses[-1], hits / hits[-1]])


def precision_recall_points(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the corners of the precision-recall steps as (t + 1, 2) floats, recall and precision.

    Each precision holds from the recall before it up to its own, so that the area below the steps is the
    average precision. It is empty, (0, 2), without a positive. Arguments as `running_counts`.
    """
    if not positive.any():
        return np.empty((0, 2))
    drawn, hits = running_counts(positive, scores)
    precision = hits[1:] / drawn[1:]
    return np.column_stack([hits / hits[-1], np.append(precision[0], precision)])


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Bin, ...]:
    """Return the bins of the expected calibration error that hold an image, the least confident first.

    Args:
        labels: (n,) ints in [0, classes).
        probabilities: (n, classes) floats in [0, 1].
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = bins_of(confidence)
    found = []
    for number in np.unique(place):
        chosen = place == number
        images, hits = int(chosen.sum()), int(right[chosen].sum())
        low, high = wilson_interval(hits, images, 0.95)
        assert low is not None and high is not None  # of at least one image
        found.append(Bin(images, float(confidence[chosen].mean()), hits / images, low, high))
    return tuple(found)


def thinned(points: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` of (k, 2) points, both ends among them, evenly in the way across and up."""
    if len(points) <= most:
        return points
    way = np.append(0, np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1)))
    inner = np.searchsorted(way, np.linspace(0, way[-1], most)[:-1])
    kept: np.ndarray = points[np.unique(np.append(inner, len(points) - 1))]
    return kept
