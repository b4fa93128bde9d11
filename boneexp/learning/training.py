"""The training loop: epochs of batches, validation, early stopping, and a checkpoint after each epoch.

Every random draw is a function of (seed, epoch, step) and the loop's whole state is in `last.pt`, so a run
that stopped anywhere resumes to the same weights as one that did not. A checkpoint is written while the next
epoch trains, and its epoch is reported when it is on the disk: no epoch that was reported is trained again.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from boneexp.data.prepared import Prepared
from boneexp.evaluation.ranks import ranked_metrics
from boneexp.files.folders import RunFolder
from boneexp.learning.batches import Samples, batch_slices
from boneexp.learning.checkpoint import Progress, State, load_last
from boneexp.learning.feeding import BatchConfig, BatchSource, Positions, batch_source
from boneexp.learning.predicting import predict_logits
from boneexp.learning.saving import Saving
from boneexp.learning.steps import (
    autocast,
    class_weights,
    learning_rate,
    optimizer,
    scaler,
    seed_dropout,
    step_seed,
)
from boneexp.results import EpochRecord
from boneexp.study.settings import DataSettings, TrainingSettings


class NotFinite(Exception):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class TrainingInputs:
    """All that training needs and does not change."""

    prepared: Prepared
    samples: Samples
    val_rows: np.ndarray
    val_labels: np.ndarray
    data: DataSettings
    training: TrainingSettings
    seed: int
    micro_batch: int
    config_hash: str
    folder: RunFolder


@dataclass(frozen=True)
class Callbacks:
    """How the loop talks to whoever runs it."""

    restored: Callable[[list[EpochRecord]], bool]  # the epochs that are done already -> continue?
    step: Callable[[int, int, int], bool]  # (epoch, steps done, steps in an epoch) -> continue?
    epoch: Callable[[EpochRecord], bool]  # an epoch whose checkpoint is on the disk -> continue?


def train(
    model: nn.Module, inputs: TrainingInputs, callbacks: Callbacks, writer: Executor | None = None
) -> Progress | None:
    """Train to the end; return the final progress, or None if a signal asked to stop (all is saved then).

    Callbacks are given by the calling thread alone; `writer` writes the checkpoints, None is a thread for it.

    Raises:
        NotFinite: the loss left the numbers.
        DataInvalid: a class has no training image.
        OSError: a checkpoint could not be written.
    """
    device = next(model.parameters()).device
    weights = class_weights(inputs.samples.labels, inputs.training.class_weights).to(device)
    with writer or ThreadPoolExecutor(1, "checkpoints") as thread:
        saving = Saving(inputs.folder, inputs.config_hash, thread)
        loop = _Loop(model, inputs, weights, optimizer(model, inputs.training), scaler(device), saving)
        progress = loop.restored()
        if not callbacks.restored(progress.history):
            return None
        try:
            return progress if loop.trained(progress, callbacks) else None
        except Exception:
            loop.report_saved(progress, callbacks, wait=True)  # written at once, it would have come first
            raise


@dataclass
class _Loop:
    """One model in training: the five steps, the end of an epoch, and what is saved."""

    model: nn.Module
    inputs: TrainingInputs
    weights: torch.Tensor
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    saving: Saving

    def __post_init__(self) -> None:
        inputs = self.inputs
        config = BatchConfig(inputs.prepared, inputs.samples, inputs.data, inputs.training, inputs.seed)
        self.source: BatchSource = batch_source(config, self.weights.device)

    def restored(self) -> Progress:
        """Load the last checkpoint, if there is one of this run, and return where it stands."""
        found = load_last(self.inputs.folder.last, self.inputs.config_hash)
        if found is None:
            return Progress()
        progress, content = found
        self.model.load_state_dict(content["model"])
        if not progress.done:
            self.optimizer.load_state_dict(content["optimizer"])
            self.scaler.load_state_dict(content["scaler"])
        return progress

    def trained(self, progress: Progress, callbacks: Callbacks) -> bool:
        """Train to the end; False if a signal asked to stop."""
        while not progress.done:
            began_s = time.monotonic()
            if not self.train_epoch(progress, callbacks):
                return False
            if not self.close_epoch(progress, callbacks, began_s):
                return False
        return True

    def train_epoch(self, progress: Progress, callbacks: Callbacks) -> bool:
        """Train the rest of the current epoch; False, and all is saved, if a signal asked to stop."""
        inputs, epoch = self.inputs, progress.epoch
        order = self.source.order(epoch)
        batches = batch_slices(len(order), inputs.training.batch_size)
        loss_sum = torch.tensor(progress.loss_sum, device=self.weights.device)
        self.model.train()
        for step in range(progress.step, len(batches)):
            seed_dropout(self.weights.device, step_seed(inputs.seed, epoch, step))
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(inputs.training, epoch, step, len(batches))
            positions = order[batches[step]]
            loss_sum += self._step(positions, epoch) * len(positions)
            continues = callbacks.step(epoch, step + 1, len(batches))
            if not (self.report_saved(progress, callbacks) and continues):
                self.report_saved(progress, callbacks, wait=True)
                progress.step, progress.loss_sum = step + 1, loss_sum.item()
                self._save(progress)
                self.report_saved(progress, callbacks, wait=True)
                return False
        progress.step, progress.loss_sum = len(batches), loss_sum.item()
        return True

    def close_epoch(self, progress: Progress, callbacks: Callbacks, began_s: float) -> bool:
        """Validate, decide what is best and whether to stop early, and begin to save; False is a stop."""
        inputs = self.inputs
        record = self._validated(progress, began_s)
        continues = self.report_saved(progress, callbacks, wait=True)
        if record.val_loss < progress.best_val_loss:
            progress.best_epoch, progress.best_val_loss = record.epoch, record.val_loss
        progress.history.append(record)
        progress.epoch, progress.step, progress.loss_sum = record.epoch + 1, 0, 0.0
        waited = record.epoch - progress.best_epoch
        progress.done = progress.epoch >= inputs.training.epochs or waited >= inputs.training.patience
        self._save(progress, record)
        return self.report_saved(progress, callbacks, wait=progress.done or not continues) and continues

    def report_saved(self, progress: Progress, callbacks: Callbacks, wait: bool = False) -> bool:
        """Report the epoch that has come to be on the disk, if one has; False if the answer was to stop."""
        saved = self.saving.outcome(wait)
        if saved is None:
            return True
        progress.best_sha256 = saved.best_sha256
        return saved.record is None or callbacks.epoch(saved.record)

    def _step(self, positions: Positions, epoch: int) -> torch.Tensor:
        """One optimizer step over a batch, in micro-batches that add up to its weighted mean loss."""
        inputs, device = self.inputs, self.weights.device
        labels = self.source.labels(positions)
        weight_sum = self.weights[labels].sum()
        total = torch.zeros((), device=device)
        self.optimizer.zero_grad(set_to_none=True)
        for part in batch_slices(len(positions), inputs.micro_batch):
            images = self.source.images(positions[part], epoch)
            with autocast(device):
                logits = self.model(images)
            smoothing = inputs.training.label_smoothing
            loss = cross_entropy(
                logits.float(), labels[part], self.weights, reduction="sum", label_smoothing=smoothing
            )
            loss = loss / weight_sum
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total

    def _validated(self, progress: Progress, began_s: float) -> EpochRecord:
        inputs = self.inputs
        train_loss = progress.loss_sum / len(inputs.samples)
        batch_size = evaluation_batch(inputs.training.batch_size, inputs.micro_batch, self.weights.device)
        logits = predict_logits(self.model, self.source.plain(inputs.val_rows, batch_size))
        labels = torch.from_numpy(inputs.val_labels)
        val_loss = cross_entropy(logits, labels).item()
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise NotFinite(
                f"the loss is not finite in epoch {progress.epoch + 1} (training {train_loss:g}, validation "
                f"{val_loss:g}); a lower training.learning_rate usually helps"
            )
        return EpochRecord(
            epoch=progress.epoch,
            train_loss=train_loss,
            val_loss=val_loss,
            val_accuracy=(logits.argmax(1) == labels).double().mean().item(),
            val_macro_auroc=_macro_auroc(inputs.val_labels, torch.softmax(logits.double(), 1).numpy()),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            duration_s=time.monotonic() - began_s,
        )

    def _save(self, progress: Progress, record: EpochRecord | None = None) -> None:
        state: State = {"model": self.model.state_dict()}
        if not progress.done:  # a finished run is never trained further: a third of the size
            state |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        self.saving.begin(state, progress, record)


def evaluation_batch(batch_size: int, micro_batch: int, device: torch.device) -> int:
    """Return how many images are predicted at a time: many, unless memory was short in training.

    A GPU takes four batches at a time in no more memory than training needed for one; on a CPU more images
    than these fall out of its caches, and it gets slower.
    """
    if micro_batch < batch_size:
        return micro_batch
    return max(4 * batch_size if device.type == "cuda" else batch_size, 32)


def _macro_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the mean over the classes, each against the rest; None if one is absent."""
    once = np.ones((1, len(labels)), np.int64)
    each = [ranked_metrics(labels == code, probabilities[:, code], once)[0][0] for code in range(3)]
    return None if np.isnan(each).any() else float(np.mean(each))
