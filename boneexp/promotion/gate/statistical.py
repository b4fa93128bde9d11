"""Statistical conditions: better than what went before, in every subgroup, believable, and without a leak.

Figures are those of the runs that are to be promoted, from their test parts. Where a figure is not in the
ledger, or the images are not those that the baseline was measured on, the answer is "not known".
"""

import sqlite3
from collections.abc import Iterator, Sequence

from boneexp.comparison.compared import Comparison
from boneexp.comparison.references import reference_warning
from boneexp.evaluation.multiplicity import above_reference
from boneexp.ledger.queries.datasets import Overlap, part_overlaps
from boneexp.ledger.queries.experiments import ChosenRun, chosen_run
from boneexp.ledger.queries.predictions import shared_by_parts
from boneexp.promotion.gate.calibration import calibration_condition
from boneexp.promotion.gate.conditions import Condition
from boneexp.promotion.gate.estimates import estimate_of_run
from boneexp.promotion.gate.noninferior import not_inferior
from boneexp.promotion.gate.subgroups import worst_subgroups
from boneexp.study.decision_settings import PromotionSettings
from boneexp.text.labels import label, part_label, split_of

PAIRS_OF_PARTS = 3
NOT_COUNTED = "not counted when the runs were queued; queue them again: boneexp queue"


def statistical_conditions(
    connection: sqlite3.Connection,
    run_ids: Sequence[int],
    comparison: Comparison,
    policy: PromotionSettings,
) -> Iterator[Condition]:
    """Yield every statistical condition of the policy for promoting `run_ids`, one for each split."""
    runs = [chosen_run(connection, run_id) for run_id in run_ids]
    yield _several_classes(runs)
    for figure in policy.above_baseline:
        yield _above_baseline(connection, runs, figure, comparison)
    yield from not_inferior(connection, runs, comparison, policy)
    if policy.subgroups:
        yield from worst_subgroups(connection, runs, policy)
    if policy.calibration_metric:
        yield calibration_condition(connection, runs, policy)
    if policy.leakage:
        yield _patients_apart(connection, runs)
        yield _parts_apart(connection, runs)
        yield _labels_agree(runs)


def _several_classes(runs: Sequence[ChosenRun]) -> Condition:
    """Judge whether a model predicts more than one class."""
    asked = "more than one class is predicted on each test part"
    only = [f"run {run.run} predicts {run.only_class} for every image" for run in runs if run.only_class]
    found = "; ".join(only) or "every run predicts several"
    return Condition("several-classes", "statistical", asked, not only, found)


def _above_baseline(
    connection: sqlite3.Connection, runs: Sequence[ChosenRun], figure: str, comparison: Comparison
) -> Condition:
    name = f"above-baseline {figure}"
    asked = f"{label(figure)}: whole interval above the baseline"
    split, _ = split_of(figure)
    run = next((run for run in runs if run.split == split), None)
    baseline, candidates = comparison.baseline.get(figure), comparison.candidates
    if run is None or baseline is None:
        missing = "there is no run of this split" if run is None else "the study names no baseline for it"
        return Condition(name, "statistical", asked, None, missing)
    asked = f"{asked} of {baseline.value:.3f}"
    if candidates > 1:
        asked = f"{asked}, at the level for the best of {candidates} (each end 1 - 0.025/{candidates})"
    if warning := reference_warning(run, "baseline", [baseline]):
        return Condition(name, "statistical", asked, None, warning)
    estimate = estimate_of_run(connection, run, figure)
    if estimate is None:
        found = f"run {run.run}: the metric or its interval is not reported"
        return Condition(name, "statistical", asked, None, found)
    found = f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f}), run {run.run}"
    difference = above_reference(estimate, candidates, baseline.value, baseline.images)
    if difference is None:
        found = f"{found}; an interval without width proves nothing"
        return Condition(name, "statistical", asked, False, found)
    found = f"{found}; difference {difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}), "
    found += (
        "with the baseline's own uncertainty"
        if difference.with_reference
        else "the baseline taken as a fixed number, since its own uncertainty is not known"
    )
    return Condition(name, "statistical", asked, difference.low > 0, found)


