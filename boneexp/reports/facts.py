"""All that the model card and the report print, read from the ledger at one moment."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from boneexp.comparison.compared import Comparison, compared
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
from boneexp.ledger.queries.datasets import CountedDataset
from boneexp.ledger.queries.experiments import GridExperiment, grid_experiments
from boneexp.ledger.queries.promotions import PromotionRow
from boneexp.ledger.queries.tallies import AttemptTally, RunTally, attempt_tally, run_tally
from boneexp.reports.analyses import Analysed, analysed
from boneexp.reports.numbers import Estimate
from boneexp.reports.subject import Subject, subject_of
from boneexp.results import SPLITS
from boneexp.study.decision_settings import REFERENCE_FIGURES
from boneexp.text.labels import split_of


@dataclass(frozen=True)
class Held:
    """One metric of the subject, compared with the study's baseline and target."""

    figure: str
    estimate: Estimate
    baseline: float | None
    difference: Difference | None  # its interval is adjusted for selecting the best of several
    target: Target | None

    @property
    def delta(self) -> float | None:
        """How far the metric lies above the baseline."""
        value = self.estimate.value
        return None if value is None or self.baseline is None else value - self.baseline

    @property
    def clears(self) -> bool | None:
        """Whether the whole interval of the difference lies above 0; None where there is none."""
        return None if self.difference is None else self.difference.low > 0


@dataclass(frozen=True)
class Facts:
    """What both documents print."""

    comparison: Comparison
    verdict: Verdict
    analysed: Analysed
    promotion: PromotionRow | None
    subject: Subject | None
    grid: tuple[GridExperiment, ...]
    runs: RunTally
    attempts: tuple[AttemptTally, ...]
    now: float

    @property
    def comparable(self) -> bool:
        """Whether results may be compared with the baseline: it is of their images."""
        return self._are_of(self.comparison.baseline)

    @property
    def targets_comparable(self) -> bool:
        """Whether results may be compared with the targets."""
        return self._are_of(self.comparison.targets)

    @property
    def of_btxrd(self) -> bool:
        """Whether the images are BTXRD, of which the documents know where they come from."""
        return all(dataset.kind == PUBLISHED for dataset in self._datasets)

    @property
    def _datasets(self) -> Sequence[CountedDataset]:
        return [self.subject.dataset] if self.subject else self.comparison.datasets

    def _are_of(self, references: Mapping[str, Reference]) -> bool:
        """Whether the images are those of all references; without any, whether they are BTXRD."""
        of_which = {each.comparable_to for each in references.values()} or {PUBLISHED}
        return all(is_of(dataset, name) for dataset in self._datasets for name in of_which)

    @property
    def banners(self) -> tuple[str, ...]:
        """The warnings above every number: that the data are not BTXRD."""
        datasets = [*self.comparison.datasets, *([self.subject.dataset] if self.subject else [])]
        return tuple(dict.fromkeys(filter(None, map(data_warning, datasets))))

    @property
    def held(self) -> tuple[Held, ...]:
        """The subject's metrics for which the study has a baseline or a target."""
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
            against = held_against_target(
                figure,
                target,
                estimate.value,
                known,
                candidates=candidates,
                comparable=self.targets_comparable,
            )
        if baseline is not None and known is not None and self.comparable:
            difference = above_reference(known, candidates, baseline.value, baseline.images)
        return Held(figure, estimate, None if baseline is None else baseline.value, difference, against)

    def _with_interval(self, figure: str, estimate: Estimate) -> multiplicity.Estimate | None:
        value, low, high = estimate.value, estimate.low, estimate.high
        if value is None or low is None or high is None:
            return None
        confidence = self.subject.confidence if self.subject else None
        return multiplicity.Estimate(split_of(figure)[1], value, low, high, confidence or 0.95)


def gather(connection: sqlite3.Connection, promotion: PromotionRow | None, now: float) -> Facts:
    """Read everything at one moment; `promotion` is the decision to report, or None.

    Args:
        connection: of `database.reading`.
        promotion: the decision that the documents report.
        now: the date that they carry, in seconds since the epoch.
    """
    with read_snapshot(connection):
        comparison = compared(connection)
        subject = subject_of(connection, comparison, promotion)
        chosen = [run.row.run for run in subject.chosen.values()] if subject else []
        return Facts(
            comparison=comparison,
            verdict=_as_decided(verdict_of(connection, comparison), promotion),
            analysed=analysed(connection, comparison, subject.experiment if subject else None, chosen),
            promotion=promotion,
            subject=subject,
            grid=tuple(grid_experiments(connection)),
            runs=run_tally(connection),
            attempts=tuple(attempt_tally(connection)),
            now=now,
        )


def _as_decided(verdict: Verdict, promotion: PromotionRow | None) -> Verdict:
    """Return the verdict as it will be once a decision that is about to be recorded counts, too."""
    if promotion is None or promotion.id is not None:
        return verdict
    return replace(verdict, uses=tuple(replace(use, decisions=use.decisions + 1) for use in verdict.uses))
