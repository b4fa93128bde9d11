"""One run's predictions -> what its charts on the page are drawn from: curves, bins, confusions.

Coordinates are whole thousandths of a square with its origin at the top left, as SVG counts; metrics are not
computed here, they are read from the ledger.
"""

import sqlite3
from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.curves import precision_recall_points, reliability, roc_points, thinned
from boneexp.ledger.queries.figures import metric_rows
from boneexp.ledger.queries.predictions import part_predictions
from boneexp.ledger.queries.runs import RunStatus
from boneexp.reports.numbers import Estimate
from boneexp.results import CLASS_NAMES
from boneexp.text.labels import split_label

MOST_POINTS = 100  # of one curve
SIDE = 1000
LARGEST_DOT = 36  # radius of the bin with the most images


@dataclass(frozen=True)
class ClassCurves:
    """One class against the others: SVG paths ("" where undefined), and the ledger's metrics."""

    name: str
    images: int
    roc: str
    precision_recall: str
    chance: int  # height of the precision of predicting this class for every image
    auroc: Estimate
    average_precision: Estimate


@dataclass(frozen=True)
class Dot:
    """One bin of the reliability diagram, and its interval from `top` to `bottom`."""

    x: int
    y: int
    top: int
    bottom: int
    radius: int
    images: int
    confidence: float
    correct: float


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix."""

    images: int
    fraction: float | None  # of the row; None in a row without images

    @property
    def shown(self) -> str:
        """The fraction in per cent."""
        return "–" if self.fraction is None else f"{100 * self.fraction:.1f} %"


@dataclass(frozen=True)
class RunCharts:
    """All that the page draws of one run's test set."""

    row: RunStatus
    metrics: dict[tuple[str, str], Estimate]
    curves: tuple[ClassCurves, ...]
    dots: tuple[Dot, ...]
    confusion: tuple[tuple[Cell, ...], ...]  # true class by predicted class
    images: int

    @property
    def title(self) -> str:
        """The run in words."""
        row = self.row
        return f"Run {row.run}: {row.experiment}, {split_label(row.split)}, seed {row.seed}"

    def figure(self, metric: str, class_name: str = "") -> Estimate:
        """Return a metric of the ledger; an empty one where it has none."""
        return self.metrics.get((metric, class_name), Estimate())


def run_charts(connection: sqlite3.Connection, row: RunStatus) -> RunCharts | None:
    """Return the charts of a run; None where it has no test predictions."""
    rows = part_predictions(connection, row.run, "test")
    if not rows:
        return None
    labels = np.array([each.label for each in rows])
    probabilities = np.array([each.probabilities for each in rows])
    metrics = {
        (each.metric, each.class_name): Estimate(each.value, each.low, each.high)
        for each in metric_rows(connection, row.run)
    }
    return RunCharts(
        row=row,
        metrics=metrics,
        curves=tuple(
            _class_curves(label, labels, probabilities, metrics) for label in range(len(CLASS_NAMES))
        ),
        dots=_dots(labels, probabilities),
        confusion=_confusion(labels, probabilities.argmax(axis=1)),
        images=len(rows),
    )


def _class_curves(
    label: int, labels: np.ndarray, probabilities: np.ndarray, metrics: dict[tuple[str, str], Estimate]
) -> ClassCurves:
    name, positive, scores = CLASS_NAMES[label], labels == label, probabilities[:, label]
    return ClassCurves(
        name=name,
        images=int(positive.sum()),
        roc=_line(thinned(roc_points(positive, scores), MOST_POINTS)),
        precision_recall=_steps(thinned(precision_recall_points(positive, scores), MOST_POINTS)),
        chance=_up(positive.mean()),
        auroc=metrics.get(("auroc", name), Estimate()),
        average_precision=metrics.get(("average_precision", name), Estimate()),
    )


def _line(points: np.ndarray) -> str:
    """Return (k, 2) points as a path of straight lines."""
    return "M" + "L".join(f"{_across(x)} {_up(y)}" for x, y in points) if len(points) else ""


def _steps(points: np.ndarray) -> str:
    """Return (k, 2) points as a path of steps: down or up first, then across."""
    if not len(points):
        return ""
    (x, y), *others = points
    return f"M{_across(x)} {_up(y)}" + "".join(f"V{_up(y)}H{_across(x)}" for x, y in others)


def _dots(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Dot, ...]:
    bins = reliability(labels, probabilities)
    most = max(each.images for each in bins)
    return tuple(
        Dot(
            x=_across(each.confidence),
            y=_up(each.right),
            top=_up(each.high),
            bottom=_up(each.low),
            radius=max(9, round(LARGEST_DOT * (each.images / most) ** 0.5)),
            images=each.images,
            confidence=each.confidence,
            correct=each.right,
        )
        for each in bins
    )


def _confusion(labels: np.ndarray, predicted: np.ndarray) -> tuple[tuple[Cell, ...], ...]:
    classes = range(len(CLASS_NAMES))
    counts = [[int(((labels == true) & (predicted == guess)).sum()) for guess in classes] for true in classes]
    return tuple(tuple(Cell(n, n / sum(row) if sum(row) else None) for n in row) for row in counts)


def _across(fraction: float) -> int:
    return round(SIDE * fraction)


def _up(fraction: float) -> int:
    return round(SIDE * (1 - fraction))
