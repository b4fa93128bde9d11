"""The bootstrap: resamples of images or groups, and percentile intervals.

A resample is a row of counts: how often each image was drawn. A metric that takes counts as weights is
computed for thousands of resamples at once; the same labels, order and seed give the same draws.
"""

from collections.abc import Iterator

import numpy as np


def resample_blocks(units: np.ndarray, resamples: int, seed: int, rows: int) -> Iterator[np.ndarray]:
    """Yield how often each image is drawn, in blocks of at most `rows` rows, to bound memory.

    All images are drawn from, whatever their class, as another test set would have other numbers of each
    class. The draws belong to positions (image 7 of one order is not image 7 of another), and the size of the
    blocks does not change them.

    Args:
        units: (n,) ints that number the images' groups from 0; whole groups are drawn, so that a patient's
            views come together or not at all. `numpy.arange(n)` draws images alone.
        resamples: how many times to draw.
        seed: an int >= 0.
        rows: the most rows of a block.

    Yields:
        (b, n) ints >= 0.

    Raises:
        ValueError: there is no image, or the seed or `resamples` is negative.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6; for groups Davison and
    Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    if len(units) == 0:
        raise ValueError("there is no image to draw")
    if min(resamples, seed) < 0:
        raise ValueError(f"resamples {resamples}, seed {seed}: each must be at least 0")
    generator, groups = np.random.default_rng(seed), int(units.max()) + 1
    for first in range(0, resamples, rows):
        yield _drawn(generator, min(rows, resamples - first), groups)[:, units].astype(np.int32)


def unit_strata(labels: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the class that each group of images counts for, (units,) ints: the rarest class in it.

    The rarest class has the fewest images of the set (the first of equals): it can spare a group least.

    Args:
        labels: (n,) ints >= 0.
        units: (n,) ints that number the groups from 0 without a gap.
    """
    classes, rank, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rarity = np.argsort(np.argsort(sizes, kind="stable"))[rank]  # 0 for an image of the rarest class
    rarest = np.full(units.max() + 1, len(classes))
    np.minimum.at(rarest, units, rarity)
    strata: np.ndarray = classes[np.argsort(sizes, kind="stable")[rarest]]
    return strata


def percentile_interval(values: np.ndarray, confidence: float) -> tuple[float | None, float | None]:
    """Return the central interval that holds the fraction `confidence` of the resampled values.

    Where all resamples agree, the interval has no width, which is not certainty.

    Args:
        values: (resamples,) floats, nan where the metric is undefined; those resamples are left out.
        confidence: for example 0.95; half of the rest lies beyond each end.

    Returns:
        (low, high), interpolated linearly between values; (None, None) if over half of the values are
        undefined, or there is none.

    Raises:
        ValueError: `confidence` is not between 0 and 1.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, as 0.95 does")
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or 2 * len(defined) < len(values):
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _drawn(generator: np.random.Generator, rows: int, size: int) -> np.ndarray:
    """Draw `size` of `size` images `rows` times; return how often each came, (rows, size) ints."""
    draws = generator.integers(size, size=(rows, size))
    draws += size * np.arange(rows)[:, None]  # a range of its own for each row: one bincount counts them all
    return np.bincount(draws.ravel(), minlength=rows * size).reshape(rows, size)
