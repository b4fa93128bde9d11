"""The experiment that the documents are about: its settings, its images, and what its runs reached.

It is the one that a person promoted; where none is, the one that the study's rule ranks first. Its metrics
come from its own runs, so that they stay true when the grid is queued again with other settings.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from boneexp.comparison.compared import Comparison, candidate
from boneexp.comparison.metric_names import metric_named
from boneexp.ledger.queries.datasets import CountedDataset
from boneexp.ledger.queries.experiments import RunOrigin, experiment_row, run_origin
from boneexp.ledger.queries.figures import OverlapMean, metric_rows, overlap_means
from boneexp.ledger.queries.finished import FinishedRun, finished_runs, runs_to_promote
from boneexp.ledger.queries.predictions import PredictedCount, predicted_counts
from boneexp.ledger.queries.promotions import PromotionRow
from boneexp.reports.numbers import Estimate
from boneexp.results import mean_metric
from boneexp.text.labels import split_of

Row = dict[str, object]
PARTS = ("test", "val")
IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class Assignment:
    """How a run's images were assigned to training, validation and test; empty where the spec has nothing."""

    ratios: tuple[float, ...] = ()
    train_centers: tuple[int, ...] = ()
    test_centers: tuple[int, ...] = ()
    seed: int | None = None
    group_column: str = ""

    @property
    def holds_out_centers(self) -> bool:
        """Whether whole centres are kept for the test set."""
        return bool(self.train_centers)


@dataclass(frozen=True)
class RunFacts:
    """One finished run: its row of run_status, what made it, and what it reached."""

    row: FinishedRun
    assignment: Assignment
    versions: Mapping[str, str]
    metrics: Mapping[tuple[str, str, str], Estimate]  # by (part, metric, class)
    predicted: tuple[PredictedCount, ...]
    overlaps: tuple[OverlapMean, ...]  # Grad-CAM, by threshold

    def estimate(self, part: str, metric: str, class_name: str = "") -> Estimate:
        """Return a metric; an empty one where it is not known."""
        return self.metrics.get((part, metric, class_name), Estimate())

    def images(
        self, part: str, *, center: int | None = None, label: str | None = None, predicted: str | None = None
    ) -> int:
        """Count the predicted images of a set, all or those that match, say, label="Malignant"."""
        return sum(
            each.images
            for each in self.predicted
            if each.part == part
            and center in (None, each.center)
            and label in (None, each.label)
            and predicted in (None, each.predicted)
        )

    @property
    def iou(self) -> float | None:
        """The mean IoU at 0.5 over annotated images."""
        found = (each.iou for each in self.overlaps if abs(each.threshold - IOU_THRESHOLD) < 1e-9)
        return next(found, None)


@dataclass(frozen=True)
class Subject:
    """The experiment that the documents are about."""

    experiment: str
    name: str
    notes: str
    settings: Mapping[str, object]
    dataset: CountedDataset
    runs: tuple[RunFacts, ...]
    chosen: Mapping[str, RunFacts]  # by split: the promoted run, or the one that would be promoted
    is_current: bool

    @property
    def has_overlap(self) -> bool:
        """Whether a heat map has been compared with an annotated lesion."""
        return any(run.overlaps for run in self.chosen.values())

    @property
    def confidence(self) -> float | None:
        """The confidence level of the intervals; None where the ledger has none."""
        found = setting_of(self.settings, "evaluation.confidence")
        return found if isinstance(found, float) else None

    def estimate(self, figure: str) -> Estimate:
        """Return a metric such as "stratified_accuracy"; over several seeds it is a mean without interval."""
        split, metric = split_of(figure)
        if not split:  # the overlap of heat maps, which is one metric of all splits
            return Estimate(next((run.iou for run in self.chosen.values() if run.iou is not None), None))
        named = metric_named(metric)
        runs = [run for run in self.runs if run.row.split == split]
        found = [run.estimate("test", named.name, named.class_name) for run in runs]
        values = [each.value for each in found if each.value is not None]
        if not values:
            return Estimate()
        ends = (found[0].low, found[0].high) if len(found) == 1 else ()
        return Estimate(mean_metric(values), *ends)


def subject_of(
    connection: sqlite3.Connection, comparison: Comparison, promotion: PromotionRow | None
) -> Subject | None:
    """Return the promoted experiment, or the candidate; None where no run of one has finished."""
    ids = [promotion.stratified_run_id, promotion.center_run_id] if promotion else []
    if not any(ids):
        name = (promotion and promotion.experiment) or candidate(comparison)
        ids = list(runs_to_promote(connection, name).values()) if name else []
    found = [run_origin(connection, run_id) for run_id in ids if run_id is not None]
    chosen = [row for row in found if row is not None]
    return _described(connection, chosen, comparison) if chosen else None


def _described(connection: sqlite3.Connection, origins: list[RunOrigin], comparison: Comparison) -> Subject:
    experiment_ref = origins[0].experiment_ref
    experiment = experiment_row(connection, experiment_ref)
    digests = {row.split: row.split_digest for row in origins}
    rows = finished_runs(connection, experiment_ref)
    runs = tuple(_run_facts(connection, row) for row in rows if _belongs(row, digests))
    ids = {row.run for row in origins}
    chosen = {run.row.split: run for run in runs if run.row.run in ids}
    current = [result.experiment_ref for result in comparison.results.values()]
    return Subject(
        experiment=experiment.experiment,
        name=experiment.name,
        notes=str(setting_of(experiment.settings, "notes") or ""),
        settings=experiment.settings,
        dataset=CountedDataset(
            fingerprint=experiment.data_fingerprint,
            name=experiment.data_name,
            kind=experiment.data_kind,
            images=experiment.images,
            counts=json.loads(experiment.counts_json),
            notes=json.loads(experiment.notes_json),
        ),
        runs=runs,
        chosen=chosen,
        is_current=experiment_ref in current and all(run.row.is_current for run in chosen.values()),
    )


def _belongs(row: FinishedRun, digests: Mapping[str, str]) -> bool:
    """Whether a run belongs to the subject: with the chosen run's split, or of the grid queued last."""
    if row.split in digests:
        return row.split_digest == digests[row.split]
    return bool(row.is_current)


def _run_facts(connection: sqlite3.Connection, row: FinishedRun) -> RunFacts:
    metrics = {
        (part, each.metric, each.class_name): Estimate(each.value, each.low, each.high)
        for part in PARTS
        for each in metric_rows(connection, row.run, part)
    }
    return RunFacts(
        row=row,
        assignment=_assignment(row.spec),
        versions=row.versions,
        metrics=metrics,
        predicted=tuple(predicted_counts(connection, row.run)),
        overlaps=tuple(overlap_means(connection, row.run)),
    )


def _assignment(spec: Mapping[str, object]) -> Assignment:
    split = spec.get("split")
    if not isinstance(split, Mapping):
        return Assignment()
    settings = split.get("settings") or {}
    return Assignment(
        ratios=tuple(settings.get("ratios", ())),
        train_centers=tuple(settings.get("train_centers", ())),
        test_centers=tuple(settings.get("test_centers", ())),
        seed=split.get("seed"),
        group_column=str(split.get("group_column") or ""),
    )


def setting_of(settings: Mapping[str, object], dotted: str) -> object:
    """Return a setting by its dotted name; None where there is none."""
    value: object = settings
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
