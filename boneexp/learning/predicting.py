"""A network and images in, probabilities out."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from boneexp.data.prepared import Prepared
from boneexp.learning.batches import plain_images
from boneexp.results import CLASS_NAMES
from boneexp.study.settings import DataSettings


def predict(
    model: nn.Module, prepared: Prepared, rows: np.ndarray, settings: DataSettings, batch_size: int
) -> np.ndarray:
    """Return the class probabilities of the images at `rows` as (n, 3) floats, in the order of `rows`."""
    device = next(model.parameters()).device
    logits = predict_logits(model, plain_images(prepared, rows, settings, batch_size, device))
    return torch.softmax(logits.double(), dim=1).numpy()


@torch.inference_mode()
def predict_logits(model: nn.Module, batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the (n, 3) logits of batches of images on the CPU; the model is left in evaluation mode.

    A GPU is waited for once, at the end.
    """
    model.eval()
    parts = [model(images).float() for images in batches]
    return torch.cat(parts).cpu() if parts else torch.empty(0, len(CLASS_NAMES))
