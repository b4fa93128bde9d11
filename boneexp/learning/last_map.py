"""The last map of a network before its pooling, where Grad-CAM looks: found with one image, not by a name.

timm's `forward_features` returns it and `forward_head` pools it. Which of its axes are the picture's is read
from its shape, for an image that is a square.
"""

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from boneexp.errors import NoHeatMaps
from boneexp.learning.models import one_line


@dataclass(frozen=True)
class LastMap:
    """The layer that gives the map, how many cells a side has, and whether the channels are its last axis."""

    layer: str
    cells: int
    channels_last: bool

    def channels_first(self, values: torch.Tensor) -> torch.Tensor:
        """Return the map, or its gradient, as (b, channels, cells, cells)."""
        return values.permute(0, 3, 1, 2) if self.channels_last else values


def last_map(model: nn.Module, image_size: int) -> LastMap:
    """Pass one image of that size through the network, which may be on "meta", and find its last map.

    Raises:
        NoHeatMaps: it has none (tokens, several outputs, a map of one cell), with the reason.
    """
    model.eval()
    name = type(model).__name__
    device = next(model.parameters()).device
    ramp = torch.linspace(-2, 2, 3 * image_size**2, device=device).view(1, image_size, image_size, 3)
    images = ramp.permute(0, 3, 1, 2)
    with torch.no_grad():
        whole = None if device.type == "meta" else model(images)
        try:
            layers, features = _layers_and_features(model, images)
            channels_last = _channels_last(model, features)
            parts = model.forward_head(features.clone()).view(1, -1)  # type: ignore[operator]
        except NoHeatMaps:
            raise
        except Exception as error:
            raise NoHeatMaps(f"{name} cannot be taken apart at its last map: {one_line(error)}") from error
    if whole is not None and not torch.allclose(whole, parts, rtol=1e-3, atol=1e-4):
        raise NoHeatMaps(f"{name} does more than pool what its forward_features returns")
    cells = features.shape[1] if channels_last else features.shape[2]
    if cells == 1:
        raise NoHeatMaps(
            f"the last map of {name} has a single cell at {image_size} x {image_size} pixels; "
            "a larger data.image_size gives it more"
        )
    return LastMap(_shown(model, layers), cells, channels_last)


def _layers_and_features(model: nn.Module, images: torch.Tensor) -> tuple[list[str], Any]:
    """Return what `forward_features` returns, and the names of the modules that gave it out, in order."""
    given: list[tuple[str, Any]] = []

    def keep(name: str) -> Any:
        def kept(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                given.append((name, weakref.ref(output)))  # no other map needs to stay in memory

        return kept

    modules = [(name, each) for name, each in model.named_modules() if name]
    hooks = [each.register_forward_hook(keep(name)) for name, each in modules if _does_something(each)]
    try:
        features = model.forward_features(images)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
    return [name for name, output in given if output() is features], features


def _does_something(module: nn.Module) -> bool:
    return not isinstance(module, nn.Identity)


def _channels_last(model: nn.Module, features: Any) -> bool:
    """Read from the shape of a square image's features where their channels are.

    Raises:
        NoHeatMaps: they are no map.
    """
    name = type(model).__name__
    if not isinstance(features, torch.Tensor):
        raise NoHeatMaps(f"{name} pools several outputs of several sizes, not one map")
    shape = " x ".join(str(side) for side in features.shape[1:])
    if features.ndim == 3:
        raise NoHeatMaps(f"{name} works on tokens ({shape}) and has no map before its pooling")
    if features.ndim != 4:
        raise NoHeatMaps(f"{name} has no map before its pooling, but features of the shape {shape}")
    _, first, second, third = features.shape
    if first == second == third:
        return getattr(model, "output_fmt", "NCHW") == "NHWC"
    if second == third:
        return False
    if first == second:
        return True
    raise NoHeatMaps(f"{name} has no square map before its pooling, but features of the shape {shape}")


def _shown(model: nn.Module, layers: list[str]) -> str:
    """Return the name of the outermost of the layers, the last of them, such as "bn2" or "layer4[-1]"."""
    if not layers:
        return "forward_features"
    depth = min(name.count(".") for name in layers)
    outermost = [name for name in layers if name.count(".") == depth][-1]
    shown, place = "", model
    for part in outermost.split("."):
        last = part == str(len(list(place.children())) - 1)
        shown += f"[{-1 if last else part}]" if part.isdigit() else f".{part}"
        place = place.get_submodule(part)
    return shown.lstrip(".") + ("[-1]" if isinstance(place, nn.Sequential) else "")
