"""Intervals beyond the plain percentiles: BCa from the same resamples, and Wilson's for proportions."""

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np

from boneexp.evaluation.statistics import percentile_interval

NORMAL = NormalDist()
FEW = 20  # images of a class or subgroup below which there is a warning


def bca_interval(
    values: np.ndarray, figure: float, acceleration: float, confidence: float
) -> tuple[float | None, float | None]:
    """Return the bias-corrected and accelerated bootstrap interval.

    The percentiles taken are moved by how far the resamples lean to one side of the figure, and by how its
    spread changes with its size.

    Args:
        values: (resamples,) floats, nan where the metric is undefined; those resamples are left out.
        figure: the metric of the images themselves.
        acceleration: from `acceleration`.
        confidence: the share, for example 0.95.

    Returns:
        (low, high); (None, None) if over half of the values are undefined, there is none, or the figure is
        undefined.

    Raises:
        ValueError: `confidence` is not between 0 and 1.

    Source: Efron, JASA 1987; resamples equal to the figure count half on each side. If all lie on one side,
    half a resample is taken to lie on the other, since the correction would be infinite.
    """
    if percentile_interval(values, confidence) == (None, None) or math.isnan(figure):
        return None, None
    defined = values[~np.isnan(values)]
    below = (np.sum(defined < figure) + np.sum(defined <= figure)) / 2
    least = 0.5 / len(defined)
    lean = NORMAL.inv_cdf(min(max(float(below) / len(defined), least), 1 - least))
    tail = NORMAL.inv_cdf((1 - confidence) / 2)
    low, high = np.quantile(defined, [_moved(lean, acceleration, z) for z in (tail, -tail)])
    return float(low), float(high)


def acceleration(left_out: np.ndarray, strata: np.ndarray) -> float:
    """Return the acceleration of a metric by the jackknife; 0 where nothing varies.

    Args:
        left_out: (units,) floats, the metric without each unit; nan where it is undefined then, and such
            units are passed over.
        strata: (units,) ints, the class within which each unit is drawn.

    Source: Efron 1987; for several samples Davison and Hinkley 1997, section 5.3.2, as scipy.stats.bootstrap.
    """
    cubes = squares = 0.0
    for label in np.unique(strata):
        within = left_out[strata == label]
        within = within[~np.isnan(within)]
        if len(within) > 1:
            influence = (within.mean() - within) * (len(within) - 1) / len(within)
            cubes += float((influence**3).sum())
            squares += float((influence**2).sum())
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0


def leave_one_out_blocks(units: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """Yield counts that leave out each unit once, in blocks of at most `rows` rows.

    Args:
        units: (n,) ints that number the units from 0 without a gap.
        rows: the most rows of a block.

    Yields:
        (b, n) ints: 0 for the images of the unit left out, 1 for the others.
    """
    for first in range(0, units.max() + 1, rows):
        left_out = np.arange(first, min(first + rows, units.max() + 1))
        yield (units != left_out[:, None]).astype(np.int32)


def wilson_interval(hits: float, total: float, confidence: float) -> tuple[float | None, float | None]:
    """Return the score interval of a proportion of independent images; (None, None) of none.

    Unlike the bootstrap's it has a width where all or none are hits.

    Args:
        hits: how many of them, from 0 to `total`.
        total: how many there are.
        confidence: the share, for example 0.95.

    Raises:
        ValueError: there are more hits than images, or fewer than 0; `confidence` is not between 0 and 1.

    Source: Wilson, JASA 1927; without continuity correction (Brown, Cai and DasGupta, Stat. Sci. 2001).
    """
    if not 0 <= hits <= total:
        raise ValueError(f"{hits} hits of {total}")
    z = normal_quantile(confidence)
    if total == 0:
        return None, None
    share, room = hits / total, z * z / total
    middle = (share + room / 2) / (1 + room)
    reach = z / (1 + room) * math.sqrt(share * (1 - share) / total + room / (4 * total))
    # At the ends rounding could put the bound a hair off 0 or 1.
    return (0.0 if hits == 0 else middle - reach), (1.0 if hits == total else middle + reach)


def small_sample_warnings(counts: Mapping[str, int], fewest: int = FEW) -> tuple[str, ...]:
    """Return a sentence for each class or subgroup, name -> images, that has some but under `fewest`."""
    return tuple(
        f"{name}: {images} image{'s' * (images > 1)}, fewer than {fewest}; its figures are little more than "
        "anecdotes, and its intervals hold less often than they say."
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


def _moved(lean: float, acceleration: float, z: float) -> float:
    """Return which share of the resamples BCa takes in place of the normal quantile z."""
    room = 1 - acceleration * (lean + z)
    if room <= 0:  # past the pole: the moved quantile has run off the end it was going to
        return 0.0 if lean + z < 0 else 1.0
    return NORMAL.cdf(lean + (lean + z) / room)
