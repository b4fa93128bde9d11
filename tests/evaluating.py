"""Short ways of the tests to metrics and resamples."""

import numpy as np

from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import evaluated
from boneexp.evaluation.statistics import resample_blocks


def evaluate(labels, probabilities, class_names, *, seed, image_ids=None, groups=None, **settings):
    """Return every metric of plain arrays."""
    predictions = predictions_of(labels, probabilities, class_names, image_ids, groups)
    return evaluated(predictions, seed=seed, **settings)


def resample_counts(images, resamples, seed):
    """Return how often each image is drawn, (resamples, images) ints, in one block."""
    blocks = list(resample_blocks(np.arange(images), resamples, seed, rows=max(resamples, 1)))
    return np.concatenate([np.empty((0, images), np.int32), *blocks])
