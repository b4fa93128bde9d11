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


def resample_blocks(labels: np.ndarray, resamples: int, seed: int, rows: int) -> Iterator[np.ndarray]:
    """Yield `stratified_resample_counts` in blocks of at most `rows` rows, to bound memory.

    Each class has a random stream of its own that goes on from block to block, so the size of the blocks
    changes nothing.

    Raises:
        ValueError: as `stratified_resample_counts`.
    """
    if len(labels) == 0:
        raise ValueError("there is no image to draw")
    if min(labels.min(), resamples, seed) < 0:
        raise ValueError(
            f"lowest label {labels.min()}, resamples {resamples}, seed {seed}: each must be at least 0"
        )
    strata = [
        (np.flatnonzero(labels == label), np.random.default_rng([seed, int(label)]))
        for label in np.unique(labels)
    ]
    for first in range(0, resamples, rows):
        counts = np.empty((min(rows, resamples - first), len(labels)), np.int32)
        for positions, generator in strata:
            counts[:, positions] = _drawn(generator, len(counts), len(positions))
        yield counts


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
