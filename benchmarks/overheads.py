"""What a run costs beside its training: writing checkpoints, evaluating, and starting an attempt.

Nothing is trained to an end: a few steps at the study's size give the time of an epoch of BTXRD's size.

python benchmarks/overheads.py
"""

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_radiographs import write_films
from measuring import HOME, Goal, Row, in_turn, run_script
from step_speed import Steps, study_settings

from boneexp.data.study import study_images
from boneexp.evaluation.inputs import Predictions, predictions_of
from boneexp.evaluation.reported import run_metrics
from boneexp.files.folders import RunFolder
from boneexp.learning import training
from boneexp.learning.saving import Saving
from boneexp.learning.training import Callbacks, TrainingInputs, train
from boneexp.results import CLASS_NAMES, Computing
from boneexp.runs.children.process import Child
from boneexp.runs.children.work import work
from boneexp.runs.plan import plan
from boneexp.study.grid import load_grid
from boneexp.study.settings import RunSpec

IMAGES, EPOCH_IMAGES, VALIDATED, TESTED = 3746, 2996, 564, 562  # of BTXRD
RESAMPLES, BY_HAND = 2000, 10
SHARE, EVALUATION, START = (Goal("figure", at_most=bound) for bound in (2, 3, 8))


def measured(full: bool) -> list[Row]:
    """Measure one after the other."""
    keys = ("E1", "E3", "E4") if full else ("E1",)
    return [*(row for key in keys for row in saving_rows(key)), evaluation_row(full), *start_rows(full)]


