"""Which experiment is best, by the study's rule, and what speaks for and against it.

The ledger ranks (view leaderboard); this module words it: why the winner won, how far it is from the
baseline, which targets it meets, and what a reader must be warned of.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from boneexp.ledger import views
from boneexp.results import SPLITS

Row = dict[str, Any]
MARKS = {
    "†": "a run ran out of memory and used smaller micro-batches than planned; the effective batch is the "
    "same, but BatchNorm saw fewer images at a time.",
    "‡": "tested on other images than most: other data, or another deal of them.",
    "§": "another number of finished seeds than most.",
}
LEAK = (
    "The stratified split is by image: several views of one patient fall on both sides, so its figures are "
    "optimistic; the centre-holdout figures are the harder test."
)


@dataclass(frozen=True)
class Target:
    """One target of the study, held against one experiment. `met` is None where the figure is not known."""

    figure: str
    target: float
    value: float | None
    low: float | None
    high: float | None

    @property
    def met(self) -> bool | None:
        """Whether the point estimate passes."""
        return None if self.value is None else self.value > self.target

    @property
    def met_by_interval(self) -> bool:
        """Whether the lower end of the interval passes too.

        An interval without width proves nothing: a model that calls every image malignant has a sensitivity
        of 1 in every resample.
        """
        return self.low is not None and self.low > self.target and self.low != self.high


@dataclass(frozen=True)
class Comparison:
    """All that `compare` shows, read in one transaction."""

    rows: tuple[Row, ...]
    figures: Mapping[tuple[str, str], Row]  # (experiment, split) -> row of experiment_figures
    leaderboard: tuple[Row, ...]
    order: tuple[str, ...]
    targets: Mapping[str, float]
    baseline: Mapping[str, float]
    datasets: tuple[Row, ...]
    overlaps: Mapping[str, float]  # experiment -> mean Grad-CAM IoU at 0.5
    best: str | None
    why: str
    part: str = "test"  # whose figures these are
    selected_on: str = "test"  # whose figures choose the best
    warnings: tuple[str, ...] = field(default=())

    def row(self, experiment: str) -> Row | None:
        """Return the comparison row of an experiment, or None."""
        return next((row for row in self.rows if row["experiment_id"] == experiment), None)

    def interval(self, experiment: str, figure: str) -> tuple[float | None, float | None]:
        """Return the interval of a figure such as "stratified_accuracy"; (None, None) where there is none."""
        split, metric = split_of(figure)
        row = self.figures.get((experiment, split), {})
        return row.get(f"{metric}_low"), row.get(f"{metric}_high")

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

    def deltas(self, experiment: str) -> dict[str, float | None]:
        """Return each figure's difference to the baseline, where there is a baseline figure."""
        values = {figure: self.value(experiment, figure) for figure in self.baseline}
        return {
            figure: None if value is None else value - self.baseline[figure]
            for figure, value in values.items()
        }

    def targets_of(self, experiment: str) -> list[Target]:
        """Return the study's targets, held against an experiment."""
        return [
            Target(figure, target, self.value(experiment, figure), *self.interval(experiment, figure))
            for figure, target in self.targets.items()
        ]


def compared(connection: sqlite3.Connection, part: str = "test") -> Comparison:
    """Read the figures of a part from the ledger, and choose the best experiment by the study's rule.

    Which part chooses is the rule's own matter (`selection.part`), whatever part is shown.
    """
    leaderboard = views.leaderboard_rows(connection)
    order = views.selection_order(connection)
    selected_on = views.selection_part(connection)
    figures = {(row["experiment"], row["split"]): row for row in views.figure_rows(connection, part)}
    study = views.study_figures(connection)
    datasets = views.dataset_rows(connection)
    rows = views.comparison_rows(connection, part)
    best, why = choose(leaderboard, order, selected_on)
    found = Comparison(
        rows=tuple(rows),
        figures=figures,
        leaderboard=tuple(leaderboard),
        order=tuple(order),
        targets=study["target"],
        baseline=study["baseline"],
        datasets=tuple(datasets),
        overlaps=views.overlap_figures(connection),
        best=best,
        why=why,
        part=part,
        selected_on=selected_on,
    )
    return replace(found, warnings=tuple(_warnings(found)))


