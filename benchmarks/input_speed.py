"""How fast images are prepared, fed and read, beside the plain pipeline and the same in Lightning.

The films have the sizes that BTXRD's have, half of them in colour, and files about as large. With a GPU, an
epoch fed from its memory is held against the same epoch on tensors that lie there already.

python benchmarks/input_speed.py
"""

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from made_radiographs import write_films
from measuring import Call, Goal, Row, apart, in_turn, installed, one_core, run_script

BATCH = {224: 32, 300: 16, 380: 16}  # by size, as the study's experiments have it
REPEATED = 4  # times the films are prepared in one go: of a cache of few, flushing is too large a part
FED = 512  # images fed for each figure: few enough to wait for, too many for the processor's cache
PLAIN = "plain, one core"


def measured(full: bool) -> list[Row]:
    """Measure on one core in a process of its own, then on all cores."""
    sizes, images, times = ((224, 300, 380), 48, 5) if full else ((224, 300), 16, 2)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write_films(folder / "data", images, grain=1, colour=True)
        rows: list[Row] = []
        if why := installed("albumentations"):
            return [Row("input", None, "images/s", note=why)]
        rows += apart(one_core_rows, folder, sizes, times)[0]
        rows += all_core_rows(folder, sizes, times)
        return [*rows, apart(gpu_row, folder, 4 if full else 2)[0]]


def one_core_rows(folder: Path, sizes: tuple[int, ...], times: int) -> list[Row]:
    """Return what one core does: building the cache, feeding an epoch, reading the dataset."""
    one_core()
    from plain_pipeline import loader, prepared_plainly

    dataset = _dataset(folder)
    paths = [one.image_path for one in dataset.radiographs]
    rows = []
    for size in sizes:
        calls = {
            "plain": _each(prepared_plainly, paths, size),
            "scaled": _build(dataset, folder, size, "scaled"),
            "full": _build(dataset, folder, size, "full"),
            "plain epoch": _epoch(loader(paths, dataset.labels, size, BATCH[size], 0)),
            "epoch": _fed(_many(dataset, folder, size)),
            "reading": lambda: _dataset(folder),
        }
        per_s = _rates(calls, len(paths), times)
        rows += _rows_of_size(size, per_s)
    return [*rows, Row("reading and checking the dataset", per_s["reading"], "images/s")]


