"""Operating points: thresholds set on validation at a target specificity, evaluated on the test set."""

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
    """Return sensitivity and specificity on the test set at thresholds set on validation.

    A threshold for 90 % specificity on validation need not give 90 % on the test set. The threshold is held
    fixed; its own uncertainty is not in the intervals.

    Args:
        validation: chooses the thresholds.
        test: is judged.
        class_name: the class, such as "Malignant".
        confidence: of the intervals.

    Returns:
        The metrics of OPERATING, with Wilson intervals (with the design effect where the test part has
        groups). None where undefined: all without a validation image of another class.

    Raises:
        ValueError: the class is not one of both, or settings are not as described above.
    """
    label = _label_of(class_name, validation, test)
    truth = test.labels == label
    found: list[MetricValue] = []
    for percent in SPECIFICITIES:
        threshold = threshold_for(
            validation.labels == label, validation.probabilities[:, label], percent / 100
        )
        positive = None if threshold is None else test.probabilities[:, label] > threshold
        ends = f"_at_{percent}_specificity"
        found.append(MetricValue(f"threshold{ends}", class_name, threshold, None, None))
        for what, images in (("sensitivity", truth), ("specificity", ~truth)):
            correct = None if positive is None else positive == truth
            estimate = _fraction_correct(test, images, correct, confidence)
            found.append(MetricValue(f"{what}{ends}", class_name, *estimate))
    return tuple(found)


def threshold_for(positive: np.ndarray, scores: np.ndarray, specificity: float) -> float | None:
    """Return the lowest threshold above which at most a fraction 1 - `specificity` of the negatives lies.

    It is the score of a negative, and ties with it are not above it, so the specificity is always reached.

    Args:
        positive: (n,) bools.
        scores: (n,) floats; an image is predicted positive above the threshold.
        specificity: the target, between 0 and 1.

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


def _fraction_correct(
    test: Predictions, images: np.ndarray, correct: np.ndarray | None, confidence: float
) -> tuple[float | None, float | None, float | None, str]:
    """Return the fraction of `images` that is correct, its interval, and the interval's method."""
    if correct is None or not images.any():
        return None, None, None, ""
    ends = proportion_interval((correct, images), confidence, test.drawn_units)
    return float(correct[images].mean()), *ends, "wilson"
