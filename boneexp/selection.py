"""Which experiment is best, by the study's rule, and what speaks for and against it.

The ledger ranks (view leaderboard); this module words it: why the winner won, how far it is from the
baseline, which targets it meets, and what a reader must be warned of.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boneexp.config import SPLITS
from boneexp.ledger import views

Row = dict[str, Any]
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

    def differs_from_plan(self, experiment: str, split: str) -> bool:
        """Tell whether a run behind these figures took smaller micro-batches than planned."""
        return bool(self.figures.get((experiment, split), {}).get("smaller_batches"))

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


def compared(connection: sqlite3.Connection) -> Comparison:
    """Read the comparison from the ledger and choose the best experiment by the study's rule."""
    leaderboard = views.leaderboard_rows(connection)
    order = views.selection_order(connection)
    figures = {(row["experiment"], row["split"]): row for row in views.figure_rows(connection)}
    study = views.study_figures(connection)
    datasets = views.dataset_rows(connection)
    rows = views.comparison_rows(connection)
    best, why = choose(leaderboard, order)
    return Comparison(
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
        warnings=tuple(_warnings(rows, figures, datasets)),
    )


def choose(leaderboard: Sequence[Row], order: Sequence[str]) -> tuple[str | None, str]:
    """Return the best experiment and why; None where there is none, or where test sets differ."""
    if not leaderboard:
        return None, "no experiment has finished the runs that the selection rule needs"
    if len({row["test_set"] for row in leaderboard}) > 1:
        return (
            None,
            "the experiments were tested on different images; such results are not ranked together",
        )
    winner = leaderboard[0]
    rule = ", then ".join(label(figure) for figure in order)
    tied = [row["experiment_id"] for row in leaderboard if row["place"] == 1]
    if len(tied) > 1:
        return None, f"{' and '.join(tied)} are equal in {rule}; a person must decide"
    if len(leaderboard) == 1:
        return winner["experiment_id"], f"the only experiment that can be ranked ({rule})"
    return winner["experiment_id"], _why(winner, leaderboard[1], order)


def label(figure: str) -> str:
    """Return the words for a figure's name: "stratified_macro_auroc" -> "stratified macro AUROC"."""
    words = figure.replace("center_holdout", "centre-holdout").replace("_", " ")
    return words.replace("auroc", "AUROC").replace("iou", "IoU").replace("gradcam", "Grad-CAM")


def split_of(figure: str) -> tuple[str, str]:
    """Return (split, metric) of a comparison figure."""
    split = next((name for name in SPLITS if figure.startswith(f"{name}_")), "")
    return split, figure.removeprefix(f"{split}_")


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


def _warnings(
    rows: Sequence[Row], figures: Mapping[tuple[str, str], Row], datasets: Sequence[Row]
) -> list[str]:
    found = [data_warning(dataset) for dataset in datasets]
    if any(row["stratified_accuracy"] is not None for row in rows):
        found.append(LEAK)
    for (experiment, split), row in figures.items():
        where = f"{experiment} {split.replace('_', '-').replace('center', 'centre')}"
        if row["finished_runs"] < row["planned_runs"]:
            found.append(f"{where}: {row['finished_runs']} of {row['planned_runs']} runs have finished.")
        if row["smaller_batches"]:
            found.append(
                f"† {where}: {row['smaller_batches']} run(s) ran out of memory and used smaller "
                "micro-batches than planned; the effective batch is the same, but BatchNorm saw fewer "
                "images at a time."
            )
    seeds = {row["finished_runs"] for row in figures.values() if row["finished_runs"]}
    if len(seeds) > 1:
        found.append("The experiments have different numbers of finished seeds.")
    return [warning for warning in found if warning]


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
