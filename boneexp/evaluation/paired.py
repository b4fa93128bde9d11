"""Two models on the same images: the tests that need no resampling, and Holm for a family of them.

Every difference is the second minus the first, in the metric's own unit, with an interval: that is the size
of the effect. A p-value says how surprising it would be if the two were alike, and nothing about its size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import normal_quantile
from boneexp.evaluation.metrics import defined
from boneexp.evaluation.ranks import midranks

ROUNDING = 1e-12  # less than this is what the order of a sum leaves


@dataclass(frozen=True)
class Difference:
    """How much higher a metric is in the second of two; None where undefined or not given by the test."""

    metric: str
    class_name: str
    value: float | None
    low: float | None
    high: float | None
    p_value: float | None
    test: str


def check_same_images(first: Predictions, second: Predictions) -> None:
    """See that two models were asked about the same images.

    Raises:
        ValueError: ids, labels, groups or classes differ, or no ids were given.
    """
    if not first.image_ids or not second.image_ids:
        raise ValueError("a paired comparison needs the ids of the images of both")
    if first.class_names != second.class_names:
        raise ValueError(f"the classes are {first.class_names} and {second.class_names}")
    if first.image_ids != second.image_ids:
        apart = sorted(set(first.image_ids) ^ set(second.image_ids))
        raise ValueError(f"the images differ: {len(apart)} are only in one of the two, such as {apart[0]}")
    if (first.labels != second.labels).any() or first.groups != second.groups:
        raise ValueError("the same images have other labels or groups in the second than in the first")


def delong_differences(
    first: Predictions, second: Predictions, confidence: float = 0.95
) -> tuple[Difference, ...]:
    """Return the difference of each class's AUROC against the rest, by DeLong's test.

    The images are taken as independent; where one patient has several, it is too sure.

    Returns:
        One `Difference` ("auroc") per class. Without an image of the class, or of another, all is None; with
        a single one no variance is known, so that interval and p-value are None. So they are where the
        variance is 0 and the difference is not (both models rank without a doubt): that is no certainty.

    Raises:
        ValueError: as `check_same_images`, or `confidence` is not between 0 and 1.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988.
    """
    check_same_images(first, second)
    found = []
    for label, name in enumerate(first.class_names):
        scores = np.stack([first.probabilities[:, label], second.probabilities[:, label]])
        areas, covariance = auroc_covariance(first.labels == label, scores)
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        tested = _normal_test(float(areas[1] - areas[0]), float(variance), confidence)
        found.append(Difference("auroc", name, defined(areas[1] - areas[0]), *tested, "delong"))
    return tuple(found)


def auroc_covariance(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUROC of each of k scores of the same images, and their covariance.

    Args:
        positive: (n,) bools.
        scores: (k, n) floats, high for positive.

    Returns:
        (k,) floats and (k, k) floats; nan without a positive or a negative, the covariance also with a
        single one.

    Source: DeLong et al. 1988, by midranks (Sun and Xu, IEEE Signal Processing Letters 2014).
    """
    hits, misses = int(positive.sum()), int((~positive).sum())
    if min(hits, misses) == 0:
        return np.full(len(scores), np.nan), np.full((len(scores), len(scores)), np.nan)
    among_all = np.stack([midranks(row) for row in scores])
    among_hits = np.stack([midranks(row[positive]) for row in scores])
    among_misses = np.stack([midranks(row[~positive]) for row in scores])
    # The share of negatives that each positive passes, and of positives that pass each negative.
    passed = (among_all[:, positive] - among_hits) / misses
    passing = 1 - (among_all[:, ~positive] - among_misses) / hits
    if min(hits, misses) == 1:
        return passed.mean(axis=1), np.full((len(scores), len(scores)), np.nan)
    return passed.mean(axis=1), np.atleast_2d(np.cov(passed) / hits + np.cov(passing) / misses)


def mcnemar_differences(
    first: Predictions, second: Predictions, confidence: float = 0.95
) -> tuple[Difference, ...]:
    """Return the difference of accuracy, and of each class's sensitivity, by McNemar's exact test.

    The images are taken as independent; where one patient has several, it is too sure.

    Returns:
        "accuracy" first, then "sensitivity" per class, whose value is None without an image of the class.

    Raises:
        ValueError: as `check_same_images`, or `confidence` is not between 0 and 1.
    """
    check_same_images(first, second)
    right = [each.probabilities.argmax(axis=1) == each.labels for each in (first, second)]
    chosen = [("accuracy", "", np.ones(len(first.labels), bool))]
    chosen += [("sensitivity", name, first.labels == label) for label, name in enumerate(first.class_names)]
    found = []
    for metric, name, images in chosen:
        only_first, only_second = (right[0] & ~right[1])[images].sum(), (right[1] & ~right[0])[images].sum()
        value, low, high = paired_proportions(
            int(only_first), int(only_second), int(images.sum()), confidence
        )
        p_value = None if value is None else mcnemar_p(int(only_first), int(only_second))
        found.append(Difference(metric, name, value, low, high, p_value, "mcnemar"))
    return tuple(found)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test, a binomial test of the discordant images.

    Args:
        only_first: images that only the first model has right.
        only_second: images that only the second has right.

    Source: McNemar, Psychometrika 1947; exact as in Fleiss, Levin and Paik, Statistical Methods for Rates and
    Proportions, 2003, section 13.1. Conservative: its level is below the nominal one.
    """
    apart = only_first + only_second
    tail = sum(math.comb(apart, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, tail / 2 ** (apart - 1)) if apart else 1.0


def paired_proportions(
    only_first: int, only_second: int, images: int, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Return the difference of two proportions on the same images and its interval; None of no image.

    Source: Bonett and Price, Journal of Educational and Behavioral Statistics 2012: Wald's interval with one
    image added to each discordant cell. The interval ends at -1 and 1.
    """
    z = normal_quantile(confidence)
    if images == 0:
        return None, None, None
    fewer, more = (only_first + 1) / (images + 2), (only_second + 1) / (images + 2)
    reach = z * math.sqrt((fewer + more - (more - fewer) ** 2) / (images + 2))
    low, high = max(more - fewer - reach, -1.0), min(more - fewer + reach, 1.0)
    return (only_second - only_first) / images, low, high


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p-values adjusted for being a family, in the order given; None stays None and does not count.

    Source: Holm, Scandinavian Journal of Statistics 1979.
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        adjusted[place] = highest
    return tuple(adjusted)


def _normal_test(
    value: float, variance: float, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Return low, high and the two-sided p-value of a difference with a normal error."""
    reach = normal_quantile(confidence)
    if math.isnan(variance) or (variance <= ROUNDING and abs(value) > ROUNDING):
        return None, None, None
    if variance <= ROUNDING:
        return value, value, 1.0
    error = math.sqrt(variance)
    return value - reach * error, value + reach * error, math.erfc(abs(value) / error / math.sqrt(2))
