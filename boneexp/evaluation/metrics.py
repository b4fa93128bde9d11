"""Every metric of a model's probabilities, computed for weighted images.

A weight is how often a resample drew an image. `metric_matrix` takes many resamples at once, and the
metric itself is the same computation with every weight one. What is undefined is nan inside and None
outside, never a made-up 0.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from boneexp.evaluation.bca import acceleration, bca_interval, leave_one_out_blocks
from boneexp.evaluation.calibration import calibration_cells, calibration_metrics
from boneexp.evaluation.confusions import confusion_cells, confusion_metrics
from boneexp.evaluation.estimates import Ends, analytic_intervals
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.ranks import left_out_ranked, ranked_metrics
from boneexp.evaluation.statistics import percentile_interval, resample_blocks
from boneexp.results import MetricValue

OVERALL = (
    "accuracy",
    "balanced_accuracy",
    "macro_auroc",
    "macro_f1",
    "matthews_correlation",
    "log_loss",
    "brier_score",
    "expected_calibration_error",
)
PER_CLASS = ("auroc", "average_precision", "sensitivity", "specificity", "precision", "f1")
RANKED = ("macro_auroc", "auroc", "average_precision")  # need a sort per class: most of the cost
LOWER_IS_BETTER = ("log_loss", "brier_score", "expected_calibration_error")
# Resampling adds to it what sampling has added already: its intervals missed the truth nearly every time
# (benchmarks/results/calibration.md).
WITHOUT_INTERVAL = ("expected_calibration_error",)
METHODS = ("analytic", "percentile", "bca")

BLOCK_CELLS = 50_000  # resamples x images worked on at once: small enough for the processor's cache


def evaluated(
    predictions: Predictions,
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "analytic",
) -> tuple[MetricValue, ...]:
    """Return every metric with its interval and the name of the interval's method.

    First OVERALL with class_name "", then PER_CLASS for each class. The predicted class is the most
    probable one, the first of equals.

    Args:
        predictions: of one set of images.
        seed: of the resamples, an int >= 0; the analytic intervals draw none.
        resamples: how many; with 0 every bootstrap interval is None.
        confidence: of the intervals.
        method: one of METHODS; "analytic" is that of each metric in `boneexp.evaluation.estimates`.

    Returns:
        len(OVERALL) + classes * len(PER_CLASS) values. None where undefined: a class's sensitivity, F1,
        average precision and AUROC without an image of the class, its specificity and AUROC without one of
        another, its precision where nothing is predicted as the class. Balanced accuracy and macro F1 are
        means over the classes present; macro AUROC (one-vs-rest) is None unless every class is present; the
        Matthews correlation is None if all images are of one class or are predicted as one. Where
        scikit-learn defines a metric otherwise: docs/statistics.md.

    Raises:
        ValueError: seed, resamples, confidence or method are not as described above.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, not one of {METHODS}")
    columns, values = metric_columns(predictions.class_names), metrics_of(predictions)
    intervals: Iterable[Ends]
    if method == "analytic":
        left_out = left_out_metrics(predictions)
        intervals = analytic_intervals(predictions, columns, values, left_out, confidence)
    else:
        drawn = resampled_metrics(predictions, resamples, seed)
        intervals = _bootstrap_intervals(predictions, values, drawn, confidence, method)
    named = zip(columns, values, intervals, strict=True)
    return tuple(
        MetricValue(*name, defined(value), low, high, method) for name, value, (low, high, method) in named
    )


def _bootstrap_intervals(
    predictions: Predictions, values: np.ndarray, drawn: np.ndarray, confidence: float, method: str
) -> Iterator[Ends]:
    intervals = percentile_intervals(predictions.class_names, drawn, confidence)
    if method == "bca":
        skews = accelerations(predictions)
        intervals = [
            bca_interval(column, value, skew, confidence) if percentiles != (None, None) else percentiles
            for column, value, skew, percentiles in zip(drawn.T, values, skews, intervals, strict=True)
        ]
    for low, high in intervals:
        yield low, high, "" if low is None else method


def percentile_intervals(
    class_names: Sequence[str], drawn: np.ndarray, confidence: float
) -> list[tuple[float | None, float | None]]:
    """Return the percentile interval of every metric, of (resamples, m) floats; none for WITHOUT_INTERVAL."""
    intervals = [percentile_interval(column, confidence) for column in drawn.T]
    return [
        (None, None) if metric in WITHOUT_INTERVAL else interval
        for (metric, _), interval in zip(metric_columns(class_names), intervals, strict=True)
    ]


def metrics_of(predictions: Predictions) -> np.ndarray:
    """Return every metric of the images as they are, (m,) floats in the order of `metric_columns`."""
    once = np.ones((1, len(predictions.labels)), np.int32)
    values: np.ndarray = metric_matrix(predictions.labels, predictions.probabilities, once)[0]
    return values


