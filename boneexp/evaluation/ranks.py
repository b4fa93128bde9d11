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
        ratio(passed_twice, 2 * positives * negatives),
        ratio((weights * precision).sum(axis=1), positives),
    )


def left_out_ranked(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and average precision without each image in turn, (n,) floats each; nan where undefined.

    Args:
        positive: (n,) bools.
        scores: (n,) floats, high for positive.
    """
    order, ends = ranking(scores)
    run = np.empty(len(scores), np.int64)  # in which run of equal scores each image is
    run[order] = np.searchsorted(ends, np.arange(len(scores)))
    total = ends + 1.0
    hits = np.cumsum(positive[order])[ends].astype(float)
    within = np.diff(hits, prepend=0)
    kept = _running_total((within * hits / total)[None])[0]  # what the runs above an image's own add

    def below(fewer: np.ndarray) -> np.ndarray:  # what its own run and those below add without it
        return np.cumsum((within * fewer / np.maximum(total - 1, 1))[::-1])[::-1]

    own = (hits - 1) / np.maximum(total - 1, 1)
    sums = kept[run] + np.where(positive, below(hits - 1)[run] - own[run], below(hits)[run])
    among_all, among = midranks(scores), np.empty(len(scores))
    for kind in (positive, ~positive):
        among[kind] = midranks(scores[kind])
    passed = among_all - among  # others of the other kind that lie below, those beside counted half
    positives, negatives = int(positive.sum()), int((~positive).sum())
    passed = np.where(positive, passed, positives - passed)
    left = np.where(positive, (positives - 1) * negatives, positives * (negatives - 1)).astype(float)
    return ratio(passed[positive].sum() - passed, left), ratio(sums, positives - positive.astype(float))


def _running_total(counts: np.ndarray) -> np.ndarray:
    """Return (b, k + 1): the sum of the first 0, 1, ... k columns of (b, k) counts."""
    kind = np.int64 if counts.dtype.kind in "iub" else np.float64
    totals = np.zeros((counts.shape[0], counts.shape[1] + 1), kind)
    np.cumsum(counts, axis=1, out=totals[:, 1:])
    return totals


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, nan where the whole is 0."""
    fractions: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return fractions
