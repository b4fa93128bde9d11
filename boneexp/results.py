"""What a run reports: its split, classes, epochs, metrics and outcome."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SplitName = Literal["stratified", "center_holdout"]
SPLITS: tuple[SplitName, ...] = ("stratified", "center_holdout")
CLASS_NAMES = ("Normal", "Benign", "Malignant")
PARTS = ("train", "val", "test")
INTERVAL_METHODS = {  # by the name stored with each metric in the ledger
    "wilson": "Wilson",
    "wilson-f1": "Wilson interval of F1",
    "mover": "MOVER on the Wilson intervals of the classes",
    "logit-delong": "DeLong on the logit scale",
    "newcombe": "Newcombe's score interval",
    "logit-jackknife": "jackknife on the logit scale",
    "fisher-jackknife": "jackknife on Fisher's scale",
    "log-jackknife": "jackknife on the log scale",
    "percentile": "percentile bootstrap",
    "bca": "BCa bootstrap",
}
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0  # bounds of the search
AT_BOUND = "(at the bound of its search)"
# Means are truncated to steps of 1e-9 after adding SHIFT, the golden ratio's fraction. Fractions of a few
# hundred images stay away from it, so that sums in different orders never fall on both sides of a step.
STEPS, SHIFT = 1e9, 0.381966011250105


def is_at_bound(metric: str, value: float | None) -> bool:
    """Whether a metric is a temperature at a bound of its search, where the log loss was still falling."""
    if metric != "temperature" or value is None:
        return False
    return value <= LOWEST_TEMPERATURE or value >= HIGHEST_TEMPERATURE


def mean_metric(values: Sequence[float]) -> float:
    """Return the mean as the ledger's views compute it: the same floats in any order give the same mean.

    Raises:
        ZeroDivisionError: there is no value.
    """
    return math.trunc(sum(values) / len(values) * STEPS + SHIFT) / STEPS


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch: losses are means per image; the learning rate is that of the last step.

    Epochs count from 0 inside the program, in checkpoints and in the tables `epochs` and `runs`; from 1
    everywhere else.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_auroc: float | None
    learning_rate: float
    duration_s: float  # training steps and validation; saving overlaps with the next epoch


@dataclass(frozen=True)
class Metric:
    """One metric, over all classes ("") or of one class."""

    name: str
    class_name: str = ""

    @property
    def key(self) -> str:
        """What a person types, and a column is called: "accuracy", "malignant_sensitivity"."""
        return f"{self.class_name.lower()}_{self.name}" if self.class_name else self.name


COMPARED = (Metric("accuracy"), Metric("macro_auroc"), Metric("sensitivity", "Malignant"))
WITH_INTERVALS = (*COMPARED, Metric("specificity", "Malignant"))  # of what is kept of each run to be compared


@dataclass(frozen=True)
class MetricValue:
    """One metric with its interval; None where undefined. `class_name` is "" for a metric over all classes.

    `interval_method` is a key of INTERVAL_METHODS; "" without an interval.
    """

    metric: str
    class_name: str
    value: float | None
    low: float | None
    high: float | None
    interval_method: str = ""


@dataclass(frozen=True)
class Prediction:
    """The model's prediction for one image: probabilities in the order of CLASS_NAMES."""

    part: str
    image_id: str
    group: str
    center: int
    label: int
    probabilities: tuple[float, float, float]


@dataclass(frozen=True)
class WrittenFile:
    """A file of a run: its path relative to the artifacts folder, digest and size."""

    kind: str
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Finished:
    """The run succeeded."""

    best_epoch: int
    metrics: dict[str, tuple[MetricValue, ...]]  # by part
    predictions: tuple[Prediction, ...]
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class Failed:
    """The attempt failed; `kind` is oom, error, disk, data or timeout."""

    kind: str
    message: str
    traceback: str


@dataclass(frozen=True)
class Stopped:
    """The attempt was stopped on request; the run can resume from its last checkpoint."""

    reason: str


@dataclass(frozen=True)
class Killed:
    """The attempt's process died: killed from outside, or crashed in native code."""

    reason: str
    traceback: str


Outcome = Finished | Failed | Stopped | Killed


@dataclass(frozen=True)
class News:
    """A progress message from a run.

    `kind` is claimed, stage, counted, resumed, step, epoch or settled, or note for a message that concerns no
    single run (run_id 0). `done` and `total` count images, steps or epochs.
    """

    run_id: int
    title: str
    kind: str
    text: str = ""
    done: int = 0
    total: int = 0
    epoch: int = 0  # the epoch in training, from 1
    record: EpochRecord | None = None
    epochs_planned: int = 0
    left_s: float | None = None


Kernels = Literal["deterministic", "autotune"]


@dataclass(frozen=True)
class Computing:
    """The device, and for CUDA: deterministic kernels, or the fastest found by autotuning."""

    device: str = "auto"
    kernels: Kernels = "deterministic"
