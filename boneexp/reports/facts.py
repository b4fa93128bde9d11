"""All that the model card and the report print, read from the ledger at one moment.

The subject is the experiment that a person promoted; where none is, the one that the study's rule ranks
first. Its figures come from its own runs, so that they stay true when the grid is queued anew with other
settings.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from boneexp.comparison.ranking import Comparison, Row, candidate, compared
from boneexp.comparison.references import (
    PUBLISHED,
    Reference,
    Target,
    data_warning,
    held_against_target,
    is_of,
)
from boneexp.comparison.verdict import Verdict, verdict_of
from boneexp.evaluation import multiplicity
from boneexp.evaluation.multiplicity import Difference, above_reference
from boneexp.ledger.database import read_snapshot
from boneexp.ledger.queries.figures import metric_rows, overlap_means
from boneexp.ledger.queries.predictions import answer_rows
from boneexp.ledger.queries.runs import (
    attempt_tally,
    experiment_row,
    finished_runs,
    grid_rows,
    promotable_runs,
    run_origin,
    run_tally,
)
from boneexp.reports.analyses import Analysed, analysed
from boneexp.results import SPLITS, mean_figure
from boneexp.study.settings import LESION_BEFORE, REFERENCE_FIGURES
from boneexp.text.labels import split_of
from boneexp.text.numbers import format_estimate

PARTS = ("test", "val")
IOU_THRESHOLD = 0.5

_FIGURES = {
    "accuracy": ("accuracy", ""),
    "macro_auroc": ("macro_auroc", ""),
    "malignant_sensitivity": ("sensitivity", "Malignant"),
    "malignant_specificity": ("specificity", "Malignant"),
}


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where not known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def shown(self) -> str:
        """The figure with its interval, as both documents print it."""
        return format_estimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class RunFacts:
    """One finished run: its row of run_status, what made it, and what it reached."""

    row: Row
    split: Mapping[str, Any]  # how the images were dealt out, as the spec has it
    versions: Mapping[str, str]
    metrics: Mapping[tuple[str, str, str], Estimate]  # by (part, metric, class)
    answers: tuple[Row, ...]  # images by part, centre, class and predicted class
    overlaps: tuple[Row, ...]  # Grad-CAM, by threshold

    def estimate(self, part: str, metric: str, class_name: str = "") -> Estimate:
        """Return a figure; an empty one where it is not known."""
        return self.metrics.get((part, metric, class_name), Estimate())

    def images(self, part: str, **where: object) -> int:
        """Count the predicted images of a part, of all or of those that match, say, label="Malignant"."""
        rows = (row for row in self.answers if row["part"] == part)
        return sum(row["images"] for row in rows if all(row[key] == value for key, value in where.items()))

    @property
    def iou(self) -> float | None:
        """The mean IoU at 0.5 over annotated images."""
        found = (row["iou"] for row in self.overlaps if abs(row["threshold"] - IOU_THRESHOLD) < 1e-9)
        return next(found, None)


@dataclass(frozen=True)
class Held:
    """One figure of the subject, held against the study's baseline and target."""

    figure: str
    estimate: Estimate
    baseline: float | None
    difference: Difference | None  # with an interval that allows for the best of several
    target: Target | None

    @property
    def delta(self) -> float | None:
        """How far the figure lies above the baseline."""
        value = self.estimate.value
        return None if value is None or self.baseline is None else value - self.baseline

    @property
    def clears(self) -> bool | None:
        """Whether the whole interval of the difference lies above 0; None where there is none."""
        return None if self.difference is None else self.difference.low > 0


