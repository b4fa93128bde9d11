"""Scores in order: what the ranking of one class against the rest is worth, for many resamples at once."""

import numpy as np


def ranking(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order from the highest score down, (n,) ints, and where each run of equal scores ends.

    A threshold can only fall at such an end, so ties are never split: their order means nothing.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))


def midranks(scores: np.ndarray) -> np.ndarray:
    """Return each score's rank from the lowest, (n,) floats from 1; equal scores share their mean rank."""
    _, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    shared: np.ndarray = (np.cumsum(sizes) - (sizes - 1) / 2)[place]
    return shared


def ranked_metrics(
    positive: np.ndarray, scores: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and average precision of one class against the rest, (b,) floats each.

    Both are sums over the positives, of what ranks with or above each; integers up to the last division.
    """
    order, ends = ranking(scores)
    ranks = np.flatnonzero(positive[order])  # where the positives stand
    tied = np.searchsorted(ends, ranks)  # in which run of equal scores
    start, end = np.append(0, ends + 1)[tied], ends[tied] + 1
    drawn = _running_total(counts[:, order])
    hits = _running_total(counts[:, order[ranks]])
    hits_above, hits_to = hits[:, np.searchsorted(ranks, start)], hits[:, np.searchsorted(ranks, end)]
    misses_above, misses_to = drawn[:, start] - hits_above, drawn[:, end] - hits_to
    positives = hits[:, -1]
    negatives = drawn[:, -1] - positives
    weights = np.diff(hits, axis=1)
    # A positive passes the negatives below it, and half of those beside it: doubled, all is whole.
    passed_twice = (weights * (2 * negatives[:, None] - misses_above - misses_to)).sum(axis=1)
    precision = hits_to / np.maximum(drawn[:, end], 1)  # the guard is met only where the weight is 0
    return (
        share_of(passed_twice, 2 * positives * negatives),
        share_of((weights * precision).sum(axis=1), positives),
    )


def _running_total(counts: np.ndarray) -> np.ndarray:
    """Return (b, k + 1) ints: the sum of the first 0, 1, ... k columns of (b, k) counts."""
    totals = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=totals[:, 1:])
    return totals


def share_of(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, nan where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares
