"""Several seeds: the spread over seeds against the spread over experiments."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.intervals import satterthwaite
from boneexp.results import mean_metric

ONE_SEED = "every experiment has one seed: how much of a difference the seed makes is not known."


@dataclass(frozen=True)
class SeedSpread:
    """One experiment's metric over its seeds; `sd` is None with one seed."""

    experiment: str
    runs: int
    mean: float
    sd: float | None
    lowest: float
    highest: float


@dataclass(frozen=True)
class SeedStudy:
    """Where the spread of a metric comes from. None where it cannot be known."""

    spreads: tuple[SeedSpread, ...]  # best mean first
    seed_sd: float | None  # of one run around its experiment's mean
    experiment_sd: float | None  # of the experiments' true means around theirs
    experiment_share: float | None  # of the variance of one run, what the experiment accounts for
    gap: float | None  # between the best mean and the next
    gap_error: float | None  # the standard error that the seeds give this gap
    warnings: tuple[str, ...]


def seed_study(metrics: Mapping[str, Sequence[float]], *, lower_is_better: bool = False) -> SeedStudy:
    """Return how much of a metric's spread is the seed and how much the experiment.

    The seeds have one split and one test set, so the spread is that of training alone.

    Args:
        metrics: experiment -> the metric of each of its finished seeds, at least one.
        lower_is_better: as for the log loss.

    Raises:
        ValueError: there is no experiment, one has no metric, or a metric is not finite.

    Source: one-way analysis of variance with random effects and unequal numbers (Searle, Casella and
    McCulloch, Variance Components, 1992, section 3.6); a negative variance is 0.
    """
    if not metrics or not all(len(runs) and np.isfinite(runs).all() for runs in metrics.values()):
        raise ValueError(f"not every experiment has finite metrics: {dict(metrics)}")
    direction = 1 if lower_is_better else -1
    spreads = [_spread(name, np.asarray(metrics[name], float)) for name in sorted(metrics)]
    spreads.sort(key=lambda spread: direction * spread.mean)
    within = _within_variance(spreads)
    between = _between_variance(spreads, within)
    seed_sd = None if within is None else math.sqrt(within)
    gap, gap_error = _gap(spreads, seed_sd)
    fraction = None
    if between is not None and within is not None and between + within > 0:
        fraction = between / (between + within)
    return SeedStudy(
        spreads=tuple(spreads),
        seed_sd=seed_sd,
        experiment_sd=None if between is None else math.sqrt(between),
        experiment_share=fraction,
        gap=gap,
        gap_error=gap_error,
        warnings=_warnings(spreads, gap, gap_error),
    )


def _spread(name: str, runs: np.ndarray) -> SeedSpread:
    sd = float(runs.std(ddof=1)) if len(runs) > 1 else None
    ends = (mean_metric([float(end)]) for end in (runs.min(), runs.max()))  # so that the mean lies between
    return SeedSpread(name, len(runs), mean_metric(runs.tolist()), sd, *ends)


def _within_variance(spreads: Sequence[SeedSpread]) -> float | None:
    """Return the pooled variance between seeds; None if every experiment has one."""
    freedom = sum(spread.runs - 1 for spread in spreads)
    squares = sum((spread.runs - 1) * spread.sd**2 for spread in spreads if spread.sd is not None)
    return squares / freedom if freedom else None


def _between_variance(spreads: Sequence[SeedSpread], within: float | None) -> float | None:
    """Return the variance between experiments that the seeds do not explain; None if it cannot be known."""
    if within is None or len(spreads) < 2:
        return None
    runs = np.array([spread.runs for spread in spreads], float)
    means = np.array([spread.mean for spread in spreads])
    mean = float((runs * means).sum() / runs.sum())
    mean_square = float((runs * (means - mean) ** 2).sum()) / (len(spreads) - 1)
    typical_runs = float(runs.sum() - (runs**2).sum() / runs.sum()) / (len(spreads) - 1)
    return max(0.0, (mean_square - within) / typical_runs)


def _gap(spreads: Sequence[SeedSpread], seed_sd: float | None) -> tuple[float | None, float | None]:
    """Return how far the best mean is from the next, and the standard error of that."""
    if len(spreads) < 2:
        return None, None
    best, following = spreads[:2]
    gap = abs(best.mean - following.mean)
    return gap, None if seed_sd is None else seed_sd * math.sqrt(1 / best.runs + 1 / following.runs)


def _warnings(spreads: Sequence[SeedSpread], gap: float | None, gap_error: float | None) -> tuple[str, ...]:
    if gap is None:
        return ()
    best, following = spreads[:2]
    if gap_error is None:
        return (ONE_SEED,)
    if gap_error < gap:
        return ()
    return (
        f"The seeds' noise exceeds the gap: {best.experiment} is {gap:.3f} ahead of {following.experiment}, "
        f"and the standard error of that from the seeds alone is {gap_error:.3f}.",
    )


def seeded_difference(
    first: Sequence[float], second: Sequence[float], image_error: float, images: int
) -> tuple[float, float, float]:
    """Return the second recipe's mean less the first's, its standard error and the error's freedom.

    The error is over images and over seeds. The image error of a mean over seeds already holds part of the
    seeds' spread, so the sum is conservative.

    Args:
        first: the metric of each seed of the first recipe, at least one; both have three or more in all.
        second: of the second recipe, on the same images.
        image_error: the standard error of the difference over images (or groups), such as the jackknife's.
        images: how many of them are independent.

    Raises:
        ValueError: neither recipe has two seeds.

    Source: the sum of both variances, of the seeds s² (1 / S1 + 1 / S2) with the pooled s² (2 s² / S for S
    each), with the degrees of freedom of Satterthwaite, Biometrics Bulletin 1946; the two sources as in
    Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    freedom = len(one) + len(other) - 2
    if freedom < 1:
        raise ValueError(f"{len(one)} and {len(other)} seeds have no spread")
    pooled = float(((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()) / freedom
    variances = (image_error**2, pooled * (1 / len(one) + 1 / len(other)))
    error = math.sqrt(sum(variances))
    value = mean_metric(list(second)) - mean_metric(list(first))
    return value, error, satterthwaite(variances, (max(images - 1, 1), freedom))