@dataclass(frozen=True)
class Subject:
    """The experiment that the documents are about."""

    experiment: str
    name: str
    notes: str
    settings: Mapping[str, Any]
    dataset: Row
    runs: tuple[RunFacts, ...]
    chosen: Mapping[str, RunFacts]  # by split: the promoted run, or the one that would be promoted
    is_current: bool

    @property
    def has_overlap(self) -> bool:
        """Whether a heat map has been held against an annotated lesion."""
        return any(run.overlaps for run in self.chosen.values())

    def setting(self, dotted: str) -> Any:
        """Return a resolved setting such as "training.batch_size"; None where the ledger has none."""
        return setting_of(self.settings, dotted)

    def estimate(self, figure: str) -> Estimate:
        """Return a figure such as "stratified_accuracy"; over several seeds it is a mean without interval."""
        split, metric = split_of(figure)
        if metric not in _FIGURES:
            return Estimate(next((run.iou for run in self.chosen.values() if run.iou is not None), None))
        found = [run.estimate("test", *_FIGURES[metric]) for run in self.runs if run.row["split"] == split]
        values = [each.value for each in found if each.value is not None]
        if not values:
            return Estimate()
        ends = (found[0].low, found[0].high) if len(found) == 1 else ()
        return Estimate(mean_figure(values), *ends)


@dataclass(frozen=True)
class Facts:
    """What both documents print."""

    comparison: Comparison
    verdict: Verdict
    analysed: Analysed
    promotion: Row | None
    subject: Subject | None
    grid: tuple[Row, ...]
    runs: Row
    attempts: tuple[Row, ...]
    now: float

    @property
    def comparable(self) -> bool:
        """Whether figures may be held against the baseline: it is of their images."""
        return self._are_of(self.comparison.baseline)

    @property
    def targets_comparable(self) -> bool:
        """Whether figures may be held against the targets."""
        return self._are_of(self.comparison.targets)

    @property
    def of_btxrd(self) -> bool:
        """Whether the images are BTXRD, of which the documents know where they come from."""
        return all(dataset["kind"] == PUBLISHED for dataset in self._datasets)

    @property
    def _datasets(self) -> Sequence[Row]:
        return [self.subject.dataset] if self.subject else self.comparison.datasets

    def _are_of(self, references: Mapping[str, Reference]) -> bool:
        """Whether the images are those of all references; without any, whether they are BTXRD."""
        of_which = {each.comparable_to for each in references.values()} or {PUBLISHED}
        return all(is_of(dataset, name) for dataset in self._datasets for name in of_which)

    @property
    def banners(self) -> tuple[str, ...]:
        """What must stand above every number: that the data are not BTXRD."""
        datasets = [*self.comparison.datasets, *([self.subject.dataset] if self.subject else [])]
        return tuple(dict.fromkeys(filter(None, map(data_warning, datasets))))

    @property
    def held(self) -> tuple[Held, ...]:
        """The subject's figures for which the study has a baseline or a target."""
        baseline, targets = self.comparison.baseline, self.comparison.targets
        known = [figure for figure in REFERENCE_FIGURES if figure in {**baseline, **targets}]
        in_order = sorted(known, key=lambda figure: (*SPLITS, "").index(split_of(figure)[0]))
        return tuple(self._held(figure) for figure in in_order)

    def _held(self, figure: str) -> Held:
        estimate = self.subject.estimate(figure) if self.subject else Estimate()
        target, baseline = self.comparison.targets.get(figure), self.comparison.baseline.get(figure)
        known, candidates = self._with_interval(figure, estimate), self.comparison.candidates
        against = difference = None
        if target is not None:
            held, comparable = (estimate.value, known), self.targets_comparable
            against = held_against_target(figure, target, held, candidates, comparable=comparable)
        if baseline is not None and known is not None and self.comparable:
            difference = above_reference(known, candidates, baseline.value, baseline.images)
        return Held(figure, estimate, None if baseline is None else baseline.value, difference, against)

    def _with_interval(self, figure: str, estimate: Estimate) -> multiplicity.Estimate | None:
        value, low, high = estimate.value, estimate.low, estimate.high
        if value is None or low is None or high is None:
            return None
        confidence = self.subject.setting("evaluation.confidence") if self.subject else None
        return multiplicity.Estimate(split_of(figure)[1], value, low, high, confidence or 0.95)


