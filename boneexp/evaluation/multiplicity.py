"""Claims about the best of several: intervals at a level that allows for having picked it, and what it beats.

Whoever is the best of K by chance lies above a bar more often than one model would. At the lower end of a
95 % interval that is 10, 19 and 28 % for 4, 8 and 16 models that are just worth the bar; each end taken at
1 - 0.025 / K keeps it near 2.5 % (Bonferroni; benchmarks/results/calibration.md).
"""

import math
from dataclasses import dataclass

from boneexp.evaluation.intervals import expit, logit, newcombe_difference, normal_quantile, wilson_interval

PROPORTIONS = ("accuracy", "malignant_sensitivity", "malignant_specificity")
MOST_IMAGES = 1e12  # more than any part has: an interval as narrow as that has no width


@dataclass(frozen=True)
class Estimate:
    """A metric such as accuracy with its stored interval, at `confidence`."""

    metric: str
    value: float
    low: float
    high: float
    confidence: float = 0.95


@dataclass(frozen=True)
class Difference:
    """A metric less a fixed reference; the interval allows for the number of candidates."""

    value: float
    low: float
    high: float
    with_reference: bool  # whether the reference's own uncertainty is in it


def level_of_best(confidence: float, candidates: int) -> float:
    """Return the two-sided level at which each end errs 1 / candidates as often: 0.95 of 4 gives 0.9875.

    Source: Bonferroni, for simultaneous one-sided bounds (Miller, Simultaneous Statistical Inference, 1981).
    """
    return 1 - (1 - confidence) / max(candidates, 1)


def interval_of_best(estimate: Estimate, candidates: int) -> tuple[float, float] | None:
    """Return the interval of the best of `candidates` at `level_of_best`; None where it has no width.

    It is derived from the stored interval: of a proportion as Wilson's interval of as many independent images
    as give the stored width; of an AUROC by its reach on the logit scale, in standard errors.
    """
    if estimate.high - estimate.low < 1e-9:
        return None
    level = level_of_best(estimate.confidence, candidates)
    if estimate.metric in PROPORTIONS:
        images = independent_images(estimate)
        low, high = wilson_interval(estimate.value * images, images, level)
        assert low is not None and high is not None
        return low, high
    wider = normal_quantile(level) / normal_quantile(estimate.confidence)
    return _stretched(estimate.value, estimate.low, wider), _stretched(estimate.value, estimate.high, wider)


def above_reference(
    estimate: Estimate, candidates: int, reference: float, reference_images: int | None
) -> Difference | None:
    """Return a metric less a published one, with its interval; None where the stored interval has no width.

    Args:
        estimate: the metric with its stored interval.
        candidates: of how many it may have been picked.
        reference: the published metric.
        reference_images: on how many independent images it rests; None where that is not known, or where the
            metric is no proportion: then it is taken as a fixed number.

    Source: Newcombe, Stat. Med. 1998;17:873, method 10, for two independent proportions.
    """
    value = estimate.value - reference
    if reference_images is None or estimate.metric not in PROPORTIONS:
        interval = interval_of_best(estimate, candidates)
        return (
            None
            if interval is None
            else Difference(value, interval[0] - reference, interval[1] - reference, False)
        )
    if estimate.high - estimate.low < 1e-9:
        return None
    level, images = level_of_best(estimate.confidence, candidates), independent_images(estimate)
    of_reference = (reference * reference_images, reference_images)
    low, high = newcombe_difference(*of_reference, estimate.value * images, images, level)
    assert low is not None and high is not None
    return Difference(value, low, high, True)


def independent_images(estimate: Estimate) -> float:
    """Return of how many independent images Wilson's interval is as wide as the stored one.

    That is the number of images where the stored one is Wilson's, and fewer where images come in groups.
    """
    width, few, many = estimate.high - estimate.low, 1e-3, MOST_IMAGES
    for _ in range(200):
        middle = math.sqrt(few * many)
        low, high = wilson_interval(estimate.value * middle, middle, estimate.confidence)
        assert low is not None and high is not None
        few, many = (middle, many) if high - low > width else (few, middle)
    return many


def _stretched(value: float, end: float, times: float) -> float:
    """Return an end of an interval moved away from its metric, on the logit scale."""
    if not 0 < value < 1 or not 0 < end < 1:
        return min(1.0, max(0.0, value + (end - value) * times))
    middle = logit(value)
    return expit(middle + (logit(end) - middle) * times)
