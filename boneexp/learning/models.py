"""Networks by name, through timm: with ImageNet weights, weights of one's own, or random ones.

An attention layer that the pretrained network does not have (CBAM) starts from random weights; everything
else must fit, tensor by tensor.
"""

import difflib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from boneexp.errors import GridInvalid, WeightsUnavailable
from boneexp.learning.tensors import weights_of
from boneexp.results import CLASS_NAMES
from boneexp.study.settings import ModelSettings


class NoClassifier(GridInvalid):
    """The network is none that gives classes."""


def build(settings: ModelSettings, seed: int, image_size: int | None = None) -> nn.Module:
    """Return the network with a three-class head; its random weights depend on `seed` alone.

    `image_size` is handed to networks that are made for one size; None leaves timm's own.

    Raises:
        GridInvalid: timm has no such backbone, or cannot build it with these settings.
        WeightsUnavailable: the pretrained weights cannot be had or do not fit.
    """
    check_name(settings.backbone)
    model = _create(settings, image_size, seed)
    if settings.pretrained is not False:
        _start_from(_pretrained(settings, image_size), model, settings)
    level_head(model, settings.backbone)
    return model


def build_without_weights(settings: ModelSettings, image_size: int | None, device: str) -> nn.Module:
    """Return the network on `device`, ready for training but for its weights; "meta" takes no memory.

    Raises:
        GridInvalid: timm cannot build it, or it has no classifier for three classes.
    """
    check_name(settings.backbone)
    with torch.device(device):
        model = _create(settings, image_size)
        level_head(model, settings.backbone)
    return model


def check_weights(settings: ModelSettings, image_size: int | None = None) -> None:
    """Check that the weights of the start can be had: a file that fits, or an entry in timm's model hub.

    Raises:
        WeightsUnavailable: the file is no weights file or not of this network, or timm knows no weights.
    """
    if isinstance(settings.pretrained, str):
        found, as_they_are = _fitting(settings, image_size)
        if not as_they_are:
            _loaded(settings, image_size, found, as_they_are)
    elif settings.pretrained:
        known = timm.get_pretrained_cfg(settings.backbone)
        if known is None or not known.has_weights:
            raise WeightsUnavailable(
                f"model.pretrained: timm has no pretrained weights of {settings.backbone}; "
                'set model.pretrained = false, or "FILE" for a weights file'
            )


def weight_bytes(settings: ModelSettings, image_size: int | None = None) -> int:
    """Return how many bytes the network's weights take in a checkpoint.

    Raises:
        GridInvalid: timm cannot build it.
    """
    check_name(settings.backbone)
    with torch.device("meta"):
        state = _create(settings, image_size).state_dict()
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def on_device(model: nn.Module, device: torch.device | str) -> nn.Module:
    """Move the network to its device, its weights in memory as the images are where torch can."""
    if any(_has_identity_branch(module) for module in model.modules()):
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_pre_hook(_contiguous)
        return model.to(device)
    tensors = chain(model.parameters(), model.buffers())
    if any(tensor.ndim == 5 for tensor in tensors):  # 3-D convolutions have no such form, and torch refuses
        return model.to(device)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _has_identity_branch(module: nn.Module) -> bool:
    """Return True for blocks with a BatchNorm beside their convolutions (RepVGG, MobileOne, FastViT).

    torch 2.14 crashes on a CPU in the backward pass of such networks where channels are last.
    """
    return isinstance(getattr(module, "identity", None), nn.BatchNorm2d)


