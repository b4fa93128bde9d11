from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy
from writers import AtOnce

from boneexp.data.prepared import Prepared
from boneexp.errors import Damaged, DataInvalid, GridInvalid, WeightsUnavailable
from boneexp.experiment.failures import failure_of
from boneexp.files.folders import RunFolder
from boneexp.learning import training
from boneexp.learning.batches import (
    Samples,
    batch_slices,
    dim_outside,
    epoch_order,
    normalised,
    samples_of,
    training_pixels,
    turned,
)
from boneexp.learning.checkpoint import load_best, load_last
from boneexp.learning.feeding import DeviceBatches
from boneexp.learning.models import build
from boneexp.learning.predicting import predict
from boneexp.learning.saving import Saving
from boneexp.learning.training import (
    Callbacks,
    NotFinite,
    TrainingInputs,
    class_weights,
    evaluation_batch,
    learning_rate,
    step_seed,
    train,
)
from boneexp.study.settings import DataSettings, ModelSettings, TrainingSettings

TINY = ModelSettings(backbone="test_efficientnet", pretrained=False, dropout=0.3)
FOUR = {
    "E1": ModelSettings(backbone="efficientnet_b0", pretrained=False, dropout=0.2),
    "E2": ModelSettings(backbone="efficientnet_b0", pretrained=False, dropout=0.2),
    "E3": ModelSettings(backbone="efficientnet_b3", pretrained=False, dropout=0.3),
    "E4": ModelSettings(backbone="resnet50", attn_layer="cbam", pretrained=False, dropout=0.3),
}


