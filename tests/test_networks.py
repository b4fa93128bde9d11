"""Networks of timm: which can be trained, how their heads start, and where Grad-CAM looks.

Mostly on torch's "meta" device, where tensors have shapes and no content.
"""

import sqlite3
import types

import cv2
import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from boneexp.errors import GridInvalid, NoHeatMaps, TooLittleMemory, WeightsUnavailable
from boneexp.experiment.failures import failure_of
from boneexp.learning.batches import normalised
from boneexp.learning.gradcam import heatmaps
from boneexp.learning.last_map import last_map
from boneexp.learning.models import _last_layers, build, build_without_weights
from boneexp.learning.trial import check_network, check_one_at_a_time
from boneexp.study.settings import DataSettings, ModelSettings

SIZE = 96


def named(backbone, **changed):
    return ModelSettings(**{"backbone": backbone, "pretrained": False, **changed})


def grey(count=2, size=SIZE):
    noise = np.random.default_rng(0).integers(0, 255, (count, size, size)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(each, (0, 0), 5) for each in noise])


def random_head(model):
    for layer in _last_layers(model, ""):
        torch.nn.init.normal_(layer.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return model


# The head


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [
        ("test_efficientnet", 1),
        ("deit_tiny_distilled_patch16_224", 2),  # two heads
        ("repvit_m0_9", 2),  # two heads, each after a normalisation, in one module
        ("poolformerv2_s12", 1),
        ("caformer_s18", 1),  # a head of several layers
        ("crossvit_9_240", 2),  # a list of heads
        ("volo_d1_224", 2),  # one that get_classifier does not name
        ("dpn48b", 1),  # a convolution
    ],
)
def test_the_layers_that_give_the_classes_are_found_in_every_kind_of_head(backbone, layers):
    model = build_without_weights(named(backbone), None, "meta")
    found = _last_layers(model, backbone)
    assert len(found) == layers
    assert all(len(layer.weight) == 3 for layer in found)


@pytest.mark.parametrize("backbone", ["deit_tiny_distilled_patch16_224", "repvit_m0_9"])
def test_a_network_with_two_heads_starts_from_equal_probabilities(backbone):
    model = build(named(backbone), 7, 32).eval()
    with torch.inference_mode():
        assert not model(normalised(torch.from_numpy(grey(2, 32)), DataSettings())).any()


# What queue takes


def test_a_network_made_for_one_size_is_built_for_the_images():
    assert check_network(named("test_vit"), 64, 8).startswith("VisionTransformer works on tokens (17 x 64)")
    assert build(named("test_vit"), 7, 64).pos_embed.shape[1] == 17


def test_handing_the_size_over_changes_nothing_of_a_network_that_does_not_take_it():
    one, other = build(named("test_efficientnet"), 7), build(named("test_efficientnet"), 7, 64)
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_a_weights_file_of_timms_own_size_is_resized(tmp_path):
    own = build(named("test_vit"), 7)
    torch.save(own.state_dict(), tmp_path / "weights.pt")
    settings = named("test_vit", pretrained=str(tmp_path / "weights.pt"))
    check_network(settings, 64, 8)
    found = build(settings, 8, 64)
    assert torch.equal(found.blocks[0].attn.qkv.weight, own.blocks[0].attn.qkv.weight)
    assert found.pos_embed.shape[1] == 17 != own.pos_embed.shape[1]


