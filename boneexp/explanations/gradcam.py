"""`gradcam`: choose a model and images from the ledger, explain them, and keep what was measured."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from boneexp.errors import RunNotFinished, RunNotFound
from boneexp.explanations.draw import Explained, Explanation, Question, explain
from boneexp.files.folders import RunFolder, StudyPaths
from boneexp.ledger.database import reading, writing
from boneexp.ledger.explanations import LOOKED_AT, MEASURED, record_explanations
from boneexp.ledger.places import spec_now
from boneexp.ledger.promotions import standing
from boneexp.ledger.quarantine import require_sealed
from boneexp.ledger.queries.datasets import fingerprints_of
from boneexp.ledger.queries.files import checkpoint_of
from boneexp.ledger.queries.finished import runs_to_promote
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.ledger.queries.runs import RunStatus, cancelled_note, run_row
from boneexp.ledger.seals import Subject
from boneexp.promotion.files import default_checkpoint
from boneexp.results import CLASS_NAMES, SPLITS, Prediction
from boneexp.study.settings import Lesion
from boneexp.text.labels import RESEARCH_ONLY
from boneexp.text.nearest import nearest

OUTCOMES = ("TP", "FP", "FN")


@dataclass(frozen=True)
class Request:
    """What the user asked for; no experiment means the promoted one, no images means a choice."""

    experiment: str | None
    split: str
    images: Sequence[str]
    count: int
    device: str
    root: str = ""  # where the data lie now; "" for where they were last queued from
    lesion: str = ""  # which annotated shapes it is held against; "" for those of the run


@dataclass(frozen=True)
class Done:
    """What came out."""

    run: RunStatus
    explained: Explained
    purpose: str
    checkpoint: Path
    notice: str = ""  # where [promoted] of the grid file and the ledger are at odds

    @property
    def galleries(self) -> tuple[Path, ...]:
        """The sheets to look at."""
        return self.explained.galleries

    def as_json(self) -> dict[str, object]:
        """Return run, overlap summary and one entry per explanation, ready for json.dumps."""
        found = self.explained.explanations
        return {
            "note": RESEARCH_ONLY,
            "run": self.run.run,
            "experiment": self.run.experiment,
            "split": self.run.split,
            "lesion": self.explained.lesion,
            "checkpoint": str(self.checkpoint),
            "purpose": self.purpose,
            "overlap": asdict(overlap_of(found)),
            "explanations": [_entry(each) for each in found],
            "galleries": [str(path) for path in self.galleries],
        }


def explain_and_record(
    place: StudyPaths,
    request: Request,
    progress: Callable[[int, int], None],
    now: float,
) -> Done:
    """Explain the request's model on its images and keep the rows.

    The promoted model's checkpoint is the one that [promoted] of the grid file names, if that table agrees
    with the ledger. Over the test part it is measured; images that were asked for are looked at.

    Raises:
        RunNotFound: no such experiment, split or image.
        RunNotFinished: nothing is promoted, or the run has no result yet.
        Damaged: the checkpoint is not the one that was recorded, or rows are not as they were sealed.
    """
    with reading(place.ledger) as connection:
        run = _chosen_run(connection, request)
        _require_sealed(connection, run.run)
        spec = spec_now(connection, run.run, request.root)
        checkpoint = checkpoint_of(connection, run.run)
        questions = _questions(prediction_rows(connection, run.run), request)
        default, notice = None, ""
        if request.experiment is None:
            last = promotion_rows(connection)[-1]
            default, notice = default_checkpoint(place, connection, last, run.split)
    path = default if default is not None and not notice else place.artifacts / checkpoint.path
    purpose, gallery = (LOOKED_AT, "looked-at") if request.images else (MEASURED, "gallery")
    lesion = cast(Lesion, request.lesion or spec.settings.data.lesion)
    found = explain(
        spec,
        RunFolder(place.artifacts, run.folder),
        (path, checkpoint.sha256),
        questions,
        lesion=lesion,
        device=request.device,
        progress=progress,
        gallery=gallery,
    )
    rows = [{**row, "lesion": lesion} for each in found.explanations for row in _rows(each)]
    with writing(place.ledger) as connection:
        record_explanations(connection, run.run, checkpoint.sha256, rows, now, purpose=purpose)
    return Done(run, found, purpose, path, notice)


def _require_sealed(connection: sqlite3.Connection, run_id: int) -> None:
    """Check what explaining rests on: the run, its explanations, what is known of its images, decisions."""
    images = [Subject("dataset", (each,)) for each in fingerprints_of(connection, [run_id])]
    decisions = [Subject("promotion", (row.id,)) for row in promotion_rows(connection)]
    of_run = [Subject("run", (run_id,)), Subject("explanations", (run_id,))]
    require_sealed(connection, [*of_run, *images, *decisions])


@dataclass(frozen=True)
class Overlap:
    """Means over the annotated images, each explained for its own class; None where there is none."""

    images: int
    iou: dict[str, float]  # by threshold, "0.5"
    energy_inside: float | None
    pointing_hits: float | None


def overlap_of(found: Sequence[Explanation]) -> Overlap:
    """Return how the heat maps overlap with the annotated lesions."""
    measured = [each for each in found if each.iou is not None and each.question.is_of_own_class]
    if not measured:
        return Overlap(0, {}, None, None)
    levels = list(measured[0].iou or {})
    energies = [each.energy_inside for each in measured if each.energy_inside is not None]
    return Overlap(
        len(measured),
        {f"{level:g}": float(np.mean([(each.iou or {})[level] for each in measured])) for level in levels},
        float(np.mean(energies)) if energies else None,
        float(np.mean([bool(each.pointing_hit) for each in measured])),
    )


def _chosen_run(connection: sqlite3.Connection, request: Request) -> RunStatus:
    if request.split not in SPLITS:
        raise RunNotFound(f"there is no split {request.split!r}; {nearest(request.split, SPLITS)}")
    if request.experiment is None:
        stands = standing(promotion_rows(connection))
        run_id = stands.stratified_run_id if request.split == "stratified" else stands.center_run_id
        if stands.experiment is None:
            raise RunNotFinished(
                "no model is promoted; promote one with: boneexp promote E3, "
                "or name one with: boneexp gradcam --experiment E3"
            )
    else:
        run_id = runs_to_promote(connection, request.experiment).get(request.split)
    if run_id is None:
        cancelled = cancelled_note(connection, request.experiment or "")
        raise RunNotFinished(
            f"{request.experiment or 'the default'} has no finished run on the {request.split} split"
            f"{cancelled and f'; {cancelled}'}"
        )
    return run_row(connection, run_id)


def _questions(predictions: Sequence[Prediction], request: Request) -> list[Question]:
    """Ask for a few drawn images per class and outcome, and for every other annotated kind undrawn."""
    if request.images:
        known = {each.image_id: each for each in predictions}
        missing = [name for name in request.images if name not in known]
        if missing:
            raise RunNotFound(f"{missing[0]} is not in the run's validation or test part")
        chosen = [known[name] for name in dict.fromkeys(request.images)]
        return [Question(each, int(np.argmax(each.probabilities)), drawn=True) for each in chosen]
    tested = [each for each in predictions if each.part == "test"]
    questions: dict[tuple[str, int], Question] = {}
    for explained in range(len(CLASS_NAMES)):
        for outcome in OUTCOMES:
            fitting = [
                question
                for each in tested
                if (question := Question(each, explained, drawn=True)).outcome == outcome
            ]
            fitting.sort(key=lambda question: -max(question.image.probabilities))
            for question in fitting[: request.count]:
                questions[question.image.image_id, explained] = question
    for each in tested:  # lesions that are not drawn count for the overlap all the same
        if each.label > 0:
            key = (each.image_id, each.label)
            questions.setdefault(key, Question(each, each.label, drawn=False))
    return list(questions.values())


def _rows(explanation: Explanation) -> list[dict[str, object]]:
    question = explanation.question
    levels: dict[float, float | None] = {**explanation.iou} if explanation.iou else {0.5: None}
    return [
        {
            "part": question.image.part,
            "image_id": question.image.image_id,
            "explained_class": CLASS_NAMES[question.explained],
            "threshold": level,
            "layer": explanation.layer,
            "outcome": question.outcome,
            "overlay": explanation.overlay,
            "iou": iou,
            "energy_inside": explanation.energy_inside,
            "pointing_hit": explanation.pointing_hit,
        }
        for level, iou in levels.items()
    ]


def _entry(explanation: Explanation) -> dict[str, object]:
    question = explanation.question
    return {
        "image_id": question.image.image_id,
        "part": question.image.part,
        "explained_class": CLASS_NAMES[question.explained],
        "label": CLASS_NAMES[question.image.label],
        "predicted": CLASS_NAMES[question.predicted],
        "outcome": question.outcome,
        "iou": None
        if explanation.iou is None
        else {f"{level:g}": value for level, value in explanation.iou.items()},
        "energy_inside": explanation.energy_inside,
        "pointing_hit": explanation.pointing_hit,
        "overlay": explanation.overlay,
    }
