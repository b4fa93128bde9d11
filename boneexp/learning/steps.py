"""One optimizer step: its learning rate, its class weights, its seed, and the precision it is taken in."""

import math

import numpy as np
import torch
from torch import nn

from boneexp.errors import DataInvalid
from boneexp.results import CLASS_NAMES
from boneexp.study.settings import TrainingSettings


def class_weights(labels: np.ndarray, weighted: bool) -> torch.Tensor:
    """Return inverse class frequencies, n / (classes x count), as (3,) floats; ones when not `weighted`.

    Raises:
        DataInvalid: a class is absent.
    """
    counts = np.bincount(labels, minlength=len(CLASS_NAMES))
    if not weighted:
        return torch.ones(len(CLASS_NAMES))
    if (counts == 0).any():
        absent = CLASS_NAMES[int(np.argmin(counts))]
        raise DataInvalid(f"the training part has no {absent} image, so its class weight is undefined")
    return torch.tensor(len(labels) / (len(CLASS_NAMES) * counts), dtype=torch.float32)


def learning_rate(settings: TrainingSettings, epoch: int, step: int, steps: int) -> float:
    """Return the rate of a step: linear over the warm-up epochs, then half a cosine down to zero."""
    now = epoch + (step + 1) / steps
    warmup = min(settings.warmup_epochs, settings.epochs)
    if now <= warmup:
        return settings.learning_rate * now / warmup
    fraction = (now - warmup) / max(settings.epochs - warmup, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Return the seed of one step's dropout: far apart for any two steps of any two seeds."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0] >> 1)


def seed_dropout(device: torch.device, seed: int) -> None:
    """Seed the one generator that layers on `device` draw from: `torch.manual_seed` takes 0.2 ms for all."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    elif device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    else:
        torch.manual_seed(seed)


def optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return AdamW over the model's weights; fused where the device can."""
    fusible = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=fusible or None,
    )


def _amp_type(device: torch.device) -> torch.dtype:
    half_range = device.type == "cuda" and not torch.cuda.is_bf16_supported()
    return torch.float16 if half_range else torch.bfloat16


def autocast(device: torch.device) -> torch.autocast:
    """Return the context of a forward pass: half precision on a GPU, full elsewhere."""
    return torch.autocast(device.type, dtype=_amp_type(device), enabled=device.type == "cuda")


def scaler(device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaler, which works on GPUs without bfloat16 alone."""
    return torch.amp.GradScaler(
        device.type, enabled=device.type == "cuda" and _amp_type(device) == torch.float16
    )