def images(count=24, size=32):
    """Noise with a bright corner that tells the class, every second one annotated."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 120, (count, size, size), dtype=np.uint8)
    labels = np.arange(count) % 3
    for row, label in enumerate(labels):
        pixels[row, : size // 2, label * size // 3 : (label + 1) * size // 3] += 100
    lesions = np.zeros((count // 2, size, size), bool)
    lesions[:, 2:10, 2:10] = True
    lesion_row = np.where(np.arange(count) % 2 == 1, np.arange(count) // 2, -1)
    return Prepared(pixels, lesions, lesion_row, folder=None), labels


def inputs(folder, annotations=True, micro_batch=6, count=24, **changes):
    prepared, labels = images(count)
    values = {"epochs": 3, "batch_size": 6, "warmup_epochs": 1, "annotations": annotations, "patience": 9}
    settings = TrainingSettings(**(values | changes))
    train_rows, val_rows = np.arange(count - 6), np.arange(count - 6, count)
    return TrainingInputs(
        prepared=prepared,
        samples=samples_of(train_rows, labels, prepared, annotations),
        val_rows=val_rows,
        val_labels=labels[val_rows],
        data=DataSettings(),
        training=settings,
        seed=7,
        micro_batch=micro_batch,
        config_hash="h",
        folder=RunFolder(folder, "run"),
    )


class Watcher:
    """Says stop after some steps or epochs, and remembers the epochs."""

    def __init__(self, steps=10**9, epochs=10**9):
        self.steps, self.epochs, self.records, self.resumed = steps, epochs, [], 0

    def restored(self, records):
        self.records += records
        self.resumed = len(records)
        return True

    def step(self, *_):
        self.steps -= 1
        return self.steps > 0

    def epoch(self, record):
        self.records.append(record)
        self.epochs -= 1
        return self.epochs > 0

    @property
    def callbacks(self):
        return Callbacks(self.restored, self.step, self.epoch)


def losses(watcher):
    return [(r.epoch, r.train_loss, r.val_loss, r.val_accuracy, r.learning_rate) for r in watcher.records]


def weights_of(folder, name="last.pt"):
    return torch.load(folder / "run" / name, weights_only=True)["model"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    "settings", [FOUR["E1"], FOUR["E3"], FOUR["E4"], TINY], ids=["b0", "b3", "cbam", "tiny"]
)
def test_stopped_and_resumed_equals_unbroken_bit_for_bit(tmp_path, settings):
    """Dropout, augmentation, annotated copies and BatchNorm on; stopped after an epoch, then within one."""
    unbroken, watcher = tmp_path / "unbroken", Watcher()
    done = train(build(settings, 7), inputs(unbroken, count=15), watcher.callbacks)
    broken = tmp_path / "broken"
    assert train(build(settings, 7), inputs(broken, count=15), Watcher(epochs=1).callbacks, AtOnce()) is None
    assert train(build(settings, 7), inputs(broken, count=15), Watcher(steps=1).callbacks, AtOnce()) is None
    assert load_last(broken / "run" / "last.pt", "h")[0].step == 1
    last = Watcher()
    resumed = train(build(settings, 7), inputs(broken, count=15), last.callbacks)
    assert last.resumed == 1
    assert losses(last) == losses(watcher)
    assert same(weights_of(broken), weights_of(unbroken))
    assert (resumed.best_epoch, resumed.best_sha256) == (done.best_epoch, done.best_sha256)


def test_fed_from_the_device_it_learns_the_same_and_resumes_as_exactly(tmp_path, monkeypatch):
    hosted, unbroken, last = Watcher(), Watcher(), Watcher()
    train(build(TINY, 7), inputs(tmp_path / "host", count=15), hosted.callbacks)
    monkeypatch.setattr(training, "batch_source", DeviceBatches)
    train(build(TINY, 7), inputs(tmp_path / "device", count=15), unbroken.callbacks)
    assert train(build(TINY, 7), inputs(tmp_path / "broken", count=15), Watcher(steps=4).callbacks) is None
    train(build(TINY, 7), inputs(tmp_path / "broken", count=15), last.callbacks)
    assert losses(last) == losses(unbroken)
    assert same(weights_of(tmp_path / "broken"), weights_of(tmp_path / "device"))
    for one, other in zip(hosted.records, unbroken.records, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)


def test_without_the_last_checkpoint_the_weights_would_differ(tmp_path):
    """The test above can fail: another seed gives other weights."""
    first, other = inputs(tmp_path / "a"), replace(inputs(tmp_path / "b"), seed=8)
    train(build(TINY, 7), first, Watcher().callbacks)
    train(build(TINY, 7), other, Watcher().callbacks)
    assert not same(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))


def test_training_learns_the_bright_corner(tmp_path):
    where = inputs(tmp_path, epochs=25, learning_rate=3e-3, flip_probability=0.0, rotation_degrees=0.0)
    watcher = Watcher()
    model = build(TINY, 7)
    done = train(model, where, watcher.callbacks)
    assert done.best_val_loss < 0.7 * watcher.records[0].val_loss
    load_best(where.folder.best_of(done.best_epoch), done.best_sha256, model)
    said = predict(model, where.prepared, where.val_rows, where.data, 4)
    assert (said.argmax(1) == where.val_labels).mean() >= 5 / 6
    assert np.allclose(said.sum(1), 1)


def test_of_epochs_with_the_same_validation_loss_the_first_is_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "cross_entropy", lambda *_, **__: torch.tensor(0.5, requires_grad=True))
    where, watcher = inputs(tmp_path, epochs=3, patience=9), Watcher()
    done = train(build(TINY, 7), where, watcher.callbacks)
    assert [record.val_loss for record in watcher.records] == [0.5] * 3
    assert done.best_epoch == 0


def test_early_stopping_ends_a_run_that_no_longer_improves(tmp_path):
    where = inputs(tmp_path, epochs=50, patience=2, learning_rate=1e-8)
    watcher = Watcher()
    done = train(build(TINY, 7), where, watcher.callbacks)
    assert len(watcher.records) - 1 - done.best_epoch == 2
    assert len(watcher.records) < 50
    assert [path.name for path in (tmp_path / "run").glob("best-*")] == [
        where.folder.best_of(done.best_epoch).name
    ]


def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch(tmp_path):
    """Without BatchNorm and dropout, the weighted smoothed loss is the same however the batch is cut."""
    settings = ModelSettings(backbone="test_vit", pretrained=False, dropout=0.0)
    found = []
    for micro_batch in (6, 2):
        where = inputs(tmp_path / str(micro_batch), micro_batch=micro_batch, epochs=1)
        where = replace(where, prepared=bigger(where.prepared))
        model = with_a_head(build(settings, 7))
        loop = loop_of(model, where)
        model.train()
        loss = loop._step(np.arange(6), epoch=0)
        found.append((loss, [parameter.grad.clone() for parameter in model.parameters()]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found[0][1], found[1][1], strict=True))


def loop_of(model, where):
    weights = class_weights(where.samples.labels, True)
    tools = (training.optimizer(model, where.training), training.scaler(torch.device("cpu")))
    return training._Loop(model, where, weights, *tools, Saving(where.folder, "h", AtOnce()))


def with_a_head(model):
    """A head that is not level, so that gradients reach every layer at the first step."""
    torch.nn.init.normal_(model.get_classifier().weight, generator=torch.Generator().manual_seed(1))
    return model


def bigger(prepared):
    return Prepared(
        prepared.pixels.repeat(5, 1).repeat(5, 2),
        prepared.lesions.repeat(5, 1).repeat(5, 2),
        prepared.lesion_row,
        None,
    )


def test_the_loss_is_torchs_own_weighted_smoothed_mean(tmp_path):
    where = inputs(tmp_path, epochs=1)
    model = with_a_head(build(TINY.model_copy(update={"dropout": 0.0}), 7))
    loop = loop_of(model, where)
    weights = loop.weights = torch.tensor([0.5, 1.0, 4.0])
    positions = np.array([0, 3, 6, 9, 1, 2])  # the weights of the batch add up to 7, and it has 6 images
    pixels = training_pixels(where.samples, positions, where.prepared, where.training, seed=7, epoch=0)
    model.train()
    logits = model(normalised(torch.from_numpy(pixels), where.data))
    labels = torch.from_numpy(where.samples.labels[positions])
    assert weights[labels].sum() == 7
    expected = cross_entropy(logits, labels, weights, label_smoothing=where.training.label_smoothing)
    assert torch.allclose(loop._step(positions, 0), expected, atol=1e-5)


def plain_losses(model, where):
    """The training losses of the loop as anybody would write it, one thing after the other."""
    settings, samples = where.training, where.samples
    weights = class_weights(samples.labels, settings.class_weights)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=settings.weight_decay, fused=True)
    for epoch in range(settings.epochs):
        order, total = epoch_order(where.seed, epoch, len(samples)), torch.zeros(())
        batches = batch_slices(len(samples), settings.batch_size)
        model.train()
        for step, batch in enumerate(batches):
            torch.manual_seed(step_seed(where.seed, epoch, step))
            optimizer.param_groups[0]["lr"] = learning_rate(settings, epoch, step, len(batches))
            pixels = training_pixels(
                samples, order[batch], where.prepared, settings, seed=where.seed, epoch=epoch
            )
            labels = torch.from_numpy(samples.labels[order[batch]])
            logits = model(normalised(torch.from_numpy(pixels), where.data))
            smoothing = settings.label_smoothing
            summed = cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing)
            loss = summed / weights[labels].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(labels)
        yield total.item() / len(samples)


def test_the_losses_are_those_of_a_plain_loop_bit_for_bit(tmp_path):
    where, watcher = inputs(tmp_path), Watcher()
    train(build(TINY, 7).to(memory_format=torch.channels_last), where, watcher.callbacks)
    plain = list(plain_losses(build(TINY, 7).to(memory_format=torch.channels_last), where))
    assert [record.train_loss for record in watcher.records] == plain


def test_dropout_is_seeded_as_torch_seeds_everything():
    training.seed_dropout(torch.device("cpu"), 2**63 - 5)
    drawn = torch.rand(3)
    torch.manual_seed(2**63 - 5)
    assert torch.equal(torch.rand(3), drawn)


def test_more_images_are_predicted_at_a_time_on_a_gpu_unless_memory_was_short():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [evaluation_batch(32, 32, device) for device in (cpu, cuda)] == [32, 128]
    assert [evaluation_batch(4, 4, device) for device in (cpu, cuda)] == [32, 32]
    assert [evaluation_batch(32, 8, device) for device in (cpu, cuda)] == [8, 8]


def test_a_loss_that_is_no_number_ends_the_run_with_advice(tmp_path):
    with pytest.raises(NotFinite, match="lower training.learning_rate"):
        train(build(TINY, 7), inputs(tmp_path, learning_rate=1e30, warmup_epochs=0), Watcher().callbacks)


def test_class_weights_are_inverse_frequencies_with_the_copies_counted():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert torch.allclose(class_weights(labels, True), torch.tensor([10 / 12, 10 / 6, 10 / 12]))
    assert torch.equal(class_weights(labels, False), torch.ones(3))
    with pytest.raises(DataInvalid, match="no Benign image"):
        class_weights(np.array([0, 2]), True)


def test_the_learning_rate_warms_up_linearly_and_falls_as_a_cosine():
    settings = TrainingSettings(epochs=10, warmup_epochs=2, learning_rate=1.0)
    assert learning_rate(settings, 0, 0, 4) == pytest.approx(1 / 8)
    assert learning_rate(settings, 1, 3, 4) == pytest.approx(1.0)
    assert learning_rate(settings, 5, 3, 4) == pytest.approx(0.5)
    assert learning_rate(settings, 9, 3, 4) == pytest.approx(0.0)
    short = TrainingSettings(epochs=1, warmup_epochs=3, learning_rate=1.0)
    assert learning_rate(short, 0, 3, 4) == pytest.approx(1.0)


def test_annotated_images_appear_a_second_time_dimmed_outside_the_lesion():
    prepared, labels = images()
    plain = samples_of(np.arange(18), labels, prepared, annotations=False)
    both = samples_of(np.arange(18), labels, prepared, annotations=True)
    assert (len(plain), len(both), int(both.dimmed.sum())) == (18, 27, 9)
    assert set(both.rows[both.dimmed]) == set(range(1, 18, 2))
    still = TrainingSettings(flip_probability=0.0, rotation_degrees=0.0, dim_factor=0.5)
    position = int(np.flatnonzero(both.dimmed)[0])
    dimmed = training_pixels(both, np.array([position]), prepared, still, seed=7, epoch=0)[0]
    original = prepared.pixels[both.rows[position]]
    assert np.array_equal(dimmed[2:10, 2:10], original[2:10, 2:10])
    assert np.array_equal(dimmed[12:], np.rint(original[12:] * 0.5).astype(np.uint8))


def test_augmentation_depends_on_seed_epoch_and_place_alone():
    prepared, labels = images()
    samples = samples_of(np.arange(18), labels, prepared, annotations=False)
    settings = TrainingSettings()
    whole = training_pixels(samples, np.arange(18), prepared, settings, seed=7, epoch=3)
    alone = training_pixels(samples, np.array([11]), prepared, settings, seed=7, epoch=3)[0]
    assert np.array_equal(alone, whole[11])
    assert not np.array_equal(
        whole, training_pixels(samples, np.arange(18), prepared, settings, seed=7, epoch=4)
    )
    assert np.array_equal(epoch_order(7, 3, 18), epoch_order(7, 3, 18))
    assert not np.array_equal(epoch_order(7, 3, 18), epoch_order(7, 4, 18))
    assert sorted(epoch_order(7, 3, 18)) == list(range(18))


def test_turning_by_nothing_changes_nothing_and_a_flip_is_a_mirror():
    image = images()[0].pixels[0]
    assert np.array_equal(turned(image, False, 0.0), image)
    assert np.array_equal(turned(image, True, 0.0), image[:, ::-1])
    assert np.abs(turned(turned(image, False, 10.0), False, -10.0)[12:20, 12:20].astype(int)).mean() > 0


def test_dimming_keeps_the_lesion_and_halves_the_rest():
    image = np.full((4, 4), 101, np.uint8)
    lesion = np.eye(4, dtype=bool)
    assert np.array_equal(np.unique(dim_outside(image, lesion, 0.5)[~lesion]), [50])
    assert np.array_equal(np.unique(dim_outside(image, lesion, 0.5)[lesion]), [101])


def test_a_last_batch_of_one_joins_its_neighbour():
    assert batch_slices(9, 4) == [slice(0, 4), slice(4, 9)]
    assert batch_slices(8, 4) == [slice(0, 4), slice(4, 8)]
    assert batch_slices(1, 4) == [slice(0, 1)]
    assert batch_slices(3, 1) == [slice(0, 1), slice(1, 2), slice(2, 3)]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("E1", 4_011_391), ("E3", 10_700_843), ("E4", 26_030_723)],
    ids=["b0", "b3", "cbam"],
)
def test_the_networks_are_those_of_the_study(name, parameters):
    model = build(FOUR[name], 42)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    attention = [module for module in model.modules() if type(module).__name__ == "CbamModule"]
    assert len(attention) == (16 if name == "E4" else 0)


@pytest.mark.parametrize("settings", [FOUR["E1"], FOUR["E4"], TINY], ids=["b0", "cbam", "tiny"])
def test_every_network_starts_from_equal_probabilities(settings):
    prepared, _ = images(6)
    said = predict(build(settings, 7), prepared, np.arange(6), DataSettings(), 6)
    assert np.allclose(said, 1 / 3)


def test_pretrained_weights_from_a_file_are_loaded_and_attention_starts_random(tmp_path):
    plain = build(ModelSettings(backbone="resnet18", pretrained=False), 1)
    path = tmp_path / "weights.pt"
    torch.save(plain.state_dict(), path)
    loaded = build(ModelSettings(backbone="resnet18", pretrained=str(path), attn_layer="se"), 2)
    assert torch.equal(loaded.state_dict()["conv1.weight"], plain.state_dict()["conv1.weight"])
    assert any(".se." in key for key in loaded.state_dict())


def test_weights_that_cannot_be_had_name_the_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailable) as caught:
        build(ModelSettings(backbone="efficientnet_b3", pretrained=True), 1)
    assert all(way in str(caught.value) for way in ("(1)", "(2)", "(3)", "model.pretrained = false"))
    with pytest.raises(WeightsUnavailable, match="there is no file"):
        build(ModelSettings(backbone="resnet18", pretrained=str(tmp_path / "none.pt")), 1)
    (tmp_path / "wrong.pt").write_bytes(b"no weights at all")
    with pytest.raises(WeightsUnavailable, match="does not fit resnet18"):
        build(ModelSettings(backbone="resnet18", pretrained=str(tmp_path / "wrong.pt")), 1)


def test_a_backbone_that_timm_does_not_have_is_named_with_the_nearest():
    with pytest.raises(GridInvalid, match="no model 'efficientnet_bo'; did you mean 'efficientnet_b"):
        build(ModelSettings(backbone="efficientnet_bo", pretrained=False), 1)
    with pytest.raises(GridInvalid, match="attn_layer"):
        build(ModelSettings(backbone="efficientnet_b0", attn_layer="cbam", pretrained=False), 1)


def test_a_checkpoint_that_was_changed_is_refused(tmp_path):
    where = inputs(tmp_path, epochs=1)
    model = build(TINY, 7)
    done = train(model, where, Watcher().callbacks)
    path = where.folder.best_of(done.best_epoch)
    with pytest.raises(Damaged, match="SHA-256"):
        load_best(path, "0" * 64, model)
    with pytest.raises(Damaged, match="is gone"):
        load_best(tmp_path / "none.pt", done.best_sha256, model)
    with pytest.raises(WeightsUnavailable, match="does not fit"):
        load_best(path, done.best_sha256, build(ModelSettings(backbone="test_resnet", pretrained=False), 1))


class Trap:
    def __reduce__(self):
        return (open, ("trapped", "w"))


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"config_hash": "h", "progress": Trap()}, tmp_path / "last.pt")
    assert load_last(tmp_path / "last.pt", "h") is None
    assert not (tmp_path / "trapped").exists()


def test_a_last_checkpoint_with_one_flipped_bit_is_passed_over(tmp_path):
    """torch itself would load it and go on from other weights."""
    where = inputs(tmp_path, epochs=1)
    train(build(TINY, 7), where, Watcher().callbacks)
    content = bytearray(where.folder.last.read_bytes())
    content[len(content) // 2] ^= 1
    where.folder.last.write_bytes(content)
    assert load_last(where.folder.last, "h") is None


def test_a_last_checkpoint_of_another_run_or_a_broken_one_is_passed_over(tmp_path):
    where = inputs(tmp_path, epochs=1)
    train(build(TINY, 7), where, Watcher().callbacks)
    assert load_last(where.folder.last, "h") is not None
    assert load_last(where.folder.last, "another") is None
    where.folder.last.write_bytes(where.folder.last.read_bytes()[:1000])
    assert load_last(where.folder.last, "h") is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom"),
        (MemoryError(), "oom"),
        (OSError(28, "No space left on device"), "disk"),
        (DataInvalid("the data have changed"), "data"),
        (ZeroDivisionError("division by zero"), "error"),
    ],
    ids=str,
)
def test_every_failure_has_its_kind(error, kind):
    assert failure_of(error).kind == kind


def test_the_macro_auroc_of_an_epoch_is_scikit_learns_and_undefined_without_a_class():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 50)
    said = generator.dirichlet((1, 1, 1), 50).round(1)  # many ties
    said /= said.sum(1, keepdims=True)
    expected = roc_auc_score(labels, said, multi_class="ovr")
    assert training._macro_auroc(labels, said) == pytest.approx(expected, abs=1e-12)
    assert training._macro_auroc(labels[labels < 2], said[labels < 2]) is None


def test_an_empty_part_of_samples_has_length_zero():
    assert len(Samples(np.array([]), np.array([]), np.array([], bool))) == 0
