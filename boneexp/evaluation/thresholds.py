"""A class called above a threshold: taken on validation for a wanted specificity, judged on the test part."""

import math
from collections.abc import Sequence

import numpy as np

from boneexp.evaluation.estimates import proportion_interval
from boneexp.evaluation.inputs import Predictions
from boneexp.results import MetricValue

SPECIFICITIES = (90, 95)  # percent
OPERATING = tuple(
    f"{what}_at_{percent}_specificity"
    for percent in SPECIFICITIES
    for what in ("threshold", "sensitivity", "specificity")
)


def operating_values(
    validation: Predictions,
    test: Predictions,
    class_name: str,
    *,
    confidence: float = 0.95,
) -> tuple[MetricValue, ...]:
    """Return how a class is found on the test part if it is called above a threshold taken on validation.

    The specificity reached on the test part stands beside the sensitivity: a threshold for 90 % on validation
    need not give 90 % elsewhere. The threshold is held fixed; its own uncertainty is not in the intervals.

    Args:
        validation: chooses the thresholds.
        test: is judged.
        class_name: the class, such as "Malignant".
        confidence: the share that an interval covers.

    Returns:
        The metrics of OPERATING, with Wilson intervals (with the design effect where the test part has
        groups). None where undefined: all without a validation image of another class.

    Raises:
        ValueError: the class is not one of both, or settings are not as said above.
    """
    label = _label_of(class_name, validation, test)
    truth = test.labels == label
    found: list[MetricValue] = []
    for percent in SPECIFICITIES:
        threshold = threshold_for(
            validation.labels == label, validation.probabilities[:, label], percent / 100
        )
        called = None if threshold is None else test.probabilities[:, label] > threshold
        ends = f"_at_{percent}_specificity"
        found.append(MetricValue(f"threshold{ends}", class_name, threshold, None, None))
        for what, images in (("sensitivity", truth), ("specificity", ~truth)):
            right = None if called is None else called == truth
            estimate = _share_right(test, images, right, confidence)
            found.append(MetricValue(f"{what}{ends}", class_name, *estimate))
    return tuple(found)


def threshold_for(positive: np.ndarray, scores: np.ndarray, specificity: float) -> float | None:
    """Return the lowest threshold above which at most a share 1 - `specificity` of the others is called.

    It is the score of one of the others, so ties with it are not called, and the share is kept in any case.

    Args:
        positive: (n,) bools.
        scores: (n,) floats; an image is called where its score is above the threshold.
        specificity: the share of the others not to be called, between 0 and 1.

    Returns:
        The threshold; None without an image that is not positive.

    Raises:
        ValueError: `specificity` is not between 0 and 1.
    """
    if not 0 < specificity < 1:
        raise ValueError(f"specificity is {specificity}; it must lie between 0 and 1, as 0.9 does")
    others = np.sort(scores[~positive])
    if len(others) == 0:
        return None
    spared = math.ceil(specificity * len(others) - 1e-9)  # 95 % of 20 is 19, whatever binary fractions say
    return float(others[spared - 1])


def _label_of(class_name: str, *parts: Predictions) -> int:
    for part in parts:
        if class_name not in part.class_names:
            raise ValueError(f"{class_name!r} is none of the classes {part.class_names}")
    labels: Sequence[int] = [part.class_names.index(class_name) for part in parts]
    if len(set(labels)) > 1:
        raise ValueError(f"{class_name!r} is class {labels[0]} in one part and {labels[1]} in the other")
    return labels[0]


def _share_right(
    test: Predictions, images: np.ndarray, right: np.ndarray | None, confidence: float
) -> tuple[float | None, float | None, float | None, str]:
    """Return the share of `images` that is right, its interval, and the interval's method."""
    if right is None or not images.any():
        return None, None, None, ""
    units = None if test.groups is None else test.unit_numbers
    return float(right[images].mean()), *proportion_interval((right, images), confidence, units), "wilson"
