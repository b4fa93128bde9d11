"""What the network sees: batches of prepared radiographs, dimmed, flipped, turned and normalised.

Order and augmentation are functions of (seed, epoch, position) and of nothing that ran before, so a run
that stopped anywhere goes on exactly as if it had not. Images stay one grey byte per pixel to the last step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from boneexp.config import DataSettings, TrainingSettings
from boneexp.data.prepared import Prepared

ORDER, AUGMENTATION = 0, 1  # streams of random numbers


@dataclass(frozen=True)
class Samples:
    """What one epoch goes through: rows of the prepared images, their labels, and which copies are dimmed."""

    rows: np.ndarray  # (n,) ints into Prepared.pixels
    labels: np.ndarray  # (n,) ints
    dimmed: np.ndarray  # (n,) bools

    def __len__(self) -> int:
        """Count the samples of one epoch."""
        return len(self.rows)


def samples_of(indices: np.ndarray, labels: np.ndarray, prepared: Prepared, annotations: bool) -> Samples:
    """Return the samples of a part; with `annotations`, each annotated image a second time, dimmed."""
    twice = indices[prepared.lesion_row[indices] >= 0] if annotations else indices[:0]
    rows = np.concatenate([indices, twice])
    dimmed = np.concatenate([np.zeros(len(indices), bool), np.ones(len(twice), bool)])
    return Samples(rows, labels[rows], dimmed)


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of `count` samples in an epoch."""
    return np.random.default_rng([seed, epoch, ORDER]).permutation(count)


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """Cut `count` samples into batches; a last batch of one joins its neighbour (BatchNorm needs two)."""
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] == 1 and batch_size > 1:
        starts.pop()
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], count], strict=True)]


def training_pixels(
    samples: Samples,
    positions: np.ndarray,
    prepared: Prepared,
    settings: TrainingSettings,
    moment: tuple[int, int],
) -> np.ndarray:
    """Return the augmented images of the samples at `positions` as (b, size, size) grey bytes.

    Args:
        samples: the samples of the epoch.
        positions: (b,) places in `samples`.
        prepared: the images.
        settings: dim factor, flip probability, largest rotation.
        moment: (seed, epoch).
    """
    generator = np.random.default_rng([*moment, AUGMENTATION])
    flips = generator.random(len(samples)) < settings.flip_probability
    angles = generator.uniform(-settings.rotation_degrees, settings.rotation_degrees, len(samples))
    batch = np.empty((len(positions), *prepared.pixels.shape[1:]), np.uint8)
    for place, position in enumerate(positions):
        image = np.asarray(prepared.pixels[samples.rows[position]])
        if samples.dimmed[position]:
            image = dim_outside(image, _lesion(prepared, int(samples.rows[position])), settings.dim_factor)
        batch[place] = turned(image, bool(flips[position]), float(angles[position]))
    return batch


def dim_outside(image: np.ndarray, lesion: np.ndarray, dim_factor: float) -> np.ndarray:
    """Return the (h, w) grey image with everything outside the (h, w) lesion multiplied by `dim_factor`."""
    return np.where(lesion, image, np.rint(image * dim_factor)).astype(np.uint8)


def turned(image: np.ndarray, flip: bool, angle_degrees: float) -> np.ndarray:
    """Return the (h, w) grey image mirrored left-right and rotated about its centre; corners turn black."""
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_degrees, 1.0)
    if flip:
        matrix = matrix @ np.array([[-1.0, 0.0, width - 1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)


def normalised(pixels: torch.Tensor, settings: DataSettings) -> torch.Tensor:
    """Turn (b, h, w) grey bytes into the (b, 3, h, w) floats that the network expects, on their device."""
    mean = torch.tensor(settings.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(settings.std, device=pixels.device).view(1, 3, 1, 1)
    images = (pixels.unsqueeze(1).float() / 255 - mean) / std
    return images.contiguous(memory_format=torch.channels_last)


def plain_batches(prepared: Prepared, rows: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
    """Yield the images at `rows` in order, as (b, size, size) grey bytes without augmentation."""
    for start in range(0, len(rows), batch_size):
        yield torch.from_numpy(np.array(prepared.pixels[rows[start : start + batch_size]]))


def _lesion(prepared: Prepared, row: int) -> np.ndarray:
    return np.asarray(prepared.lesions[prepared.lesion_row[row]], dtype=bool)
