"""The comparison: every experiment's metrics, the best, and what a reader must be warned of.

All of it is read from the ledger, in one transaction.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from boneexp.comparison.leakage import leak_sentence
from boneexp.comparison.ranking import choose
from boneexp.comparison.references import (
    Reference,
    Target,
    data_warning,
    held_against_target,
    is_of,
    reference_warning,
    references_of,
)
from boneexp.evaluation.multiplicity import Difference, Estimate, above_reference
from boneexp.ledger.queries import comparison as queries
from boneexp.ledger.queries.comparison import (
    ComparedExperiment,
    IntervalMethod,
    RankedExperiment,
    SeedMean,
    SplitResult,
)
from boneexp.ledger.queries.datasets import CountedDataset, dataset_rows, split_rows
from boneexp.results import INTERVAL_METHODS
from boneexp.text.labels import label, split_of
from boneexp.text.numbers import listed

MARKS = {
    "†": "a run ran out of memory and used smaller micro-batches than planned; the effective batch is the "
    "same, but BatchNorm saw fewer images at a time.",
    "‡": "tested on other images than most: other data, or another deal of them.",
    "§": "another number of finished seeds than most.",
    "¶": "a single-class predictor: a run calls every image of the part the same class. It is not ranked "
    "best while another experiment is not one.",
}


@dataclass(frozen=True)
class Usual:
    """What most experiments of a split have."""

    test_set: str
    finished_runs: int


@dataclass(frozen=True)
class Comparison:
    """All that `compare` shows, read in one transaction."""

    rows: tuple[ComparedExperiment, ...]
    results: Mapping[tuple[str, str], SplitResult]  # by experiment and split
    leaderboard: tuple[RankedExperiment, ...]
    order: tuple[str, ...]
    targets: Mapping[str, Reference]
    baseline: Mapping[str, Reference]
    confidences: Mapping[str, float]  # experiment -> the confidence of its stored intervals
    datasets: tuple[CountedDataset, ...]
    overlaps: Mapping[str, float]  # experiment -> mean Grad-CAM IoU at 0.5
    best: str | None
    why: str
    equal_to: tuple[str, ...] = ()  # the experiments that the rule ranks as high as the best
    part: str = "test"  # whose metrics these are
    selected_on: str = "test"  # whose metrics choose the best
    leaks: tuple[str, ...] = ()  # what training and test of the splits share, or may share
    warnings: tuple[str, ...] = field(default=())
    struck_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # experiment -> why, in words
    interval_methods: tuple[IntervalMethod, ...] = ()

    def struck_out_notes(self) -> tuple[str, ...]:
        """Say of each experiment that is struck out why; nothing of it is shown, and nothing ranks it."""
        return tuple(f"Quarantined: {name}: {'; '.join(why)}." for name, why in self.struck_out.items())

    def intervals_sentence(self) -> str:
        """Say by which methods the intervals were made; "" where there is none."""
        by_method: dict[str, list[str]] = {}
        for row in self.interval_methods:
            words = INTERVAL_METHODS.get(row.interval_method, row.interval_method)
            by_method.setdefault(words, []).append(label(row.metric))
        methods = "; ".join(f"{words} ({', '.join(metrics)})" for words, metrics in by_method.items())
        return f"Intervals: {methods}." if methods else ""

    def mean(self, experiment: str, figure: str) -> SeedMean:
        """Return any metric that targets and baseline may name, "stratified_accuracy"; empty if not known."""
        if figure == "gradcam_iou":
            return SeedMean(self.overlaps.get(experiment))
        split, key = split_of(figure)
        result = self.results.get((experiment, split))
        return SeedMean() if result is None else result.metrics.get(key, SeedMean())

    def single_class(self, experiment: str, split: str) -> int:
        """Return how many of an experiment's finished runs on a split predict one class only."""
        result = self.results.get((experiment, split))
        return 0 if result is None else result.single_class

    def marks(self, experiment: str, split: str) -> str:
        """Return signs of MARKS: what sets these metrics apart from others of the split; "" for nothing."""
        result = self.results.get((experiment, split))
        if result is None or not result.finished_runs:
            return ""
        usual = self._usual[split]
        apart = {
            "†": bool(result.smaller_batches),
            "‡": result.test_set != usual.test_set,
            "§": result.finished_runs != usual.finished_runs,
            "¶": bool(result.single_class),
        }
        return "".join(mark for mark, differs in apart.items() if differs)

    @cached_property
    def _usual(self) -> dict[str, Usual]:
        """The test set and the number of finished seeds that most experiments have, by split."""
        finished: dict[str, list[SplitResult]] = {}
        for (_, split), result in self.results.items():
            if result.finished_runs:
                finished.setdefault(split, []).append(result)
        return {
            split: Usual(
                Counter(each.test_set for each in results).most_common(1)[0][0],
                Counter(each.finished_runs for each in results).most_common(1)[0][0],
            )
            for split, results in finished.items()
        }

    @property
    def finished_runs(self) -> int:
        """How many finished runs are compared."""
        return sum(result.finished_runs for result in self.results.values())

    @property
    def most_seeds(self) -> int:
        """With how many seeds the experiments were trained, at most."""
        return max((result.finished_runs for result in self.results.values()), default=0)

    @property
    def candidates(self) -> int:
        """Of how many experiments on one test set the best was picked."""
        sets = Counter(row.test_set for row in self.leaderboard)
        return max(sets.values(), default=1)

    def dataset_of(self, experiment: str) -> CountedDataset | None:
        """Return the dataset behind an experiment's current runs."""
        own = {each.test_set.split("-")[0] for (name, _), each in self.results.items() if name == experiment}
        return next((each for each in self.datasets if each.fingerprint[:8] in own), None)

    def is_held_against(self, experiment: str, reference: Reference) -> bool:
        """Whether a baseline or target is of the images that an experiment was tested on."""
        dataset = self.dataset_of(experiment)
        return dataset is not None and is_of(dataset, reference.comparable_to)

    @property
    def references(self) -> dict[tuple[str, str], Reference]:
        """The baseline and the targets by kind, "baseline" or "target", and figure."""
        baseline = {("baseline", figure): each for figure, each in self.baseline.items()}
        return baseline | {("target", figure): each for figure, each in self.targets.items()}

    def drawn_references(self) -> dict[tuple[str, str], float]:
        """Return those of the references that are of the images of every experiment."""
        return {
            key: each.value
            for key, each in self.references.items()
            if all(is_of(dataset, each.comparable_to) for dataset in self.datasets)
        }

    def estimate(self, experiment: str, figure: str) -> Estimate | None:
        """Return a metric with its stored interval; None where it has none."""
        mean = self.mean(experiment, figure)
        if mean.value is None or mean.low is None or mean.high is None:
            return None
        confidence = self.confidences.get(experiment, 0.95)
        return Estimate(split_of(figure)[1], mean.value, mean.low, mean.high, confidence)

    def deltas(self, experiment: str) -> dict[str, float | None]:
        """Return each metric's difference to the baseline; None where it is not known or not comparable."""
        return {figure: self._delta(experiment, figure, each) for figure, each in self.baseline.items()}

    def _delta(self, experiment: str, figure: str, baseline: Reference) -> float | None:
        value = self.mean(experiment, figure).value
        if value is None or not self.is_held_against(experiment, baseline):
            return None
        return value - baseline.value

    def difference(self, experiment: str, figure: str) -> Difference | None:
        """Return a metric less the baseline with an interval that allows for the best of the candidates.

        None where one of them is not known, where there is no interval, or where the images are other ones.
        """
        reference, estimate = self.baseline.get(figure), self.estimate(experiment, figure)
        if reference is None or estimate is None or not self.is_held_against(experiment, reference):
            return None
        return above_reference(estimate, self.candidates, reference.value, reference.images)

    def targets_of(self, experiment: str) -> list[Target]:
        """Return the study's targets, held against an experiment."""
        return [
            held_against_target(
                figure,
                target,
                self.mean(experiment, figure).value,
                self.estimate(experiment, figure),
                candidates=self.candidates,
                comparable=self.is_held_against(experiment, target),
            )
            for figure, target in self.targets.items()
        ]


