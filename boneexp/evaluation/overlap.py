"""Does the model look at the lesion? Three answers from one heat map and one annotated mask.

They differ in what they punish: IoU a hot region of the wrong size, energy a map that is warm elsewhere,
the pointing game only a peak in the wrong place. A high value shows where, not why, and proves no reasoning.
"""

import numpy as np


def iou_at(heatmap: np.ndarray, lesion: np.ndarray, threshold: float) -> float:
    """Return intersection over union of the lesion and the pixels at or above `threshold`.

    Args:
        heatmap: (height, width) floats in [0, 1], at the resolution of the annotation.
        lesion: (height, width) bools, True on the annotated lesion.
        threshold: in [0, 1], on the heat map's own scale.

    Returns:
        A fraction in [0, 1]; 0 where no pixel reaches the threshold.

    Raises:
        ValueError: a shape, kind or value is not as described above, or no pixel of the lesion is True.

    Source: Jaccard's index; for class activation maps, Zhou et al., CVPR 2016.
    """
    _check(heatmap, lesion)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}, outside [0, 1]")
    hot = heatmap >= threshold
    return float((hot & lesion).sum() / (hot | lesion).sum())


def energy_inside(heatmap: np.ndarray, lesion: np.ndarray) -> float:
    """Return the fraction of the heat map's mass that falls inside the lesion.

    A map without structure scores the lesion's fraction of the image, so report that fraction beside it.

    Returns:
        A fraction in [0, 1]; nan where the heat map is zero everywhere.

    Args, raises: as `iou_at`.

    Source: Wang et al., Score-CAM, CVPR workshops 2020 ("energy-based pointing game").
    """
    _check(heatmap, lesion)
    total = heatmap.sum(dtype=np.float64)
    return float(heatmap[lesion].sum(dtype=np.float64) / total) if total > 0 else float("nan")


def pointing_hit(heatmap: np.ndarray, lesion: np.ndarray) -> bool:
    """Return whether the heat map's highest pixel lies on the lesion.

    Of several highest pixels the first counts, row by row from the top left, so a flat region gains nothing
    by its size. There is no tolerance around the lesion. A map of zeros points nowhere: False.

    Args, raises: as `iou_at`.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016 ("pointing game").
    """
    _check(heatmap, lesion)
    highest = int(heatmap.argmax())
    return bool(heatmap.flat[highest] > 0 and lesion.flat[highest])


def _check(heatmap: np.ndarray, lesion: np.ndarray) -> None:
    if heatmap.ndim != 2 or heatmap.shape != lesion.shape:
        raise ValueError(f"heatmap has shape {heatmap.shape} and lesion {lesion.shape}: not the same plane")
    if lesion.dtype != np.bool_:
        raise ValueError(f"lesion is of {lesion.dtype}, not of bools")
    if not lesion.any():
        raise ValueError("no pixel of the lesion is True, so there is nothing to overlap with")
    if not (heatmap.min() >= 0 and heatmap.max() <= 1):  # so written, nan is caught too
        raise ValueError(f"heatmap runs from {heatmap.min()} to {heatmap.max()}, outside [0, 1]")
