"""Where batches come from: the same images, to the last bit, as reckoned plainly."""

import cv2
import numpy as np
import pytest
import torch

from boneexp.data.prepared import Prepared
from boneexp.learning.batches import draws, epoch_order, levels, normalised, samples_of, training_pixels
from boneexp.learning.feeding import BatchConfig, DeviceBatches, HostBatches, batch_source, fits
from boneexp.learning.models import build
from boneexp.learning.predicting import predict, predict_logits
from boneexp.study.settings import DataSettings, ModelSettings, TrainingSettings

CPU = torch.device("cpu")
DATA = DataSettings()


def config_of(count=11, size=48, annotations=True, **training):
    """Smooth clouds, every second one with a lesion."""
    generator = np.random.default_rng(3)
    rough = generator.integers(0, 256, (count, 8, 7), dtype=np.uint8)
    pixels = np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_CUBIC) for one in rough])
    lesions = np.zeros((count // 2, size, size), bool)
    lesions[:, 5:20, 9:30] = True
    lesion_row = np.where(np.arange(count) % 2 == 1, np.arange(count) // 2, -1)
    prepared = Prepared(pixels, lesions, lesion_row, folder=None)
    samples = samples_of(np.arange(count), np.arange(count) % 3, prepared, annotations)
    return BatchConfig(prepared, samples, DATA, TrainingSettings(**training), seed=7)


def plainly(pixels):
    """The formula, one operation after the other."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (DATA.mean, DATA.std))
    return (torch.from_numpy(pixels).unsqueeze(1).float() / 255 - mean) / std


def of_training(config, positions, epoch):
    return training_pixels(
        config.samples, positions, config.prepared, config.training, seed=config.seed, epoch=epoch
    )


def test_every_grey_level_is_normalised_as_the_formula_says_to_the_last_bit():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    images = normalised(torch.from_numpy(every), DATA)
    assert torch.equal(images, plainly(every))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_on_the_host_is_the_augmented_bytes_normalised_to_the_last_bit():
    config = config_of()
    source = HostBatches(config, CPU)
    for positions in (np.array([3, 0, 12]), np.array([5, 15, 1, 2, 9]), np.array([7])):
        images = source.images(positions, 4)
        assert torch.equal(images, plainly(of_training(config, positions, 4)))
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(source.labels(positions), torch.from_numpy(config.samples.labels[positions]))


def test_the_order_of_an_epoch_is_that_of_its_seed():
    source = HostBatches(config_of(), CPU)
    assert np.array_equal(source.order(2), epoch_order(7, 2, 16))


def test_images_to_predict_come_in_their_order_and_are_not_augmented():
    config, rows = config_of(), np.array([9, 2, 2, 0, 10])
    batches = [batch.clone() for batch in HostBatches(config, CPU).plain(rows, 2)]
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat(batches), plainly(config.prepared.pixels[rows]))
    assert list(HostBatches(config, CPU).plain(rows[:0], 2)) == []


def test_what_is_predicted_does_not_hang_on_the_size_of_batches():
    config, rows = config_of(), np.array([9, 2, 4, 0, 10])
    model = build(ModelSettings(backbone="test_efficientnet", pretrained=False), 7)
    torch.nn.init.normal_(model.get_classifier().weight, generator=torch.Generator().manual_seed(1))
    one, many = (predict(model, config.prepared, rows, DATA, size) for size in (1, 4))
    assert np.allclose(one, many, atol=1e-6)
    assert len(np.unique(one[:, 0])) == len(rows)
    assert predict_logits(model, []).shape == (0, 3)


def test_predicting_first_does_no_harm_to_training():
    """What was made in inference mode can take no part in a backward pass, and the memory is used again."""
    config = config_of()
    source = HostBatches(config, CPU)
    model = build(ModelSettings(backbone="test_efficientnet", pretrained=False), 7)
    predict_logits(model, source.plain(np.arange(4), 4))
    model.train()
    model(source.images(np.arange(4), 0)).sum().backward()


def test_draws_of_an_epoch_are_made_once_and_follow_seed_and_epoch():
    settings = TrainingSettings(flip_probability=0.5, rotation_degrees=10)
    assert draws(20, settings, 1, 2) is draws(20, settings, 1, 2)
    assert not np.array_equal(draws(20, settings, 1, 2).angles, draws(20, settings, 1, 3).angles)
    assert np.abs(draws(20, settings, 1, 2).angles).max() <= 10


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flips_can_be_never_or_always(probability):
    config = config_of(flip_probability=probability, rotation_degrees=0.0, annotations=False)
    pixels = config.prepared.pixels[:3]
    expected = pixels[:, :, ::-1] if probability else pixels
    assert np.array_equal(of_training(config, np.arange(3), 0), expected)


# The source that keeps all images on the device, tried with the CPU as the device


def both(config):
    return HostBatches(config, CPU), DeviceBatches(config, CPU)


def grey_of(images):
    """Back from the first channel to grey levels."""
    scale = levels(DATA.mean, DATA.std)[:, 0].contiguous()
    return torch.searchsorted(scale, images[:, 0].contiguous()).int()


@pytest.mark.parametrize("epoch", [0, 1, 5])
@pytest.mark.parametrize("size", [48, 65])
def test_the_device_turns_as_the_host_does_but_for_a_rounding_here_and_there(size, epoch):
    config = config_of(size=size, rotation_degrees=180.0, dim_factor=0.3)
    host, device = both(config)
    order = device.order(epoch)
    assert np.array_equal(order.numpy(), host.order(epoch))
    images = device.images(order, epoch)
    assert images.is_contiguous(memory_format=torch.channels_last)
    apart = (grey_of(images) - grey_of(host.images(order.numpy(), epoch))).abs()
    assert apart.max() <= 1
    assert apart.float().mean() < 0.01
    assert torch.equal(device.labels(order), host.labels(order.numpy()))


def test_what_is_not_turned_is_the_same_to_the_last_bit_flipped_dimmed_or_not():
    config = config_of(rotation_degrees=0.0, dim_factor=0.3)
    host, device = both(config)
    assert config.samples.dimmed.any()
    assert torch.equal(device.images(torch.arange(16), 2), host.images(np.arange(16), 2))


def test_an_image_is_turned_alike_whatever_came_before_and_beside_it():
    config = config_of()
    among = DeviceBatches(config, CPU).images(torch.tensor([4, 9, 13]), 6)
    used = DeviceBatches(config, CPU)
    used.images(torch.arange(16), 5)
    assert torch.equal(used.images(torch.tensor([9]), 6)[0], among[1])


def test_the_device_predicts_from_the_same_images():
    host, device = both(config_of())
    rows = np.array([9, 2, 2, 0, 10])
    assert torch.equal(torch.cat(list(device.plain(rows, 2))), torch.cat(list(host.plain(rows, 5))))
    assert list(device.plain(rows[:0], 2)) == []


def test_images_are_kept_on_a_gpu_where_they_take_a_quarter_of_its_free_memory_at_most(monkeypatch):
    config, plain = config_of(), config_of(annotations=False)
    cuda = torch.device("cuda")
    enough = 4 * (config.prepared.pixels.nbytes + config.prepared.lesions.nbytes)
    for free, fitting in ((enough, True), (enough - 4, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        assert fits(config, cuda) is fitting
        assert fits(plain, cuda)  # no copies dimmed outside lesions, so these stay here
    assert isinstance(batch_source(config, cuda), HostBatches)
    assert isinstance(batch_source(config, CPU), HostBatches)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_no_step_waits_for_the_gpu():
    source = batch_source(config_of(), torch.device("cuda"))
    order = source.order(0)
    source.images(order[:4], 0)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        source.images(order[4:8], 0), source.labels(order[4:8])
    finally:
        torch.cuda.set_sync_debug_mode(before)
