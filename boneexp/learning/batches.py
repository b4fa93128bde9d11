"""What the network sees: batches of prepared radiographs, dimmed, flipped, turned and normalised.

Order and augmentation are functions of (seed, epoch, position) and of nothing that ran before, so a run
that stopped anywhere resumes exactly as if it had not. Images stay one grey byte per pixel to the last step.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch.nn.functional import embedding

from boneexp.data.prepared import Prepared
from boneexp.study.settings import DataSettings, TrainingSettings

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


@dataclass(frozen=True)
class Draws:
    """How the samples of an epoch are turned."""

    flips: np.ndarray  # (n,) bools: mirrored left-right, before
    angles: np.ndarray  # (n,) degrees, counter-clockwise


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
    *,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """Return the augmented images of the samples at `positions` as (b, size, size) grey bytes.

    Args:
        samples: the samples of the epoch.
        positions: (b,) places in `samples`.
        prepared: the images.
        settings: dim factor, flip probability, largest rotation.
        seed: the seed of the run.
        epoch: counted from 0.
    """
    batch = np.empty((len(positions), *prepared.pixels.shape[1:]), np.uint8)
    for place, image in enumerate(augmented(samples, positions, prepared, settings, seed=seed, epoch=epoch)):
        batch[place] = image
    return batch


def augmented(
    samples: Samples,
    positions: np.ndarray,
    prepared: Prepared,
    settings: TrainingSettings,
    *,
    seed: int,
    epoch: int,
) -> Iterator[np.ndarray]:
    """Yield the images of `training_pixels` one by one."""
    drawn = draws(len(samples), settings, seed, epoch)
    for position in positions:
        image = np.asarray(prepared.pixels[samples.rows[position]])
        if samples.dimmed[position]:
            image = dim_outside(image, _lesion(prepared, int(samples.rows[position])), settings.dim_factor)
        yield turned(image, bool(drawn.flips[position]), float(drawn.angles[position]))


@lru_cache(maxsize=2)  # asked for by every batch of an epoch
def draws(count: int, settings: TrainingSettings, seed: int, epoch: int) -> Draws:
    """Return what is drawn for the `count` samples of an epoch."""
    generator = np.random.default_rng([seed, epoch, AUGMENTATION])
    flips = generator.random(count) < settings.flip_probability
    angles = generator.uniform(-settings.rotation_degrees, settings.rotation_degrees, count)
    return Draws(flips, angles)


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
    table = levels(settings.mean, settings.std).to(pixels.device)
    return embedding(pixels.int(), table).permute(0, 3, 1, 2)  # channels last in memory


@lru_cache(maxsize=8)
def levels(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Return what each grey level becomes in each channel: (256, 3) floats.

    Looking up is several times faster than computing each pixel, and gives the same to the last bit.
    """
    grey = torch.arange(256).unsqueeze(1).float()
    return (grey / 255 - torch.tensor(mean)) / torch.tensor(std)


def normalise_into(planes: np.ndarray, images: Iterable[np.ndarray], settings: DataSettings) -> torch.Tensor:
    """Write grey images into (b, h, w, 3) `planes`; return them as `normalised` does, in the same memory.

    One image at a time stays in the processor's cache from its rotation to its floats.
    """
    table = levels(settings.mean, settings.std).numpy()
    channels = [np.ascontiguousarray(table[:, channel]) for channel in range(3)]
    for plane, image in zip(planes, images, strict=True):
        cv2.merge([cv2.LUT(image, channel) for channel in channels], dst=plane)
    return torch.from_numpy(planes).permute(0, 3, 1, 2)


def plain_images(
    prepared: Prepared, rows: np.ndarray, settings: DataSettings, batch_size: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """Yield the images at `rows` in order and without augmentation, as (b, 3, size, size) floats on `device`.

    On a CPU each batch takes the memory of the one before.
    """
    planes = planes_for(min(batch_size, len(rows)), prepared)
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        if device.type == "cpu":
            images = (np.asarray(prepared.pixels[row]) for row in part)
            yield normalise_into(planes[: len(part)], images, settings)
        else:
            yield normalised(torch.from_numpy(np.array(prepared.pixels[part])).to(device), settings)


def planes_for(count: int, prepared: Prepared) -> np.ndarray:
    """Return memory for `count` normalised images; it costs nothing until it is written to."""
    return np.empty((count, *prepared.pixels.shape[1:], 3), np.float32)


def _lesion(prepared: Prepared, row: int) -> np.ndarray:
    return np.asarray(prepared.lesions[prepared.lesion_row[row]], dtype=bool)
