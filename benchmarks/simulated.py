"""Models whose true worth is known: what the calibration study draws its test sets from."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from boneexp.evaluation.inputs import Predictions, predictions_of
from boneexp.evaluation.metrics import metric_matrix
from boneexp.results import CLASS_NAMES

SIZES = (282, 231, 51)  # BTXRD's stratified test part: Normal, Benign, Malignant
SIGNAL = np.array([1.35, 1.25, 1.75])  # how far an image's own class stands out, in units of the noise
LEAN = np.array([0.3, 0.2, -0.6])  # rare classes are called less often
BOLD = 1.6
VIEWS = (1, 2, 3, 4)  # images of one patient
KINSHIP = 0.6  # share of an image's noise that is its patient's, where patients have several
AGREEMENT = 0.5  # share of an image's noise that two models have in common


@dataclass(frozen=True)
class Images:
    """The images of one test set: their classes, and, where patients have several, whose they are."""

    labels: np.ndarray  # (n,) ints
    patients: np.ndarray | None  # (n,) ints


def test_set(
    generator: np.random.Generator,
    sizes: tuple[int, ...] = SIZES,
    views: bool = False,
    varied: bool = False,
) -> Images:
    """Return so many images of each class; with `views`, one to four are of one patient.

    With `varied` the numbers of each class are drawn, too, as another sample of patients would have others.
    """
    if varied:
        drawn = generator.multinomial(sum(sizes), np.array(sizes) / sum(sizes))
        sizes = tuple(int(size) for size in drawn)
    patients: list[int] = []
    for size in sizes if views else ():
        left = size
        while left:
            count = min(left, int(generator.choice(VIEWS)))
            patients += [patients[-1] + 1 if patients else 0] * count
            left -= count
    return Images(np.repeat(np.arange(3), sizes), np.array(patients) if views else None)


def models_of(
    generator: np.random.Generator, images: Images, better: tuple[float, ...] = (0.0,)
) -> list[Predictions]:
    """Return what models say that agree as far as AGREEMENT says, each so much better than the plain one."""
    ids = [f"IMG{number:06d}" for number in range(len(images.labels))]
    groups = None if images.patients is None else [f"{patient}" for patient in images.patients]
    shared = _noise(generator, images)
    found = []
    for step in better:
        noise = AGREEMENT**0.5 * shared + (1 - AGREEMENT) ** 0.5 * _noise(generator, images)
        said = _probabilities(images.labels, noise, step)
        found.append(predictions_of(images.labels, said, CLASS_NAMES, ids, groups))
    return found


@cache
def truth(sizes: tuple[int, ...] = SIZES, better: float = 0.0) -> np.ndarray:
    """Return every metric in a population of these class proportions, as of 2.4 million images."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), [size * (800_000 // sum(sizes)) for size in sizes])
    once = np.ones((1, len(labels)), np.int32)
    found = []
    for _ in range(3):
        noise = generator.normal(size=(len(labels), 3))
        found.append(metric_matrix(labels, _probabilities(labels, noise, better), once)[0])
    mean: np.ndarray = np.mean(found, axis=0)
    return mean


def _noise(generator: np.random.Generator, images: Images) -> np.ndarray:
    """Return (n, 3) standard normal floats, alike within a patient as far as KINSHIP says."""
    own: np.ndarray = generator.normal(size=(len(images.labels), 3))
    if images.patients is None:
        return own
    patients = generator.normal(size=(images.patients.max() + 1, 3))[images.patients]
    mixed: np.ndarray = KINSHIP**0.5 * patients + (1 - KINSHIP) ** 0.5 * own
    return mixed


def _probabilities(labels: np.ndarray, noise: np.ndarray, better: float) -> np.ndarray:
    logits = noise.copy()
    logits[np.arange(len(labels)), labels] += SIGNAL[labels] + better
    odds = np.exp(BOLD * (logits + LEAN))
    shares: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return shares
