"""The yardstick of the step: a training loop as most people write it.

Tensors as they come (no channels_last), AdamW as it comes (not fused), full precision, and the loss taken
off the device after each step.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

Batch = tuple[torch.Tensor, torch.Tensor]  # (b, 3, h, w) floats and (b,) classes


class PlainTraining:
    """A model and its optimizer."""

    def __init__(self, model: nn.Module, weights: torch.Tensor, smoothing: float) -> None:
        """Train `model`; `weights` are those of the classes."""
        self.model, self.weights, self.smoothing = model, weights, smoothing
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=1e-4)

    def epoch(self, batches: Iterable[Batch], rates: Iterable[float]) -> float:
        """Train on every batch, each at its learning rate; return the mean loss per image."""
        self.model.train()
        total, images = 0.0, 0
        for (pixels, labels), rate in zip(batches, rates, strict=False):
            self.optimizer.param_groups[0]["lr"] = rate
            logits = self.model(pixels)
            loss = cross_entropy(logits, labels, self.weights, label_smoothing=self.smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(labels)
            images += len(labels)
        return total / images
