"""Which experiment is best, by the study's rule, and what speaks for and against it.

The ledger ranks (view leaderboard); this module words it: why the winner won, how far it is from the
baseline, which targets it meets, and what a reader must be warned of.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from boneexp.comparison.leakage import leak_sentence
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
from boneexp.ledger.queries.datasets import dataset_rows, split_rows
from boneexp.ledger.queries.figures import (
    comparison_rows,
    figure_rows,
    leaderboard_rows,
    overlap_figures,
    selection_order,
    selection_part,
    study_rows,
)
from boneexp.ledger.queries.figures import confidences as read_confidences
from boneexp.ledger.queries.figures import interval_methods as read_interval_methods
from boneexp.results import INTERVAL_METHODS, SPLITS
from boneexp.text.labels import label, split_of
from boneexp.text.numbers import listed

Row = dict[str, Any]
ROW_COLUMNS = (  # of a row of the comparison
    "experiment_id",
    "backbone",
    "image_size",
    "annotations",
    *(f"{split}_{name}" for split in SPLITS for name in ("accuracy", "macro_auroc", "malignant_sensitivity")),
)
MARKS = {
    "†": "a run ran out of memory and used smaller micro-batches than planned; the effective batch is the "
    "same, but BatchNorm saw fewer images at a time.",
    "‡": "tested on other images than most: other data, or another deal of them.",
    "§": "another number of finished seeds than most.",
    "¶": "a single-class predictor: a run calls every image of the part the same class. It is not ranked "
    "best while another experiment is not one.",
}


@dataclass(frozen=True)
class Ranked:
    """Whom the rule ranks first: the best (the first of equals), why, and who is equal to it."""

    best: str | None
    why: str
    equal_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All that `compare` shows, read in one transaction."""

    rows: tuple[Row, ...]
    figures: Mapping[tuple[str, str], Row]  # (experiment, split) -> row of experiment_figures
    leaderboard: tuple[Row, ...]
    order: tuple[str, ...]
    targets: Mapping[str, Reference]
    baseline: Mapping[str, Reference]
    confidences: Mapping[str, float]  # experiment -> the confidence of its stored intervals
    datasets: tuple[Row, ...]
    overlaps: Mapping[str, float]  # experiment -> mean Grad-CAM IoU at 0.5
    best: str | None
    why: str
    equal_to: tuple[str, ...] = ()  # the experiments that the rule ranks as high as the best
    part: str = "test"  # whose figures these are
    selected_on: str = "test"  # whose figures choose the best
    leaks: tuple[str, ...] = ()  # what training and test of the splits share, or may share
    warnings: tuple[str, ...] = field(default=())
    struck_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # experiment -> why, in words
    interval_methods: tuple[Row, ...] = ()  # metric, interval_method, and of how many runs

    def struck_out_notes(self) -> tuple[str, ...]:
        """Say of each experiment that is struck out why; nothing of it is shown, and nothing ranks it."""
        return tuple(f"Quarantined: {name}: {'; '.join(why)}." for name, why in self.struck_out.items())

    def intervals_sentence(self) -> str:
        """Say by which methods the intervals were made; "" where there is none."""
        by_method: dict[str, list[str]] = {}
        for row in self.interval_methods:
            words = INTERVAL_METHODS.get(row["interval_method"], str(row["interval_method"]))
            by_method.setdefault(words, []).append(label(row["metric"]))
        said = "; ".join(f"{words} ({', '.join(metrics)})" for words, metrics in by_method.items())
        return f"Intervals: {said}." if said else ""

    def row(self, experiment: str) -> Row | None:
        """Return the comparison row of an experiment, or None."""
        return next((row for row in self.rows if row["experiment_id"] == experiment), None)

    def interval(self, experiment: str, figure: str) -> tuple[float | None, float | None]:
        """Return the interval of a figure such as "stratified_accuracy"; (None, None) where there is none."""
        split, metric = split_of(figure)
        row = self.figures.get((experiment, split), {})
        return row.get(f"{metric}_low"), row.get(f"{metric}_high")

    def spread(self, experiment: str, figure: str) -> tuple[int, float, float] | None:
        """Return the number of seeds behind a mean with their lowest and highest; None of a single run."""
        split, metric = split_of(figure)
        row = self.figures.get((experiment, split), {})
        lowest, highest = row.get(f"{metric}_min"), row.get(f"{metric}_max")
        if lowest is None or highest is None or row["finished_runs"] < 2:
            return None
        return row["finished_runs"], lowest, highest

    def single_class(self, experiment: str, split: str) -> int:
        """Return how many of an experiment's finished runs on a split predict one class only."""
        return int(self.figures.get((experiment, split), {}).get("single_class", 0))

    def value(self, experiment: str, figure: str) -> float | None:
        """Return any figure that targets and baseline may name; None where it is not known."""
        if figure == "gradcam_iou":
            return self.overlaps.get(experiment)
        split, metric = split_of(figure)
        found: float | None = self.figures.get((experiment, split), {}).get(metric)
        return found

    def marks(self, experiment: str, split: str) -> str:
        """Return signs of MARKS: what sets these figures apart from others of the split; "" for nothing."""
        row = self.figures.get((experiment, split))
        if row is None or not row["finished_runs"]:
            return ""
        test_set, finished_runs = self._usual[split]
        apart = {
            "†": bool(row["smaller_batches"]),
            "‡": row["test_set"] != test_set,
            "§": row["finished_runs"] != finished_runs,
            "¶": bool(row["single_class"]),
        }
        return "".join(mark for mark, differs in apart.items() if differs)

    @cached_property
    def _usual(self) -> dict[str, tuple[Any, Any]]:
        """The test set and the number of finished seeds that most experiments have, by split."""
        finished = [(split, row) for (_, split), row in self.figures.items() if row["finished_runs"]]
        counts = {
            split: [
                Counter(row[column] for name, row in finished if name == split)
                for column in ("test_set", "finished_runs")
            ]
            for split in dict(finished)
        }
        return {
            split: (sets.most_common(1)[0][0], seeds.most_common(1)[0][0])
            for split, (sets, seeds) in counts.items()
        }

    @property
    def candidates(self) -> int:
        """Of how many experiments on one test set the best was picked."""
        sets = Counter(row["test_set"] for row in self.leaderboard)
        return max(sets.values(), default=1)

    def dataset_of(self, experiment: str) -> Row | None:
        """Return the dataset behind an experiment's current runs."""
        own = {row["test_set"].split("-")[0] for (name, _), row in self.figures.items() if name == experiment}
        return next((each for each in self.datasets if each["fingerprint"][:8] in own), None)

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
        """Return a figure with its stored interval; None where it has none."""
        value, (low, high) = self.value(experiment, figure), self.interval(experiment, figure)
        if value is None or low is None or high is None:
            return None
        return Estimate(split_of(figure)[1], value, low, high, self.confidences.get(experiment, 0.95))

    def deltas(self, experiment: str) -> dict[str, float | None]:
        """Return each figure's difference to the baseline; None where it is not known or not comparable."""
        values = {
            figure: self.value(experiment, figure) if self.is_held_against(experiment, reference) else None
            for figure, reference in self.baseline.items()
        }
        return {
            figure: None if value is None else value - self.baseline[figure].value
            for figure, value in values.items()
        }

    def difference(self, experiment: str, figure: str) -> Difference | None:
        """Return a figure less the baseline with an interval that allows for the best of the candidates.

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
                (self.value(experiment, figure), self.estimate(experiment, figure)),
                self.candidates,
                comparable=self.is_held_against(experiment, target),
            )
            for figure, target in self.targets.items()
        ]


def compared(connection: sqlite3.Connection, part: str = "test") -> Comparison:
    """Read the figures of a part from the ledger, and choose the best experiment by the study's rule.

    Which part chooses is the rule's own matter (`selection.part`), whatever part is shown.
    """
    leaderboard = leaderboard_rows(connection)
    order = selection_order(connection)
    selected_on = selection_part(connection)
    figures = {(row["experiment"], row["split"]): row for row in figure_rows(connection, part)}
    study = study_rows(connection)
    datasets = dataset_rows(connection)
    rows = comparison_rows(connection, part)
    chosen = choose(leaderboard, order, selected_on)
    found = Comparison(
        rows=tuple(rows),
        figures=figures,
        leaderboard=tuple(leaderboard),
        order=tuple(order),
        targets=references_of(study, "target"),
        baseline=references_of(study, "baseline"),
        confidences=read_confidences(connection),
        datasets=tuple(datasets),
        overlaps=overlap_figures(connection),
        best=chosen.best,
        why=chosen.why,
        equal_to=chosen.equal_to,
        part=part,
        selected_on=selected_on,
        leaks=tuple(dict.fromkeys(filter(None, map(leak_sentence, split_rows(connection))))),
    )
    methods = tuple(read_interval_methods(connection, part))
    return replace(found, interval_methods=methods, warnings=(*_warnings(found), *interval_notes(methods)))


def choose(leaderboard: Sequence[Row], order: Sequence[str], part: str = "test") -> "Ranked":
    """Return the best experiment, its equals, and why; none where there is none, or where test sets differ.

    Figures are those of the view, where equal means are equal floats.
    """
    if not leaderboard:
        return Ranked(None, "no experiment has finished the runs that the selection rule needs")
    if len({row["test_set"] for row in leaderboard}) > 1:
        return Ranked(
            None, "the experiments were tested on different images; such results are not ranked together"
        )
    first, *equals = [row["experiment_id"] for row in leaderboard if row["place"] == 1]
    rule = ", then ".join(label(figure) for figure in order) + _on(part)
    if equals:
        why = f"{listed([first, *equals])} are equal in {rule}; a person must decide"
        return Ranked(first, why, tuple(equals))
    if len(leaderboard) == 1:
        return Ranked(first, f"the only experiment that can be ranked ({rule})")
    return Ranked(first, _why(leaderboard, order) + _on(part))


def best_sentence(comparison: Comparison) -> str:
    """Return which experiment is best, its equals and why: "Best: E1 (equal to E2 and E4): ..."."""
    best, why = comparison.best, comparison.why
    if best is None:
        return f"Best: none ({why})"
    if len(comparison.leaderboard) == 1:
        return f"{best} is {why}; there is nothing to choose from."
    return (
        f"Best: {best} (equal to {listed(comparison.equal_to)}): {why}"
        if comparison.equal_to
        else (f"Best: {best} ({why})")
    )


def candidate(comparison: Comparison) -> str | None:
    """Return the best, or the first of equals; None where ranking makes no sense."""
    sets = {row["test_set"] for row in comparison.leaderboard}
    return str(comparison.leaderboard[0]["experiment_id"]) if len(sets) == 1 else None


def _on(part: str) -> str:
    """Return where the rule looks, if that is not the test part."""
    return " on the validation part" if part == "val" else ""


def decided_at(leaderboard: Sequence[Row], other: Row) -> int:
    """Return the place in the rule, from 0, of the figure that puts the first row above another.

    Of one that is equal to the first in every figure it is 0.
    """
    winner = leaderboard[0]
    keys = (key for key in range(3) if winner[f"key_{key + 1}"] != other[f"key_{key + 1}"])
    return next(keys, 0)


def _why(leaderboard: Sequence[Row], order: Sequence[str]) -> str:
    """Say by which figure the first of several wins, and who comes next; its equals until then are named."""
    winner, *others = leaderboard
    if leaders := _ahead_by_class(winner, others):
        return leaders
    others = [row for row in others if row["single_class"] == winner["single_class"]]
    decisive = max(decided_at(leaderboard, row) for row in others)
    rivals = [row for row in others if decided_at(leaderboard, row) == decisive]
    key = f"key_{decisive + 1}"
    nearest = [row for row in rivals if row[key] == rivals[0][key]]
    behind = "unknown" if rivals[0][key] is None else f"{rivals[0][key]:.3f}"
    shared = listed([label(figure) for figure in order[:decisive]])
    equal = f"equal to {_ids(rivals)} in {shared}, " if shared else ""
    ahead = f"{winner['experiment_id']} has the highest {label(order[decisive])}: {winner[key]:.3f}"
    return f"{equal}{ahead}, next {_ids(nearest)} with {behind}"


def _ahead_by_class(winner: Row, others: Sequence[Row]) -> str:
    """Return why the first wins where every other experiment predicts one class only; "" where not."""
    if winner["single_class"] or not all(row["single_class"] for row in others):
        return ""
    them = "every other experiment has a run that predicts" if len(others) > 1 else f"{_ids(others)} predicts"
    return f"{them} one class only, and is no candidate while {winner['experiment_id']} is not one"


def _ids(rows: Sequence[Row]) -> str:
    return listed([str(row["experiment_id"]) for row in rows])


def _warnings(found: Comparison) -> list[str]:
    said = [data_warning(dataset) for dataset in found.datasets]
    said += [
        reference_warning(dataset, what, references.values())
        for dataset in found.datasets
        for what, references in (("baseline", found.baseline), ("targets", found.targets))
    ]
    said += found.leaks
    for (experiment, split), row in found.figures.items():
        where = f"{experiment} {split.replace('_', '-').replace('center', 'centre')}"
        if row["finished_runs"] < row["planned_runs"]:
            said.append(f"{where}: {row['finished_runs']} of {row['planned_runs']} runs have finished.")
        said += [f"{mark} {where}: {MARKS[mark]}" for mark in found.marks(experiment, split)]
    return [warning for warning in said if warning]


def interval_notes(methods: Sequence[Row]) -> tuple[str, ...]:
    """Say where stored intervals are older than the present methods, or not alike."""
    old = max((row["runs"] for row in methods if row["interval_method"] == "percentile"), default=0)
    if not old:
        return ()
    mixed = any(row["interval_method"] != "percentile" for row in methods)
    alike = ", and others have the present methods: their widths are not comparable" if mixed else ""
    return (
        f"The intervals of {old} run{'s' * (old > 1)} are percentile bootstrap intervals of an earlier "
        f"version{alike}. The present methods, from the predictions: boneexp compare --intervals analytic",
    )