def choose(leaderboard: Sequence[Row], order: Sequence[str], part: str = "test") -> tuple[str | None, str]:
    """Return the best experiment and why; None where there is none, or where test sets differ."""
    if not leaderboard:
        return None, "no experiment has finished the runs that the selection rule needs"
    if len({row["test_set"] for row in leaderboard}) > 1:
        return (
            None,
            "the experiments were tested on different images; such results are not ranked together",
        )
    winner = leaderboard[0]
    rule = ", then ".join(label(figure) for figure in order) + _on(part)
    tied = [row["experiment_id"] for row in leaderboard if row["place"] == 1]
    if len(tied) > 1:
        return None, f"{' and '.join(tied)} are equal in {rule}; a person must decide"
    if len(leaderboard) == 1:
        return winner["experiment_id"], f"the only experiment that can be ranked ({rule})"
    return winner["experiment_id"], _why(winner, leaderboard[1], order) + _on(part)


def candidate(comparison: Comparison) -> str | None:
    """Return the best, or the first of equals; None where ranking makes no sense."""
    sets = {row["test_set"] for row in comparison.leaderboard}
    return str(comparison.leaderboard[0]["experiment_id"]) if len(sets) == 1 else None


def label(figure: str) -> str:
    """Return the words for a figure's name: "stratified_macro_auroc" -> "stratified macro AUROC"."""
    words = figure.replace("center_holdout", "centre-holdout").replace("_", " ")
    return words.replace("auroc", "AUROC").replace("iou", "IoU").replace("gradcam", "Grad-CAM")


@lru_cache(maxsize=256)
def split_of(figure: str) -> tuple[str, str]:
    """Return (split, metric) of a comparison figure."""
    split = next((name for name in SPLITS if figure.startswith(f"{name}_")), "")
    return split, figure.removeprefix(f"{split}_")


def _on(part: str) -> str:
    """Return where the rule looks, if that is not the test part."""
    return " on the validation part" if part == "val" else ""


def _why(winner: Row, second: Row, order: Sequence[str]) -> str:
    names = winner["experiment_id"], second["experiment_id"]
    places = range(1, len(order) + 1)
    decisive = next(place for place in places if winner[f"key_{place}"] != second[f"key_{place}"])
    behind = second[f"key_{decisive}"]
    other = "unknown" if behind is None else f"{behind:.3f}"
    shared = " and ".join(label(figure) for figure in order[: decisive - 1])
    equal = f"equal to {names[1]} in {shared}, " if shared else ""
    figure, ahead = label(order[decisive - 1]), winner[f"key_{decisive}"]
    return f"{equal}{names[0]} has the highest {figure}: {ahead:.3f}, next {names[1]} with {other}"


def _warnings(found: Comparison) -> list[str]:
    said = [data_warning(dataset) for dataset in found.datasets]
    if any(row["stratified_accuracy"] is not None for row in found.rows):
        said.append(LEAK)
    for (experiment, split), row in found.figures.items():
        where = f"{experiment} {split.replace('_', '-').replace('center', 'centre')}"
        if row["finished_runs"] < row["planned_runs"]:
            said.append(f"{where}: {row['finished_runs']} of {row['planned_runs']} runs have finished.")
        said += [f"{mark} {where}: {MARKS[mark]}" for mark in found.marks(experiment, split)]
    return [warning for warning in said if warning]


def data_warning(dataset: Row) -> str:
    """Return what a reader must know of a dataset that is not BTXRD; "" for BTXRD itself."""
    if dataset["kind"] == "BTXRD":
        return ""
    if dataset["kind"] == "phantom":
        return (
            f"The {dataset['images']} images are a synthetic phantom: nothing here says anything about bone "
            "tumours, and nothing is comparable with the baseline."
        )
    return (
        f"The {dataset['images']} images ({dataset['name']}) do not have BTXRD's published counts: these are "
        "not BTXRD results, and they are not comparable with its baseline and targets."
    )
