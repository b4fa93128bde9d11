"""How sure a number is: the images drawn again and again, and the interval that the results span.

A resample is a row of counts: how often each image was drawn. A metric that takes counts as weights is
then computed for thousands of resamples at once, and two models are compared on the same draws by giving
both the same labels, in the same order, and the same seed.
"""

from collections.abc import Iterator

import numpy as np


def stratified_resample_counts(labels: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw images with replacement, each class on its own, so that every class keeps its number.

    The draws belong to positions: image 7 of one order is not image 7 of another. Give the images in a
    canonical order (sorted by id) where results must not depend on the order of the files.

    Args:
        labels: (n,) ints >= 0, the class of each image.
        resamples: how many times to draw.
        seed: an int >= 0; a class's draws depend on it, on the class, and on how many images that class has.

    Returns:
        (resamples, n) ints >= 0; each row sums to n, and over the images of a class to their number.

    Raises:
        ValueError: there is no image, a label or the seed is negative, or `resamples` is.

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.2 (several samples).
    """
    blocks = list(resample_blocks(labels, resamples, seed, rows=max(resamples, 1)))
    return np.concatenate([np.empty((0, len(labels)), np.int32), *blocks])


def resample_blocks(
    labels: np.ndarray, resamples: int, seed: int, rows: int, units: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield `stratified_resample_counts` in blocks of at most `rows` rows, to bound memory.

    Each class has a random stream of its own that goes on from block to block, so the size of the blocks
    changes nothing.

    With `units`, (n,) ints that number the images' groups from 0, whole groups are drawn, stratified by
    `unit_strata`: a patient's views come together or not at all. A class then keeps its number of groups, and
    its number of images varies. Where every image is a group of its own, the draws are the plain ones.

    Raises:
        ValueError: as `stratified_resample_counts`.

    Source: Davison and Hinkley 1997, section 3.8 (whole groups drawn, their content kept).
    """
    if len(labels) == 0:
        raise ValueError("there is no image to draw")
    if min(labels.min(), resamples, seed) < 0:
        raise ValueError(
            f"lowest label {labels.min()}, resamples {resamples}, seed {seed}: each must be at least 0"
        )
    stratum = labels if units is None else unit_strata(labels, units)
    streams = [
        (np.flatnonzero(stratum == label), np.random.default_rng([seed, int(label)]))
        for label in np.unique(stratum)
    ]
    for first in range(0, resamples, rows):
        counts = np.empty((min(rows, resamples - first), len(stratum)), np.int32)
        for positions, generator in streams:
            counts[:, positions] = _drawn(generator, len(counts), len(positions))
        yield counts if units is None else counts[:, units]


def unit_strata(labels: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the class that each group of images counts for, (units,) ints: the rarest class in it.

    Nearly always all images of a group are of one class. Where they are not, the group counts for the class
    that has the fewest images in the part (the first of equals), which can spare it least.

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
    """Return the central interval that holds the share `confidence` of the resampled values.

    Where all resamples agree, as for a class of one image or a metric at its bound, the interval has no
    width: the bootstrap sees no variation there, which is not the same as certainty.

    Args:
        values: (resamples,) floats, nan where the metric is undefined; those resamples are left out.
        confidence: the share, for example 0.95; half of the rest lies beyond each end.

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
