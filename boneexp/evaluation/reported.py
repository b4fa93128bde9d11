"""All metrics of one run: each part's metrics, and on the test part what was chosen on validation."""

from collections.abc import Sequence

import numpy as np

from boneexp.evaluation.inputs import Predictions, predictions_of
from boneexp.evaluation.metrics import evaluated, metric_columns
from boneexp.evaluation.temperature import TEMPERED, tempered_values
from boneexp.evaluation.thresholds import OPERATING, operating_values
from boneexp.results import CLASS_NAMES, MetricValue, Prediction

WANTED_CLASS = "Malignant"  # whose threshold is taken on validation


def run_metrics(
    validation: Predictions, test: Predictions, *, seed: int, resamples: int, confidence: float
) -> dict[str, tuple[MetricValue, ...]]:
    """Return every metric of a run by part, "val" and "test".

    The test part has three kinds: the metrics of `boneexp.evaluation.metrics`, the operating points of
    `thresholds` and the calibration after `temperature`.

    Args:
        validation: the run's predictions of its validation part.
        test: those of its test part.
        seed: of the resamples, an int >= 0.
        resamples: how many.
        confidence: of the intervals.

    Raises:
        ValueError: as `boneexp.evaluation.metrics.evaluate` of settings.
    """
    parts = {
        part: evaluated(predictions, seed=seed, resamples=resamples, confidence=confidence)
        for part, predictions in (("val", validation), ("test", test))
    }
    chosen = operating_values(validation, test, WANTED_CLASS, confidence=confidence)
    tempered = tempered_values(validation, test, seed=seed, resamples=resamples, confidence=confidence)
    return {**parts, "test": (*parts["test"], *chosen, *tempered)}


def run_metric_columns(class_names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (metric, class name) of every metric of a test part, in the order of `run_metrics`."""
    operating = tuple((metric, WANTED_CLASS) for metric in OPERATING)
    return (*metric_columns(class_names), *operating, *((metric, "") for metric in TEMPERED))


def drawn_groups(groups: Sequence[str], image_ids: Sequence[str]) -> tuple[str, ...] | None:
    """Return the groups that are drawn together; an image of no group ("") is one of its own.

    Returns:
        One name per image; None where no image has a group.
    """
    if not any(groups):
        return None
    return tuple(
        f"group {group}" if group else f"image {image_id}"
        for group, image_id in zip(groups, image_ids, strict=True)
    )


def predictions_of_part(images: Sequence[Prediction]) -> Predictions:
    """Return a part's predictions as arrays.

    Raises:
        ValueError: they are not what a finished run leaves.
    """
    ids = [each.image_id for each in images]
    labels = np.array([each.label for each in images])
    probabilities = np.array([each.probabilities for each in images], float)
    return predictions_of(
        labels, probabilities, CLASS_NAMES, ids, drawn_groups([each.group for each in images], ids)
    )