def resampled_metrics(
    predictions: Predictions, resamples: int, seed: int, *, ranked: bool = True
) -> np.ndarray:
    """Return every metric of every resample, (resamples, m) floats in the order of `metric_columns`.

    Two models' predictions of the same images give the same draws for the same seed: subtract and the
    comparison is paired. Without `ranked` the columns of RANKED are nan, at a third of the time.

    Raises:
        ValueError: as `boneexp.evaluation.statistics.resample_blocks`.
    """
    blocks = resample_blocks(predictions.unit_numbers, resamples, seed, _rows(predictions.labels))
    return _stacked(predictions, blocks, ranked)


def left_out_metrics(predictions: Predictions) -> np.ndarray:
    """Return every metric without each image, or without each group of images, (units, m) floats."""
    labels, probabilities = predictions.labels, predictions.probabilities
    if predictions.groups is not None:
        return _stacked(predictions, leave_one_out_blocks(predictions.unit_numbers, _rows(labels)))
    cells = _cells(labels, probabilities)
    ranks = [left_out_ranked(labels == label, column) for label, column in enumerate(probabilities.T)]
    return _table(cells.sum(axis=0) - cells, np.full(len(labels), len(labels) - 1), np.array(ranks))


def accelerations(predictions: Predictions) -> list[float]:
    """Return the acceleration of every metric, for BCa intervals, in the order of `metric_columns`."""
    return [acceleration(column) for column in left_out_metrics(predictions).T]


def metric_columns(class_names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (metric, class name) of each column of `metric_matrix`; the class name is "" for OVERALL."""
    overall = tuple((metric, "") for metric in OVERALL)
    return overall + tuple((metric, name) for name in class_names for metric in PER_CLASS)


def metric_matrix(
    labels: np.ndarray,
    probabilities: np.ndarray,
    counts: np.ndarray,
    scores: np.ndarray | None = None,
    *,
    ranked: bool = True,
) -> np.ndarray:
    """Compute every metric for every row of weights; the cost is one sort per class, then sums.

    Args:
        labels: (n,) ints in [0, classes).
        probabilities: (n, classes) floats in [0, 1].
        counts: (b, n) ints >= 0, the weight of each image in each of b resamples.
        scores: (n, classes) floats that rank the images within a class, where not the probabilities do.
        ranked: False to leave the metrics of RANKED out, as nan.

    Returns:
        (b, m) floats, nan where undefined; the columns are those of `metric_columns`.

    Source: AUROC as the Mann-Whitney statistic with ties counted half (Hanley and McNeil, Radiology 1982);
    average precision as scikit-learn defines it, the step-wise sum of precision over recall gained.
    """
    classes = probabilities.shape[1]
    ranks = np.full((classes, 2, len(counts)), np.nan)
    for label, column in enumerate((probabilities if scores is None else scores).T if ranked else ()):
        ranks[label] = ranked_metrics(labels == label, column, counts)
    sums = counts.astype(np.float64) @ _cells(labels, probabilities)
    return _table(sums, counts.sum(axis=1), ranks)


def _cells(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return what each image adds to the sums of which all but the metrics of RANKED are made."""
    classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    return np.hstack((confusion_cells(labels, predicted, classes), calibration_cells(labels, probabilities)))


def _table(sums: np.ndarray, total: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return (b, m) metrics of (b, cells) sums, (b,) numbers of images, and (classes, 2, b) of RANKED."""
    classes = len(ranks)
    overall, per_class = confusion_metrics(sums[:, : classes**2].reshape(-1, classes, classes))
    overall |= calibration_metrics(sums[:, classes**2 :], total)
    per_class["auroc"], per_class["average_precision"] = ranks.transpose(1, 2, 0)
    overall["macro_auroc"] = per_class["auroc"].mean(axis=1)
    table = np.stack([per_class[metric] for metric in PER_CLASS], axis=2)  # (b, classes, metrics)
    return np.column_stack([*(overall[metric] for metric in OVERALL), table.reshape(len(sums), -1)])


def _stacked(predictions: Predictions, blocks: Iterable[np.ndarray], ranked: bool = True) -> np.ndarray:
    """Return `metric_matrix` of blocks of counts, one under the other."""
    images = predictions.labels, predictions.probabilities
    found = [metric_matrix(*images, counts, ranked=ranked) for counts in blocks]
    columns = len(metric_columns(predictions.class_names))
    return np.concatenate([np.empty((0, columns)), *found])


def _rows(labels: np.ndarray) -> int:
    return max(BLOCK_CELLS // len(labels), 1)


def defined(value: np.float64 | float) -> float | None:
    """Return a float, or None for nan."""
    return None if np.isnan(value) else float(value)