def _patients_apart(connection: sqlite3.Connection, runs: Sequence[ChosenRun]) -> Condition:
    """Judge by the counts of the queueing: training, validation and test against each other."""
    name, asked = "leakage-patients", "views of one patient lie in one part of each split"
    columns = sorted({run.group_column or "" for run in runs})
    overlaps = [row for run in runs for row in part_overlaps(connection, run.run)]
    if "" in columns:
        found = "no splits.group_column says who the patients are, so their views may lie on both sides"
        return Condition(name, "statistical", asked, None, found)
    named = ", ".join(columns)
    if shared := _shared_groups(overlaps, f"their {named}"):
        return Condition(name, "statistical", asked, False, shared)
    if _uncounted(connection, runs):
        return Condition(name, "statistical", asked, None, NOT_COUNTED)
    alone = max(row.images_without_group for row in overlaps)
    if alone:
        found = f"{alone} images of two parts have no {named}; their views may lie on both sides"
        return Condition(name, "statistical", asked, None, found)
    found = f"no image shares its {named} with one of another part, if that column tells patients apart"
    return Condition(name, "statistical", asked, True, found)


def _parts_apart(connection: sqlite3.Connection, runs: Sequence[ChosenRun]) -> Condition:
    """Judge by the counts of the queueing, and validation against test by the rows of predictions as well."""
    asked = "no image, group or picture of one part is in another: training, validation, test"
    problems = []
    for run in runs:
        shared = shared_by_parts(connection, run.run)
        if shared.images or shared.groups:
            predicted = f"{shared.images} images and {shared.groups} groups"
            problems.append(f"run {run.run}: {predicted} were predicted in validation and in test")
        overlaps = part_overlaps(connection, run.run)
        for apart in (_shared_groups(overlaps, "their group"), _shared_pictures(overlaps)):
            if apart:
                problems.append(f"run {run.run}: {apart}")
    unknown = not problems and _uncounted(connection, runs)
    found = NOT_COUNTED if unknown else "; ".join(problems) or "none, by the counts of the queueing"
    return Condition("leakage-parts", "statistical", asked, None if unknown else not problems, found)


def _shared_groups(overlaps: Sequence[Overlap], what: str) -> str:
    """Return which parts share groups; "" for none."""
    shared = ((row, row.images_of_shared_groups) for row in overlaps)
    return ", ".join(_share(row, images, what) for row, images in shared if images)


def _shared_pictures(overlaps: Sequence[Overlap]) -> str:
    """Return which parts share pictures; "" for none."""
    shared = ((row, row.images_of_shared_pictures) for row in overlaps)
    return ", ".join(_share(row, images, "the picture") for row, images in shared if images)


def _share(row: Overlap, images: int, what: str) -> str:
    second, first = part_label(row.second_part), part_label(row.first_part)
    return f"{images} of {row.images} {second} images share {what} with {first}"


def _uncounted(connection: sqlite3.Connection, runs: Sequence[ChosenRun]) -> bool:
    """Whether what the parts share is not in the ledger, of a split that was queued before it was counted."""
    return any(len(part_overlaps(connection, run.run)) < PAIRS_OF_PARTS for run in runs)


def _labels_agree(runs: Sequence[ChosenRun]) -> Condition:
    asked = "no picture stands in the data twice under different classes"
    name, counts = "leakage-duplicates", [run.contradicting_images for run in runs]
    if any(counts):
        found = f"{max(count or 0 for count in counts)} images look the same as one of another class"
        return Condition(name, "statistical", asked, False, found)
    if None in counts:
        return Condition(name, "statistical", asked, None, NOT_COUNTED)
    return Condition(name, "statistical", asked, True, "the reader of the data found none")
