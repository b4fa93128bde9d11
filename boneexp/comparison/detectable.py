"""What the test parts can show at all: the smallest difference found with 80 % power."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from boneexp.comparison.predictions import Evaluated
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.power import (
    correct,
    design_effect,
    error_of,
    least_difference,
    least_paired_difference,
    macro_auroc_influence,
)
from boneexp.evaluation.reported import WANTED_CLASS
from boneexp.results import COMPARED, Metric


@dataclass(frozen=True)
class Detectable:
    """The smallest difference between two models that one part shows in one metric; None where none is."""

    split: str
    figure: str
    images: int  # that the metric rests on
    pairs: int  # of experiments whose agreement it is from; 0 where one experiment stands alone
    difference: float | None


def detectable_differences(evaluated: Evaluated, part: str = "test") -> tuple[Detectable, ...]:
    """Return the smallest difference shown with 80 % power, two-sided at 5 %, one comparison, by split.

    How much two models agree decides it: taken from all pairs of experiments, of several seeds the run with
    the lowest validation loss. With one experiment two models are taken to err independently of each other,
    the least favourable case.
    """
    found = []
    for split in evaluated.splits:
        models = [run.parts[part] for name in evaluated.experiments for run in evaluated.of(name, split)[:1]]
        if models:
            found += [_detectable(split, metric, models) for metric in COMPARED]
    return tuple(found)


def _detectable(split: str, metric: Metric, models: Sequence[Predictions]) -> Detectable:
    pairs = len(models) * (len(models) - 1) // 2
    if metric.name == "macro_auroc":
        return Detectable(split, metric.key, len(models[0].labels), pairs, _of_areas(models))
    images = np.ones(len(models[0].labels), bool)
    if metric.class_name:
        images = models[0].labels == models[0].class_names.index(WANTED_CLASS)
    difference = _of_proportions([correct(model)[images].astype(float) for model in models], models, images)
    return Detectable(split, metric.key, int(images.sum()), pairs, difference)


def _of_proportions(
    correct_images: Sequence[np.ndarray], models: Sequence[Predictions], images: np.ndarray
) -> float | None:
    if not images.any():
        return None
    units = models[0].unit_numbers[images]
    if len(correct_images) == 1:
        fraction = float(correct_images[0].mean())
        apart, effect = 2 * fraction * (1 - fraction), design_effect(correct_images[0], units)
    else:
        differences = [second - first for first, second in combinations(correct_images, 2)]
        apart = float(np.mean([np.abs(each).mean() for each in differences]))
        effect = float(np.mean([design_effect(each, units) for each in differences]))
    return least_paired_difference(images.sum() / effect, apart)


def _of_areas(models: Sequence[Predictions]) -> float | None:
    influences = [macro_auroc_influence(model) for model in models]
    known = [each for each in influences if each is not None]
    if len(known) < len(influences):
        return None
    units = models[0].unit_numbers
    if len(known) == 1:
        return least_difference(2**0.5 * error_of(known[0], units))
    squares = [error_of(second - first, units) ** 2 for first, second in combinations(known, 2)]
    return least_difference(float(np.mean(squares)) ** 0.5)
