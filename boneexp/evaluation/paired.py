"""Two models on the same images: the tests that need no resampling, and Holm for a family of them.

Every difference is the second minus the first, in the metric's own unit. Interval and p-value are of one
test: p is below the level exactly where the interval excludes 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from boneexp.evaluation.areas import ROUNDING, auroc_influences, stratum_variances, summed_by_unit
from boneexp.evaluation.estimates import proportions_of
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import satterthwaite, t_interval, wilson_interval
from boneexp.evaluation.metrics import defined
from boneexp.evaluation.student import incomplete_beta, two_sided_p

ANGLES = np.linspace(-math.pi / 2, math.pi / 2, 361)


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

    @property
    def column(self) -> tuple[str, str]:
        """Metric and class name."""
        return self.metric, self.class_name


def check_same_images(first: Predictions, second: Predictions) -> None:
    """Check that two models predicted the same images.

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
    """Return the difference of each class's AUROC against the rest, and of their mean, by DeLong's test.

    Where images come in groups, an image's influence is summed over its group.

    Returns:
        One `Difference` ("auroc") per class, then "macro_auroc". Without an image of a class, or of another,
        all is None; with a single one no variance is known, so that interval and p-value are None. So they
        are where the variance is 0 and the difference is not (both models rank without a doubt): that is no
        certainty. Two models that rank alike have a p-value of 1 and no interval.

    Raises:
        ValueError: as `check_same_images`, or `confidence` is not between 0 and 1.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; over groups Obuchowski, Biometrics 1997; the
    t distribution with Satterthwaite's degrees of freedom in the place of the normal one.
    """
    check_same_images(first, second)
    units = first.drawn_units
    found, moved = [], []
    for label, name in enumerate(first.class_names):
        positive = first.labels == label
        one, other = (auroc_influences(positive, each.probabilities[:, label]) for each in (first, second))
        moved.append((other[0] - one[0], other[1] - one[1]))
        tested = _influence_test(*moved[-1], (positive.astype(np.int64), units), confidence)
        found.append(Difference("auroc", name, defined(moved[-1][0]), *tested, "delong"))
    value = float(np.mean([each for each, _ in moved]))
    influences = np.mean([each for _, each in moved], axis=0)
    tested = _influence_test(value, influences, (first.labels, units), confidence)
    return (*found, Difference("macro_auroc", "", defined(value), *tested, "delong"))


def mcnemar_differences(
    first: Predictions, second: Predictions, confidence: float = 0.95
) -> tuple[Difference, ...]:
    """Return the difference of accuracy, and of each class's sensitivity and specificity, by mid-p McNemar.

    The images are taken as independent; where one patient has several, it is too sure.

    Returns:
        "accuracy" first, then "sensitivity" and "specificity" per class, whose value is None without an image
        of the class, or of another.

    Raises:
        ValueError: as `check_same_images`, or `confidence` is not between 0 and 1.
    """
    check_same_images(first, second)
    answers = proportions_of(first), proportions_of(second)
    found = []
    for (metric, name), (hits, among) in answers[0].items():
        if metric != "precision":  # the two models predict different images as the class
            other = answers[1][metric, name][0]
            only_first, only_second = int((hits & ~other & among).sum()), int((other & ~hits & among).sum())
            estimate = paired_proportions(only_first, only_second, int(among.sum()), confidence)
            p_value = None if estimate[0] is None else mcnemar_p(only_first, only_second)
            found.append(Difference(metric, name, *estimate, p_value, "mid-p mcnemar"))
    return tuple(found)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the two-sided mid-p value of McNemar's test, a binomial test of the discordant images.

    Args:
        only_first: images that only the first model predicts correctly.
        only_second: images that only the second predicts correctly.

    Source: Fagerland, Lydersen and Laake, BMC Medical Research Methodology 2013: the exact p-value less the
    probability of what was observed. The exact test rejects too seldom, the mid-p test hardly ever too often.
    """
    apart, fewer = only_first + only_second, min(only_first, only_second)
    point = float(math.comb(apart, fewer) / 2**apart)
    if only_first == only_second:
        return 1 - point / 2 if apart else 1.0
    tail = sum(math.comb(apart, count) for count in range(fewer + 1)) / 2**apart
    return float(2 * tail - point)


def paired_proportions(
    only_first: int, only_second: int, images: int, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Return the difference of two proportions on the same images and its interval; None of no image.

    The difference is the fraction of images that are discordant, times how much the second has the better of
    them: a product. The second factor's interval is that of the mid-p binomial test, the first one's is
    Wilson's, and the ends are the least and the most of the product over the ellipse that the two span. Its
    sign is that of the second factor, so that 0 lies outside where the mid-p test rejects, and there alone.

    Source: the ellipse is the square-and-add rule of Zou and Donner, Stat. Med. 2008, for a product; the
    mid-p binomial interval as in Berry and Armitage, The Statistician 1995.
    """
    apart = only_first + only_second
    low, high = midp_interval(only_second, apart, confidence)
    fewer, more = wilson_interval(apart, images, confidence)
    if fewer is None or more is None:
        return None, None, None
    lead, fraction = ((only_second - only_first) / apart if apart else 0.0), apart / images
    along, across = np.cos(ANGLES), np.sin(ANGLES)
    fractions = fraction + np.where(across > 0, more - fraction, fraction - fewer) * across
    lowest = float(((lead - (lead - (2 * low - 1)) * along) * fractions).min())
    highest = float(((lead + ((2 * high - 1) - lead) * along) * fractions).max())
    return (only_second - only_first) / images, max(lowest, -1.0), min(highest, 1.0)


