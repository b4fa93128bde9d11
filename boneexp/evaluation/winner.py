"""The winner's curse: an experiment chosen by its test metrics looks better there than it is.

The choice is repeated on every resample. The mean excess of the winner's metric there over the same
experiment's metric on all images is the optimism of the choice; it is subtracted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.metrics import (
    LOWER_IS_BETTER,
    RANKED,
    defined,
    metric_columns,
    metrics_of,
    resampled_metrics,
)
from boneexp.evaluation.paired import check_same_images
from boneexp.results import SHIFT, STEPS

# experiment -> (split, part) -> the predictions of each of its seeds; the metric is their mean
Candidates = Mapping[str, Mapping[tuple[str, str], Sequence[Predictions]]]


@dataclass(frozen=True)
class Criterion:
    """One metric of the selection rule, such as accuracy on the stratified split."""

    split: str
    metric: str
    class_name: str = ""


@dataclass(frozen=True)
class Choice:
    """The experiments that the rule chooses by one set."""

    part: str
    winners: tuple[str, ...]  # several where they are equal in every criterion
    wins: Mapping[str, float]  # experiment -> fraction of resamples in which it is chosen; ties are shared


@dataclass(frozen=True)
class CorrectedMetric:
    """One metric of the winner by the test part, on the test part; None where undefined."""

    criterion: Criterion
    apparent: float | None
    optimism: float | None  # above 0 if the winner looks better than it is, in the metric's own unit
    corrected: float | None
    of_validation_choice: float | None  # what the experiment chosen by validation has on the test part


@dataclass(frozen=True)
class WinnersCurse:
    """The choice by the test set with its optimism, and the choice by validation."""

    by_test: Choice
    by_validation: Choice
    figures: tuple[CorrectedMetric, ...]  # one per criterion


def winners_curse(
    candidates: Candidates, order: Sequence[Criterion], *, seed: int, resamples: int = 2000
) -> WinnersCurse:
    """Return whom the rule chooses by test and by validation, how often, and the optimism of that.

    The rule: the best in the first criterion wins, the second breaks a tie, and so on; an unknown metric
    ranks last. All experiments of a split see the same draws; splits and parts are drawn apart.

    Args:
        candidates: the predictions of every experiment on "val" and "test" of every split in `order`.
        order: the criteria, most important first.
        seed: of the resamples, an int >= 0.
        resamples: how many, at least 1.

    Raises:
        ValueError: there is no candidate, no criterion or no resample, a part is missing, the experiments saw
            different images, or a criterion is unknown.

    Source: the bootstrap estimate of optimism (Efron and Tibshirani 1993, section 17.6), with the selection
    repeated in each resample, as for the bias of the best configuration in Tsamardinos et al., Machine
    Learning 2018. What it leaves standing: benchmarks/results/calibration.md.
    """
    if not candidates or not order or resamples < 1:
        raise ValueError(f"{len(candidates)} candidates, {len(order)} criteria, {resamples} resamples")
    names = sorted(candidates)
    test, test_drawn = _criteria_of(candidates, order, "test", seed, resamples)
    val, val_drawn = _criteria_of(candidates, order, "val", seed, resamples)
    signs = np.array([-1 if criterion.metric in LOWER_IS_BETTER else 1 for criterion in order])
    fractions = _win_fractions(test_drawn * signs)
    chosen, chosen_by_val = _win_fractions(test[None] * signs)[0], _win_fractions(val[None] * signs)[0]
    # (resamples, criteria): the winner's metric there, less what the same experiment has on all images
    above = np.where(fractions[:, :, None] > 0, fractions[:, :, None] * (test_drawn - test), 0).sum(axis=1)
    return WinnersCurse(
        by_test=_choice("test", names, chosen, fractions),
        by_validation=_choice("val", names, chosen_by_val, _win_fractions(val_drawn * signs)),
        figures=tuple(
            _corrected(criterion, above[:, place], (chosen, chosen_by_val), test[:, place])
            for place, criterion in enumerate(order)
        ),
    )


def _criteria_of(
    candidates: Candidates, order: Sequence[Criterion], part: str, seed: int, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the criteria of all experiments, (k, c) floats, and of every resample, (b, k, c) floats."""
    splits = sorted({criterion.split for criterion in order})
    ranked = any(criterion.metric in RANKED for criterion in order)
    values = np.full((len(candidates), len(order)), np.nan)
    drawn = np.full((resamples, len(candidates), len(order)), np.nan)
    for number, split in enumerate(splits):
        stream = 2 * (seed * len(splits) + number) + (part == "val")  # another for each split and part
        runs = [_runs(candidates, name, (split, part)) for name in sorted(candidates)]
        for each in runs:
            for one in each:
                check_same_images(runs[0][0], one)
        places = [place for place, criterion in enumerate(order) if criterion.split == split]
        columns = [_column(runs[0][0], order[place]) for place in places]
        for row, each in enumerate(runs):
            values[row, places] = _means([metrics_of(one)[columns] for one in each])
            resampled = [resampled_metrics(one, resamples, stream, ranked=ranked)[:, columns] for one in each]
            drawn[:, row, places] = _means(resampled)
    return values, drawn


