"""The worst subgroup: whether any falls below the floor by more than chance among so many explains."""

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from boneexp.comparison.predictions import predictions_of_run
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import wilson_interval
from boneexp.evaluation.paired import holm
from boneexp.evaluation.power import correct, design_effect
from boneexp.ledger.queries.experiments import ChosenRun
from boneexp.ledger.queries.predictions import attribute_members
from boneexp.promotion.gate.conditions import Condition
from boneexp.results import CLASS_NAMES
from boneexp.study.decision_settings import PromotionSettings
from boneexp.text.labels import label
from boneexp.text.numbers import counted

CONFIDENCE = 0.95  # of the intervals beside a subgroup's metric
LEVEL = 0.05  # at which any subgroup is found below the floor where none is


@dataclass(frozen=True)
class _Judged:
    """One metric of one subgroup; `effective` is its images divided by their design effect."""

    metric: str
    where: str
    value: float
    images: int
    units: int
    effective: float

    def p_value(self, floor: float) -> float:
        """Return the chance of so few hits or fewer where the true value is the floor."""
        total = math.floor(self.effective)
        return binomial_tail(math.ceil(self.value * total - 1e-9), total, floor)

    def shown(self) -> str:
        """The metric with its interval."""
        low, high = wilson_interval(self.value * self.effective, self.effective, CONFIDENCE)
        return f"{self.value:.3f} ({low:.3f}-{high:.3f}) of {self.images} images, {self.where}"


def worst_subgroups(
    connection: sqlite3.Connection, runs: Sequence[ChosenRun], policy: PromotionSettings
) -> Iterator[Condition]:
    """Yield a condition for each metric that has a floor, over the subgroups of all test parts."""
    floors = {"accuracy": policy.least_accuracy, "malignant_sensitivity": policy.least_malignant_sensitivity}
    found = [each for run in runs for each in _of_run(connection, run, policy.subgroups)]
    for metric, floor in floors.items():
        yield _condition([each for each in found if each.metric == metric], metric, floor, policy)


def binomial_tail(hits: int, total: int, chance: float) -> float:
    """Return the probability of at most `hits` of `total` where each is one with `chance`."""
    terms = (math.comb(total, k) * chance**k * (1 - chance) ** (total - k) for k in range(hits + 1))
    return min(1.0, math.fsum(terms))


def _condition(found: Sequence[_Judged], metric: str, floor: float, policy: PromotionSettings) -> Condition:
    """Judge all subgroups at once; those of too few units are counted, and not judged.

    One fails where its exact one-sided binomial test, adjusted by Holm over all of them, finds it below the
    floor: so a model at the floor everywhere fails in at most 5 %, however many subgroups there are.
    """
    judged = [each for each in found if each.units >= policy.smallest_subgroup]
    smallest = f"fewer than {policy.smallest_subgroup} images or patients"
    few = sum(0 < each.units < policy.smallest_subgroup for each in found)
    left_out = f"; {few} of {smallest} not judged" if few else ""
    name = f"worst-subgroup {metric}"
    asked = f"no subgroup's {label(metric)} lies below {floor:g} by more than chance"
    if not judged:
        return Condition(name, "statistical", asked, None, f"no subgroup is large enough{left_out}")
    adjusted = holm([each.p_value(floor) for each in judged])
    order = sorted(range(len(judged)), key=lambda place: (adjusted[place], judged[place].value))
    below = [judged[place] for place in order if (adjusted[place] or 0) < LEVEL]
    worst = min(judged, key=lambda each: (each.value, -each.images))
    first = below[0] if below else worst
    p_value = adjusted[judged.index(first)]
    also = f"; also below: {', '.join(each.where for each in below[1:])}" if below[1:] else ""
    tested = f"{counted(len(judged), 'subgroup')} judged, p = {p_value:.3f} (one-sided, Holm)"
    return Condition(
        name, "statistical", asked, not below, f"lowest {first.shown()}; {tested}{also}{left_out}"
    )


def _of_run(connection: sqlite3.Connection, run: ChosenRun, attributes: Sequence[str]) -> Iterator[_Judged]:
    """Yield each metric of each subgroup of a run's test part; images of an unknown value form none."""
    predictions = predictions_of_run(connection, run.run, "test")
    positions = {image: position for position, image in enumerate(predictions.image_ids)}
    members: dict[str, list[int]] = {}
    for row in attribute_members(connection, run.run, "test"):
        if row.attribute in attributes and row.value != "not known":
            where = f"{row.attribute} {row.value} ({label(run.split)})"
            members.setdefault(where, []).append(positions[row.image_id])
    malignant = predictions.labels == CLASS_NAMES.index("Malignant")
    for where, images in members.items():
        inside = np.array(images)
        yield from _fraction_correct("accuracy", where, predictions, inside)
        yield from _fraction_correct("malignant_sensitivity", where, predictions, inside[malignant[inside]])


def _fraction_correct(
    metric: str, where: str, predictions: Predictions, images: np.ndarray
) -> Iterator[_Judged]:
    """Yield the fraction of these images that are predicted correctly; nothing where there is none."""
    if not len(images):
        return
    hits = correct(predictions).astype(float)[images]
    groups = predictions.unit_numbers[images]
    yield _Judged(
        metric=metric,
        where=where,
        value=float(hits.mean()),
        images=len(images),
        units=len(np.unique(groups)),
        effective=len(images) / design_effect(hits, groups),
    )
