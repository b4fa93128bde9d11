"""Where the batches of a training come from: the host, or the memory of the GPU itself.

Order, flips and angles are the same whoever feeds, and functions of (seed, epoch, position) alone. Where all
images fit into a GPU's memory as grey bytes they are sent once, and no step waits for the host.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import embedding, grid_sample

from boneexp.data.prepared import Prepared
from boneexp.learning.batches import (
    Draws,
    Samples,
    augmented,
    draws,
    epoch_order,
    levels,
    normalise_into,
    normalised,
    plain_images,
    planes_for,
    training_pixels,
)
from boneexp.study.settings import DataSettings, TrainingSettings

FRACTION_OF_DEVICE = 0.25  # of the memory that is free there; the network, and other workers, want the rest
SENT_AT_A_TIME = 256
Positions = Any  # (b,) places in the samples, as the source itself gave them: on the host or the device


@dataclass(frozen=True)
class BatchConfig:
    """What the batches are made of."""

    prepared: Prepared
    samples: Samples
    data: DataSettings
    training: TrainingSettings
    seed: int


class BatchSource(Protocol):
    """Gives a training its batches, on its device."""

    def order(self, epoch: int) -> Positions:
        """Return the positions of all samples in the order of an epoch."""

    def labels(self, positions: Positions) -> torch.Tensor:
        """Return the (b,) classes of the samples."""

    def images(self, positions: Positions, epoch: int) -> torch.Tensor:
        """Return the (b, 3, size, size) images of the samples, augmented; good until the next call."""

    def plain(self, rows: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield batches of the prepared images at `rows`, not augmented; each good until the next."""


def batch_source(config: BatchConfig, device: torch.device) -> BatchSource:
    """Return the fastest source of batches for a device."""
    return (
        DeviceBatches(config, device)
        if device.type == "cuda" and fits(config, device)
        else HostBatches(config, device)
    )


def fits(config: BatchConfig, device: torch.device) -> bool:
    """Whether the images may take so much of the GPU's memory."""
    free, _ = torch.cuda.mem_get_info(device)
    lesions = config.prepared.lesions.nbytes if config.samples.dimmed.any() else 0
    return config.prepared.pixels.nbytes + lesions <= FRACTION_OF_DEVICE * free


