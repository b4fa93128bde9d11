"""The words a run reports in: its split, its classes, its epochs, and how it ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SplitName = Literal["stratified", "center_holdout"]
SPLITS: tuple[SplitName, ...] = ("stratified", "center_holdout")
CLASS_NAMES = ("Normal", "Benign", "Malignant")
PARTS = ("train", "val", "test")
INTERVAL_METHODS = {  # by the name that stands beside each figure in the ledger
    "wilson": "Wilson",
    "wilson-f1": "Wilson, of F1",
    "mover": "Wilson of each class, squared and added",
    "logit-delong": "DeLong on the logit scale",
    "newcombe": "Newcombe's score interval",
    "logit-jackknife": "jackknife on the logit scale",
    "fisher-jackknife": "jackknife on Fisher's scale",
    "log-jackknife": "jackknife on the log scale",
    "percentile": "percentile bootstrap",
    "bca": "BCa bootstrap",
}
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0  # between which it is searched for
AT_BOUND = "(at the bound of its search)"
# Means are compared in steps of 1e-9, after this is added: the golden ratio's fraction, from which shares of
# a few hundred images keep away, so that two sums of the same numbers never fall on both sides of a step.
STEPS, SHIFT = 1e9, 0.381966011250105


def is_at_bound(metric: str, value: float | None) -> bool:
    """Whether a figure is a temperature at an end of its search, where the log loss still fell."""
    if metric != "temperature" or value is None:
        return False
    return value <= LOWEST_TEMPERATURE or value >= HIGHEST_TEMPERATURE


def mean_figure(values: Sequence[float]) -> float:
    """Return the mean as the ledger's views have it: equal means are equal floats, in any order of addition.

    Raises:
        ZeroDivisionError: there is no value.
    """
    return math.trunc(sum(values) / len(values) * STEPS + SHIFT) / STEPS


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch: losses are means per image, the learning rate is that of the last step.

    Epochs count from 0 inside the program, in checkpoints and in the tables `epochs` and `runs`; from 1
    wherever else a person or a script reads them.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_auroc: float | None
    learning_rate: float
    duration_s: float  # of this attempt's steps and of validation; the next epoch trains while it is saved


@dataclass(frozen=True)
class MetricValue:
    """One figure with its interval; None where undefined. `class_name` is "" for one over all classes.

    `interval_method` names how the interval was made; "" where there is none.
    """

    metric: str
    class_name: str
    value: float | None
    low: float | None
    high: float | None
    interval_method: str = ""


@dataclass(frozen=True)
class Prediction:
    """What the model said of one image: probabilities in the order of CLASS_NAMES."""

    part: str
    image_id: str
    group: str
    center: int
    label: int
    probabilities: tuple[float, float, float]


@dataclass(frozen=True)
class WrittenFile:
    """A file of a run: path relative to the artifacts folder, its digest and its size."""

    kind: str
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Finished:
    """The run came to its end."""

    best_epoch: int
    metrics: dict[str, tuple[MetricValue, ...]]  # by part
    predictions: tuple[Prediction, ...]
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class Failed:
    """The attempt ended with an error, or over its time; `kind` is oom, error, disk, data or timeout."""

    kind: str
    message: str
    traceback: str


@dataclass(frozen=True)
class Stopped:
    """The attempt was asked to stop; the run can go on from its last checkpoint."""

    reason: str


@dataclass(frozen=True)
class Killed:
    """The attempt's process ended without a word: killed from outside, or crashed in native code."""

    reason: str
    traceback: str


Outcome = Finished | Failed | Stopped | Killed


@dataclass(frozen=True)
class News:
    """One thing that happened in a run, for whoever watches.

    `kind` is claimed, stage, counted, resumed, step, epoch or settled, or note for what is about no single
    run (run_id 0); `done` of `total` counts images, steps or epochs.
    """

    run_id: int
    title: str
    kind: str
    text: str = ""
    done: int = 0
    total: int = 0
    epoch: int = 0  # the one that is being trained, from 1
    record: EpochRecord | None = None
    epochs_planned: int = 0
    left_s: float | None = None


Kernels = Literal["deterministic", "autotune"]


@dataclass(frozen=True)
class Computing:
    """On which device; and on CUDA by kernels that add in one order, or by the fastest as tried out."""

    device: str = "auto"
    kernels: Kernels = "deterministic"
