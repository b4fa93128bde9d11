"""Confusion matrices, and the metrics that follow from them, for many matrices at once."""

from collections.abc import Sequence

import numpy as np

from boneexp.evaluation.ranks import ratio

Report = dict[str, dict[str, float | None] | float]  # class, average or "accuracy" -> its metrics


def confusion_cells(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return what each image adds to the flattened confusion matrix, (n, classes²) floats 0 or 1."""
    cells = np.zeros((len(labels), classes * classes))
    cells[np.arange(len(labels)), labels * classes + predicted] = 1
    return cells


def confusion_metrics(sums: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what (b, classes, classes) confusion matrices tell: (b,) overall, (b, classes) per class.

    Means are over the classes present. scikit-learn's macro F1 counts a class that is predicted and absent as
    0, and it says 0 where nan stands here: see docs/statistics.md.
    """
    hits = np.diagonal(sums, axis1=1, axis2=2)
    support, predicted = sums.sum(axis=2), sums.sum(axis=1)
    total = support.sum(axis=1, keepdims=True)
    present = support > 0
    sensitivity = ratio(hits, support)
    f1 = ratio(2 * hits, np.where(present, support + predicted, 0))
    overall = {
        "accuracy": ratio(hits.sum(axis=1), total[:, 0]),
        "balanced_accuracy": ratio(np.nansum(sensitivity, axis=1), present.sum(axis=1)),
        "macro_f1": ratio(np.nansum(f1, axis=1), present.sum(axis=1)),
        "matthews_correlation": _matthews(hits.sum(axis=1), support, predicted),
    }
    per_class = {
        "sensitivity": sensitivity,
        "specificity": ratio(total - support - predicted + hits, total - support),
        "precision": ratio(hits, predicted),
        "f1": f1,
    }
    return overall, per_class


def _matthews(hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the Matthews correlation over all classes, (b,) floats; nan where truth or calls do not vary.

    Source: Gorodkin, Computational Biology and Chemistry 2004; scikit-learn says 0 where this says nan.
    """
    total = support.sum(axis=1)
    together = hits * total - (support * predicted).sum(axis=1)
    apart = (total**2 - (support**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1))
    return ratio(together, np.sqrt(apart))


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return scikit-learn's confusion matrix, (classes, classes) ints: true class by predicted class."""
    from sklearn.metrics import confusion_matrix as counted  # takes half as long to import as torch

    matrix: np.ndarray = counted(labels, predicted, labels=range(classes))
    return matrix


def classification_report(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Report:
    """Return scikit-learn's classification report; None in the place of what is undefined.

    An average is None, too, where a class that occurs has no value: passing over a class that is never
    predicted would flatter the mean precision.

    Args:
        labels: (n,) ints, positions in `class_names`, n > 0.
        predicted: (n,) ints likewise.
        class_names: of all classes, whether they occur or not.
    """
    from sklearn.metrics import classification_report as reported

    report = reported(
        labels,
        predicted,
        labels=range(len(class_names)),
        target_names=class_names,
        output_dict=True,
        zero_division=np.nan,
    )
    occurring = [report[name] for name in class_names if report[name]["support"]]
    for average in ("macro avg", "weighted avg"):
        report[average] |= {key: each[key] for each in occurring for key in each if np.isnan(each[key])}
    return {name: _defined(value) for name, value in report.items()}


def _defined(value: dict[str, float] | float) -> dict[str, float | None] | float:
    if not isinstance(value, dict):
        return value
    return {name: None if np.isnan(number) else number for name, number in value.items()}