@pytest.mark.parametrize(
    ("backbone", "size", "batch_size", "reason"),
    [
        (
            "resnest14d",
            64,
            1,
            "training.batch_size: resnest14d cannot be trained on one image at a time (Exp",
        ),
        ("test_vit", 60, 8, "test_vit cannot be .* 60 x 60 pixels: .*(divisible|patch)"),
        ("efficientnet_b0.of_nobody", 64, 8, r"Invalid pretrained tag \(of_nobody\)"),
        ("mobilenetv5_300m_enc", 64, 8, "mobilenetv5_300m_enc "),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(backbone, size, batch_size, reason):
    with pytest.raises(GridInvalid, match=reason.replace("(Exp", r"\(Exp")) as caught:
        check_network(named(backbone), size, batch_size)
    assert "\n" not in str(caught.value)


def test_two_images_are_enough_where_one_is_not():
    assert check_network(named("resnest14d"), 64, 2) == ""


def test_pretrained_weights_that_timm_does_not_have_are_refused():
    with pytest.raises(WeightsUnavailable, match="no pretrained weights of ghostnet_050; set"):
        check_network(named("ghostnet_050", pretrained=True), 64, 8)


def test_a_batch_that_memory_halved_to_one_image_is_out_of_memory_where_one_is_not_enough():
    check_one_at_a_time(named("test_resnet"), 64)
    with pytest.raises(TooLittleMemory, match="two images of 64 x 64 pixels do not fit") as caught:
        check_one_at_a_time(named("resnest14d"), 64)
    assert failure_of(caught.value).kind == "oom"


def test_queue_refuses_such_a_network_and_makes_no_ledger(study):
    told = study(
        "queue", "--set", "model.backbone=resnest14d", "--set", "training.batch_size=1", code=1
    ).output
    assert "experiments.E1: training.batch_size: resnest14d" in told
    assert "set training.batch_size to 2 or more" in told
    assert not study.ledger.exists()


def test_queue_takes_a_network_on_tokens_and_says_that_gradcam_will_refuse_it(study):
    told = study("queue", "--set", "model.backbone=test_vit").stderr
    assert told.count("boneexp gradcam will refuse test_vit: VisionTransformer works on tokens") == 1
    with sqlite3.connect(study.ledger) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (4,)


# Where Grad-CAM looks


@pytest.mark.parametrize(
    ("settings", "size", "layer", "cells", "channels_last"),
    [
        (named("efficientnet_b0"), 224, "bn2", 7, False),
        (named("efficientnet_b3"), 300, "bn2", 10, False),
        (named("resnet50", attn_layer="cbam"), 224, "layer4[-1]", 7, False),
        (named("mobilenetv3_small_050"), 64, "blocks[-1]", 2, False),  # conv_head comes after the pooling
        (named("hrnet_w18_small"), 64, "final_layer[-1]", 2, False),  # its bn2 is in the stem
        (named("test_mambaout"), 64, "stages[-1]", 2, True),
        (named("swin_tiny_patch4_window7_224"), 64, "norm", 2, True),
    ],
    ids=lambda value: value.backbone if isinstance(value, ModelSettings) else None,
)
def test_the_last_map_before_the_pooling_is_found(settings, size, layer, cells, channels_last):
    found = last_map(build_without_weights(settings, size, "meta"), size)
    assert (found.layer, found.cells, found.channels_last) == (layer, cells, channels_last)


@pytest.mark.parametrize(
    ("backbone", "size", "reason"),
    [
        ("test_vit", 64, r"works on tokens \(17 x 64\) and has no map"),
        ("mixer_s32_224", 224, "works on tokens"),
        ("crossvit_9_240", 240, "pools several outputs"),
        ("test_efficientnet", 32, "has a single cell at 32 x 32 pixels"),
    ],
)
def test_a_network_without_such_a_map_is_refused_in_one_sentence(backbone, size, reason):
    with pytest.raises(NoHeatMaps, match=reason) as caught:
        last_map(build_without_weights(named(backbone), size, "meta"), size)
    assert "\n" not in str(caught.value)


def test_a_network_that_is_more_than_its_two_parts_is_refused():
    model = build(named("test_resnet"), 7, 64)
    random_head(model)
    model.forward_head = lambda features: type(model).forward_head(model, features) + 1
    model.forward = lambda images: model.forward_head(model.forward_features(images)) * 2
    with pytest.raises(NoHeatMaps, match="does more than pool"):
        last_map(model, 64)


def maps_of(model, pixels):
    prepared = types.SimpleNamespace(pixels=pixels)
    rows = np.arange(len(pixels))
    return np.stack(list(heatmaps(model, prepared, rows, np.ones(len(rows), int), DataSettings())))


@pytest.mark.parametrize("backbone", ["test_mambaout", "test_convnext", "mobilenetv3_small_050"])
def test_a_map_is_the_gradient_weighted_sum_of_the_channels(backbone):
    model, pixels = random_head(build(named(backbone), 7, SIZE)).eval(), grey()
    found = maps_of(model, pixels)
    assert found.any()
    for image, heatmap in zip(pixels, found, strict=True):
        features = model.forward_features(normalised(torch.from_numpy(image[None]), DataSettings()))
        features = features.detach().requires_grad_()
        model.forward_head(features)[0, 1].backward()
        channel = 3 if backbone == "test_mambaout" else 1
        cells = tuple(axis for axis in (1, 2, 3) if axis != channel)
        weighted = (features.grad.mean(cells, keepdim=True) * features).sum(channel)
        due = torch.relu(weighted)[0].detach().numpy()
        due = cv2.resize((due - due.min()) / (due.max() - due.min()), (SIZE, SIZE))
        assert np.allclose(heatmap / heatmap.max(), due / due.max(), atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "layer"), [("test_efficientnet", lambda m: m.bn2), ("test_resnet", lambda m: m.layer4[-1])]
)
def test_the_maps_of_the_studys_kinds_are_those_of_their_named_layers(backbone, layer):
    model, pixels = random_head(build(named(backbone), 7, SIZE)).eval(), grey()
    found, again = maps_of(model, pixels), maps_of(model, pixels)
    assert np.array_equal(found, again)
    with GradCAM(model, [layer(model)]) as cam:
        for image, heatmap in zip(pixels, found, strict=True):
            images = normalised(torch.from_numpy(image[None]), DataSettings())
            due = cam(input_tensor=images, targets=[ClassifierOutputTarget(1)])[0]
            assert np.array_equal(heatmap, np.clip(due, 0, 1))