def compared(connection: sqlite3.Connection, part: str = "test") -> Comparison:
    """Read the metrics of a part from the ledger, and choose the best experiment by the study's rule.

    Which part chooses is the rule's own matter (`selection.part`), whatever part is shown.
    """
    leaderboard, order = queries.leaderboard_rows(connection), queries.selection_order(connection)
    selected_on, study = queries.selection_part(connection), queries.study_rows(connection)
    chosen = choose(leaderboard, order, selected_on)
    results = {(each.experiment, each.split): each for each in queries.split_results(connection, part)}
    found = Comparison(
        rows=tuple(queries.comparison_rows(connection, part)),
        results=results,
        leaderboard=tuple(leaderboard),
        order=tuple(order),
        targets=references_of(study, "target"),
        baseline=references_of(study, "baseline"),
        confidences=queries.confidences(connection),
        datasets=tuple(dataset_rows(connection)),
        overlaps=queries.overlap_ious(connection),
        best=chosen.best,
        why=chosen.why,
        equal_to=chosen.equal_to,
        part=part,
        selected_on=selected_on,
        leaks=tuple(dict.fromkeys(filter(None, map(leak_sentence, split_rows(connection))))),
    )
    methods = tuple(queries.interval_methods(connection, part))
    return replace(found, interval_methods=methods, warnings=(*_warnings(found), *interval_notes(methods)))


