"""Predictions to be evaluated: checked once, and sorted by image id.

Resamples belong to positions, and no result may depend on the order in which a folder listed the images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def predictions_of(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    image_ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> "Predictions":
    """Return a model's predictions for one set of images, sorted by image id.

    Args:
        labels: (n,) ints, positions in `class_names`.
        probabilities: (n, classes) floats; each row sums to 1 within 1e-3.
        class_names: at least two different names.
        image_ids: n different ids; without them the images stay in the order given.
        groups: n names; images of one name, such as the views of one patient, are drawn together.

    Raises:
        ValueError: shapes, labels, probabilities, ids, groups or names are not as described above.
    """
    labels, probabilities = _checked(labels, probabilities, class_names)
    images = len(labels)
    if groups is not None and len(groups) != images:
        raise ValueError(f"{len(groups)} groups for {images} images")
    order = np.arange(images) if image_ids is None else _order_by_id(image_ids, images)
    places = order.tolist()
    return Predictions(
        labels=labels[order],
        probabilities=probabilities[order],
        class_names=tuple(class_names),
        image_ids=() if image_ids is None else tuple(image_ids[place] for place in places),
        groups=None if groups is None else tuple(groups[place] for place in places),
    )


def some_of(predictions: "Predictions", inside: np.ndarray) -> "Predictions":
    """Return the predictions of the images where (n,) bools `inside` is True; at least one must be."""
    places = np.flatnonzero(inside).tolist()
    ids, groups = predictions.image_ids, predictions.groups
    return Predictions(
        labels=predictions.labels[inside],
        probabilities=predictions.probabilities[inside],
        class_names=predictions.class_names,
        image_ids=tuple(ids[place] for place in places) if ids else (),
        groups=None if groups is None else tuple(groups[place] for place in places),
    )


def _order_by_id(image_ids: Sequence[str], images: int) -> np.ndarray:
    if len(image_ids) != images or len(set(image_ids)) != images:
        raise ValueError(f"{len(image_ids)} image ids, {len(set(image_ids))} different, for {images} images")
    return np.argsort(np.asarray(image_ids))


def _checked(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as int64 and probabilities as float64, or raise ValueError."""
    classes = len(class_names)
    if classes < 2 or len(set(class_names)) != classes:
        raise ValueError(f"class_names {tuple(class_names)} are not at least two different names")
    if labels.ndim != 1 or len(labels) == 0 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels is {labels.shape} of {labels.dtype}, not (n,) of ints with n > 0")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels spans {labels.min()} to {labels.max()}, not within 0..{classes - 1}")
    if probabilities.shape != (len(labels), classes):
        raise ValueError(f"probabilities is {probabilities.shape}, not {(len(labels), classes)}")
    probabilities = probabilities.astype(np.float64)
    if not np.isfinite(probabilities).all() or probabilities.min() < 0:
        row = int(np.argmax(~(np.isfinite(probabilities) & (probabilities >= 0)).all(axis=1)))
        raise ValueError(f"probabilities of image {row} are {probabilities[row]}: not finite, or below 0")
    sums = probabilities.sum(axis=1)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > 1e-3:
        raise ValueError(f"probabilities of image {worst} sum to {sums[worst]:.6g}, not to 1")
    return labels.astype(np.int64), probabilities


@dataclass(frozen=True)
class Predictions:
    """One model's predictions for one set of images; made by `predictions_of`, so checked and in order."""

    labels: np.ndarray  # (n,) int64
    probabilities: np.ndarray  # (n, classes) float64
    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]  # () where no ids were given
    groups: tuple[str, ...] | None

    @property
    def unit_numbers(self) -> np.ndarray:
        """Which unit is drawn with each image, (n,) ints: its group, or the image itself.

        Numbered by first appearance, so that groups of one image each are drawn as images are.
        """
        if self.groups is None:
            return np.arange(len(self.labels))
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(name, len(numbers)) for name in self.groups])

    @property
    def drawn_units(self) -> np.ndarray | None:
        """The unit of each image where images come in groups; None where they are independent."""
        return None if self.groups is None else self.unit_numbers
