"""`reproduce`: a finished run once more from its stored spec, and does it come out the same?

It runs in a new folder under artifacts/reproduced/ and the ledger stays as it is: what came of it is written
beside its files, as reproduction.json.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

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
from boneexp.ledger.statements import Facts
from boneexp.results import (
    CLASS_NAMES,
    Failed,
    Finished,
    Kernels,
    Killed,
    MetricValue,
    Outcome,
    Prediction,
    Stopped,
)
from boneexp.runs.again import run_again
from boneexp.runs.context import Workplace
from boneexp.runs.workers import look_ahead
from boneexp.study.settings import RunSpec

FOLDER = "reproduced"
RESEARCH_ONLY = "Research use only, not for clinical use."
COMPARED = {  # those of the view run_metrics that have an interval
    "accuracy": ("accuracy", ""),
    "macro_auroc": ("macro_auroc", ""),
    "malignant_sensitivity": ("sensitivity", "Malignant"),
    "malignant_specificity": ("specificity", "Malignant"),
}


@dataclass(frozen=True)
class Again:
    """One figure of the test part: as it was, with its interval, and as it came out again."""

    figure: str
    stored: float | None
    low: float | None
    high: float | None
    again: float | None

    @property
    def inside(self) -> bool:
        """Whether it lies within its interval; where there is none, whether it is the same."""
        if self.again is None or self.low is None or self.high is None:
            return self.again == self.stored
        return self.low <= self.again <= self.high


@dataclass(frozen=True)
class Reproduction:
    """What came out. `sealed` says whether the stored rows are as they were when the run was settled."""

    run: int
    config_hash: str
    folder: str
    device: tuple[str, str]  # then and now
    software: Mapping[str, tuple[str | None, str | None]]  # what differs, then and now
    figures: tuple[Again, ...]
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
        """Whether every figure lies within its interval, and the stored rows are the sealed ones."""
        return self.sealed and all(each.inside for each in self.figures)

    def sentence(self) -> str:
        """Say it."""
        outside = [each.figure for each in self.figures if not each.inside]
        said = f"run {self.run} comes out within its intervals"
        if outside:
            said = f"run {self.run} does not come out within its intervals: {', '.join(outside)}"
        if not self.sealed:
            said += "; its stored rows were changed after it was settled (boneexp doctor)"
        if self.bit_equal:
            return f"{said}; all {self.predictions} predictions are equal bit for bit"
        differ = f"{self.different_predictions} of {self.predictions} predictions differ"
        return f"{said}; {differ}, probabilities by up to {self.largest_difference:.2g}"

    def as_json(self) -> dict[str, Any]:
        """Return it, ready for json.dumps."""
        figures = [{**asdict(each), "inside": each.inside} for each in self.figures]
        verdict = {"bit_equal": self.bit_equal, "passed": self.passed}
        return {"note": RESEARCH_ONLY, **asdict(self), "figures": figures, **verdict}


def reproduce(place: Workplace, run_id: int, root: str = "") -> Reproduction | str:
    """Run a finished run again and compare; return the name of the signal if it was stopped on the way.

    Args:
        place: ledger, artifacts, device, and who hears how far it is.
        run_id: a run that has succeeded.
        root: where the data lie now; "" for where they were last queued from.

    Raises:
        RunNotFound, RunNotFinished: there is no such run, or it has not succeeded.
        DataInvalid: the data are gone, or not those of the run.
        DeviceUnavailable, DiskTooSmall: it cannot be run here.
        BoneexpError: it failed this time; the message says of what.
    """
    stored = _stored(place.ledger, run_id, root)
    spec = stored.spec
    place = _as_then(place, stored.attempt.versions)
    waiting = Waiting(spec.settings.model_dump_json(), spec.data_fingerprint, stored.images, 1)
    ready = look_ahead(place, (waiting,), f"boneexp reproduce {run_id}")
    folder = _new_folder(place.artifacts.resolve(), run_id)
    claim = Claim(run_id, 1, spec, folder.relative, stored.row.micro_batch)
    outcome = run_again(place, claim, folder)
    if isinstance(outcome, Stopped) and place.stop.reason:
        rmtree(folder.path)  # nothing goes on from there
        return place.stop.reason
    found = _compared(stored, _finished(outcome, run_id, folder), folder, ready)
    write_text(
        folder.file("reproduction.json"), json.dumps(found.as_json(), indent=2, allow_nan=False) + "\n"
    )
    return found


def _as_then(place: Workplace, versions: Mapping[str, str]) -> Workplace:
    """Return the place with as many threads as the run had, and such kernels: other sums have other bits."""
    kernels: Kernels = "autotune" if versions.get("kernels") == "autotune" else "deterministic"
    computing = replace(place.computing, kernels=kernels)
    return replace(place, threads=int(versions.get("threads", "0")), computing=computing)


@dataclass(frozen=True)
class _Stored:
    """What the ledger has of the run."""

    row: RunStatus
    spec: RunSpec
    attempt: Attempt
    images: int
    metrics: Sequence[Facts]
    predictions: Sequence[Facts]
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
    """Make the next folder of this run: 0001, 0002, …; nothing is gone on from."""
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
    said = f"{outcome.kind}: {outcome.message}" if isinstance(outcome, Failed) else ""
    said = outcome.reason if isinstance(outcome, Killed | Stopped) else said
    raise BoneexpError(
        f"run {run_id} did not come to its end this time ({said}); the ledger is unchanged, and "
        f"{folder.log} has what happened"
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


def _figures(stored: Sequence[Facts], again: Sequence[MetricValue]) -> tuple[Again, ...]:
    before = {(row["metric"], row["class_name"]): row for row in stored}
    now = {(each.metric, each.class_name): each.value for each in again}
    return tuple(
        Again(figure, row["value"], row["low"], row["high"], now[name])
        for figure, name in COMPARED.items()
        for row in [before[name]]
    )


def _differences(stored: Sequence[Facts], again: Sequence[Prediction]) -> list[float]:
    """Return by how much each image's probabilities differ at most; 1 where only one of the two has it."""
    before = {
        (row["part"], row["image_id"], row["label"]): tuple(row[f"p_{name.lower()}"] for name in CLASS_NAMES)
        for row in stored
    }
    now = {(each.part, each.image_id, CLASS_NAMES[each.label]): each.probabilities for each in again}
    return [
        max(abs(one - other) for one, other in zip(before[key], now[key], strict=True))
        if key in before and key in now
        else 1.0
        for key in sorted({*before, *now})
    ]
