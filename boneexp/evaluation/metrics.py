"""What a model's probabilities are worth: every metric, computed for weighted images.

A weight is how often a resample drew an image. `metric_matrix` takes many resamples at once, and the
figure itself is the same computation with every weight one. What is undefined is nan inside and None
outside, never a made-up 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from boneexp.evaluation.statistics import percentile_interval, resample_blocks
from boneexp.results import MetricValue

OVERALL = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")
PER_CLASS = ("auroc", "average_precision", "sensitivity", "specificity", "precision", "f1")
REPORTED = {"precision": "precision", "recall": "sensitivity", "specificity": "specificity", "f1-score": "f1"}

BLOCK_CELLS = 50_000  # resamples x images worked on at once: small enough for the processor's cache


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    *,
    seed: int,
    image_ids: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[MetricValue, ...]:
    """Return every metric with its percentile bootstrap interval, resampled within each class.

    First OVERALL with class_name "", then PER_CLASS for each class. The predicted class is the most
    probable one, the first of equals.

    Args:
        labels: (n,) ints, positions in `class_names`.
        probabilities: (n, classes) floats; each row sums to 1 within 1e-3.
        class_names: at least two different names.
        seed: of the resamples, an int >= 0.
        image_ids: n different ids; with them the result does not depend on the order of the images.
        resamples: how many; with 0 every interval is None.
        confidence: the share that an interval covers.

    Returns:
        len(OVERALL) + classes * len(PER_CLASS) values. None where undefined: a class's sensitivity, F1,
        average precision and AUROC without an image of the class, its specificity and AUROC without one of
        another, its precision where nothing is predicted as the class. Balanced accuracy and macro F1 are
        means over the classes present; macro AUROC (one-vs-rest) is None unless every class is present.

    Raises:
        ValueError: shapes, labels, probabilities, ids, names, seed or confidence are not as said above.
    """
    labels, probabilities = _checked(labels, probabilities, class_names)
    if image_ids is not None:
        order = _canonical_order(image_ids, len(labels))
        labels, probabilities = labels[order], probabilities[order]
    values = metric_matrix(labels, probabilities, np.ones((1, len(labels)), np.int32))[0]
    rows = max(BLOCK_CELLS // len(labels), 1)
    blocks = resample_blocks(labels, resamples, seed, rows)
    drawn = [metric_matrix(labels, probabilities, counts) for counts in blocks]
    resampled = np.concatenate([np.empty((0, len(values))), *drawn])
    return tuple(
        MetricValue(metric, class_name, _defined(value), *percentile_interval(column, confidence))
        for (metric, class_name), value, column in zip(
            metric_columns(class_names), values, resampled.T, strict=True
        )
    )


def metric_columns(class_names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (metric, class name) of each column of `metric_matrix`; the class name is "" for OVERALL."""
    overall = tuple((metric, "") for metric in OVERALL)
    return overall + tuple((metric, name) for name in class_names for metric in PER_CLASS)


