"""A network and images in, probabilities out."""

import numpy as np
import torch
from torch import nn

from boneexp.config import DataSettings
from boneexp.data.prepared import Prepared
from boneexp.learning.batches import normalised, plain_batches


def predict(
    model: nn.Module, prepared: Prepared, rows: np.ndarray, settings: DataSettings, batch_size: int
) -> np.ndarray:
    """Return the class probabilities of the images at `rows` as (n, 3) floats, in the order of `rows`."""
    logits = predict_logits(model, prepared, rows, settings, batch_size)
    return torch.softmax(logits.double(), dim=1).numpy()


@torch.inference_mode()
def predict_logits(
    model: nn.Module, prepared: Prepared, rows: np.ndarray, settings: DataSettings, batch_size: int
) -> torch.Tensor:
    """Return the (n, 3) logits on the CPU; the model is left in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    parts = [
        model(normalised(pixels.to(device), settings)).float().cpu()
        for pixels in plain_batches(prepared, rows, batch_size)
    ]
    return torch.cat(parts) if parts else torch.empty(0, 3)
