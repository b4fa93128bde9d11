"""What a test set can show: the smallest difference between two models that it finds with a given power."""

import math

import numpy as np

from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import NORMAL, turning_point
from boneexp.evaluation.ranks import midranks

POWER = 0.8
LEVEL = 0.05  # two-sided, of one comparison


def least_paired_difference(
    images: float, discordance: float, power: float = POWER, level: float = LEVEL
) -> float | None:
    """Return the smallest difference of two proportions on the same images that McNemar's test finds.

    Args:
        images: how many independent ones; where they come in groups, their effective number.
        discordance: the fraction of images that only one of the two models predicts correctly. A larger
            difference is taken itself: it needs at least as many discordant images.
        power: the chance of finding it.
        level: two-sided.

    Returns:
        A difference in (0, 1]; None where no difference is large enough for so few images.

    Raises:
        ValueError: power, level or discordance is not a fraction, or there is no image.

    Source: Connor, Biometrics 1987, solved for the difference.
    """
    if not (0 < power < 1 and 0 < level < 1 and 0 <= discordance <= 1 and images > 0):
        raise ValueError(f"{images} images, discordance {discordance}, power {power}, level {level}")
    sure, found = NORMAL.inv_cdf(1 - level / 2), NORMAL.inv_cdf(power)

    def lacking(difference: float) -> float:
        apart = max(discordance, difference)
        needed = sure * math.sqrt(apart) + found * math.sqrt(apart - difference**2)
        return needed - difference * math.sqrt(images)

    if lacking(1.0) > 0:
        return None
    return turning_point(lambda difference: lacking(difference) > 0, 0.0, 1.0)


def least_difference(error: float, power: float = POWER, level: float = LEVEL) -> float:
    """Return the smallest difference that a normal test finds, from the difference's standard error.

    Source: Hanley and McNeil, Radiology 1983, for two AUROCs on the same images.
    """
    return (NORMAL.inv_cdf(1 - level / 2) + NORMAL.inv_cdf(power)) * error


def correct(predictions: Predictions) -> np.ndarray:
    """Return which images are predicted as their own class, (n,) bools."""
    found: np.ndarray = predictions.probabilities.argmax(axis=1) == predictions.labels
    return found


def design_effect(values: np.ndarray, units: np.ndarray) -> float:
    """Return by which factor groups raise the variance of a mean; 1 where every image is a unit of its own.

    Args:
        values: (n,) floats whose mean is the metric.
        units: (n,) ints, the group of each.

    Returns:
        At least 1: a lower estimate comes from few groups and would count images twice.

    Source: Kish, Survey Sampling, 1965; the variance between groups as in Rao and Scott, Biometrics 1992.
    """
    groups = np.unique(units, return_inverse=True)[1]
    count, residuals = int(groups.max()) + 1, values - values.mean()
    alone = float((residuals**2).sum())
    if count == len(values) or count < 2 or alone == 0:
        return 1.0
    together = float((np.bincount(groups, residuals) ** 2).sum()) * count / (count - 1)
    return max(1.0, together / alone)


def macro_auroc_influence(predictions: Predictions) -> np.ndarray | None:
    """Return what each image adds to the error of the macro AUROC, (n,) floats that sum to 0 in each class.

    The sum of their squares is DeLong's variance; that of the difference of two models' influences is the
    variance of their difference, correlation included. Of images of one group the influences are added first.

    Returns:
        None unless every class has two images.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988, for the mean over the classes.
    """
    labels, classes = predictions.labels, len(predictions.class_names)
    counts = np.bincount(labels, minlength=classes)
    if counts.min() < 2:
        return None
    influence = np.zeros(len(labels))
    for label, scores in enumerate(predictions.probabilities.T):
        positive = labels == label
        hits, misses = int(positive.sum()), int((~positive).sum())
        among_all, among_own = midranks(scores), np.empty(len(labels))
        among_own[positive], among_own[~positive] = midranks(scores[positive]), midranks(scores[~positive])
        passed = (among_all - among_own) / np.where(positive, misses, -hits)
        influence += passed / np.where(positive, hits, misses) / classes
    for label, count in enumerate(counts):
        own = labels == label
        influence[own] = (influence[own] - influence[own].mean()) * math.sqrt(count / (count - 1))
    return influence


def error_of(influence: np.ndarray, units: np.ndarray) -> float:
    """Return the standard error of a metric from its images' influences, added within each group."""
    return math.sqrt(float((np.bincount(units, influence) ** 2).sum()))
