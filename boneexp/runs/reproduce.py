"""`reproduce`: run a finished run again from its stored spec, and compare the results.

It runs in a new folder under artifacts/reproduced/ and leaves the ledger unchanged. The comparison is written
beside its files, as reproduction.json.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from logging import Logger
from pathlib import Path
from shutil import rmtree

from boneexp.errors import BoneexpError, DataInvalid, RunNotFinished
from boneexp.experiment.readiness import Readiness, Waiting
from boneexp.files.atomic import inside, write_text
from boneexp.files.folders import RunFolder
from boneexp.ledger.database import reading
from boneexp.ledger.places import spec_now
from boneexp.ledger.queries.attempts import Attempt, attempts_of_run
from boneexp.ledger.queries.experiments import images_of
from boneexp.ledger.queries.figures import metric_rows
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.ledger.queries.runs import RunStatus, run_row
from boneexp.ledger.queue import Claim
from boneexp.ledger.seals import results_hold
from boneexp.results import (
    WITH_INTERVALS,
    EpochRecord,
    Failed,
    Finished,
    Kernels,
    Metric,
    MetricValue,
    Outcome,
    Prediction,
    Stopped,
)
from boneexp.runs.attempt import outcome_of, start_child
from boneexp.runs.context import WorkerContext
from boneexp.runs.report import Report, run_log
from boneexp.runs.time_limit import TimeLimit
from boneexp.runs.workers import look_ahead, stop_on_signals
from boneexp.study.settings import RunSpec
from boneexp.text.labels import RESEARCH_ONLY

FOLDER = "reproduced"


@dataclass(frozen=True)
class ReproducedMetric:
    """One metric on the test set: as stored, with its interval, and as reproduced."""

    figure: str
    stored: float | None
    low: float | None
    high: float | None
    again: float | None

    @property
    def inside(self) -> bool:
        """Whether it lies within its interval; without an interval, whether it is the same."""
        if self.again is None or self.low is None or self.high is None:
            return self.again == self.stored
        return self.low <= self.again <= self.high


@dataclass(frozen=True)
class Reproduction:
    """The comparison; `sealed` is whether the stored rows are as they were when the run was settled."""

    run: int
    config_hash: str
    folder: str
    device: tuple[str, str]  # stored and now
    software: Mapping[str, tuple[str | None, str | None]]  # what differs, stored and now
    figures: tuple[ReproducedMetric, ...]
    predictions: int
    different_predictions: int
    largest_difference: float  # of any probability
    sealed: bool

    @property
    def bit_equal(self) -> bool:
        """Whether every predicted probability has the same bits."""
        return self.different_predictions == 0

    @property
    def passed(self) -> bool:
        """Whether every metric lies within its interval, and the stored rows are the sealed ones."""
        return self.sealed and all(each.inside for each in self.figures)

    def sentence(self) -> str:
        """Return the verdict."""
        outside = [each.figure for each in self.figures if not each.inside]
        verdict = f"run {self.run} is reproduced within its intervals"
        if outside:
            verdict = f"run {self.run} is not reproduced within its intervals: {', '.join(outside)}"
        if not self.sealed:
            verdict += "; its stored rows were changed after it was settled (boneexp doctor)"
        if self.bit_equal:
            return f"{verdict}; all {self.predictions} predictions are equal bit for bit"
        differ = f"{self.different_predictions} of {self.predictions} predictions differ"
        return f"{verdict}; {differ}, probabilities by up to {self.largest_difference:.2g}"

    def as_json(self) -> dict[str, object]:
        """Return it, ready for json.dumps."""
        figures = [{**asdict(each), "inside": each.inside} for each in self.figures]
        verdict = {"bit_equal": self.bit_equal, "passed": self.passed}
        return {"note": RESEARCH_ONLY, **asdict(self), "figures": figures, **verdict}


def reproduce(context: WorkerContext, run_id: int, root: str = "") -> Reproduction | str:
    """Run a finished run again and compare; return the name of the signal that stopped it, if one did.

    Args:
        context: ledger, artifacts, device, and where progress is announced.
        run_id: a run that has succeeded.
        root: the folder of the dataset now; "" for where it was last queued from.

    Raises:
        RunNotFound, RunNotFinished: there is no such run, or it has not succeeded.
        DataInvalid: the data are gone, or not those of the run.
        DeviceUnavailable, DiskTooSmall: it cannot be run here.
        BoneexpError: it failed this time, and why.
    """
    stored = _stored(context.ledger, run_id, root)
    spec = stored.spec
    context = _as_then(context, stored.attempt.versions)
    waiting = Waiting(spec.settings.model_dump_json(), spec.data_fingerprint, stored.images, 1)
    ready = look_ahead(context, (waiting,), f"boneexp reproduce {run_id}")
    folder = _new_folder(context.artifacts.resolve(), run_id)
    claim = Claim(run_id, 1, spec, folder.relative, stored.row.micro_batch)
    outcome = run_again(context, claim, folder)
    if isinstance(outcome, Stopped) and context.stop.reason:
        rmtree(folder.path)  # nothing resumes from there
        return context.stop.reason
    found = _compared(stored, _finished(outcome, run_id, folder), folder, ready)
    write_text(
        folder.file("reproduction.json"), json.dumps(found.as_json(), indent=2, allow_nan=False) + "\n"
    )
    return found


def _as_then(context: WorkerContext, versions: Mapping[str, str]) -> WorkerContext:
    """Return the context with the threads and kernels that the run had: another order of sums, other bits."""
    kernels: Kernels = "autotune" if versions.get("kernels") == "autotune" else "deterministic"
    computing = replace(context.computing, kernels=kernels)
    return replace(context, threads=int(versions.get("threads", "0")), computing=computing)


def run_again(context: WorkerContext, claim: Claim, folder: RunFolder) -> Outcome:
    """Do the run that `claim` describes in the new folder `folder`; return how it ended.

    Nobody holds this claim: it only says what to run.
    """
    with run_log(folder, claim) as log, stop_on_signals(context.stop):
        report = _Unrecorded(context, claim, log)
        report.tell("claimed", "to be reproduced")
        child = start_child(context, claim, folder)
        try:
            outcome = outcome_of(child, report, context.stop)
        finally:
            child.close()
        report.tell("settled", f"ended: {type(outcome).__name__.lower()}")
    return outcome


class _Unrecorded(Report):
    """Informs the watcher and the log, but not the ledger; there is no time limit."""

    def __init__(self, context: WorkerContext, claim: Claim, log: Logger) -> None:
        """Begin without epochs."""
        super().__init__(context, claim, log)
        self.limit = TimeLimit()

    def _keep(self, record: EpochRecord) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class _Stored:
    """The run as the ledger has it."""

    row: RunStatus
    spec: RunSpec
    attempt: Attempt
    images: int
    metrics: Sequence[MetricValue]
    predictions: Sequence[Prediction]
    sealed: bool


def _stored(ledger: Path, run_id: int, root: str) -> _Stored:
    with reading(ledger) as connection:
        row = run_row(connection, run_id)
        if row.state != "succeeded":
            raise RunNotFinished(
                f"run {run_id} is {row.state}, and only one that has succeeded can be run again; "
                "see: boneexp status"
            )
        return _Stored(
            row=row,
            spec=spec_now(connection, run_id, root),
            attempt=attempts_of_run(connection, run_id)[-1],
            images=images_of(connection, run_id),
            metrics=metric_rows(connection, run_id),
            predictions=prediction_rows(connection, run_id),
            sealed=results_hold(connection, run_id),
        )


def _new_folder(artifacts: Path, run_id: int) -> RunFolder:
    """Make the next folder of this run: 0001, 0002, …; nothing is resumed."""
    home = inside(artifacts, f"{FOLDER}/run-{run_id:04d}")
    home.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        with suppress(FileExistsError):
            (home / f"{number:04d}").mkdir()
            return RunFolder(artifacts, f"{FOLDER}/run-{run_id:04d}/{number:04d}")
        number += 1


def _finished(outcome: Outcome, run_id: int, folder: RunFolder) -> Finished:
    if isinstance(outcome, Finished):
        return outcome
    if isinstance(outcome, Failed) and outcome.kind == "data":
        raise DataInvalid(f"run {run_id} was not run again: {outcome.message}")
    reason = f"{outcome.kind}: {outcome.message}" if isinstance(outcome, Failed) else outcome.reason
    raise BoneexpError(
        f"run {run_id} did not finish this time ({reason}); the ledger is unchanged, see {folder.log}"
    )


def _compared(stored: _Stored, finished: Finished, folder: RunFolder, ready: Readiness) -> Reproduction:
    differences = _differences(stored.predictions, finished.predictions)
    then, now = stored.attempt.versions, ready.versions
    return Reproduction(
        run=stored.row.run,
        config_hash=stored.row.config_hash,
        folder=folder.relative,
        device=(stored.attempt.device, ready.device),
        software={
            name: (then.get(name), now.get(name))
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name)
        },
        figures=_figures(stored.metrics, finished.metrics["test"]),
        predictions=len(differences),
        different_predictions=sum(difference != 0 for difference in differences),
        largest_difference=max(differences, default=0.0),
        sealed=stored.sealed,
    )


def _figures(stored: Sequence[MetricValue], again: Sequence[MetricValue]) -> tuple[ReproducedMetric, ...]:
    before = {Metric(each.metric, each.class_name): each for each in stored}
    now = {Metric(each.metric, each.class_name): each.value for each in again}
    return tuple(
        ReproducedMetric(
            metric.key, before[metric].value, before[metric].low, before[metric].high, now[metric]
        )
        for metric in WITH_INTERVALS
    )


def _differences(stored: Sequence[Prediction], again: Sequence[Prediction]) -> list[float]:
    """Return by how much each image's probabilities differ at most; 1 where only one of the two has it."""
    before, now = (
        {(each.part, each.image_id, each.label): each.probabilities for each in predictions}
        for predictions in (stored, again)
    )
    return [
        max(abs(one - other) for one, other in zip(before[key], now[key], strict=True))
        if key in before and key in now
        else 1.0
        for key in sorted({*before, *now})
    ]
