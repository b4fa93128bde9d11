"""`verify-resume`: the same small study twice, once undisturbed and once killed, must end the same.

A phantom dataset, a real network, the real engine and ledger, in a temporary folder.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from boneexp.data.phantom.write import write_phantom
from boneexp.errors import BoneexpError
from boneexp.files.atomic import write_text
from boneexp.files.folders import RunFolder
from boneexp.ledger.database import open_ledger, reading
from boneexp.ledger.queries.attempts import Epoch, epochs_of_run
from boneexp.ledger.queries.files import checkpoint_of
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.ledger.queries.runs import RunStatus, run_row
from boneexp.results import Computing, EpochRecord, Outcome, Prediction
from boneexp.runs.children.work import work
from boneexp.runs.context import WorkerContext
from boneexp.runs.enqueue import planned, put_in_queue
from boneexp.runs.workers import run_local
from boneexp.study.settings import RunSpec

BACKBONE, IMAGES, SIDE_PX = "efficientnet_b0", 48, 64
GRID = f"""
data.root = "data"
data.name = "phantom"
data.image_size = {SIDE_PX}
model.backbone = "{BACKBONE}"
model.pretrained = false
training.epochs = 3
training.batch_size = 12
training.annotations = true
evaluation.resamples = 100
splits.stratified.ratios = [0.6, 0.2, 0.2]
experiments.E1.name = "resume check"
"""


@dataclass(frozen=True)
class ResumeCheck:
    """The result: `schedule_equal` is about epochs, learning rates and the best epoch."""

    device: str
    backbone: str
    kills: int
    bit_equal: bool
    schedule_equal: bool
    largest_difference: float  # of any predicted probability
    duration_s: float

    @property
    def passed(self) -> bool:
        """Whether resuming keeps what is promised: every bit on a CPU, the schedule on other devices."""
        return self.bit_equal or (self.schedule_equal and self.device != "cpu")

    def sentence(self) -> str:
        """Return the result in words."""
        about = f"{self.backbone} on {self.device}, killed {self.kills} times, {self.duration_s:.0f} s"
        if self.bit_equal:
            return f"resume is exact here: weights, epochs and predictions are equal bit for bit ({about})"
        schedule = "the schedule is the same" if self.schedule_equal else "the schedule differs"
        return (
            f"resume is not bit for bit here: {schedule}, and predicted probabilities differ by up to "
            f"{self.largest_difference:.2g} ({about})"
        )

    def as_json(self) -> dict[str, object]:
        """Return it, ready for json.dumps."""
        return {**asdict(self), "passed": self.passed}


def resume_check(computing: Computing, announce: Callable[..., None]) -> ResumeCheck:
    """Run the small study undisturbed and killed, and compare what the two ledgers hold.

    Raises:
        DeviceUnavailable: this machine has no such device.
    """
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="boneexp-resume-") as name:
        folder = Path(name)
        write_phantom(folder / "data", images=IMAGES, seed=1)
        write_text(folder / "experiments.toml", GRID)
        unbroken = _result(folder / "unbroken", computing, announce, work)
        killed = _result(folder / "killed", computing, announce, killed_twice)
    difference = max(
        abs(first - second)
        for one, other in zip(unbroken.predictions, killed.predictions, strict=True)
        for first, second in zip(one.probabilities, other.probabilities, strict=True)
    )
    return ResumeCheck(
        device=unbroken.run.device or "",
        backbone=BACKBONE,
        kills=killed.run.attempts - unbroken.run.attempts,
        bit_equal=unbroken.bits == killed.bits,
        schedule_equal=unbroken.schedule == killed.schedule,
        largest_difference=difference,
        duration_s=time.monotonic() - began_s,
    )


def killed_twice(
    spec: RunSpec, folder: RunFolder, computing: Computing, micro_batch: int, report: Any
) -> Outcome:
    """Do the run in a child that is killed within an epoch once one is kept, then when the next is saved."""
    tell_step, tell_epoch = report.step, report.epoch
    kept: list[EpochRecord] = []

    def step(*counts: int) -> bool:
        if folder.attempt == 1 and kept:
            os.kill(os.getpid(), signal.SIGKILL)
        return bool(tell_step(*counts))

    def epoch(record: EpochRecord) -> bool:
        if folder.attempt == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        kept.append(record)
        return bool(tell_epoch(record))

    report.step, report.epoch = step, epoch
    return work(spec, folder, computing, micro_batch, report)


@dataclass(frozen=True)
class _Result:
    """The finished run of the small study, as its ledger has it."""

    run: RunStatus
    weights: str
    epochs: Sequence[Epoch]
    predictions: Sequence[Prediction]

    @property
    def bits(self) -> object:
        """What must be equal bit for bit on a CPU."""
        losses = [(each.train_loss, each.val_loss, each.val_accuracy) for each in self.epochs]
        return self.weights, losses, self.predictions, self.schedule

    @property
    def schedule(self) -> object:
        """What must be equal on every device."""
        return [(each.epoch, each.learning_rate) for each in self.epochs], self.run.best_epoch


def _result(
    folder: Path, computing: Computing, announce: Callable[..., None], work: Callable[..., Outcome]
) -> _Result:
    """Queue and run the study in `folder`; return what its ledger holds of the run."""
    ledger, artifacts = open_ledger(folder / "ledger.db"), folder / "artifacts"
    made = planned(folder.parent / "experiments.toml", [], ([], ["stratified"], []), artifacts)
    put_in_queue(made, ledger, artifacts, time.time())
    run_local(WorkerContext(ledger, artifacts, computing, announce, work=work))
    with reading(ledger) as connection:
        run = run_row(connection, 1)
        if run.state != "succeeded":
            raise BoneexpError(f"the check's own run is {run.state}: {run.failure or 'stopped'}")
        weights = checkpoint_of(connection, 1).sha256
        return _Result(run, weights, epochs_of_run(connection, 1), prediction_rows(connection, 1))
