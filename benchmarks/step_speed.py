"""How fast E1 to E4 train on images that are there already, beside a plain loop; and that both learn alike.

On a CPU the short form takes smaller images, and --full those of the study. On a GPU both take those of the
study, in bfloat16, and say what share of the card's peak that is; --full also holds deterministic kernels
against autotuned ones and torch.compile, and says where the time goes.

python benchmarks/step_speed.py
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import HOME, Call, Goal, Row, in_turn, run_script
from plain_step import PlainTraining

from boneexp.data.prepared import Prepared
from boneexp.files.folders import RunFolder
from boneexp.learning import training
from boneexp.learning.batches import batch_slices, samples_of
from boneexp.learning.checkpoint import Progress
from boneexp.learning.devices import use_kernels
from boneexp.learning.models import build
from boneexp.learning.saving import Saving
from boneexp.learning.training import Callbacks, TrainingInputs, class_weights, learning_rate
from boneexp.study.grid import load_grid
from boneexp.study.settings import ExperimentSettings

BF16_PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}  # dense, as their makers say
NETWORKS = {"E1, E2": "E1", "E3": "E3", "E4": "E4"}  # E2 differs from E1 in its images
GO_ON = Callbacks(lambda records: True, lambda *place: True, lambda record: True)


def measured(full: bool) -> list[Row]:
    """Time steps network by network, then look at the losses."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for name, key in NETWORKS.items():
        settings = study_settings(key, None if full or device.type == "cuda" else 96)
        rows += _rows_of(f"{name}: {settings.model.backbone}", settings, device, full)
    return [*rows, _losses_row(device)]


def _rows_of(name: str, settings: ExperimentSettings, device: torch.device, full: bool) -> list[Row]:
    steps, times = (20, 5) if device.type == "cuda" else (1, 3 if full else 2)
    size, batch = settings.data.image_size, settings.training.batch_size
    work = Steps(settings, device, steps)
    calls: dict[str, Call] = {"boneexp": work.ours("deterministic"), "plain": work.plain()}
    if device.type == "cuda" and full:
        calls |= {"autotune": work.ours("autotune"), "compiled": work.ours("autotune", compiled=True)}
    step_s = {each: seconds / steps for each, seconds in in_turn(calls, times).items()}
    rate = {each: batch / seconds for each, seconds in step_s.items()}
    what, unit = f"{name}, batch {batch}, {size} px", "images/s"
    note = f"a step takes {1000 * step_s['boneexp']:.3g} ms"
    rows = [Row(what, rate["boneexp"], unit, "a plain loop", rate["plain"], Goal(at_least=1), note)]
    for each in ("autotune", "compiled"):
        if each in rate:
            rows.append(Row(f"{what}, {each}", rate[each], unit, "deterministic", rate["boneexp"]))
    if device.type == "cuda":
        rows.append(_peak_row(what, work, step_s["boneexp"], device))
    if device.type == "cuda" and full:
        rows += _where_the_time_goes(what, calls["boneexp"])
    return rows


def _peak_row(what: str, work: "Steps", step_s: float, device: torch.device) -> Row:
    card = torch.cuda.get_device_name(device)
    peak = next((flops for name, flops in BF16_PEAK.items() if name in card), None)
    share = work.flops() / step_s / peak * 100 if peak else None
    why = "" if peak else f"skipped: the peak of a {card} is not known here"
    return Row(f"{what}, of the bf16 peak", share, "%", note=why)


def _where_the_time_goes(what: str, call: Call) -> list[Row]:
    """Return the five kernels that take most of the GPU's time."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.synchronize()
    kernels = sorted(found.key_averages(), key=lambda each: -each.self_device_time_total)
    whole = sum(each.self_device_time_total for each in kernels)
    return [
        Row(f"{what}: {each.key[:60]}", 100 * each.self_device_time_total / whole, "% of the GPU's time")
        for each in kernels[:5]
    ]


def _losses_row(device: torch.device) -> Row:
    """Return by how much epoch losses differ from the plain loop's, and from those of another seed."""
    settings = study_settings("E1", 64)
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"dropout": 0.0}),
            "training": settings.training.model_copy(update={"epochs": 2, "batch_size": 8}),
        }
    )
    one = Steps(settings, device, steps=8)
    ours, plain, other = one.losses(), one.plain_losses(), replace(one, seed=2).losses()
    unlike, noise = _largest(ours, plain), _largest(ours, other)
    return Row(
        "losses of 2 epochs, largest relative difference to the plain loop",
        100 * unlike,
        "%",
        "another seed",
        100 * noise,
        Goal(at_most=1),
    )


def _largest(ones: list[float], others: list[float]) -> float:
    return max(abs(one - other) / one for one, other in zip(ones, others, strict=True))


def study_settings(key: str, size_px: int | None = None) -> ExperimentSettings:
    """Return a study's experiment with random weights, at another size if one is given."""
    found = load_grid(HOME / "experiments.toml").experiments[key]
    model = found.model.model_copy(update={"pretrained": False})
    data = found.data.model_copy(update={"image_size": size_px or found.data.image_size})
    return found.model_copy(update={"model": model, "data": data})


