"""Intervals of the AUROC, of a class and as the mean over classes, for images alone or in groups.

The influence of an image is by how much it moves the area. Influences of one group, such as the views of a
patient, are summed before they are squared, so that correlation within the group counts.
"""

import math

import numpy as np

from boneexp.evaluation.intervals import auroc_interval, auroc_score_interval, logit_interval, satterthwaite
from boneexp.evaluation.ranks import midranks
from boneexp.evaluation.statistics import unit_strata

ROUNDING = 1e-12  # less than this is what the order of a sum leaves


def auroc_influences(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the AUROC, and by how much each image moves it; nan without a positive or a negative.

    Args:
        positive: (n,) bools.
        scores: (n,) floats, high for positive.

    Returns:
        The area, and (n,) floats that sum to 0 over the positives and over the negatives.

    Source: the structural components of DeLong et al., Biometrics 1988, by midranks (Sun and Xu, IEEE Signal
    Processing Letters 2014), each less the area and divided by the number of its kind.
    """
    hits, misses = int(positive.sum()), int((~positive).sum())
    if min(hits, misses) == 0:
        return math.nan, np.full(len(scores), np.nan)
    among_all = midranks(scores)
    influences = np.empty(len(scores))
    passed = (among_all[positive] - midranks(scores[positive])) / misses
    passing = 1 - (among_all[~positive] - midranks(scores[~positive])) / hits
    area = float(passed.mean())
    influences[positive] = (passed - area) / hits
    influences[~positive] = (passing - area) / misses
    return area, influences


def class_auroc_interval(
    positive: np.ndarray, scores: np.ndarray, confidence: float, units: np.ndarray | None = None
) -> tuple[float | None, float | None, str]:
    """Return low, high and the method's name of the interval of one class's AUROC.

    Args:
        positive: (n,) bools.
        scores: (n,) floats, high for positive.
        confidence: for example 0.95.
        units: (n,) ints that number the images' groups from 0; None where images are independent.

    Returns:
        (None, None, "") without a positive or a negative. "logit-delong" from DeLong's variance (over groups:
        Obuchowski, Biometrics 1997), or "newcombe" where that is 0 or unknown.
    """
    area, influences = auroc_influences(positive, scores)
    if math.isnan(area):
        return None, None, ""
    sums, strata = summed_by_unit(influences, positive.astype(np.int64), units)
    variances, sizes = stratum_variances(sums, strata, 2)
    low, high = auroc_interval(area, (variances[1], variances[0]), (sizes[1], sizes[0]), confidence)
    known = sum(variances) > ROUNDING and 0 < area < 1
    return low, high, "logit-delong" if known else "newcombe"


def macro_auroc_interval(
    labels: np.ndarray, probabilities: np.ndarray, confidence: float, units: np.ndarray | None = None
) -> tuple[float | None, float | None, str]:
    """Return low, high and the method's name of the interval of the mean one-vs-rest AUROC.

    The areas rest on the same images, so their covariance is in the variance of the mean: an image's
    influences are averaged over the classes before they are squared.

    Args:
        labels: (n,) ints in [0, classes).
        probabilities: (n, classes) floats.
        confidence: for example 0.95.
        units: as `class_auroc_interval`.

    Returns:
        (None, None, "") unless every class is present. Where the variance is 0 or a class has a single image,
        the mean of the classes' score intervals ("newcombe"), which holds however the areas hang together.
    """
    classes = probabilities.shape[1]
    found = [auroc_influences(labels == label, probabilities[:, label]) for label in range(classes)]
    areas = np.array([area for area, _ in found])
    if np.isnan(areas).any():
        return None, None, ""
    influences = np.mean([each for _, each in found], axis=0)
    sums, strata = summed_by_unit(influences, labels, units)
    variances, sizes = stratum_variances(sums, strata, classes)
    variance, area = sum(variances), float(areas.mean())
    if not variance > ROUNDING or not 0 < area < 1:
        total = sum(sizes)
        ends = [
            auroc_score_interval(float(one), max(size, 1), max(total - size, 1), confidence)
            for one, size in zip(areas, sizes, strict=True)
        ]
        return (
            float(np.mean([low for low, _ in ends])),
            float(np.mean([high for _, high in ends])),
            "newcombe",
        )
    freedom = satterthwaite(variances, [size - 1 for size in sizes])
    return *logit_interval(area, math.sqrt(variance), freedom, confidence), "logit-delong"


def summed_by_unit(
    influences: np.ndarray, labels: np.ndarray, units: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return influences summed over each group, and the class that each group counts for."""
    if units is None:
        return influences, labels
    return np.bincount(units, weights=influences), unit_strata(labels, units)


def stratum_variances(sums: np.ndarray, strata: np.ndarray, classes: int) -> tuple[list[float], list[int]]:
    """Return what each class adds to the variance of a metric, and its number of independent units.

    nan for a class of one unit, which shows no variance; 0 for a class without a unit.
    """
    sizes = np.bincount(strata, minlength=classes)
    squares = np.bincount(strata, weights=sums**2, minlength=classes)
    factors = [math.nan if size == 1 else size / max(size - 1, 1) for size in sizes.tolist()]
    return [factor * square for factor, square in zip(factors, squares.tolist(), strict=True)], sizes.tolist()
