"""Networks by name, through timm: with ImageNet weights, weights of one's own, or random ones.

An attention layer that the pretrained network does not have (CBAM) starts from random weights; everything
else must fit, tensor by tensor.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from boneexp.config import ModelSettings
from boneexp.errors import GridInvalid, WeightsUnavailable
from boneexp.learning.tensors import weights_of
from boneexp.results import CLASS_NAMES


def build(settings: ModelSettings, seed: int) -> nn.Module:
    """Return the network with a three-class head; its random weights depend on `seed` alone.

    Raises:
        GridInvalid: timm has no such backbone, or the backbone takes no attention layer.
        WeightsUnavailable: the pretrained weights cannot be had or do not fit.
    """
    check_name(settings.backbone)
    torch.manual_seed(seed)
    model = _create(settings)
    if settings.pretrained is not False:
        _start_from(_pretrained(settings), model, settings)
    _level_head(model)
    return model


def check_buildable(settings: ModelSettings) -> None:
    """Check that timm can build the network and that its weights file fits; nothing is kept in memory.

    Raises:
        GridInvalid: it cannot be built.
        WeightsUnavailable: the file is no weights file, or not of this network.
    """
    check_name(settings.backbone)
    with torch.device("meta"):
        _create(settings)
        if isinstance(settings.pretrained, str):
            _fitting(_plain(settings), settings)


def weight_bytes(settings: ModelSettings) -> int:
    """Return how many bytes the network's weights take in a checkpoint.

    Raises:
        GridInvalid: timm cannot build it.
    """
    check_name(settings.backbone)
    with torch.device("meta"):
        state = _create(settings).state_dict()
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def check_name(backbone: str) -> None:
    """Raise GridInvalid, with the nearest name, unless timm has `backbone`."""
    if not timm.is_model(backbone):
        close = difflib.get_close_matches(backbone, timm.list_models(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "see timm.list_models()"
        raise GridInvalid(f"model.backbone: timm has no model {backbone!r}; {hint}")


def last_feature_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """Return name and module of the last layer with a spatial map, where Grad-CAM looks.

    Raises:
        GridInvalid: the architecture is not known to have one.
    """
    if hasattr(model, "patch_embed"):
        raise GridInvalid(
            f"{type(model).__name__} works on tokens; Grad-CAM here needs a convolutional network"
        )
    for name in ("bn2", "layer4", "norm_head", "conv_head", "stages", "features", "blocks"):
        layer = getattr(model, name, None)
        if isinstance(layer, nn.Sequential | nn.ModuleList):
            return f"{name}[-1]", layer[-1]
        if isinstance(layer, nn.Module) and not isinstance(layer, nn.Identity):
            return name, layer
    raise GridInvalid(f"{type(model).__name__} has no layer that Grad-CAM is known to work on")


def _create(settings: ModelSettings, **changed: Any) -> nn.Module:
    arguments: dict[str, Any] = {"num_classes": len(CLASS_NAMES), "drop_rate": settings.dropout}
    if settings.attn_layer:
        arguments["block_args"] = {"attn_layer": settings.attn_layer}
    arguments.update(changed)
    try:
        model: nn.Module = timm.create_model(settings.backbone, **arguments)
    except (TypeError, KeyError, AssertionError, ImportError) as error:
        raise GridInvalid(
            f"{settings.backbone} cannot be built with attn_layer = {settings.attn_layer!r}: {error}"
        ) from error
    return model


def _level_head(model: nn.Module) -> None:
    """Start from equal probabilities: timm's own start differs much from one architecture to another."""
    head = model.get_classifier()  # type: ignore[operator]
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


def _pretrained(settings: ModelSettings) -> nn.Module:
    """Return the plain backbone with its pretrained weights, all of them; its head is of no use."""
    if isinstance(settings.pretrained, str):
        model = _plain(settings)
        model.load_state_dict(_fitting(model, settings), strict=False)
        return model
    try:
        return _plain(settings, pretrained=True)
    except Exception as error:
        raise WeightsUnavailable(_ways_out(settings, error)) from error


def _plain(settings: ModelSettings, pretrained: bool = False) -> nn.Module:
    model: nn.Module = timm.create_model(
        settings.backbone, pretrained=pretrained, num_classes=len(CLASS_NAMES)
    )
    return model


def _fitting(model: nn.Module, settings: ModelSettings) -> dict[str, torch.Tensor]:
    """Return the tensors of the weights file but for its head, after checking that each has its place.

    timm would take a file that has none of them, and leave the network random.
    """
    path = Path(str(settings.pretrained))
    if not path.is_file():
        raise WeightsUnavailable(f"model.pretrained: there is no file {path}")
    try:
        found = _without_head(model, weights_of(path))
    except ValueError as error:
        raise WeightsUnavailable(_does_not_fit(settings, str(error))) from error
    needed = _without_head(model, model.state_dict())
    differing = [name for name in sorted(needed.keys() | found.keys()) if _differ(name, needed, found)]
    if differing:
        said = f"{len(differing)} tensors are missing, too many or of another shape"
        raise WeightsUnavailable(_does_not_fit(settings, f"{said}, such as {differing[0][:80]}"))
    return found


def _without_head(model: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    named = model.pretrained_cfg.get("classifier")  # type: ignore[union-attr, operator]
    heads = (named,) if isinstance(named, str) else named or ()
    return {name: tensor for name, tensor in state.items() if name.rpartition(".")[0] not in heads}


def _differ(name: str, needed: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> bool:
    if name.endswith("num_batches_tracked"):  # BatchNorm's counter: old files lack it, and nothing needs it
        return False
    return name not in needed or name not in found or needed[name].shape != found[name].shape


def _does_not_fit(settings: ModelSettings, said: str) -> str:
    return f"model.pretrained: {settings.pretrained} does not fit {settings.backbone}: {said}"


def _start_from(pretrained: nn.Module, model: nn.Module, settings: ModelSettings) -> None:
    missing, unexpected = model.load_state_dict(pretrained.state_dict(), strict=False)
    if unexpected or (missing and not settings.attn_layer):
        raise WeightsUnavailable(
            f"the weights of {settings.backbone} do not fit: {[*missing, *unexpected][:3]}"
        )


def _ways_out(settings: ModelSettings, error: Exception) -> str:
    said = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return (
        f"the ImageNet weights of {settings.backbone} cannot be had from the model hub ({said}). "
        f"Three ways out: (1) go online once and run again, the weights stay in the cache; "
        f'(2) bring a weights file and set model.pretrained = "FILE" (or --set model.pretrained=FILE); '
        f"(3) start from random weights with model.pretrained = false (or --set model.pretrained=false). "
        f"Then queue again: boneexp queue --grid experiments.toml"
    )
