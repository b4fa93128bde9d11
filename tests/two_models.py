"""Two models that were asked about the same images: what the tests about pairs start from."""

import numpy as np

from boneexp.evaluation.areas import auroc_influences
from boneexp.evaluation.inputs import predictions_of
from boneexp.results import CLASS_NAMES


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def two_models(seed, sizes=(40, 30, 12), signals=(1.0, 1.0), shared=0.6, views=1):
    """Return predictions of two models that find the same images hard; `views` images are one group."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], sizes)
    images = len(labels)
    patients = np.arange(images) // views
    common = generator.normal(size=(images, 3))[patients]
    groups = [f"patient {number:04d}" for number in patients] if views > 1 else None
    ids = [f"IMG{number:06d}" for number in range(images)]
    found = []
    for signal in signals:
        logits = shared**0.5 * common + (1 - shared) ** 0.5 * generator.normal(size=(images, 3))
        logits[np.arange(images), labels] += signal
        found.append(predictions_of(labels, softmax(logits), CLASS_NAMES, ids, groups))
    return found


def auroc_covariance(positive, scores):
    """DeLong's covariance from the influences that boneexp takes its variances from."""
    found = [auroc_influences(positive, row) for row in scores]
    moved = np.array([influences for _, influences in found])
    covariance = sum(
        (moved[:, kind] @ moved[:, kind].T) * kind.sum() / (kind.sum() - 1) for kind in (positive, ~positive)
    )
    return np.array([area for area, _ in found]), covariance