def all_core_rows(folder: Path, sizes: tuple[int, ...], times: int) -> list[Row]:
    """Return what all cores do together."""
    from plain_pipeline import loader

    dataset = _dataset(folder)
    paths = [one.image_path for one in dataset.radiographs]
    cores = len(os.sched_getaffinity(0))
    size = sizes[-1]
    calls = {
        "one": _build(dataset, folder, size, "scaled", workers=1),
        "all": _build(dataset, folder, size, "scaled"),
        "workers": _epoch(loader(paths, dataset.labels, size, max(1, len(paths) // cores), cores)),
        "epoch": _fed(_many(dataset, folder, size)),
    }
    if not (missing := installed("lightning")):
        calls["lightning"] = _in_lightning(paths, dataset.labels, size, cores)
    with _one_thread_per_worker():
        per_s = _rates(calls, len(paths), times)
    ours, unit = (f"an epoch's batches, {size} px, {cores} cores", per_s["epoch"]), "images/s"
    return [
        Row(f"cache build, {size} px, {cores} cores", per_s["all"], unit, "one core", per_s["one"]),
        Row(*ours, unit, f"plain, {cores} DataLoader workers", per_s["workers"]),
        Row(*ours, unit, f"the same in Lightning, {cores} workers", per_s.get("lightning"), note=missing),
    ]


def gpu_row(folder: Path, epochs: int) -> Row:
    """Return an epoch of E1's network fed from the GPU's memory, beside the same without any feeding."""
    import torch

    what, goal = "a training epoch, images on the GPU", Goal(at_most=1.03)
    if not torch.cuda.is_available():
        return Row(what, None, "s", "on tensors that lie there", None, goal, "skipped: there is no GPU here")
    seconds = epochs_on(torch.device("cuda"), folder, "efficientnet_b0", 224, epochs)
    return Row(what, seconds["fed"], "s", "on tensors that lie there", seconds["unfed"], goal)


def epochs_on(device: Any, folder: Path, backbone: str, size: int, epochs: int) -> dict[str, float]:
    """Return the median seconds of an epoch, fed and unfed, in trainings that take turns."""
    from unittest.mock import patch

    from synthetic_feed import SyntheticFeed, seconds_of_epochs

    from boneexp.learning import training

    taken: dict[str, list[float]] = {"fed": [], "unfed": []}
    for turn in range(3):
        for name, source in (("fed", training.batch_source), ("unfed", SyntheticFeed)):
            with patch.object(training, "batch_source", source):
                where = folder / f"training-{name}-{turn}"
                taken[name] += seconds_of_epochs(device, where, backbone, size, epochs)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _rows_of_size(size: int, per_s: dict[str, float]) -> list[Row]:
    unit = "images/s"
    return [
        Row(
            f"cache build, {size} px, scaled", per_s["scaled"], unit, PLAIN, per_s["plain"], Goal(at_least=10)
        ),
        Row(f"cache build, {size} px, full", per_s["full"], unit, PLAIN, per_s["plain"]),
        Row(
            f"an epoch's batches, {size} px",
            per_s["epoch"],
            unit,
            PLAIN,
            per_s["plain epoch"],
            Goal(at_least=150),
        ),
    ]


def _rates(calls: dict[str, Call], images: int, times: int) -> dict[str, float]:
    """Return the images per second of each call."""
    seconds = in_turn(calls, times)
    counts = {"epoch": FED, **dict.fromkeys(("scaled", "one", "all"), REPEATED * images)}
    return {name: counts.get(name, images) / taken for name, taken in seconds.items()}


def _dataset(folder: Path) -> Any:
    from boneexp.data.btxrd import read_dataset

    return read_dataset(folder / "data")


def _each(prepared_plainly: Callable[[Path, int], Any], paths: list[Path], size: int) -> Call:
    """Return a call that prepares one image after the other."""

    def call() -> None:
        for path in paths:
            prepared_plainly(path, size)

    return call


def _build(dataset: Any, folder: Path, size: int, decoding: Any, workers: int | None = None) -> Call:
    """Return a call that builds a cache from nothing, digests and writing included."""
    from boneexp.data.prepared import prepare

    place = folder / f"built-{decoding}-{size}-{workers}"
    if decoding == "scaled":
        dataset = replace(dataset, radiographs=REPEATED * dataset.radiographs)

    def call() -> None:
        shutil.rmtree(place, ignore_errors=True)
        prepare(dataset, place, size_px=size, clip_limit=2.0, tiles=8, decoding=decoding, workers=workers)

    return call


def _many(dataset: Any, folder: Path, size: int) -> Any:
    """Return `FED` prepared images, the dataset's again and again, in a file that is mapped as a cache is."""
    from boneexp.data.prepared import prepare

    few = prepare(dataset, folder / "few", size_px=size, clip_limit=2.0, tiles=8, decoding="scaled")
    path = folder / f"many-{size}.npy"
    np.save(path, few.pixels[np.arange(FED) % len(few.pixels)])
    return replace(few, pixels=np.load(path, mmap_mode="r"), lesion_row=np.full(FED, -1))


def _fed(prepared: Any) -> Call:
    """Return a call that feeds one epoch, another each time."""
    import torch

    from boneexp.learning.batches import batch_slices, samples_of
    from boneexp.learning.feeding import BatchConfig, HostBatches
    from boneexp.study.settings import DataSettings, TrainingSettings

    samples = samples_of(np.arange(FED), np.arange(FED) % 3, prepared, annotations=False)
    config = BatchConfig(prepared, samples, DataSettings(), TrainingSettings(), seed=1)
    source, epochs = HostBatches(config, torch.device("cpu")), iter(range(10**6))

    def call() -> None:
        epoch = next(epochs)
        order = source.order(epoch)
        for part in batch_slices(FED, BATCH[prepared.pixels.shape[1]]):
            source.images(order[part], epoch), source.labels(order[part])

    return call


def _epoch(batches: Any) -> Call:
    """Return a call that goes through the batches once."""

    def call() -> None:
        for _ in batches:
            pass

    return call


def _in_lightning(paths: Any, labels: Any, size: int, cores: int) -> Call:
    from lightning_pipeline import epoch_in_lightning

    call: Callable[[], None] = epoch_in_lightning(paths, labels, size, max(1, len(paths) // cores), cores)
    return call


@contextmanager
def _one_thread_per_worker() -> Iterator[None]:
    """Leave the cores to the workers: OpenCV's own threads would only crowd them."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


if __name__ == "__main__":
    run_script("The input", __doc__, measured)
