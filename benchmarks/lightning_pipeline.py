"""The plain pipeline in Lightning: the same Dataset in a LightningDataModule, gone through by a Trainer."""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from plain_pipeline import loader

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it would tell of devices at each epoch
warnings.filterwarnings("ignore", module="lightning")


class PlainData(lightning.LightningDataModule):
    """The plain pipeline's batches."""

    def __init__(self, batches: Any) -> None:
        """Take the loader."""
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> Any:
        """Return it."""
        return self.batches


class Nothing(lightning.LightningModule):
    """A module whose step takes the batch and does next to nothing, so that the input is measured."""

    def __init__(self) -> None:
        """Have one weight, since a Trainer wants an optimizer."""
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Touch the batch."""
        return self.weight * batch[0][0, 0, 0, 0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the simplest there is."""
        return torch.optim.SGD(self.parameters(), lr=0.0)


def epoch_in_lightning(
    paths: Sequence[Path], labels: Sequence[int], size_px: int, batch_size: int, workers: int
) -> Callable[[], None]:
    """Return a call that goes through one epoch; the workers of the loader stay from call to call."""
    data = PlainData(loader(paths, labels, size_px, batch_size, workers))

    def call() -> None:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Nothing(), data)

    return call
