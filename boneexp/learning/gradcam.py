"""Heat maps: where a network saw the evidence for a class (Grad-CAM, Selvaraju et al., ICCV 2017)."""

from collections.abc import Iterator

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from boneexp.config import DataSettings
from boneexp.data.prepared import Prepared
from boneexp.learning.batches import normalised
from boneexp.learning.models import last_feature_layer


def heatmaps(
    model: nn.Module, prepared: Prepared, rows: np.ndarray, classes: np.ndarray, settings: DataSettings
) -> Iterator[np.ndarray]:
    """Yield a (size, size) map in [0, 1] for each image at `rows`: the evidence for its class in `classes`.

    A map is scaled to its own maximum; it is zero everywhere where nothing speaks for the class.
    """
    model.eval()
    device = next(model.parameters()).device
    _, layer = last_feature_layer(model)
    with GradCAM(model=model, target_layers=[layer]) as cam:
        for row, explained in zip(rows, classes, strict=True):
            pixels = torch.from_numpy(np.array(prepared.pixels[[row]])).to(device)
            targets = [ClassifierOutputTarget(int(explained))]
            found = cam(input_tensor=normalised(pixels, settings), targets=targets)[0]
            yield np.clip(np.nan_to_num(np.asarray(found, dtype=np.float32)), 0.0, 1.0)
