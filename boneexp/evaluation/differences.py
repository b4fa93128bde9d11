"""The difference of every metric: of two models on the same images, or of one kind of model on two test sets.

A difference is the second minus the first. Its interval and its p-value come from one test; where a test sees
no variance, the two models' answers are swapped instead. Images of one group stay together.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from boneexp.evaluation import metrics
from boneexp.evaluation.areas import ROUNDING
from boneexp.evaluation.estimates import jackknife_variance, proportion_effect, proportions_of
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import newcombe_difference
from boneexp.evaluation.metrics import (
    WITHOUT_INTERVAL,
    defined,
    left_out_metrics,
    metric_columns,
    metric_matrix,
    metrics_of,
)
from boneexp.evaluation.paired import (
    Difference,
    check_same_images,
    delong_differences,
    error_test,
    mcnemar_differences,
)
from boneexp.evaluation.ranks import midranks
from boneexp.evaluation.seeds import seeded_difference
from boneexp.evaluation.statistics import unit_strata

Column = tuple[str, str]  # metric, class name
SEED_TEST = "t over images and seeds"


def paired_differences(
    first: "Model",
    second: "Model",
    columns: Collection[Column],
    *,
    seed: int,
    swaps: int = 2000,
    confidence: float = 0.95,
) -> dict[Column, Difference]:
    """Return differences on the same images, each by the test that fits it best.

    With one seed each: mid-p McNemar for accuracy, sensitivity and specificity of independent images, DeLong
    for the AUROCs, the jackknife for the rest. Over several seeds metrics are means, tested by t.
    A difference without variance is tested by swapping the two models' answers.

    Args:
        first: with the predictions of its seeds.
        second: of the same images.
        columns: the wanted ones of `metric_columns`.
        seed: of the swaps, an int >= 0.
        swaps: how many.
        confidence: of the intervals.

    Raises:
        ValueError: as `check_same_images`, and as `permuted_differences`.
    """
    one, other = first.runs[0], second.runs[0]
    check_same_images(one, other)
    found: dict[Column, Difference] = {}
    if len(first.runs) + len(second.runs) > 2:
        found = seeded_differences(first, second, columns, confidence)
    else:
        tested = [*delong_differences(one, other, confidence)]
        tested += mcnemar_differences(one, other, confidence) if one.groups is None else ()
        found = {each.column: each for each in tested}
    if missing := [name for name in columns if name not in found]:
        found |= jackknifed_differences(first, second, missing, confidence)
    unknown = [name for name in columns if _is_unknown(found[name])]
    if unknown:
        swapped = permuted_differences(first, second, seed=seed, permutations=swaps)
        found |= {each.column: each for each in swapped if each.column in unknown}
    return {name: found[name] for name in columns}


def jackknifed_differences(
    first: "Model", second: "Model", columns: Collection[Column], confidence: float = 0.95
) -> dict[Column, Difference]:
    """Return differences on the same images, by leaving out each image, or group.

    Returns:
        By column, those of `columns`; None where undefined. The expected calibration error has neither
        interval nor p-value: see docs/statistics.md.

    Raises:
        ValueError: as `check_same_images`.

    Source: Efron and Tibshirani 1993, chapter 11, in a t test with the degrees of freedom of the classes
    (Satterthwaite, Biometrics Bulletin 1946).
    """
    check_same_images(first.runs[0], second.runs[0])
    left_out = second.left_out - first.left_out
    found = {}
    for name, value, column in zip(first.columns, second.values - first.values, left_out.T, strict=True):
        if name not in columns:
            continue
        tested: tuple[float | None, float | None, float | None] = (None, None, None)
        if name[0] not in WITHOUT_INTERVAL:
            tested = error_test(float(value), *jackknife_variance(column, first.strata), confidence)
        found[name] = Difference(*name, defined(value), *tested, "jackknife")
    return found


def seeded_differences(
    first: "Model", second: "Model", columns: Collection[Column], confidence: float = 0.95
) -> dict[Column, Difference]:
    """Return differences between two recipes of which one has several seeds, by t over images and seeds.

    Other images and other seeds would both give another difference; interval and p-value are of the sum of
    their variances.

    Returns:
        By column, those of `columns`; None where undefined, or where there is no spread and yet a difference.

    Raises:
        ValueError: neither has two seeds.
    """
    left_out = second.left_out - first.left_out
    found = {}
    for place, name in enumerate(first.columns):
        if name not in columns:
            continue
        one, other = first.by_seed[:, place].tolist(), second.by_seed[:, place].tolist()
        variance, _ = jackknife_variance(left_out[:, place], first.strata)
        value, error, freedom = seeded_difference(one, other, math.sqrt(variance), len(left_out))
        tested: tuple[float | None, float | None, float | None] = (None, None, None)
        if name[0] not in WITHOUT_INTERVAL:
            tested = error_test(value, error**2, freedom, confidence)
        found[name] = Difference(*name, defined(value), *tested, SEED_TEST)
    return found


def unpaired_differences(
    first: "Model", second: "Model", confidence: float = 0.95
) -> dict[Column, Difference]:
    """Return the difference of every metric between two test sets.

    For the generalisation gap: first the stratified test set, second that of the centre holdout. Images in
    both are treated as different ones. Proportions of a model with one seed have Newcombe's interval and no
    p-value; the other metrics a t test of the two jackknife variances.

    Raises:
        ValueError: the classes differ.

    Source: Newcombe, Stat. Med. 1998;17:873; Welch's degrees of freedom (Satterthwaite 1946).
    """
    if first.columns != second.columns:
        raise ValueError(f"the classes are {first.runs[0].class_names} and {second.runs[0].class_names}")
    found = {}
    for place, name in enumerate(first.columns):
        value = float(second.values[place] - first.values[place])
        tested: tuple[float | None, float | None, float | None] = (None, None, None)
        if name[0] not in WITHOUT_INTERVAL:
            parts = [jackknife_variance(each.left_out[:, place], each.strata) for each in (first, second)]
            variance = sum(part for part, _ in parts)
            freedom = variance**2 / sum(part**2 / free for part, free in parts) if variance > 0 else np.inf
            tested = error_test(value, variance, freedom, confidence)
        found[name] = Difference(*name, defined(value), *tested, "jackknife, two test sets")
    if len(first.runs) == len(second.runs) == 1:
        found |= _newcombe_differences(first.runs[0], second.runs[0], confidence)
    return found


def permuted_differences(
    first: "Model", second: "Model", *, seed: int, permutations: int = 2000
) -> tuple[Difference, ...]:
    """Return the difference of every metric on the same images, tested by swapping the two models' answers.

    AUROC and average precision are swapped as ranks within each model, since one model's probabilities may be
    higher and rank no better. Over several seeds the difference is the mean over all pairs of a seed of each,
    and an image changes sides in all of them at once.

    Returns:
        One `Difference` per column of `metric_columns`, without an interval. The p-value is the fraction of
        swaps, the real one included, that differ at least as much in either direction; swaps in which the
        metric is undefined count as such.

    Raises:
        ValueError: as `check_same_images`, or the seed is negative.

    Source: Good, Permutation Tests, 2000; ranks as in Venkatraman and Begg, Biometrika 1996.
    """
    check_same_images(first.runs[0], second.runs[0])
    values, units = second.values - first.values, first.runs[0].unit_numbers
    answers = [_both(one, other) for one in first.runs for other in second.runs]
    rows = max(metrics.BLOCK_CELLS // (2 * len(units)), 1)
    generator = np.random.default_rng(seed)
    as_large = np.ones(len(values))
    for done in range(0, permutations, rows):
        drawn = generator.integers(2, size=(min(rows, permutations - done), units.max() + 1))
        swapped = np.mean([_swapped_differences(pair, drawn[:, units]) for pair in answers], axis=0)
        as_large += (~(np.abs(swapped) < np.abs(values) - ROUNDING)).sum(axis=0)
    p_values = np.where(np.isnan(values), np.nan, as_large / (permutations + 1))
    return tuple(
        Difference(*name, defined(value), None, None, defined(p_value), "permutation")
        for name, value, p_value in zip(first.columns, values, p_values, strict=True)
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
    """Return every metric's difference, (b, m) floats; (b, n) `swaps` is 1 where answers change sides."""
    labels, probabilities, ranks = answers
    stay = 1 - swaps
    as_first = metric_matrix(labels, probabilities, np.hstack([stay, swaps]), ranks)
    as_second = metric_matrix(labels, probabilities, np.hstack([swaps, stay]), ranks)
    difference: np.ndarray = as_second - as_first
    return difference