class HostBatches:
    """Rotates and normalises on the host, an image at a time, out of the cache that is mapped into memory."""

    def __init__(self, config: BatchConfig, device: torch.device) -> None:
        """BatchSource `device` with what is in `config`."""
        self.config, self.device = config, device
        self.planes = planes_for(0, config.prepared)

    def order(self, epoch: int) -> Positions:
        """As in `BatchSource`."""
        return epoch_order(self.config.seed, epoch, len(self.config.samples))

    def labels(self, positions: Positions) -> torch.Tensor:
        """As in `BatchSource`."""
        return torch.from_numpy(self.config.samples.labels[positions]).to(self.device)

    def images(self, positions: Positions, epoch: int) -> torch.Tensor:
        """As in `BatchSource`."""
        config = self.config
        samples, prepared, seed = config.samples, config.prepared, config.seed
        if self.device.type != "cpu":
            pixels = training_pixels(samples, positions, prepared, config.training, seed=seed, epoch=epoch)
            return normalised(torch.from_numpy(pixels).to(self.device), config.data)
        if len(positions) > len(self.planes):
            self.planes = planes_for(len(positions), prepared)
        images = augmented(samples, positions, prepared, config.training, seed=seed, epoch=epoch)
        return normalise_into(self.planes[: len(positions)], images, config.data)

    def plain(self, rows: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
        """As in `BatchSource`."""
        return plain_images(self.config.prepared, rows, self.config.data, batch_size, self.device)


class DeviceBatches:
    """Keeps all images on the device as grey bytes, and dims, turns and normalises whole batches there.

    Rarely is a turned pixel one grey level off that of `HostBatches`, where rounding falls to the other side;
    what is not turned is the same.
    """

    def __init__(self, config: BatchConfig, device: torch.device) -> None:
        """Send `device` the images of `config`, and the lesions if some copies are dimmed outside them."""
        self.config, self.device = config, device
        self.pixels = on_device(config.prepared.pixels, device)  # (n, size, size) uint8
        self.rows = torch.from_numpy(config.samples.rows).to(device)
        self.classes = torch.from_numpy(config.samples.labels).to(device)
        self.table = levels(config.data.mean, config.data.std).to(device)
        self.dimming = _Dimming(config, device) if config.samples.dimmed.any() else None
        self.along = torch.linspace(-1, 1, self.pixels.shape[-1], device=device)  # centres of the pixels
        self.sent_epoch, self.turns = -1, torch.empty(0)

    def order(self, epoch: int) -> Positions:
        """As in `BatchSource`; this and the turns of the epoch are all that is sent in it."""
        self._send_turns(epoch)
        return torch.from_numpy(epoch_order(self.config.seed, epoch, len(self.config.samples))).to(
            self.device
        )

    def labels(self, positions: Positions) -> torch.Tensor:
        """As in `BatchSource`."""
        return self.classes[positions]

    def images(self, positions: Positions, epoch: int) -> torch.Tensor:
        """As in `BatchSource`."""
        self._send_turns(epoch)
        grey = self.pixels[self.rows[positions]]
        if self.dimming is not None:
            grey = self.dimming.applied(grey, positions)
        grid = self._grid(self.turns[positions])
        turned = grid_sample(grey.unsqueeze(1).float(), grid, padding_mode="zeros", align_corners=True)
        return self._normalised(turned.squeeze(1).round())

    def plain(self, rows: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
        """As in `BatchSource`."""
        there = torch.from_numpy(rows).to(self.device)
        for start in range(0, len(rows), batch_size):
            yield self._normalised(self.pixels[there[start : start + batch_size]])

    def _send_turns(self, epoch: int) -> None:
        if epoch != self.sent_epoch:
            config = self.config
            drawn = draws(len(config.samples), config.training, config.seed, epoch)
            self.sent_epoch, self.turns = epoch, torch.from_numpy(turns_of(drawn)).to(self.device)

    def _grid(self, turns: torch.Tensor) -> torch.Tensor:
        """Return where each pixel of (b, size, size, 2) comes from, both coordinates from -1 to 1.

        Not by affine_grid: its matrix product may be one of TF32, which is a third of a pixel off.
        """
        across, down = (each.view(-1, 1, 1, 2) for each in turns.unbind(1))
        x, y = self.along.view(1, 1, -1, 1), self.along.view(1, -1, 1, 1)
        return torch.addcmul(down * y, across, x)

    def _normalised(self, grey: torch.Tensor) -> torch.Tensor:
        return embedding(grey.int(), self.table).permute(0, 3, 1, 2)  # channels last in memory


class _Dimming:
    """The lesions on the device, and what is left of each grey level outside them."""

    def __init__(self, config: BatchConfig, device: torch.device) -> None:
        lesions, samples = config.prepared.lesions, config.samples
        whole = np.ones((1, *lesions.shape[1:]), np.bool_)  # of the samples that are not dimmed
        self.kept = torch.cat([on_device(lesions, device), on_device(whole, device)])
        masks = np.where(samples.dimmed, config.prepared.lesion_row[samples.rows], len(lesions))
        self.masks = torch.from_numpy(masks).to(device)
        outside = np.rint(np.arange(256) * config.training.dim_factor).astype(np.uint8)
        self.outside = torch.from_numpy(outside).to(device)

    def applied(self, grey: torch.Tensor, positions: Positions) -> torch.Tensor:
        """Return (b, size, size) grey bytes, dimmed outside the lesion where the sample is a dimmed one."""
        return torch.where(self.kept[self.masks[positions]], grey, self.outside[grey.int()])


def turns_of(drawn: Draws) -> np.ndarray:
    """Return (n, 2, 2) floats: how far a step across, and one down, goes in the image before it was turned.

    The inverse of `turned`: back by the angle, then mirrored.
    """
    angles, mirror = np.deg2rad(drawn.angles), np.where(drawn.flips, -1.0, 1.0)
    cos, sin = np.cos(angles), np.sin(angles)
    across, down = [mirror * cos, sin], [-mirror * sin, cos]
    return np.stack([np.stack(across, 1), np.stack(down, 1)], 1).astype(np.float32)


def on_device(planes: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy (n, h, w) bytes to the device, some images at a time: a mapped cache need not fit into memory."""
    kind = torch.bool if planes.dtype == np.bool_ else torch.uint8
    there = torch.empty(planes.shape, dtype=kind, device=device)
    for start in range(0, len(planes), SENT_AT_A_TIME):
        part = slice(start, start + SENT_AT_A_TIME)
        there[part] = torch.from_numpy(np.array(planes[part]))
    return there
