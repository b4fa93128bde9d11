"""A network is tried before it is queued: one training step and one prediction, as a run would take them.

On torch's "meta" device, where tensors have shapes and strides and no content, it takes no memory and little
time. What fails there is tried on the CPU before it is refused: some networks need values in between.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from boneexp.errors import GridInvalid, NoHeatMaps, TooLittleMemory
from boneexp.learning.last_map import last_map
from boneexp.learning.models import (
    NoClassifier,
    build_without_weights,
    check_weights,
    on_device,
    one_line,
    own_size,
)
from boneexp.results import CLASS_NAMES
from boneexp.study.settings import ModelSettings


@dataclass(frozen=True)
class _Trial:
    """What went wrong in it, and why there are no heat maps; "" where nothing did and where there are."""

    failure: str
    no_heat_maps: str


def check_network(settings: ModelSettings, image_size: int, batch_size: int) -> str:
    """Check that runs of these settings can be trained; return why they have no heat maps, "" if they have.

    Raises:
        GridInvalid: timm cannot build the network, or it cannot be trained on such batches.
        WeightsUnavailable: its weights cannot be had or do not fit.
    """
    check_weights(settings, image_size)
    backbone = settings.backbone
    network = (backbone, settings.attn_layer, image_size)
    smallest = min(batch_size, 2)  # a last batch of one joins its neighbour
    found = _trial(*network, smallest)
    if not found.failure:
        return found.no_heat_maps
    if smallest == 1 and not _trial(*network, 2).failure:
        raise GridInvalid(
            f"training.batch_size: {backbone} cannot be trained on one image at a time ({found.failure}); "
            "set training.batch_size to 2 or more"
        )
    raise GridInvalid(
        f"model.backbone: {backbone} cannot be trained on images of {image_size} x {image_size} pixels: "
        f"{found.failure}; set another data.image_size (timm's own for it is {own_size(backbone)}) "
        "or another model.backbone"
    )


def check_one_at_a_time(settings: ModelSettings, image_size: int) -> None:
    """Check that the network can be trained on micro-batches of one image, where memory has no room for two.

    Raises:
        TooLittleMemory: it cannot.
    """
    failure = _trial(settings.backbone, settings.attn_layer, image_size, 1).failure
    if failure:
        raise TooLittleMemory(
            f"out of memory: two images of {image_size} x {image_size} pixels do not fit, and "
            f"{settings.backbone} cannot be trained on one at a time ({failure}); set a smaller "
            "data.image_size or another model.backbone, or use a device with more memory"
        )


@lru_cache(maxsize=64)  # experiments with other weights, dropout or batch size have the same network
def _trial(backbone: str, attn_layer: str, image_size: int, images: int) -> _Trial:
    """Take one training step on so many images and one prediction."""
    settings = ModelSettings(backbone=backbone, attn_layer=attn_layer, pretrained=False)
    failure = ""
    for device in ("meta", "cpu"):
        try:
            model = build_without_weights(settings, image_size, device)
            _train_and_predict(model, image_size, images)
        except NoClassifier:
            raise
        except Exception as error:  # whatever a network of timm raises
            if device == "cpu" and isinstance(error, GridInvalid):
                raise
            failure = one_line(error)
        else:
            return _Trial("", _no_heat_maps(model, image_size))
    return _Trial(failure, "")


def _no_heat_maps(model: nn.Module, image_size: int) -> str:
    try:
        last_map(model, image_size)
    except NoHeatMaps as error:
        return str(error)
    return ""


def _train_and_predict(model: nn.Module, image_size: int, images: int) -> None:
    device = next(model.parameters()).device
    model = on_device(model, device)
    pixels = torch.zeros(images, image_size, image_size, 3, device=device).permute(0, 3, 1, 2)
    labels = torch.zeros(images, dtype=torch.long, device=device)
    model.train()
    cross_entropy(_logits(model, pixels), labels).backward()  # type: ignore[no-untyped-call]
    model.eval()
    with torch.inference_mode():
        _logits(model, pixels[:1])


def _logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    found, wanted = model(pixels), (len(pixels), len(CLASS_NAMES))
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"it returns a {type(found).__name__} of several outputs, not the logits")
    if found.shape != wanted:
        raise ValueError(f"it returns the shape {tuple(found.shape)}, not {wanted}")
    return found.float()
