"""Figures of some of the images: a centre, a body region, an age band. The fewer, the less is said."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.inputs import Predictions, some_of
from boneexp.evaluation.intervals import FEW
from boneexp.evaluation.metrics import evaluated
from boneexp.results import MetricValue

ALL = "all classes"
FEWEST = 10  # images below which a subgroup's figures are not shown


@dataclass(frozen=True)
class Subgroup:
    """One subgroup of a part; `values` is empty where there are too few images."""

    name: str
    images: int
    class_images: tuple[int, ...]  # in the order of the classes
    values: tuple[MetricValue, ...]
    few: tuple[str, ...]  # classes with some images but fewer than FEW; ALL first where it has so few in all


def subgroups(
    predictions: Predictions,
    members: Mapping[str, Collection[str]],
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "percentile",
    fewest: int = FEWEST,
) -> tuple[Subgroup, ...]:
    """Return every metric within each subgroup, with intervals of draws within it.

    Subgroups may overlap (an image can show two body regions) and need not cover all images. Below `fewest`
    images nothing but their number is given; a class's figures need that many images of the class, and its
    specificity that many of others.

    Args:
        predictions: of one part, with image ids.
        members: subgroup -> ids of its images; ids that are not in the part are passed over.
        seed: of the resamples, an int >= 0.
        resamples: how many; with 0 every interval is None.
        confidence: the share that an interval covers.
        method: of the intervals, as `boneexp.evaluation.metrics.evaluate` has them.
        fewest: at least 1.

    Returns:
        The subgroups in the order of `members`, those without an image included.

    Raises:
        ValueError: there are no ids, `fewest` is below 1, or settings are not as said above.
    """
    if not predictions.image_ids or fewest < 1:
        raise ValueError(f"{len(predictions.image_ids)} image ids, fewest {fewest}: each must be at least 1")
    found = []
    for name, ids in members.items():
        inside = np.isin(predictions.image_ids, list(ids))
        counts = np.bincount(predictions.labels[inside], minlength=len(predictions.class_names))
        values: tuple[MetricValue, ...] = ()
        if inside.sum() >= fewest:
            part = some_of(predictions, inside)
            values = evaluated(part, seed=seed, resamples=resamples, confidence=confidence, method=method)
        named = dict(zip(predictions.class_names, counts.tolist(), strict=True))
        found.append(_subgroup(name, named, values, fewest))
    return tuple(found)


def _subgroup(name: str, counts: Mapping[str, int], values: tuple[MetricValue, ...], fewest: int) -> Subgroup:
    images = sum(counts.values())
    shown = tuple(
        value
        if _images_behind(value, counts) >= fewest
        else MetricValue(value.metric, value.class_name, None, None, None)
        for value in values
    )
    few = tuple(each for each, count in {ALL: images, **counts}.items() if 0 < count < FEW)
    return Subgroup(name, images, tuple(counts.values()), shown, few)


def _images_behind(value: MetricValue, counts: Mapping[str, int]) -> int:
    """Return how many images a figure rests on: those of its class, or of the others, or all."""
    images = sum(counts.values())
    if not value.class_name:
        return images
    own = counts[value.class_name]
    return images - own if value.metric == "specificity" else own
