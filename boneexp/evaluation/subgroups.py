"""Metrics of some of the images: a centre, a body region, an age band. What rests on few is not shown."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from boneexp.evaluation.inputs import Predictions, some_of
from boneexp.evaluation.intervals import FEW
from boneexp.evaluation.metrics import OVERALL, PER_CLASS, evaluated
from boneexp.results import MetricValue

ALL = "all classes"
FEWEST = 10  # units (groups where they are known, or images) below which a metric is not shown
FEWEST_NEEDED = (
    f"A metric is shown where it rests on {FEWEST} images or more (patients, where groups are known): a "
    "sensitivity on those of the class, a specificity on the others, a precision on those predicted so, an "
    "AUROC on both sides, a macro AUROC on each class"
)


@dataclass(frozen=True)
class Subgroup:
    """One subgroup of a part; `values` is empty where there are too few images."""

    name: str
    images: int
    class_images: tuple[int, ...]  # in the order of the classes
    values: tuple[MetricValue, ...]
    few: tuple[str, ...]  # classes with some units but fewer than FEW; ALL first where it has so few in all


def subgroups(
    predictions: Predictions,
    members: Mapping[str, Collection[str]],
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "analytic",
    fewest: int = FEWEST,
) -> tuple[Subgroup, ...]:
    """Return every metric within each subgroup, with intervals of its own images.

    Subgroups may overlap (an image can show two body regions) and need not cover all images. A metric is
    given where it rests on at least `fewest` units (`support`); below that many in all, nothing but the
    number of images is.

    Args:
        predictions: of one part, with image ids.
        members: subgroup -> ids of its images; ids that are not in the part are passed over.
        seed: of the resamples, an int >= 0.
        resamples: how many; with 0 every interval is None.
        confidence: of the intervals.
        method: of the intervals, as `boneexp.evaluation.metrics.evaluate` has them.
        fewest: at least 1.

    Returns:
        The subgroups in the order of `members`, those without an image included.

    Raises:
        ValueError: there are no ids, `fewest` is below 1, or settings are not as described above.
    """
    if not predictions.image_ids or fewest < 1:
        raise ValueError(f"{len(predictions.image_ids)} image ids, fewest {fewest}: each must be at least 1")
    evaluate = partial(evaluated, seed=seed, resamples=resamples, confidence=confidence, method=method)
    return tuple(_subgroup(predictions, name, ids, fewest, evaluate) for name, ids in members.items())


def support(predictions: Predictions) -> dict[tuple[str, str], int]:
    """Return on how many units each metric rests: groups where images have any, else images.

    Those of the class for its sensitivity and F1, the others for its specificity, those predicted so
    for its precision, the fewer of both for AUROC and average precision, those of the smallest class for a
    mean over classes. By (metric, class name), as `metric_columns` names them.
    """
    units, predicted = predictions.unit_numbers, predictions.probabilities.argmax(axis=1)

    def counted(images: np.ndarray) -> int:
        return len(np.unique(units[images]))

    found: dict[tuple[str, str], int] = {}
    sides = []
    for label, name in enumerate(predictions.class_names):
        own = predictions.labels == label
        positives, negatives = counted(own), counted(~own)
        sides.append((positives, negatives))
        behind = {
            "sensitivity": positives,
            "f1": positives,
            "specificity": negatives,
            "precision": counted(predicted == label),
        }
        found |= {(metric, name): behind.get(metric, min(positives, negatives)) for metric in PER_CLASS}
    everything = counted(np.ones(len(units), bool))
    present = min(positives for positives, _ in sides if positives)
    smallest = {"macro_auroc": min(map(min, sides)), "balanced_accuracy": present, "macro_f1": present}
    return found | {(metric, ""): smallest.get(metric, everything) for metric in OVERALL}


def _subgroup(
    predictions: Predictions,
    name: str,
    ids: Collection[str],
    fewest: int,
    evaluate: Callable[[Predictions], tuple[MetricValue, ...]],
) -> Subgroup:
    inside = np.isin(predictions.image_ids, list(ids))
    images = np.bincount(predictions.labels[inside], minlength=len(predictions.class_names)).tolist()
    if not inside.any():
        return Subgroup(name, 0, tuple(images), (), ())
    part = some_of(predictions, inside)
    units = part.unit_numbers
    counts = {ALL: len(np.unique(units))} | {
        each: len(np.unique(units[part.labels == label])) for label, each in enumerate(part.class_names)
    }
    values: tuple[MetricValue, ...] = ()
    if counts[ALL] >= fewest:
        behind = support(part)
        values = tuple(
            value
            if behind[value.metric, value.class_name] >= fewest
            else MetricValue(value.metric, value.class_name, None, None, None)
            for value in evaluate(part)
        )
    few = tuple(each for each, count in counts.items() if 0 < count < FEW)
    return Subgroup(name, int(inside.sum()), tuple(images), values, few)
