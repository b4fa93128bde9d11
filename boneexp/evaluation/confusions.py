"""Who is called what: everything a confusion matrix tells, for many of them at once."""

import numpy as np

from boneexp.evaluation.ranks import share_of


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
    sensitivity = share_of(hits, support)
    f1 = share_of(2 * hits, np.where(present, support + predicted, 0))
    overall = {
        "accuracy": share_of(hits.sum(axis=1), total[:, 0]),
        "balanced_accuracy": share_of(np.nansum(sensitivity, axis=1), present.sum(axis=1)),
        "macro_f1": share_of(np.nansum(f1, axis=1), present.sum(axis=1)),
        "matthews_correlation": _matthews(hits.sum(axis=1), support, predicted),
    }
    per_class = {
        "sensitivity": sensitivity,
        "specificity": share_of(total - support - predicted + hits, total - support),
        "precision": share_of(hits, predicted),
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
    return share_of(together, np.sqrt(apart))
