"""The yardstick of feeding a GPU: the same training on images that lie there, normalised already."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boneexp.data.prepared import Prepared
from boneexp.files.folders import RunFolder
from boneexp.learning.batches import samples_of
from boneexp.learning.feeding import BatchConfig
from boneexp.learning.models import build
from boneexp.learning.training import Callbacks, TrainingInputs, train
from boneexp.study.settings import DataSettings, ModelSettings, TrainingSettings

TRAINED, VALIDATED = 1024, 128


class SyntheticFeed:
    """Gives the same images for every batch, and does nothing for them."""

    def __init__(self, config: BatchConfig, device: torch.device) -> None:
        """Make one batch of noise."""
        size = config.prepared.pixels.shape[1]
        noise = torch.randn(max(config.training.batch_size, VALIDATED), 3, size, size, device=device)
        self.noise = noise.contiguous(memory_format=torch.channels_last)
        self.classes = torch.from_numpy(config.samples.labels).to(device)

    def order(self, epoch: int) -> torch.Tensor:
        """Return the positions as they come."""
        return torch.arange(len(self.classes), device=self.classes.device)

    def labels(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the first classes there are."""
        return self.classes[: len(positions)]

    def images(self, positions: torch.Tensor, epoch: int) -> torch.Tensor:
        """Return the noise."""
        return self.noise[: len(positions)]

    def plain(self, rows: np.ndarray, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield the noise."""
        for start in range(0, len(rows), batch_size):
            yield self.noise[: min(batch_size, len(rows) - start)]


def seconds_of_epochs(device: Any, folder: Path, backbone: str, size: int, epochs: int) -> list[float]:
    """Return how long each epoch of a training takes, validation included, the first left out."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (TRAINED + VALIDATED, size, size), dtype=np.uint8)
    lesion_row = np.full(len(pixels), -1)
    prepared = Prepared(pixels, np.zeros((0, size, size), np.bool_), lesion_row, folder)
    labels = np.arange(len(pixels)) % 3
    inputs = TrainingInputs(
        prepared=prepared,
        samples=samples_of(np.arange(TRAINED), labels, prepared, annotations=False),
        val_rows=np.arange(TRAINED, len(pixels)),
        val_labels=labels[TRAINED:],
        data=DataSettings(image_size=size),
        training=TrainingSettings(epochs=epochs + 1, warmup_epochs=1, patience=epochs + 1),
        seed=1,
        micro_batch=32,
        config_hash="h",
        folder=RunFolder(folder, "run"),
    )
    (folder / "run").mkdir(parents=True)
    taken: list[float] = []

    def kept(record: Any) -> bool:
        taken.append(record.duration_s)
        return True

    model = build(ModelSettings(backbone=backbone, pretrained=False), 1)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    train(model, inputs, Callbacks(restored=lambda _: True, step=lambda *_: True, epoch=kept))
    return taken[1:]
