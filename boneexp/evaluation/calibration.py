"""Whether probabilities mean what they say: log loss, Brier score, calibration error, for weighted images.

All three are sums over images of something that does not depend on the weights, so a thousand resamples cost
one matrix product.
"""

import numpy as np

from boneexp.evaluation.ranks import share_of

BINS = 15
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)  # in the log loss only: the floor that scikit-learn sets


def calibration_cells(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return what each image adds to the three sums: its log loss, its Brier score, and to its bin.

    Args:
        labels: (n,) ints in [0, classes).
        probabilities: (n, classes) floats in [0, 1].

    Returns:
        (n, 2 + BINS) floats. The last BINS columns hold hit minus confidence in the bin of the image's
        highest probability, 0 elsewhere.
    """
    images = np.arange(len(labels))
    probabilities = probabilities.astype(np.float64)
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == labels
    truth = np.zeros_like(probabilities)
    truth[images, labels] = 1
    cells = np.zeros((len(labels), 2 + BINS))
    cells[:, 0] = log_losses(labels, probabilities)
    cells[:, 1] = ((probabilities - truth) ** 2).sum(axis=1)
    cells[images, 2 + bins_of(confidence)] = hit - confidence
    return cells


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return each image's -log of the probability of its own class, (n,) floats, at most 36.04.

    A probability below 2.2e-16 (a softmax can give exactly 0) counts as 2.2e-16, or one image would make
    every mean infinite.
    """
    own = probabilities[np.arange(len(labels)), labels]
    losses: np.ndarray = -np.log(np.maximum(own, LEAST_PROBABILITY))
    return losses


def calibration_metrics(sums: np.ndarray, total: np.ndarray) -> dict[str, np.ndarray]:
    """Return log loss, Brier score and expected calibration error, (b,) floats each.

    Args:
        sums: (b, 2 + BINS) floats, `calibration_cells` summed over the images drawn.
        total: (b,) numbers of images drawn.

    Source: Brier score over all classes, from 0 to 2 (Brier, Monthly Weather Review 1950); expected
    calibration error of the highest probability in 15 bins of equal width, each closed above (Guo et al.,
    ICML 2017).
    """
    return {
        "log_loss": share_of(sums[:, 0], total),
        "brier_score": share_of(sums[:, 1], total),
        "expected_calibration_error": share_of(np.abs(sums[:, 2:]).sum(axis=1), total),
    }


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, (n,) ints in [0, BINS); an edge belongs to the bin below it."""
    edges = np.arange(1, BINS) / BINS
    return np.searchsorted(edges, confidence, side="left")