def metric_matrix(labels: np.ndarray, probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Compute every metric for every row of weights; the cost is one sort per class, then sums.

    Args:
        labels: (n,) ints in [0, classes).
        probabilities: (n, classes) floats; only their order within a column and their argmax matter.
        counts: (b, n) ints >= 0, the weight of each image in each of b resamples.

    Returns:
        (b, m) floats, nan where undefined; the columns are those of `metric_columns`.

    Source: AUROC as the Mann-Whitney statistic with ties counted half (Hanley and McNeil, Radiology 1982);
    average precision as scikit-learn defines it, the step-wise sum of precision over recall gained.
    """
    classes = probabilities.shape[1]
    sums = _confusion_sums(labels, probabilities.argmax(axis=1), counts, classes)
    overall, per_class = _confusion_metrics(sums)
    ranked = [_ranked_metrics(labels == label, probabilities[:, label], counts) for label in range(classes)]
    per_class["auroc"], per_class["average_precision"] = np.array(ranked).transpose(1, 2, 0)
    overall["macro_auroc"] = per_class["auroc"].mean(axis=1)
    table = np.stack([per_class[metric] for metric in PER_CLASS], axis=2)  # (b, classes, metrics)
    return np.column_stack([*(overall[metric] for metric in OVERALL), table.reshape(len(counts), -1)])


def ranking(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order from the highest score down, (n,) ints, and where each run of equal scores ends.

    A threshold can only fall at such an end, so ties are never split: their order means nothing.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count the images by true class (rows) and predicted class (columns).

    Args:
        labels: (n,) ints in [0, classes).
        predicted: (n,) ints in [0, classes).
        classes: how many there are.

    Returns:
        (classes, classes) ints that sum to n.

    Raises:
        ValueError: the shapes differ, or a class lies outside the range.
    """
    for name, values in (("labels", labels), ("predicted", predicted)):
        if values.shape != (len(labels),) or values.dtype.kind not in "iu":
            raise ValueError(f"{name} is {values.shape} of {values.dtype}, not ({len(labels)},) of ints")
        if len(values) and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"{name} spans {values.min()} to {values.max()}, not within 0..{classes - 1}")
    pairs = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def classification_report(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Return scikit-learn's classification report as a dict for JSON, with the specificity beside it.

    Args: as `evaluate`.

    Returns:
        {class: {"precision", "recall", "specificity", "f1-score", "support"}, "accuracy": float,
        "macro avg": {the same keys}, "weighted avg": {the same keys}}. Recall is the sensitivity. None where
        undefined; an average is over the classes present and None if one of them has None, so that a class
        that is never predicted does not flatter the mean precision.

    Raises:
        ValueError: as `evaluate`.
    """
    labels, probabilities = _checked(labels, probabilities, class_names)
    matrix = confusion(labels, probabilities.argmax(axis=1), len(class_names))
    overall, per_class = _confusion_metrics(matrix[None])
    support = matrix.sum(axis=1)
    columns = {name: per_class[metric][0] for name, metric in REPORTED.items()}
    report: dict[str, Any] = {
        class_name: {name: _defined(column[label]) for name, column in columns.items()}
        | {"support": int(support[label])}
        for label, class_name in enumerate(class_names)
    }
    report["accuracy"] = float(overall["accuracy"][0])
    for average, weights in (("macro avg", support > 0), ("weighted avg", support)):
        report[average] = {name: _weighted_mean(column, weights) for name, column in columns.items()}
        report[average]["support"] = int(support.sum())
    return report


def _ranked_metrics(
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
        _share(passed_twice, 2 * positives * negatives),
        _share((weights * precision).sum(axis=1), positives),
    )


def _running_total(counts: np.ndarray) -> np.ndarray:
    """Return (b, k + 1) ints: the sum of the first 0, 1, ... k columns of (b, k) counts."""
    totals = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=totals[:, 1:])
    return totals


def _confusion_sums(
    labels: np.ndarray, predicted: np.ndarray, counts: np.ndarray, classes: int
) -> np.ndarray:
    """Return each resample's confusion matrix, (b, classes, classes) floats that hold exact integers."""
    cells = np.zeros((len(labels), classes * classes))
    cells[np.arange(len(labels)), labels * classes + predicted] = 1
    return (counts.astype(np.float64) @ cells).reshape(-1, classes, classes)


def _confusion_metrics(sums: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what (b, classes, classes) confusion matrices tell: (b,) overall, (b, classes) per class."""
    hits = np.diagonal(sums, axis1=1, axis2=2)
    support, predicted = sums.sum(axis=2), sums.sum(axis=1)
    total = support.sum(axis=1, keepdims=True)
    present = support > 0
    sensitivity = _share(hits, support)
    f1 = _share(2 * hits, np.where(present, support + predicted, 0))
    overall = {
        "accuracy": _share(hits.sum(axis=1), total[:, 0]),
        "balanced_accuracy": _share(np.nansum(sensitivity, axis=1), present.sum(axis=1)),
        "macro_f1": _share(np.nansum(f1, axis=1), present.sum(axis=1)),
    }
    per_class = {
        "sensitivity": sensitivity,
        "specificity": _share(total - support - predicted + hits, total - support),
        "precision": _share(hits, predicted),
        "f1": f1,
    }
    return overall, per_class


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, nan where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> float | None:
    counted = weights > 0
    return _defined(np.average(values[counted], weights=weights[counted].astype(np.float64)))


def _defined(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)


def _canonical_order(image_ids: Sequence[str], images: int) -> np.ndarray:
    if len(image_ids) != images or len(set(image_ids)) != images:
        raise ValueError(f"{len(image_ids)} image ids, {len(set(image_ids))} different, for {images} images")
    return np.argsort(np.asarray(image_ids))


def _checked(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as int64 and probabilities as float64, or say what is wrong with them."""
    classes = len(class_names)
    if classes < 2 or len(set(class_names)) != classes:
        raise ValueError(f"class_names {tuple(class_names)} are not at least two different names")
    if labels.ndim != 1 or len(labels) == 0 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels is {labels.shape} of {labels.dtype}, not (n,) of ints with n > 0")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels spans {labels.min()} to {labels.max()}, not within 0..{classes - 1}")
    if probabilities.shape != (len(labels), classes):
        raise ValueError(f"probabilities is {probabilities.shape}, not {(len(labels), classes)}")
    probabilities = probabilities.astype(np.float64)
    if not np.isfinite(probabilities).all() or probabilities.min() < 0:
        row = int(np.argmax(~(np.isfinite(probabilities) & (probabilities >= 0)).all(axis=1)))
        raise ValueError(f"probabilities of image {row} are {probabilities[row]}: not finite, or below 0")
    sums = probabilities.sum(axis=1)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > 1e-3:
        raise ValueError(f"probabilities of image {worst} sum to {sums[worst]:.6g}, not to 1")
    return labels.astype(np.int64), probabilities