def _means(of_seeds: Sequence[np.ndarray]) -> np.ndarray:
    """Return means over seeds that are equal where they ought to be, as `boneexp.results.mean_metric`."""
    steps: np.ndarray = np.trunc(np.mean(of_seeds, axis=0) * STEPS + SHIFT)
    return steps / STEPS


def _runs(candidates: Candidates, name: str, where: tuple[str, str]) -> Sequence[Predictions]:
    found = candidates[name].get(where, ())
    if not found:
        raise ValueError(f"{name} has no predictions of the {where[1]} part of {where[0]}")
    return found


def _column(predictions: Predictions, criterion: Criterion) -> int:
    names = metric_columns(predictions.class_names)
    if (criterion.metric, criterion.class_name) not in names:
        raise ValueError(f"{criterion} is no metric of these classes")
    return names.index((criterion.metric, criterion.class_name))


def _win_fractions(metrics: np.ndarray) -> np.ndarray:
    """Return who wins, (b, k) fractions that sum to 1 in each row, of (b, k, c) metrics, high is good."""
    ranked = np.where(np.isnan(metrics), -np.inf, metrics)
    standing = np.ones(ranked.shape[:2], bool)
    for place in range(ranked.shape[2]):
        column = np.where(standing, ranked[:, :, place], -np.inf)
        standing &= column == column.max(axis=1, keepdims=True)
    fractions: np.ndarray = standing / standing.sum(axis=1, keepdims=True)
    return fractions


def _choice(part: str, names: Sequence[str], chosen: np.ndarray, fractions: np.ndarray) -> Choice:
    winners = tuple(name for name, fraction in zip(names, chosen, strict=True) if fraction > 0)
    wins = dict(zip(names, fractions.mean(axis=0).tolist(), strict=True))
    return Choice(part, winners, wins)


def _corrected(
    criterion: Criterion,
    above: np.ndarray,
    chosen: tuple[np.ndarray, np.ndarray],
    metrics: np.ndarray,
) -> CorrectedMetric:
    """Return one criterion's metric: `chosen` are the (k,) fractions by test and by validation."""
    by_test, by_val = (_mean_of(metrics, fractions) for fractions in chosen)
    known = above[~np.isnan(above)]
    optimism = float(known.mean()) if len(known) else float("nan")
    better = -optimism if criterion.metric in LOWER_IS_BETTER else optimism
    return CorrectedMetric(
        criterion, defined(by_test), defined(better), defined(by_test - optimism), defined(by_val)
    )


def _mean_of(metrics: np.ndarray, fractions: np.ndarray) -> float:
    """Return the mean metric of whoever is chosen."""
    return float((metrics[fractions > 0] * fractions[fractions > 0]).sum())