@dataclass(frozen=True)
class Steps:
    """Epochs of some steps on images that are there already."""

    settings: ExperimentSettings
    device: torch.device
    steps: int
    seed: int = 1
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))  # nothing is saved

    def ours(self, kernels: Any, compiled: bool = False) -> Call:
        """Return a call that trains one epoch with boneexp's loop."""
        loop = self._loop()
        if compiled:
            loop.model = torch.compile(loop.model)  # type: ignore[assignment]

        def call() -> None:
            use_kernels(self.device, kernels)
            loop.train_epoch(Progress(), GO_ON)

        return call

    def plain(self) -> Call:
        """Return a call that trains one epoch with the plain loop."""
        batches, loop = list(self._plain_batches(0)), self._plain_loop()

        def call() -> None:
            torch.use_deterministic_algorithms(False)  # as torch is when nothing was asked of it
            torch.backends.cudnn.benchmark = False
            loop.epoch(batches, self._rates(0))

        return call

    def losses(self) -> list[float]:
        """Return the training loss of each epoch."""
        loop, found = self._loop(), []
        for epoch in range(self.settings.training.epochs):
            progress = Progress(epoch=epoch)
            loop.train_epoch(progress, GO_ON)
            found.append(progress.loss_sum / len(loop.inputs.samples))
        return found

    def plain_losses(self) -> list[float]:
        """Return those of the plain loop, on the same batches from the same weights."""
        loop = self._plain_loop()
        epochs = range(self.settings.training.epochs)
        return [loop.epoch(self._plain_batches(epoch), self._rates(epoch)) for epoch in epochs]

    def flops(self) -> float:
        """Count the floating-point operations of one step, forward and backward."""
        from torch.utils.flop_counter import FlopCounterMode

        loop = self._loop()
        with FlopCounterMode(display=False) as counter:
            loop._step(loop.source.order(0)[: self.settings.training.batch_size], 0)
        return float(counter.get_total_flops())

    def _loop(self) -> training._Loop:
        model = self.model().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = self.inputs()
        weights = class_weights(inputs.samples.labels, True).to(self.device)
        tools = (training.optimizer(model, inputs.training), training.scaler(self.device))
        saving = Saving(inputs.folder, "", None)  # type: ignore[arg-type]
        loop = training._Loop(model, inputs, weights, *tools, saving)
        loop.source = _Remembering(loop.source)  # type: ignore[assignment]
        return loop

    def _plain_loop(self) -> PlainTraining:
        inputs = self.inputs()
        weights = class_weights(inputs.samples.labels, True).to(self.device)
        return PlainTraining(self.model().to(self.device), weights, inputs.training.label_smoothing)

    def model(self) -> Any:
        """Return the network with random weights."""
        return build(self.settings.model, self.seed)

    def inputs(self) -> TrainingInputs:
        """Return a training on noise with a bright corner that tells the class."""
        count, size = self.steps * self.settings.training.batch_size, self.settings.data.image_size
        labels = np.arange(count) % 3
        pixels = np.random.default_rng(0).integers(0, 120, (count, size, size), dtype=np.uint8)
        for row, label in enumerate(labels):
            pixels[row, : size // 2, label * size // 3 : (label + 1) * size // 3] += 100
        prepared = Prepared(pixels, np.zeros((0, size, size), bool), np.full(count, -1), self.folder)
        return TrainingInputs(
            prepared=prepared,
            samples=samples_of(np.arange(count), labels, prepared, annotations=False),
            val_rows=np.arange(3),
            val_labels=labels[:3],
            data=self.settings.data,
            training=self.settings.training,
            seed=self.seed,
            micro_batch=self.settings.training.batch_size,
            config_hash="",
            folder=RunFolder(self.folder, "none"),
        )

    def _plain_batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        loop = self._loop()
        order = loop.source.order(epoch)
        for part in batch_slices(len(order), self.settings.training.batch_size):
            images = loop.source.images(order[part], epoch).contiguous(memory_format=torch.contiguous_format)
            yield images.clone(), loop.source.labels(order[part])

    def _rates(self, epoch: int) -> list[float]:
        return [learning_rate(self.settings.training, epoch, step, self.steps) for step in range(self.steps)]


class _Remembering:
    """A source whose batches are made once and kept, so that a step is timed and not its input."""

    def __init__(self, source: Any) -> None:
        self._source, self._kept = source, {}

    def order(self, epoch: int) -> Any:
        return self._kept.setdefault(epoch, self._source.order(epoch))

    def labels(self, positions: Any) -> torch.Tensor:
        return self._made("labels", self._source.labels, positions)

    def images(self, positions: Any, epoch: int) -> torch.Tensor:
        return self._made(epoch, self._source.images, positions, epoch)

    def _made(self, kind: Any, make: Any, positions: Any, *more: Any) -> torch.Tensor:
        key = (kind, positions.data_ptr() if torch.is_tensor(positions) else positions.ctypes.data)
        if key not in self._kept:
            self._kept[key] = make(positions, *more).clone()
        return self._kept[key]


if __name__ == "__main__":
    run_script("The training step", __doc__, measured)