def saving_rows(key: str) -> list[Row]:
    """Return which share of an epoch its checkpoint is waited for, and how long writing it takes."""
    settings = study_settings(key)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = settings.training.batch_size if device.type == "cuda" else 8  # a CPU is as fast, and sooner done
    epochs, steps = (6, EPOCH_IMAGES // batch) if device.type == "cuda" else (3, 2)
    changed = {"epochs": epochs, "patience": epochs, "batch_size": batch}
    recipe = settings.training.model_copy(update=changed)
    with tempfile.TemporaryDirectory() as home:
        made = Steps(settings.model_copy(update={"training": recipe}), device, steps, folder=Path(home))
        waited_s, written_s, step_s = _watched(made.model().to(device), made.inputs())
    epoch_s = step_s * math.ceil(EPOCH_IMAGES / batch)
    about = f"{key} on {device.type}, {settings.data.image_size} px"
    note = f"an epoch of {EPOCH_IMAGES:,} images takes {epoch_s:.3g} s here, {step_s:.3g} s a step of {batch}"
    what = f"waiting for a checkpoint, of an epoch of {about}"
    at_once = 100 * (waited_s + written_s) / epoch_s
    return [
        Row(what, 100 * waited_s / epoch_s, "%", "written at once", at_once, SHARE, note),
        Row(f"writing a checkpoint meanwhile, {about}", written_s, "s"),
    ]


def _watched(model: Any, inputs: TrainingInputs) -> tuple[float, float, float]:
    """Train; return the median seconds that an epoch waits for saving, that writing takes, and of a step."""
    Watched.waited_s, Watched.written_s = [], []
    told: list[tuple[int, float]] = []

    def step(epoch: int, done: int, total: int) -> bool:
        told.append((epoch, time.perf_counter()))
        return True

    training.Saving = Watched  # type: ignore[misc]
    model = model.to(memory_format=torch.channels_last)
    train(model, inputs, Callbacks(lambda records: True, step, lambda record: True))
    steps = [
        after[1] - before[1] for before, after in zip(told, told[1:], strict=False) if before[0] == after[0]
    ]
    *epochs, _ = Watched.waited_s  # the last checkpoint is waited for to its end, once in a run
    return statistics.median(epochs), statistics.median(Watched.written_s), statistics.median(steps)


class Watched(Saving):
    """Writes down how long the loop waits, for the checkpoint before and for the copy, and writing takes."""

    waited_s: list[float]
    written_s: list[float]
    _outcome_s = 0.0

    def begin(self, *arguments: Any) -> None:
        """Copy and begin."""
        began = time.perf_counter()
        super().begin(*arguments)
        self.waited_s.append(self._outcome_s + time.perf_counter() - began)

    def outcome(self, wait: bool) -> Any:
        """Wait where the loop does."""
        began = time.perf_counter()
        found = super().outcome(wait)
        if wait:
            self._outcome_s = time.perf_counter() - began
        return found

    def _written(self, *arguments: Any) -> str:
        began = time.perf_counter()
        digest = super()._written(*arguments)
        self.written_s.append(time.perf_counter() - began)
        return digest


def evaluation_row(full: bool) -> Row:
    """Time all figures of a run with their intervals, beside scikit-learn called for each resample."""
    parts = [_predictions(images, seed) for seed, images in enumerate((VALIDATED, TESTED))]
    calls = {
        "boneexp": lambda: run_metrics(*parts, seed=1, resamples=RESAMPLES, confidence=0.95),
        "by hand": lambda: [_by_hand(part, BY_HAND) for part in parts],
    }
    seconds = in_turn(calls, 5 if full else 2)
    what = f"evaluation, {RESAMPLES:,} resamples of {VALIDATED} and {TESTED} images"
    by_hand = seconds["by hand"] * RESAMPLES / BY_HAND
    note = f"the yardstick's time is that of {BY_HAND} resamples, times {RESAMPLES // BY_HAND}"
    return Row(what, seconds["boneexp"], "s", "scikit-learn in a loop", by_hand, EVALUATION, note)


def _predictions(images: int, seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % 11 % 3
    leaning = np.eye(3)[labels] * 1.5 + generator.normal(size=(images, 3))
    shares = np.exp(leaning) / np.exp(leaning).sum(1, keepdims=True)
    return predictions_of(labels, shares, CLASS_NAMES, [f"{image:05d}" for image in range(images)], None)


def _by_hand(part: Predictions, resamples: int) -> None:
    from sklearn import metrics

    for rows in np.random.default_rng(1).integers(0, len(part.labels), (resamples, len(part.labels))):
        labels, shares = part.labels[rows], part.probabilities[rows]
        metrics.classification_report(labels, shares.argmax(1), output_dict=True, zero_division=0)
        metrics.roc_auc_score(labels, shares, multi_class="ovr")
        for code in range(3):
            metrics.roc_auc_score(labels == code, shares[:, code])
            metrics.average_precision_score(labels == code, shares[:, code])


def start_rows(full: bool) -> list[Row]:
    """Time the way to the first step, with the images prepared; the first attempt loads what all need."""
    with tempfile.TemporaryDirectory() as home:
        artifacts = Path(home) / "artifacts"
        keys = ("E1", "E1", "E3", "E4") if full else ("E1", "E1", "E4")  # E3 has a size of its own
        specs = dict(_prepared_specs(Path(home), artifacts, keys))
        seconds = [_started(specs[key], artifacts, number) for number, key in enumerate(keys)]
    names = [f"{key}, {specs[key].settings.model.backbone}" for key in keys]
    first, *others = [
        Row(f"start of {'the first' if not number else 'another'} attempt: {name}", each, "s", goal=START)
        for number, (name, each) in enumerate(zip(names, seconds, strict=True))
    ]
    return [replace(first, note="Python's own modules, torch and timm included"), *others]


def _prepared_specs(folder: Path, artifacts: Path, keys: Sequence[str]) -> Iterator[tuple[str, RunSpec]]:
    """Write as many small films as BTXRD has, prepare them at each size, and give each experiment's run."""
    write_films(folder / "data", IMAGES, sides=((48, 40),))
    changed = (f"data.root={folder / 'data'}", "model.pretrained=false")
    made = plan(load_grid(HOME / "experiments.toml", changed), artifacts)
    _, dataset = made.datasets[0]
    for spec in made.specs:
        if spec.split.name == "stratified" and spec.experiment in keys:
            study_images(dataset, spec.settings.data, artifacts)
            yield spec.experiment, spec


def _started(spec: RunSpec, artifacts: Path, number: int) -> float:
    """Return the seconds from the start of the attempt's process to its first step."""
    folder = RunFolder(artifacts, f"experiments/{number}", 1)
    began = time.perf_counter()
    child = Child(work, (spec, folder, Computing("auto"), spec.settings.training.batch_size))
    try:
        while (child.message(1) or ("",))[0] != "restored":
            pass
        return time.perf_counter() - began
    finally:
        child.kill()
        child.close()


if __name__ == "__main__":
    run_script("Overheads", __doc__, measured)
