"""Heat maps: where a network saw the evidence for a class (Grad-CAM, Selvaraju et al., ICCV 2017)."""

from collections.abc import Iterator

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from boneexp.data.prepared import Prepared
from boneexp.learning.batches import normalised
from boneexp.learning.last_map import last_map
from boneexp.study.settings import DataSettings


def heatmaps(
    model: nn.Module, prepared: Prepared, rows: np.ndarray, classes: np.ndarray, settings: DataSettings
) -> Iterator[np.ndarray]:
    """Yield a (size, size) map in [0, 1] for each image at `rows`: the evidence for its class in `classes`.

    A map is scaled to its own maximum; it is zero everywhere where nothing speaks for the class.

    Raises:
        NoHeatMaps: the network has no map before its pooling.
    """
    model.eval()
    device = next(model.parameters()).device
    seen = last_map(model, prepared.pixels.shape[-1])
    parts = _Parts(model)
    with GradCAM(parts, [parts.features], reshape_transform=seen.channels_first) as cam:
        for row, explained in zip(rows, classes, strict=True):
            pixels = torch.from_numpy(np.array(prepared.pixels[[row]])).to(device)
            targets = [ClassifierOutputTarget(int(explained))]
            found = cam(input_tensor=normalised(pixels, settings), targets=targets)[0]
            yield np.clip(np.nan_to_num(np.asarray(found, dtype=np.float32)), 0.0, 1.0)


class _Features(nn.Module):
    """A network up to its last map."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last map, with the axes as the network has them."""
        found: torch.Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return found


class _Parts(nn.Module):
    """A network in two parts, so that Grad-CAM can take hold of the map that goes from one to the other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.features = _Features(model)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits; the head works on a copy, since some change their input in place."""
        logits: torch.Tensor = self.features.model.forward_head(self.features(images).clone())  # type: ignore[operator]
        return logits
