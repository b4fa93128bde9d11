"""The yardstick of input: a Dataset that opens JPEGs with Pillow, and albumentations for the rest.

It is what most people write, and nothing in it is slow on purpose: RGB, CLAHE at full size, resize, flip,
rotation, normalisation, tensor, anew for every image in every epoch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from PIL import Image
from torch.utils.data import DataLoader, Dataset


def prepared_plainly(path: Path, size_px: int) -> np.ndarray:
    """Return one image decoded, equalised and resized, as a script does that keeps such copies."""
    steps = albumentations.Compose([clahe(), albumentations.Resize(size_px, size_px)])
    return np.asarray(steps(image=rgb(path))["image"])


def rgb(path: Path) -> np.ndarray:
    """Decode a file."""
    return np.asarray(Image.open(path).convert("RGB"))


def clahe() -> albumentations.CLAHE:
    """CLAHE as boneexp's grid has it: always, clip limit 2, eight tiles per side."""
    return albumentations.CLAHE(clip_limit=(2, 2), tile_grid_size=(8, 8), p=1)


class Radiographs(Dataset[Any]):
    """Images augmented for training, with their classes."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int], size_px: int) -> None:
        """Take files and their classes."""
        self.paths, self.labels = list(paths), list(labels)
        self.steps = albumentations.Compose(
            [
                clahe(),
                albumentations.Resize(size_px, size_px),
                albumentations.HorizontalFlip(p=0.5),
                albumentations.Rotate(limit=15, border_mode=0, p=1),
                albumentations.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
                ToTensorV2(),
            ]
        )

    def __len__(self) -> int:
        """Count the images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return one image as the network takes it."""
        return self.steps(image=rgb(self.paths[index]))["image"], self.labels[index]


def loader(
    paths: Sequence[Path], labels: Sequence[int], size_px: int, batch_size: int, workers: int
) -> DataLoader[Any]:
    """Return the batches of epochs, in another order each time."""
    images = Radiographs(paths, labels, size_px)
    return DataLoader(
        images,
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
