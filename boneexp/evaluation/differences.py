"""Differences by resampling: two models on the same images, or one kind of model on two test sets.

Every metric at once, whole groups drawn or swapped together where there are groups. A difference is the
second minus the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boneexp.evaluation import metrics
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.metrics import (
    defined,
    figures_of,
    metric_columns,
    metric_matrix,
    percentile_intervals,
    resampled_figures,
)
from boneexp.evaluation.paired import ROUNDING, Difference, check_same_images
from boneexp.evaluation.ranks import midranks


def paired_differences(
    first: Predictions, second: Predictions, *, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> tuple[Difference, ...]:
    """Return the difference of every metric on the same images, by the paired bootstrap.

    Both models are computed on the same draws. The p-value is the level at which the percentile interval
    would just hold 0: twice the share of resamples on the other side of it.

    Returns:
        One `Difference` per column of `metric_columns`; None where undefined. The expected calibration error
        has neither interval nor p-value: see docs/statistics.md.

    Raises:
        ValueError: as `check_same_images`, and as `boneexp.evaluation.metrics.evaluate` of settings.

    Source: Efron and Tibshirani 1993, section 13.3, the interval turned into a test; one is added to both
    counts (Davison and Hinkley 1997, section 4.2), so that no p-value is 0.
    """
    check_same_images(first, second)
    models = drawn_figures([first], resamples, seed), drawn_figures([second], resamples, seed)
    return differences_of_drawn(*models, confidence, "paired bootstrap")


def unpaired_differences(
    first: Predictions, second: Predictions, *, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> tuple[Difference, ...]:
    """Return the difference of every metric between two test sets, each drawn on its own.

    For the generalisation gap: first the stratified test part, second that of the centre holdout. Images that
    are in both are taken as if they were different ones.

    Returns:
        As `paired_differences`.

    Raises:
        ValueError: the classes differ, or as `boneexp.evaluation.metrics.evaluate` of settings.

    Source: as `paired_differences`; two samples (Davison and Hinkley 1997, section 3.2).
    """
    if first.class_names != second.class_names:
        raise ValueError(f"the classes are {first.class_names} and {second.class_names}")
    # One seed for both would draw alike from two classes of one size.
    models = drawn_figures([first], resamples, 2 * seed), drawn_figures([second], resamples, 2 * seed + 1)
    return differences_of_drawn(*models, confidence, "unpaired bootstrap")


def drawn_figures(runs: Sequence[Predictions], resamples: int, seed: int, *, ranked: bool = True) -> "Drawn":
    """Return every metric of a model, and of each resample of its images.

    Args:
        runs: the predictions of each of its seeds, at least one, of the same images; metrics are their means.
        resamples: how many.
        seed: of the resamples, an int >= 0; with the same one, two models of the same images share the draws.
        ranked: False to draw no AUROC and average precision, which takes a third of the time.

    Raises:
        ValueError: there is no run, the images differ, or settings are not as said above.
    """
    if not runs:
        raise ValueError("there is no run to draw")
    for other in runs[1:]:
        check_same_images(runs[0], other)
    return Drawn(
        class_names=runs[0].class_names,
        values=np.mean([figures_of(run) for run in runs], axis=0),
        resampled=np.mean([resampled_figures(run, resamples, seed, ranked=ranked) for run in runs], axis=0),
    )


def differences_of_drawn(
    first: "Drawn", second: "Drawn", confidence: float, test: str = "paired bootstrap"
) -> tuple[Difference, ...]:
    """Return the difference of every metric, with its percentile interval and the p-value that goes with it.

    Returns:
        As `paired_differences`, of which this is the half that does not draw.
    """
    values, drawn = second.values - first.values, second.resampled - first.resampled
    intervals = percentile_intervals(first.class_names, drawn, confidence)
    names = metric_columns(first.class_names)
    return tuple(
        Difference(*name, defined(value), *interval, _two_sided(column, interval), test)
        for name, value, interval, column in zip(names, values, intervals, drawn.T, strict=True)
    )


def permuted_differences(
    first: Predictions, second: Predictions, *, seed: int, permutations: int = 2000
) -> tuple[Difference, ...]:
    """Return the difference of every metric on the same images, tested by swapping the two models' answers.

    If the two were alike, it would not matter which answer came from which. AUROC and average precision are
    swapped as ranks within each model, since one model's probabilities may lie higher than the other's and
    rank no better.

    Returns:
        One `Difference` per column of `metric_columns`, without an interval. The p-value is the share of
        swaps, the real one counted in, that differ at least as much in either direction; swaps in which the
        metric is undefined are counted so, too.

    Raises:
        ValueError: as `check_same_images`, or the seed is negative.

    Source: Good, Permutation Tests, 2000; ranks as in Venkatraman and Begg, Biometrika 1996.
    """
    check_same_images(first, second)
    values = figures_of(second) - figures_of(first)
    answers, units = _both(first, second), first.unit_numbers
    rows = max(metrics.BLOCK_CELLS // (2 * len(units)), 1)
    generator = np.random.default_rng(seed)
    as_large = np.ones(len(values))
    for done in range(0, permutations, rows):
        drawn = generator.integers(2, size=(min(rows, permutations - done), units.max() + 1))
        swapped = _swapped_differences(answers, drawn[:, units])
        as_large += (~(np.abs(swapped) < np.abs(values) - ROUNDING)).sum(axis=0)
    p_values = np.where(np.isnan(values), np.nan, as_large / (permutations + 1))
    return tuple(
        Difference(*name, defined(value), None, None, defined(p_value), "permutation")
        for name, value, p_value in zip(metric_columns(first.class_names), values, p_values, strict=True)
    )


def _both(first: Predictions, second: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, probabilities and ranks with both models' answers, one below the other."""
    ranks = [
        np.column_stack([midranks(column) for column in each.probabilities.T]) for each in (first, second)
    ]
    return (
        np.concatenate([first.labels, second.labels]),
        np.vstack([first.probabilities, second.probabilities]),
        np.vstack(ranks),
    )


def _swapped_differences(answers: tuple[np.ndarray, np.ndarray, np.ndarray], swaps: np.ndarray) -> np.ndarray:
    """Return every metric's difference where (b, n) `swaps` is 1 for the images whose answers change sides.

    Which of an image's two answers is whose is a matter of weights.
    """
    labels, probabilities, ranks = answers
    stay = 1 - swaps
    as_first = metric_matrix(labels, probabilities, np.hstack([stay, swaps]), ranks)
    as_second = metric_matrix(labels, probabilities, np.hstack([swaps, stay]), ranks)
    difference: np.ndarray = as_second - as_first
    return difference


def _two_sided(drawn: np.ndarray, interval: tuple[float | None, float | None]) -> float | None:
    """Return the level at which a percentile interval of the resamples would just hold 0.

    Where all resamples agree on a difference there is no such level: that is no certainty.
    """
    low, high = interval
    if low is None or high is None:
        return None
    known = drawn[~np.isnan(drawn)]
    if high - low <= ROUNDING < abs(low):
        return None
    fewest = min((known <= ROUNDING).sum(), (known >= -ROUNDING).sum())
    return min(1.0, float(2 * (fewest + 1) / (len(known) + 1)))


@dataclass(frozen=True)
class Drawn:
    """A model's metrics, (m,) floats in the order of `metric_columns`, and those of its resamples, (b, m)."""

    class_names: tuple[str, ...]
    values: np.ndarray
    resampled: np.ndarray
