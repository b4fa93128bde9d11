"""Where the batches of a training come from.

Order, flips and angles are the same whoever feeds, and functions of (seed, epoch, position) alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from boneexp.config import DataSettings, TrainingSettings
from boneexp.data.prepared import Prepared
from boneexp.learning.batches import (
    Samples,
    augmented,
    epoch_order,
    normalise_into,
    normalised,
    plain_images,
    planes_for,
    training_pixels,
)

Positions = Any  # (b,) places in the samples, as the feed itself gave them out: on the host or the device


@dataclass(frozen=True)
class Diet:
    """What is to be fed."""

    prepared: Prepared
    samples: Samples
    data: DataSettings
    training: TrainingSettings
    seed: int


class Feed(Protocol):
    """Gives a training its batches, on its device."""

    def order(self, epoch: int) -> Positions:
        """Return the positions of all samples in the order of an epoch."""

    def labels(self, positions: Positions) -> torch.Tensor:
        """Return the (b,) classes of the samples."""

    def images(self, positions: Positions, epoch: int) -> torch.Tensor:
        """Return the (b, 3, size, size) images of the samples, augmented; good until the next call."""

    def plain(self, rows: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield batches of the prepared images at `rows`, not augmented; each good until the next."""


def feed_of(diet: Diet, device: torch.device) -> Feed:
    """Return the fastest feed there is for a device."""
    return HostFeed(diet, device)


class HostFeed:
    """Rotates and normalises on the host, an image at a time, out of the cache that is mapped into memory."""

    def __init__(self, diet: Diet, device: torch.device) -> None:
        """Feed `device` with what is in `diet`."""
        self.diet, self.device = diet, device
        self.planes = planes_for(0, diet.prepared)

    def order(self, epoch: int) -> Positions:
        """As in `Feed`."""
        return epoch_order(self.diet.seed, epoch, len(self.diet.samples))

    def labels(self, positions: Positions) -> torch.Tensor:
        """As in `Feed`."""
        return torch.from_numpy(self.diet.samples.labels[positions]).to(self.device)

    def images(self, positions: Positions, epoch: int) -> torch.Tensor:
        """As in `Feed`."""
        diet = self.diet
        asked = (diet.samples, positions, diet.prepared, diet.training, (diet.seed, epoch))
        if self.device.type != "cpu":
            return normalised(torch.from_numpy(training_pixels(*asked)).to(self.device), diet.data)
        if len(positions) > len(self.planes):
            self.planes = planes_for(len(positions), diet.prepared)
        return normalise_into(self.planes[: len(positions)], augmented(*asked), diet.data)

    def plain(self, rows: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
        """As in `Feed`."""
        return plain_images(self.diet.prepared, rows, self.diet.data, batch_size, self.device)
