"""Intervals of a metric from counts or from its standard error.

Wilson's for proportions, Newcombe's for their differences, DeLong's for the AUROC.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist

import numpy as np

from boneexp.evaluation.student import t_quantile

NORMAL = NormalDist()
FEW = 20  # images of a class or subgroup below which there is a warning


def wilson_interval(
    hits: float, total: float, confidence: float, design_effect: float = 1.0
) -> tuple[float | None, float | None]:
    """Return the score interval of a proportion; (None, None) of no image.

    Args:
        hits: how many of them, from 0 to `total`.
        total: how many there are.
        confidence: for example 0.95; 1 - 2 * 0.025 / 8 for an end that is one of eight looked at.
        design_effect: by how much the variance exceeds that of independent images, from
            `proportion_design_effect`; the interval is that of so many times fewer images.

    Raises:
        ValueError: there are more hits than images, or fewer than 0; `confidence` is not between 0 and 1;
            the design effect is not above 0.

    Source: Wilson, JASA 1927; without continuity correction (Brown, Cai and DasGupta, Stat. Sci. 2001). With
    a design effect: the effective sample size of Rao and Scott, Biometrics 1992, in Wilson's interval, as
    Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 2019, compare it.
    """
    if not 0 <= hits <= total or not design_effect > 0:
        raise ValueError(f"{hits} hits of {total}, design effect {design_effect}")
    z = normal_quantile(confidence)
    if total == 0:
        return None, None
    fewer = total / design_effect
    fraction, room = hits / total, z * z / fewer
    middle = (fraction + room / 2) / (1 + room)
    reach = z / (1 + room) * math.sqrt(fraction * (1 - fraction) / fewer + room / (4 * fewer))
    # At the ends rounding could put the bound a hair off 0 or 1.
    return (0.0 if hits == 0 else middle - reach), (1.0 if hits == total else middle + reach)


def proportion_design_effect(hits: np.ndarray, sizes: np.ndarray, confidence: float) -> float:
    """Return by how much images in groups widen the interval of a proportion, at least 1.

    Args:
        hits: (groups,) floats, the hits of each group.
        sizes: (groups,) floats, the images of each group; groups without one are passed over.
        confidence: of the interval; with few groups the variance is itself uncertain, and the design effect
            grows by the square of t's quantile over the normal one.

    Returns:
        The variance of the ratio of sums over groups, over that of independent images. Where the groups show
        no variance (all or no image is a hit) it is the largest there can be: as if the images of a group
        were all alike. 1 where every group is one image; a single group counts as one image.

    Source: the ratio estimator's variance over clusters, and n / design effect as the effective number (Rao
    and Scott, Biometrics 1992); Kish, Survey Sampling, 1965, for images all alike; the factor for few groups
    is that of Korn and Graubard, Survey Methodology 1998.
    """
    hits, sizes = hits[sizes > 0].astype(float), sizes[sizes > 0].astype(float)
    groups, total = len(sizes), float(sizes.sum())
    if groups == 0 or total == groups:
        return 1.0
    if groups == 1:
        return total
    few = (t_quantile(confidence, groups - 1) / normal_quantile(confidence)) ** 2
    fraction = float(hits.sum()) / total
    alike = float((sizes**2).sum()) / total
    if not 0 < fraction < 1:
        return alike * few
    between = groups / (groups - 1) * float(((hits - fraction * sizes) ** 2).sum()) / total**2
    return max(1.0, between / (fraction * (1 - fraction) / total)) * few


def newcombe_difference(
    hits1: float, total1: float, hits2: float, total2: float, confidence: float
) -> tuple[float | None, float | None]:
    """Return the interval of a proportion less that of other, independent images: second minus first.

    Args:
        hits1: of the first sample; and so on.
        total1: its images.
        hits2: of the second.
        total2: its images.
        confidence: for example 0.95.

    Returns:
        (low, high) within [-1, 1]; (None, None) where a sample has no image.

    Raises:
        ValueError: as `wilson_interval`.

    Source: Newcombe, Stat. Med. 1998;17:873, method 10: the two Wilson intervals, squared and added.
    """
    low1, high1 = wilson_interval(hits1, total1, confidence)
    low2, high2 = wilson_interval(hits2, total2, confidence)
    if low1 is None or high1 is None or low2 is None or high2 is None:
        return None, None
    first, second = hits1 / total1, hits2 / total2
    value = second - first
    return (
        max(-1.0, value - math.hypot(second - low2, high1 - first)),
        min(1.0, value + math.hypot(high2 - second, first - low1)),
    )


def t_interval(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    """Return value ± t * error.

    Args:
        value: the estimate, of any range.
        error: its standard error, above 0.
        freedom: the degrees of freedom of the error; infinite for the normal interval.
        confidence: for example 0.95.
    """
    reach = t_quantile(confidence, freedom) * error
    return value - reach, value + reach


def logit_interval(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    """Return the interval of a fraction, symmetric in its logit, so that it stays between 0 and 1.

    Args:
        value: the estimate, strictly between 0 and 1.
        error: its standard error, above 0; it is divided by value * (1 - value), the delta method.
        freedom: the degrees of freedom of the error, from `satterthwaite`.
        confidence: for example 0.95.

    Source: Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.3, for the AUROC.
    """
    low, high = t_interval(logit(value), error / (value * (1 - value)), freedom, confidence)
    return expit(low), expit(high)


def log_interval(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    """Return the interval of a mean loss above 0, symmetric in its logarithm: it reaches higher than lower.

    Args: as `logit_interval`.
    """
    low, high = t_interval(math.log(value), error / value, freedom, confidence)
    return math.exp(low), math.exp(min(high, 700.0))


def satterthwaite(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Return the degrees of freedom of a sum of independent variances; infinite where all are 0.

    Source: Satterthwaite, Biometrics Bulletin 1946.
    """
    total = sum(variances)
    parts = sum(each**2 / free for each, free in zip(variances, freedoms, strict=True) if each > 0)
    return total**2 / parts if parts > 0 else math.inf