def best_sentence(comparison: Comparison) -> str:
    """Return which experiment is best, its equals and why: "Best: E1 (equal to E2 and E4): ..."."""
    best, why = comparison.best, comparison.why
    if best is None:
        return f"Best: none ({why})"
    if len(comparison.leaderboard) == 1:
        return f"{best} is {why}; there is nothing to choose from."
    if comparison.equal_to:
        return f"Best: {best} (equal to {listed(comparison.equal_to)}): {why}"
    return f"Best: {best} ({why})"


def candidate(comparison: Comparison) -> str | None:
    """Return the best, or the first of equals; None where ranking makes no sense."""
    sets = {row.test_set for row in comparison.leaderboard}
    return comparison.leaderboard[0].experiment_id if len(sets) == 1 else None


def _warnings(found: Comparison) -> list[str]:
    warnings = [data_warning(dataset) for dataset in found.datasets]
    warnings += [
        reference_warning(dataset, what, references.values())
        for dataset in found.datasets
        for what, references in (("baseline", found.baseline), ("targets", found.targets))
    ]
    warnings += found.leaks
    for (experiment, split), result in found.results.items():
        where = f"{experiment} {split.replace('_', '-').replace('center', 'centre')}"
        if result.finished_runs < result.planned_runs:
            warnings.append(f"{where}: {result.finished_runs} of {result.planned_runs} runs have finished.")
        warnings += [f"{mark} {where}: {MARKS[mark]}" for mark in found.marks(experiment, split)]
    return [warning for warning in warnings if warning]


def interval_notes(methods: Sequence[IntervalMethod]) -> tuple[str, ...]:
    """Say where stored intervals are older than the present methods, or not alike."""
    old = max((each.runs for each in methods if each.interval_method == "percentile"), default=0)
    if not old:
        return ()
    mixed = any(each.interval_method != "percentile" for each in methods)
    alike = ", and others have the present methods: their widths are not comparable" if mixed else ""
    return (
        f"The intervals of {old} run{'s' * (old > 1)} are percentile bootstrap intervals of an earlier "
        f"version{alike}. The present methods, from the predictions: boneexp compare --intervals analytic",
    )
