"""Every pair of experiments on the same images: how large each difference is, and how surprising.

The size and its interval come from the paired bootstrap, the p-value from the sharpest test that fits: exact
McNemar and DeLong where images are independent and each experiment has one seed, swaps of the two models'
answers where images come in groups or the figure has no test of its own. Where an experiment has several
seeds, interval and p-value are of t over images and seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from boneexp.analysis.evaluated import Evaluated
from boneexp.analysis.figures import Figure
from boneexp.errors import FigureUnknown
from boneexp.evaluation.differences import Drawn, differences_of_drawn, drawn_figures, permuted_differences
from boneexp.evaluation.false_claims import false_claim, false_claim_of_test
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import t_interval
from boneexp.evaluation.metrics import RANKED, figures_of, metric_columns
from boneexp.evaluation.paired import ROUNDING, Difference, delong_differences, holm, mcnemar_differences
from boneexp.evaluation.power import correct
from boneexp.evaluation.seeds import seeded_difference
from boneexp.evaluation.student import two_sided_p
from boneexp.results import CLASS_NAMES

SEED = 42  # of all draws here, so that two people see the same figures
LEVEL = 0.05
SHARES = ("accuracy", "sensitivity")  # of images, so that counts of them tell which of two is better
SEED_TEST = "t over images and seeds"
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
    models = {name: [run.parts[part] for run in of] for name, of in runs.items() if of}
    if against is not None and against not in models:
        return []
    ranked = any(figure.metric in RANKED for figure in figures)
    drawn = {name: drawn_figures(of, evaluated.resamples, SEED, ranked=ranked) for name, of in models.items()}
    found = []
    for first, second in pairs_of(list(models), against):
        tests = _p_values(models[first], models[second], figures, evaluated.resamples)
        sizes = _sizes(drawn[first], drawn[second], evaluated.confidence)
        if len(models[first]) + len(models[second]) > 2:
            both = (models[first], models[second]), (drawn[first], drawn[second])
            sizes |= {figure: over_seeds(figure, *both, evaluated.confidence) for figure in figures}
        for figure in figures:
            size = sizes[figure]
            p_value, test = tests.get(figure, (size.p_value, size.test))
            estimate = (size.value, size.low, size.high)
            about = (split, part, figure.name, first, second, _images(models[first][0], figure))
            wrong = _false_claim(models[first], models[second], figure, p_value)
            found.append(PairedTest(*about, *estimate, p_value, test, None, wrong))
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


def over_seeds(
    figure: Figure,
    models: tuple[Sequence[Predictions], Sequence[Predictions]],
    drawn: tuple[Drawn, Drawn],
    confidence: float,
) -> Difference:
    """Return a difference between two recipes of which one has several seeds, with t over images and seeds.

    Other images and other seeds would both give another difference; the interval and the p-value are of the
    sum of their variances, so that they agree. None where there is no spread and yet a difference.
    """
    column = metric_columns(CLASS_NAMES).index((figure.metric, figure.class_name))
    seeds = [[float(figures_of(run)[column]) for run in of] for of in models]
    resampled = drawn[1].resampled[:, column] - drawn[0].resampled[:, column]
    known = resampled[~np.isnan(resampled)]
    name = (figure.metric, figure.class_name)
    if np.isnan(seeds[0]).any() or np.isnan(seeds[1]).any() or 2 * len(known) < len(resampled):
        return Difference(*name, None, None, None, None, SEED_TEST)
    units = int(models[0][0].unit_numbers.max()) + 1
    one, other = seeds
    value, error, freedom = seeded_difference(one, other, float(known.std(ddof=1)), units)
    if error < ROUNDING:
        return Difference(*name, value, None, None, 1.0 if abs(value) < ROUNDING else None, SEED_TEST)
    low, high = t_interval(value, error, freedom, confidence)
    return Difference(*name, value, low, high, two_sided_p(value / error, freedom), SEED_TEST)


def _images(predictions: Predictions, figure: Figure) -> int:
    of_class = [name == figure.class_name for name in predictions.class_names]
    own = int(np.take(of_class, predictions.labels).sum())
    return {"sensitivity": own, "specificity": len(predictions.labels) - own}.get(
        figure.metric, len(predictions.labels)
    )


def _sizes(first: Drawn, second: Drawn, confidence: float) -> dict[Figure, Difference]:
    differences = differences_of_drawn(first, second, confidence)
    return {Figure(each.metric, each.class_name): each for each in differences}


def _p_values(
    first: Sequence[Predictions], second: Sequence[Predictions], figures: Sequence[Figure], swaps: int
) -> dict[Figure, tuple[float | None, str]]:
    """Return the p-value and the test of each figure; none where there are several seeds."""
    if len(first) > 1 or len(second) > 1:
        return {}
    one, other = first[0], second[0]
    found: list[Difference] = []
    if one.groups is None:
        found = [*mcnemar_differences(one, other), *delong_differences(one, other)]
    exact = {Figure(each.metric, each.class_name): (each.p_value, each.test) for each in found}
    if not all(figure in exact for figure in figures):
        swapped = permuted_differences(one, other, seed=SEED, permutations=swaps)
        exact = {Figure(e.metric, e.class_name): (e.p_value, e.test) for e in swapped} | exact
    return exact


def _adjusted(tests: Sequence[PairedTest]) -> list[PairedTest]:
    p_values = holm([test.p_value for test in tests])
    return [replace(test, adjusted_p=p) for test, p in zip(tests, p_values, strict=True)]
