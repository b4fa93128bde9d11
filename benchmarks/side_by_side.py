"""How many images per second a grid trains on with 1, 2, 4 and 8 worker processes on one device.

On a CPU: small runs of a small network, with 1 and 2 workers. On a GPU: E1 to E4 on both splits, at their own
sizes and batches, on as many made-up films as BTXRD has; with --full for 80 epochs without early stopping,
which is held against the goal of 12 minutes. Validation, evaluation and starting the workers are in the time.

python benchmarks/side_by_side.py
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from made_radiographs import BTXRD_SIDES, write_films
from measuring import HOME, Goal, Row, run_script

from boneexp.ledger.database import reading
from boneexp.ledger.queries.runs import spec_json
from boneexp.study.settings import RunSpec

BTXRD_IMAGES = 3746
GOAL_MIN = 12.0
SMALL = """
[data]
name = "made up"
image_size = 64
[model]
backbone = "test_efficientnet"
pretrained = false
[evaluation]
resamples = 200
[experiments.E1]
"""


@dataclass(frozen=True)
class Grid:
    """What is run: so many films of these sizes, this grid file, so many epochs."""

    images: int
    sides: tuple[tuple[int, int], ...]
    text: str
    epochs: int
    device: str


def measured(full: bool) -> list[Row]:
    """Run the same grid with more and more workers, each time in a new ledger; the images stay prepared."""
    grid, crews = _on_gpu(full) if _has_gpu() else _on_cpu(full)
    rows = []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write_films(folder / "data", grid.images, grid.sides)
        if grid.device == "cuda":
            run_grid(folder, grid, 1, epochs=1)  # prepares the images, which are shared from then on
        alone: float | None = None
        for workers in crews:
            seconds, images = run_grid(folder, grid, workers, epochs=grid.epochs)
            rate = images / seconds
            what = f"a grid of {images:,} training images, {workers} {'workers' if alone else 'worker'}"
            rows.append(Row(what, rate, "images/s", "1 worker" if alone else "", alone))
            alone = alone or rate
            if grid.device == "cuda" and full:
                said = f"E1-E4 on both splits, {grid.epochs} epochs, {workers} workers"
                rows.append(Row(said, seconds / 60, "min", goal=Goal("figure", at_most=GOAL_MIN)))
    if grid.device == "cpu":
        rows.append(
            Row("E1-E4 on both splits, 80 epochs, on a GPU", None, "min", note="skipped: no GPU here")
        )
    return rows


def run_grid(folder: Path, grid: Grid, workers: int, epochs: int) -> tuple[float, int]:
    """Run the whole grid; return the seconds, and how many training images went through a network."""
    queued, ledger = folder / f"queued_{epochs}.db", folder / f"ledger_{workers}_{epochs}.db"
    if not queued.is_file():
        (folder / "grid.toml").write_text(grid.text)
        changed = {"data.root": folder / "data", "training.epochs": epochs, "training.patience": epochs}
        changed |= {"model.pretrained": "false"}
        settings = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
        place = ["--ledger", str(queued), "--artifacts", str(folder / "artifacts")]
        _boneexp(folder, "queue", "--grid", "grid.toml", *settings, *place)
    shutil.copyfile(queued, ledger)  # nobody has it open: all of it is in the one file
    place = ["--ledger", str(ledger), "--artifacts", str(folder / "artifacts")]
    shutil.rmtree(folder / "artifacts" / "experiments", ignore_errors=True)  # nothing to go on from
    began = time.perf_counter()
    _boneexp(folder, "run", "--all", "--workers", str(workers), "--device", grid.device, *place)
    seconds = time.perf_counter() - began
    rows = json.loads(_boneexp(folder, "status", "--json", *place))
    assert all(row["state"] == "succeeded" for row in rows), rows
    with reading(ledger) as connection:
        specs = [RunSpec.model_validate_json(spec_json(connection, row["run"])) for row in rows]
    return seconds, sum(epochs * _training_images(spec, folder / "artifacts") for spec in specs)


def _training_images(spec: RunSpec, artifacts: Path) -> int:
    """Count what an epoch goes through: the training part, and its annotated images again if asked for."""
    from boneexp.data.study import dataset_of

    dataset, split = dataset_of(spec, artifacts)
    train = split.indices("train")
    annotated = sum(dataset.radiographs[row].annotation_path is not None for row in train)
    return len(train) + spec.settings.training.annotations * annotated


def _boneexp(folder: Path, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("boneexp")), *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _on_cpu(full: bool) -> tuple[Grid, tuple[int, ...]]:
    epochs = 40 if full else 8
    return Grid(120, ((200, 160),), SMALL, epochs, "cpu"), (1, 2, 4) if full else (1, 2)


def _on_gpu(full: bool) -> tuple[Grid, tuple[int, ...]]:
    text = (HOME / "experiments.toml").read_text(encoding="utf-8")
    return Grid(BTXRD_IMAGES, BTXRD_SIDES, text, 80 if full else 2, "cuda"), (1, 2, 4, 8)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    run_script("Several runs on one device", __doc__, measured)