def midp_interval(hits: int, total: int, confidence: float) -> tuple[float, float]:
    """Return the interval of a proportion that the mid-p binomial test does not reject.

    Source: Berry and Armitage, The Statistician 1995.
    """
    tail = (1 - confidence) / 2
    return _midp_end(hits, total, tail), 1 - _midp_end(total - hits, total, tail)


@lru_cache(maxsize=65_536)
def _midp_end(hits: int, total: int, tail: float) -> float:
    """Return the proportion at which more hits, and half the chance of as many, add up to `tail`."""
    if hits == 0:
        return 0.0
    low, high, fraction = 0.0, 1.0, hits / (total + 1)
    for _ in range(100):  # Newton's steps, halving where one leaves the bracket
        chance = _midp_chance(hits, total, fraction) - tail
        low, high = (fraction, high) if chance < 0 else (low, fraction)
        logs = hits * math.log(fraction) + (total - hits) * math.log1p(-fraction)
        point = math.exp(math.log(math.comb(total, hits)) + logs)
        slope = point * (hits / fraction + (total - hits) / (1 - fraction)) / 2
        following = fraction - chance / slope if slope > 0 else low
        following = following if low < following < high else (low + high) / 2
        if abs(following - fraction) <= 1e-15:
            break
        fraction = following
    return fraction


def _midp_chance(hits: int, total: int, fraction: float) -> float:
    """Return the chance of more hits, and half that of as many, where each image is one by `fraction`."""
    more = incomplete_beta(fraction, hits + 1, total - hits) if hits < total else 0.0
    return (incomplete_beta(fraction, hits, total - hits + 1) + more) / 2


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


def error_test(
    value: float, variance: float, freedom: float, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Return low, high and the two-sided p-value of a difference with a standard error.

    Returns:
        All None where the variance is unknown (nan), or 0 while the difference is not; a p-value of 1 alone
        where both are 0.
    """
    if math.isnan(value) or math.isnan(variance) or (variance <= ROUNDING and abs(value) > ROUNDING):
        return None, None, None
    if variance <= ROUNDING:
        return None, None, 1.0
    error = math.sqrt(variance)
    return *t_interval(value, error, freedom, confidence), two_sided_p(value / error, freedom)


def _influence_test(
    value: float, influences: np.ndarray, images: tuple[np.ndarray, np.ndarray | None], confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Return low, high and p of a difference moved by each image; `images` are their classes and groups."""
    if math.isnan(value):
        return None, None, None
    sums, strata = summed_by_unit(influences, *images)
    variances, sizes = stratum_variances(sums, strata, int(strata.max()) + 1)
    freedom = satterthwaite(variances, [size - 1 for size in sizes])
    return error_test(value, sum(variances), freedom, confidence)