def _newcombe_differences(
    first: Predictions, second: Predictions, confidence: float
) -> dict[Column, Difference]:
    """Return the differences of proportions of two test sets, from their effective numbers of images."""
    found = {}
    answers = proportions_of(first), proportions_of(second)
    for name in answers[0]:
        counts: list[tuple[float, float]] = []
        for predictions, proportions in zip((first, second), answers, strict=True):
            hits, among = proportions[name]
            effect = proportion_effect(proportions[name], confidence, predictions.drawn_units)
            counts.append((float((hits & among).sum()) / effect, float(among.sum()) / effect))
        (hits1, total1), (hits2, total2) = counts
        low, high = newcombe_difference(hits1, total1, hits2, total2, confidence)
        value = None if low is None else hits2 / total2 - hits1 / total1
        found[name] = Difference(*name, value, low, high, None, "newcombe")
    return found


def _is_unknown(difference: Difference) -> bool:
    """Return True where there is a difference that its test cannot judge."""
    known = difference.value is None or difference.p_value is not None
    return not known and difference.metric not in WITHOUT_INTERVAL


@dataclass(frozen=True)
class Model:
    """One experiment on one set of images: the predictions of each of its seeds, at least one.

    Metrics over several seeds are means.
    """

    runs: tuple[Predictions, ...]

    def __post_init__(self) -> None:
        """Check that there is a run, and that all are of the same images."""
        if not self.runs:
            raise ValueError("there is no run to compare")
        for other in self.runs[1:]:
            check_same_images(self.runs[0], other)

    @property
    def columns(self) -> tuple[Column, ...]:
        """(metric, class name) of each metric."""
        return metric_columns(self.runs[0].class_names)

    @cached_property
    def by_seed(self) -> np.ndarray:
        """Every metric of each seed, (runs, m) floats."""
        return np.array([metrics_of(run) for run in self.runs])

    @property
    def values(self) -> np.ndarray:
        """Every metric, (m,) floats."""
        mean: np.ndarray = self.by_seed.mean(axis=0)
        return mean

    @cached_property
    def left_out(self) -> np.ndarray:
        """Every metric without each unit, (units, m) floats."""
        mean: np.ndarray = np.mean([left_out_metrics(run) for run in self.runs], axis=0)
        return mean

    @cached_property
    def strata(self) -> np.ndarray:
        """The class that each unit counts for, (units,) ints."""
        return unit_strata(self.runs[0].labels, self.runs[0].unit_numbers)
