"""Every pair of experiments on the same images: how large each difference is, and how surprising.

Size, interval and p-value come from one test, the one that fits the figure best: mid-p McNemar and DeLong
where each experiment has one seed, the jackknife for other figures and images in groups, and t over images
and seeds where an experiment has several.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from boneexp.comparison.figure_names import Figure
from boneexp.comparison.predictions import Evaluated
from boneexp.errors import FigureUnknown
from boneexp.evaluation.differences import Model, paired_differences
from boneexp.evaluation.false_claims import false_claim, false_claim_of_test
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.metrics import metric_columns
from boneexp.evaluation.paired import holm
from boneexp.evaluation.power import correct
from boneexp.results import CLASS_NAMES

SEED = 42  # of all draws here, so that two people see the same figures
LEVEL = 0.05
SHARES = ("accuracy", "sensitivity")  # of images, so that counts of them tell which of two is better
DIFFER, NO_DIFFERENCE, NOT_TESTABLE = "differ", "no significant difference", "not testable"
COMPARED = (Figure("accuracy"), Figure("macro_auroc"), Figure("sensitivity", "Malignant"))


@dataclass(frozen=True)
class PairedTest:
    """The second experiment less the first in one figure; None where undefined."""

    split: str
    part: str
    figure: str
    first: str
    second: str
    images: int  # that the figure rests on: those of the class for its sensitivity
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    test: str
    adjusted_p: float | None  # Holm over the pairs in this figure on this split
    false_claim: float | None = None  # that the one with the higher figure is not the better one

    @property
    def is_significant(self) -> bool:
        """Whether the adjusted p-value is below 0.05."""
        return self.adjusted_p is not None and self.adjusted_p < LEVEL

    def flipped(self) -> "PairedTest":
        """Return the same test with the experiments the other way round."""
        value, low, high = (
            (None if end is None else 0.0 - end) for end in (self.difference, self.high, self.low)
        )
        return replace(self, first=self.second, second=self.first, difference=value, low=low, high=high)

    @property
    def is_testable(self) -> bool:
        """Whether there is a p-value; without one nothing is known, which is no tie."""
        return self.adjusted_p is not None

    @property
    def verdict(self) -> str:
        """One of DIFFER, NO_DIFFERENCE and NOT_TESTABLE."""
        if not self.is_testable:
            return NOT_TESTABLE
        return DIFFER if self.is_significant else NO_DIFFERENCE


def paired_tests(
    evaluated: Evaluated,
    figures: Sequence[Figure] = COMPARED,
    *,
    part: str = "test",
    splits: Sequence[str] | None = None,
    against: str | None = None,
) -> tuple[PairedTest, ...]:
    """Return every pair's difference in every figure; the family of Holm is all pairs in it on one split.

    Args:
        evaluated: the runs.
        figures: of `boneexp.evaluation.metrics`.
        part: "val" or "test".
        splits: those to compare on; None for all.
        against: the one experiment that the others are held against, as the second; None for every pair.

    Returns:
        By figure, then split, then pair. Pairs of which one has no run on a split are left out.

    Raises:
        FigureUnknown: a figure rests on thresholds or a temperature, for which there is no paired test.
    """
    for figure in figures:
        if (figure.metric, figure.class_name) not in metric_columns(CLASS_NAMES):
            raise FigureUnknown(f"there is no paired test of {figure.name}; take one such as accuracy")
    tests = [
        test
        for split in (evaluated.splits if splits is None else splits)
        for test in _tests_of_split(evaluated, figures, (split, part), against)
    ]
    return tuple(
        adjusted
        for figure in figures
        for split in evaluated.splits
        for adjusted in _adjusted([t for t in tests if (t.figure, t.split) == (figure.name, split)])
    )


def pairs_of(experiments: Sequence[str], against: str | None) -> list[tuple[str, str]]:
    """Return the pairs to compare: all of them, or each experiment with the one that it is held against."""
    if against is None:
        return list(combinations(experiments, 2))
    return [(name, against) for name in experiments if name != against]


def _tests_of_split(
    evaluated: Evaluated, figures: Sequence[Figure], where: tuple[str, str], against: str | None
) -> list[PairedTest]:
    split, part = where
    runs = {name: evaluated.of(name, split) for name in evaluated.experiments}
    models = {name: Model(tuple(run.parts[part] for run in of)) for name, of in runs.items() if of}
    if against is not None and against not in models:
        return []
    columns = [(figure.metric, figure.class_name) for figure in figures]
    found = []
    for first, second in pairs_of(list(models), against):
        tests = paired_differences(
            models[first],
            models[second],
            columns,
            seed=SEED,
            swaps=evaluated.resamples,
            confidence=evaluated.confidence,
        )
        for figure, column in zip(figures, columns, strict=True):
            test, images = tests[column], _images(models[first].runs[0], figure)
            about = (split, part, figure.name, first, second, images)
            estimate = (test.value, test.low, test.high, test.p_value, test.test)
            wrong = _false_claim(models[first].runs, models[second].runs, figure, test.p_value)
            found.append(PairedTest(*about, *estimate, None, wrong))
    return found


def _false_claim(
    first: Sequence[Predictions], second: Sequence[Predictions], figure: Figure, p_value: float | None
) -> float | None:
    """Return the probability that the one with the higher figure is not the better one.

    From counts where they tell it all: one run of each, independent images, a share of images.
    """
    one, other = first[0], second[0]
    if len(first) > 1 or len(second) > 1 or one.groups is not None or figure.metric not in SHARES:
        return false_claim_of_test(p_value)
    images = np.ones(len(one.labels), bool)
    if figure.class_name:
        images = one.labels == one.class_names.index(figure.class_name)
    right = correct(one)[images], correct(other)[images]
    counts = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return false_claim(*counts) if images.any() else None


def _images(predictions: Predictions, figure: Figure) -> int:
    of_class = [name == figure.class_name for name in predictions.class_names]
    own = int(np.take(of_class, predictions.labels).sum())
    return {"sensitivity": own, "specificity": len(predictions.labels) - own}.get(
        figure.metric, len(predictions.labels)
    )


def _adjusted(tests: Sequence[PairedTest]) -> list[PairedTest]:
    p_values = holm([test.p_value for test in tests])
    return [replace(test, adjusted_p=p) for test, p in zip(tests, p_values, strict=True)]