def _contiguous(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(each.contiguous() for each in inputs)


def own_size(backbone: str) -> int:
    """Return the side in pixels of the images that timm made the network for."""
    found = timm.get_pretrained_cfg(backbone)
    return 224 if found is None else int(found.input_size[-1])


def check_name(backbone: str) -> None:
    """Raise GridInvalid, with the nearest name, unless timm has `backbone` and the weights tag in it."""
    if not timm.is_model(backbone):
        close = difflib.get_close_matches(backbone, timm.list_models(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "see timm.list_models()"
        raise GridInvalid(f"model.backbone: timm has no model {backbone!r}; {hint}")
    try:
        timm.get_pretrained_cfg(backbone)
    except RuntimeError as error:
        raise GridInvalid(f"model.backbone: {backbone}: {one_line(error)}") from error


def level_head(model: nn.Module, backbone: str) -> None:
    """Start from equal probabilities: timm's own start differs much from one architecture to another.

    Raises:
        GridInvalid: the network has no classifier for three classes.
    """
    for layer in _last_layers(model, backbone):
        nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
        if isinstance(layer.bias, torch.Tensor):
            nn.init.zeros_(layer.bias)


def _last_layers(model: nn.Module, backbone: str) -> list[nn.Module]:
    """Return the layers that give the classes: a head may have several layers, a network several heads."""
    try:
        classifier = model.get_classifier()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        classifier = None
    several = isinstance(classifier, tuple | list | nn.ModuleList)
    heads = [head for head in (classifier if several else [classifier]) if isinstance(head, nn.Module)]
    layers = [[each for each in head.modules() if _gives_classes(each)] for head in heads]
    if not layers or not all(layers):
        raise NoClassifier(
            f"model.backbone: {backbone} has no classifier that can be set to {len(CLASS_NAMES)} classes; "
            "choose a classification model of timm"
        )
    auxiliary = [each for each in model.children() if isinstance(each, nn.Linear) and _gives_classes(each)]
    return list(
        dict.fromkeys([*chain.from_iterable(layers), *auxiliary])
    )  # VOLO has one that it does not name


def _gives_classes(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim > 1 and len(weight) == len(CLASS_NAMES)


def _create(settings: ModelSettings, image_size: int | None = None, seed: int = 0) -> nn.Module:
    try:
        return _of_timm(settings, image_size, seed)
    except Exception as error:
        attention = f" with attn_layer = {settings.attn_layer!r}" if settings.attn_layer else ""
        size = f" for images of {image_size} x {image_size} pixels" if image_size else ""
        raise GridInvalid(
            f"model.backbone: {settings.backbone} cannot be built{attention}{size}: {one_line(error)}"
        ) from error


def _of_timm(settings: ModelSettings, image_size: int | None, seed: int = 0, **more: Any) -> nn.Module:
    """Let timm build the network; `image_size` is handed over where timm takes it."""
    arguments: Any = {"num_classes": len(CLASS_NAMES), "drop_rate": settings.dropout, **more}
    if settings.attn_layer:
        arguments["block_args"] = {"attn_layer": settings.attn_layer}
    torch.manual_seed(seed)
    if image_size is not None:
        try:
            return timm.create_model(settings.backbone, **arguments, img_size=image_size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
    torch.manual_seed(seed)  # again: the first try may have drawn from it
    return timm.create_model(settings.backbone, **arguments)


def one_line(error: Exception) -> str:
    """Return the first line of an error, shortened; its type where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _pretrained(settings: ModelSettings, image_size: int | None) -> nn.Module:
    """Return the plain backbone with its pretrained weights, all of them; its head is of no use."""
    if isinstance(settings.pretrained, str):
        return _loaded(settings, image_size, *_fitting(settings, image_size))
    try:
        return _of_timm(_plain(settings), image_size, pretrained=True)
    except Exception as error:
        raise WeightsUnavailable(_ways_out(settings, error)) from error


def _plain(settings: ModelSettings) -> ModelSettings:
    return settings.model_copy(update={"attn_layer": "", "dropout": 0.0})


def _fitting(settings: ModelSettings, image_size: int | None) -> tuple[dict[str, torch.Tensor], bool]:
    """Return the tensors of the weights file, checked to have each its place, and whether it is as they are.

    timm would take a file that has none of them, and leave the network random. Where a network is made for
    one size and the file is for timm's own size of it, timm has to resize the position embeddings.
    """
    path = Path(str(settings.pretrained))
    if not path.is_file():
        raise WeightsUnavailable(f"model.pretrained: there is no file {path}")
    try:
        found = weights_of(path)
    except ValueError as error:
        raise WeightsUnavailable(_does_not_fit(settings, str(error))) from error
    with torch.device("meta"):
        differing = _differing(_create(_plain(settings), image_size), found)
        as_they_are = not differing
        if differing and image_size is not None:
            differing = _differing(_create(_plain(settings), None), found)
    if differing:
        counted = f"{len(differing)} tensors are missing, too many or of another shape"
        raise WeightsUnavailable(_does_not_fit(settings, f"{counted}, such as {differing[0][:80]}"))
    return found, as_they_are


def _loaded(
    settings: ModelSettings, image_size: int | None, found: dict[str, torch.Tensor], as_they_are: bool
) -> nn.Module:
    if as_they_are:
        model = _create(_plain(settings), image_size)
        model.load_state_dict(_without_head(model, found), strict=False)
        return model
    overlay = {"state_dict": found}
    try:
        return _of_timm(_plain(settings), image_size, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:
        raise WeightsUnavailable(_does_not_fit(settings, one_line(error))) from error


def _differing(model: nn.Module, found: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of the tensors, but for the head's, that are not the same in network and file."""
    needed, found = _without_head(model, model.state_dict()), _without_head(model, found)
    return [name for name in sorted(needed.keys() | found.keys()) if _differ(name, needed, found)]


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
    return (
        f"the ImageNet weights of {settings.backbone} cannot be had from the model hub ({one_line(error)}). "
        f"Three ways out: (1) go online once and run again, the weights stay in the cache; "
        f'(2) bring a weights file and set model.pretrained = "FILE" (or --set model.pretrained=FILE); '
        f"(3) start from random weights with model.pretrained = false (or --set model.pretrained=false). "
        f"Then queue again: boneexp queue --grid experiments.toml"
    )