def gather(connection: sqlite3.Connection, promotion: Row | None, now: float) -> Facts:
    """Read everything at one moment; `promotion` is a row of `views.promotion_rows`, or None.

    Args:
        connection: of `database.reading`.
        promotion: the decision that the documents are to tell.
        now: the date that they carry, in seconds since the epoch.
    """
    with read_snapshot(connection):
        comparison = compared(connection)
        subject = _subject(connection, comparison, promotion)
        chosen = [run.row["run"] for run in subject.chosen.values()] if subject else []
        return Facts(
            comparison=comparison,
            verdict=_as_decided(verdict_of(connection, comparison), promotion),
            analysed=analysed(connection, comparison, subject.experiment if subject else None, chosen),
            promotion=promotion,
            subject=subject,
            grid=tuple({**row, "settings": _settings(row)} for row in grid_rows(connection)),
            runs=run_tally(connection),
            attempts=tuple(attempt_tally(connection)),
            now=now,
        )


def _as_decided(verdict: Verdict, promotion: Row | None) -> Verdict:
    """Return the verdict as it will be once a decision that is about to be recorded (id 0) counts, too."""
    if promotion is None or promotion["id"] != 0:
        return verdict
    return replace(verdict, uses=tuple({**use, "decisions": use["decisions"] + 1} for use in verdict.uses))


def setting_of(settings: Mapping[str, Any], dotted: str) -> Any:
    """Return a setting by its dotted name; None where there is none."""
    value: Any = settings
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _settings(row: Row) -> dict[str, Any]:
    """Return an experiment's settings, with what held before a setting of `data` was one."""
    settings: dict[str, Any] = json.loads(row["settings_json"])
    before = {"decoding": "full", "lesion": LESION_BEFORE}
    return {**settings, "data": {**before, **settings.get("data", {})}}


def _subject(connection: sqlite3.Connection, comparison: Comparison, promotion: Row | None) -> Subject | None:
    ids = [promotion[key] for key in ("stratified_run_id", "center_run_id")] if promotion else []
    if not any(ids):
        name = (promotion and promotion["experiment"]) or candidate(comparison)
        runs = promotable_runs(connection, name) if name else []
        ids = list({row["split"]: row["run"] for row in reversed(runs)}.values())
    found = [run_origin(connection, run_id) for run_id in ids if run_id is not None]
    chosen = [row for row in found if row is not None]
    return _described(connection, chosen, comparison) if chosen else None


def _described(connection: sqlite3.Connection, origins: list[Row], comparison: Comparison) -> Subject:
    experiment_ref = origins[0]["experiment_ref"]
    experiment = experiment_row(connection, experiment_ref)
    deals = {row["split"]: row["split_digest"] for row in origins}
    rows = finished_runs(connection, experiment_ref)
    runs = tuple(_run_facts(connection, row) for row in rows if _counts(row, deals))
    ids = {row["run"] for row in origins}
    chosen = {run.row["split"]: run for run in runs if run.row["run"] in ids}
    counts, notes = json.loads(experiment["counts_json"]), json.loads(experiment["notes_json"])
    current = [row["experiment_ref"] for row in comparison.figures.values()]
    return Subject(
        experiment=experiment["experiment"],
        name=experiment["name"],
        notes=setting_of(_settings(experiment), "notes") or "",
        settings=_settings(experiment),
        dataset={
            "name": experiment["data_name"],
            "kind": experiment["data_kind"],
            "fingerprint": experiment["data_fingerprint"],
            "images": experiment["images"],
            "counts": counts,
            "notes": notes,
        },
        runs=runs,
        chosen=chosen,
        is_current=experiment_ref in current and all(run.row["is_current"] for run in chosen.values()),
    )


def _counts(row: Row, deals: Mapping[str, str]) -> bool:
    """Whether a run belongs to the subject: of the chosen run's deal, or of the grid queued last."""
    if row["split"] in deals:
        return bool(row["split_digest"] == deals[row["split"]])
    return bool(row["is_current"])


def _run_facts(connection: sqlite3.Connection, row: Row) -> RunFacts:
    metrics = {
        (part, each["metric"], each["class_name"]): Estimate(each["value"], each["low"], each["high"])
        for part in PARTS
        for each in metric_rows(connection, row["run"], part)
    }
    return RunFacts(
        row=row,
        split=setting_of(json.loads(row["spec_json"]), "split") or {},
        versions=json.loads(row["versions_json"] or "{}"),
        metrics=metrics,
        answers=tuple(answer_rows(connection, row["run"])),
        overlaps=tuple(overlap_means(connection, row["run"])),
    )