def auroc_interval(
    area: float, variances: tuple[float, float], sizes: tuple[int, int], confidence: float
) -> tuple[float, float]:
    """Return the interval of an AUROC: symmetric in its logit with DeLong's variance and Satterthwaite's t.

    Where DeLong sees no variance (an area of 0 or 1, a single positive or negative) it is the score interval.

    Args:
        area: from 0 to 1.
        variances: what the positives and the negatives add to the variance of the area; nan where unknown.
        sizes: how many positives and negatives, or groups of them, are independent; at least 1 each.
        confidence: for example 0.95.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; the logit as in Pepe 2003; the t distribution
    as for Welch's test, since the area is a mean over positives and a mean over negatives.
    """
    variance = sum(variances)
    if not variance > 1e-12 or not 0 < area < 1:
        return auroc_score_interval(area, *sizes, confidence)
    freedom = satterthwaite(variances, [size - 1 for size in sizes])
    return logit_interval(area, math.sqrt(variance), freedom, confidence)


def auroc_score_interval(
    area: float, positives: float, negatives: float, confidence: float
) -> tuple[float, float]:
    """Return the interval of the areas whose own standard error reaches the estimate.

    It takes the variance from the area and the numbers alone, so that it has a width at 0 and 1 too.

    Source: Newcombe, Stat. Med. 2006;25:559, method 5: the variance of Hanley and McNeil, Radiology 1982, for
    exponential scores, with both numbers replaced by their mean.
    """
    z, typical = normal_quantile(confidence), (positives + negatives) / 2 - 1

    def reached(theta: float) -> float:
        spread = 1 + typical * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return z * math.sqrt(theta * (1 - theta) * spread / (positives * negatives))

    return turning_point(lambda theta: area - theta > reached(theta), 0.0, area), turning_point(
        lambda theta: theta - area < reached(theta), area, 1.0
    )


def small_sample_warnings(
    counts: Mapping[str, int], fewest: int = FEW, unit: str = "image"
) -> tuple[str, ...]:
    """Return a sentence for each class or subgroup, name -> how many units, that has some but too few."""
    return tuple(
        f"{name}: {images} {unit}{'s' * (images > 1)}, fewer than {fewest}; estimates are unreliable, and "
        "intervals may under-cover."
        for name, images in counts.items()
        if 0 < images < fewest
    )


def normal_quantile(confidence: float) -> float:
    """Return how many standard errors a two-sided normal interval reaches, 1.96 for 0.95.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, as 0.95 does")
    return -NORMAL.inv_cdf((1 - confidence) / 2)


def turning_point(before: Callable[[float], bool], low: float, high: float) -> float:
    """Return where `before` turns from True to False between low and high, by halving."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return (low + high) / 2


def logit(probability: float) -> float:
    """Return the log odds of a probability strictly between 0 and 1."""
    return math.log(probability / (1 - probability))


def expit(log_odds: float) -> float:
    """Return the probability of log odds."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
