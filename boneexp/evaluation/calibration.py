"""Calibration: log loss, Brier score, calibration error, for weighted images.

All three are weighted sums over images, so a thousand resamples cost one matrix product. None is 0 for a
perfectly calibrated model, so each is compared with its mean over labels drawn from the probabilities.
"""

from dataclasses import dataclass

import numpy as np

from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.ranks import ratio

BINS = 15
DRAWS = 2000  # of the labels, in the consistency test
DRAW_CELLS = 500_000  # draws x images worked on at once
ROUNDING = 1e-12  # less than this is what the order of a sum leaves
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

    Source: Brier score over all classes, from 0 to 2 (Brier, Monthly Weather Review 1950; scikit-learn halves
    that of two classes, `scale_by_half`); expected
    calibration error of the highest probability in 15 bins of equal width, each closed above (Guo et al.,
    ICML 2017).
    """
    return {
        "log_loss": ratio(sums[:, 0], total),
        "brier_score": ratio(sums[:, 1], total),
        "expected_calibration_error": ratio(np.abs(sums[:, 2:]).sum(axis=1), total),
    }


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, (n,) ints in [0, BINS); an edge belongs to the bin below it."""
    edges = np.arange(1, BINS) / BINS
    return np.searchsorted(edges, confidence, side="left")


@dataclass(frozen=True)
class Consistency:
    """A calibration metric, and what it would be if the probabilities were true."""

    value: float
    expected: float  # the mean over draws of the labels from the probabilities
    p_value: float

    @property
    def excess(self) -> float:
        """How far the metric lies above what true probabilities give; below 0 where it lies below."""
        return self.value - self.expected


def consistency(
    predictions: Predictions, metric: str = "expected_calibration_error", *, seed: int, draws: int = DRAWS
) -> Consistency:
    """Test whether the labels could have been drawn from the probabilities.

    The images stay, and each label is drawn from its image's own probabilities: the metric of such labels is
    that of a perfectly calibrated model on these images, small-sample bias included. Images of one group
    share one random number, so that what they have in common is not taken for evidence.

    Args:
        predictions: of one part.
        metric: one of those that `calibration_metrics` returns.
        seed: of the draws, an int >= 0.
        draws: how many, at least 1.

    Returns:
        The p-value is one-sided for the expected calibration error, which any deviation raises, and two-sided
        for log loss and Brier score, which underconfident probabilities lower. One is added to both counts.

    Source: Broecker and Smith, Weather and Forecasting 2007 (consistency resampling); as a test of a
    calibration error Vaicenavicius et al., AISTATS 2019. For the Brier score it asks what Spiegelhalter,
    Statistics in Medicine 1986, asks by a normal approximation.
    """
    labels, probabilities = predictions.labels, predictions.probabilities
    value = float(_figure(labels[None], probabilities, metric)[0])
    generator, units = np.random.default_rng(seed), predictions.unit_numbers
    edges = (probabilities.cumsum(axis=1) / probabilities.sum(axis=1, keepdims=True))[:, :-1]
    rows, found = max(DRAW_CELLS // len(labels), 1), []
    for done in range(0, draws, rows):
        chance = generator.random((min(rows, draws - done), units.max() + 1))[:, units]
        drawn_labels = np.zeros(chance.shape, np.int64)
        for edge in edges.T:
            drawn_labels += chance >= edge
        found.append(_figure(drawn_labels, probabilities, metric))
    drawn = np.concatenate(found)
    above, below = (drawn >= value - ROUNDING).sum(), (drawn <= value + ROUNDING).sum()
    p_value = (above + 1) / (draws + 1)
    if metric != "expected_calibration_error":
        p_value = min(1.0, 2 * (min(above, below) + 1) / (draws + 1))
    return Consistency(value, float(drawn.mean()), float(p_value))


def scaled_brier(predictions: Predictions) -> float | None:
    """Return by which fraction the Brier score is below that of always predicting the class frequencies.

    At most 1; 0 or less for probabilities that tell no more than the frequencies do, which can be well
    calibrated all the same. None where all images are of one class.

    Source: index of prediction accuracy, Kattan and Gerds, Diagnostic and Prognostic Research 2018.
    """
    counts = np.bincount(predictions.labels, minlength=len(predictions.class_names))
    frequencies = counts / len(predictions.labels)
    reference = 1 - float((frequencies**2).sum())
    if reference <= 0:
        return None
    brier = _figure(predictions.labels[None], predictions.probabilities, "brier_score")[0]
    return 1 - float(brier) / reference


def _figure(labels: np.ndarray, probabilities: np.ndarray, metric: str) -> np.ndarray:
    """Return one calibration metric for each row of (b, n) labels of the same images, (b,) floats."""
    images = np.arange(labels.shape[1])
    if metric == "expected_calibration_error":
        confidence = probabilities.max(axis=1)
        bins = np.eye(BINS)[bins_of(confidence)]
        hits = labels == probabilities.argmax(axis=1)
        errors: np.ndarray = np.abs((hits - confidence) @ bins).sum(axis=1) / len(images)
        return errors
    classes = probabilities.shape[1]
    losses = {
        "log_loss": lambda: -np.log(np.maximum(probabilities, LEAST_PROBABILITY)),
        "brier_score": lambda: ((probabilities[:, None] - np.eye(classes)) ** 2).sum(axis=2),
    }[metric]()
    of_labels: np.ndarray = losses[images, labels].mean(axis=1)
    return of_labels
