"""Every pair of experiments on the same images: how large each difference is, and how surprising.

Size, interval and p-value come from one test, the one that fits the metric best: mid-p McNemar and DeLong
where each experiment has one seed, the jackknife for other metrics and images in groups, and t over images
and seeds where an experiment has several.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from boneexp.comparison.predictions import Evaluated
from boneexp.errors import MetricUnknown
from boneexp.evaluation.differences import Model, paired_differences
from boneexp.evaluation.false_claims import false_claim, false_claim_of_test
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.metrics import metric_columns
from boneexp.evaluation.paired import holm
from boneexp.evaluation.power import correct
from boneexp.results import CLASS_NAMES, COMPARED, Metric

SEED = 42  # of all draws here, so that two people see the same numbers
LEVEL = 0.05
PROPORTIONS = ("accuracy", "sensitivity")  # of images, so that counts of them tell which of two is better
DIFFER, NO_DIFFERENCE, NOT_TESTABLE = "differ", "no significant difference", "not testable"


@dataclass(frozen=True)
class PairedTest:
    """The second experiment less the first in one metric; None where undefined."""

    split: str
    part: str
    figure: str
    first: str
    second: str
    images: int  # that the metric rests on: those of the class for its sensitivity
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    test: str
    adjusted_p: float | None  # Holm over the pairs in this metric on this split
    false_claim: float | None = None  # that the one with the higher value is not the better one

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
    metrics: Sequence[Metric] = COMPARED,
    *,
    part: str = "test",
    splits: Sequence[str] | None = None,
) -> tuple[PairedTest, ...]:
    """Return every pair's difference in every metric; the family of Holm is all pairs in it on one split.

    Args:
        evaluated: the runs.
        metrics: of `boneexp.evaluation.metrics`.
        part: "val" or "test".
        splits: those to compare on; None for all.

    Returns:
        By metric, then split, then pair. Pairs of which one has no run on a split are left out.

    Raises:
        MetricUnknown: a metric rests on thresholds or a temperature, for which there is no paired test.
    """
    for metric in metrics:
        if (metric.name, metric.class_name) not in metric_columns(CLASS_NAMES):
            raise MetricUnknown(f"there is no paired test of {metric.key}; take one such as accuracy")
    tests = [
        test
        for split in (evaluated.splits if splits is None else splits)
        for test in _tests_of_split(evaluated, metrics, split, part)
    ]
    return tuple(
        adjusted
        for metric in metrics
        for split in evaluated.splits
        for adjusted in _adjusted([t for t in tests if (t.figure, t.split) == (metric.key, split)])
    )


def _tests_of_split(
    evaluated: Evaluated, metrics: Sequence[Metric], split: str, part: str
) -> list[PairedTest]:
    runs = {name: evaluated.of(name, split) for name in evaluated.experiments}
    models = {name: Model(tuple(run.parts[part] for run in of)) for name, of in runs.items() if of}
    columns = [(metric.name, metric.class_name) for metric in metrics]
    found = []
    for first, second in combinations(models, 2):
        one, other = models[first], models[second]
        tests = paired_differences(
            one,
            other,
            columns,
            seed=SEED,
            swaps=evaluated.resamples,
            confidence=evaluated.confidence,
        )
        for metric, column in zip(metrics, columns, strict=True):
            test = tests[column]
            paired = PairedTest(
                split=split,
                part=part,
                figure=metric.key,
                first=first,
                second=second,
                images=_images(one.runs[0], metric),
                difference=test.value,
                low=test.low,
                high=test.high,
                p_value=test.p_value,
                test=test.test,
                adjusted_p=None,
                false_claim=_false_claim(one.runs, other.runs, metric, test.p_value),
            )
            found.append(paired)
    return found


def _false_claim(
    first: Sequence[Predictions], second: Sequence[Predictions], metric: Metric, p_value: float | None
) -> float | None:
    """Return the probability that the one with the higher value is not the better one.

    From counts where these suffice: one run of each, independent images, a proportion of images.
    """
    one, other = first[0], second[0]
    if len(first) > 1 or len(second) > 1 or one.groups is not None or metric.name not in PROPORTIONS:
        return false_claim_of_test(p_value)
    images = np.ones(len(one.labels), bool)
    if metric.class_name:
        images = one.labels == one.class_names.index(metric.class_name)
    first_correct, second_correct = correct(one)[images], correct(other)[images]
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((second_correct & ~first_correct).sum())
    return false_claim(only_first, only_second) if images.any() else None


def _images(predictions: Predictions, metric: Metric) -> int:
    of_class = [name == metric.class_name for name in predictions.class_names]
    own = int(np.take(of_class, predictions.labels).sum())
    return {"sensitivity": own, "specificity": len(predictions.labels) - own}.get(
        metric.name, len(predictions.labels)
    )


def _adjusted(tests: Sequence[PairedTest]) -> list[PairedTest]:
    p_values = holm([test.p_value for test in tests])
    return [replace(test, adjusted_p=p) for test, p in zip(tests, p_values, strict=True)]
