"""Bias-corrected and accelerated bootstrap intervals, from the same resamples as the percentiles."""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from boneexp.evaluation.statistics import percentile_interval

NORMAL = NormalDist()


def bca_interval(
    values: np.ndarray, value: float, acceleration: float, confidence: float
) -> tuple[float | None, float | None]:
    """Return the bias-corrected and accelerated bootstrap interval.

    The percentiles taken are moved by how far the resamples lean to one side of the value, and by how its
    spread changes with its size.

    Args:
        values: (resamples,) floats, nan where the metric is undefined; those resamples are left out.
        value: the metric of the images themselves.
        acceleration: from `acceleration`.
        confidence: for example 0.95.

    Returns:
        (low, high); (None, None) if over half of the values are undefined, there is none, or the value is
        undefined.

    Raises:
        ValueError: `confidence` is not between 0 and 1.

    Source: Efron, JASA 1987; resamples equal to the value count half on each side. If all lie on one side,
    half a resample is taken to lie on the other, since the correction would be infinite.
    """
    if percentile_interval(values, confidence) == (None, None) or math.isnan(value):
        return None, None
    defined = values[~np.isnan(values)]
    below = (np.sum(defined < value) + np.sum(defined <= value)) / 2
    least = 0.5 / len(defined)
    lean = NORMAL.inv_cdf(min(max(float(below) / len(defined), least), 1 - least))
    tail = NORMAL.inv_cdf((1 - confidence) / 2)
    low, high = np.quantile(defined, [_moved(lean, acceleration, z) for z in (tail, -tail)])
    return float(low), float(high)


def acceleration(left_out: np.ndarray) -> float:
    """Return the acceleration of a metric by the jackknife; 0 where nothing varies.

    Args:
        left_out: (units,) floats, the metric without each unit; nan where it is undefined then, and such
            units are passed over.

    Source: Efron 1987.
    """
    known = left_out[~np.isnan(left_out)]
    if len(known) < 2:
        return 0.0
    influence = known.mean() - known
    squares = float((influence**2).sum())
    return float((influence**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0


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


def _moved(lean: float, acceleration: float, z: float) -> float:
    """Return which fraction of the resamples BCa takes in place of the normal quantile z."""
    room = 1 - acceleration * (lean + z)
    if room <= 0:  # past the pole: the moved quantile has run off the end it was going to
        return 0.0 if lean + z < 0 else 1.0
    return NORMAL.cdf(lean + (lean + z) / room)
