"""Statistical conditions: better than what went before, in every subgroup, believable, and without a leak.

Figures are those of the runs that are to be promoted, from their test parts. Where a figure is not in the
ledger, or the images are not those that the baseline was measured on, the answer is "not known".
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence

from boneexp.config import PromotionSettings
from boneexp.gate.calibration import calibration_condition
from boneexp.gate.conditions import Condition
from boneexp.gate.noninferior import not_inferior
from boneexp.gate.subgroups import worst_subgroups
from boneexp.ledger import conditions
from boneexp.ledger.views import Row
from boneexp.selection import Comparison, data_warning, label, split_of

SAME_PICTURE = ("the same picture", "look the same")  # as the reader of the data puts it


def statistical_conditions(
    connection: sqlite3.Connection,
    run_ids: Sequence[int],
    comparison: Comparison,
    policy: PromotionSettings,
) -> Iterator[Condition]:
    """Yield every statistical condition of the policy for promoting `run_ids`, one for each split."""
    runs = [conditions.chosen_run(connection, run_id) for run_id in run_ids]
    for figure in policy.above_baseline:
        yield _above_baseline(connection, runs, figure, comparison.baseline.get(figure))
    yield from not_inferior(connection, runs, comparison, policy)
    if policy.subgroups:
        yield from worst_subgroups(connection, runs, policy)
    if policy.calibration_metric:
        yield calibration_condition(connection, runs, policy)
    if policy.leakage:
        yield _patients_apart(connection, runs)
        yield _parts_apart(connection, runs)
        yield _labels_agree(runs)


def _above_baseline(
    connection: sqlite3.Connection, runs: Sequence[Row], figure: str, baseline: float | None
) -> Condition:
    name = f"above-baseline {figure}"
    asked = f"{label(figure)}: whole interval above the baseline"
    split, metric = split_of(figure)
    run = next((run for run in runs if run["split"] == split), None)
    if run is None or baseline is None:
        missing = "there is no run of this split" if run is None else "the study names no baseline for it"
        return Condition(name, "statistical", asked, None, missing)
    asked = f"{asked} of {baseline:.3f}"
    if warning := data_warning(run):
        return Condition(name, "statistical", asked, None, warning)
    figures = conditions.test_figures(connection, run["run"])
    value, low, high = (figures.get(f"{metric}{end}") for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        found = f"run {run['run']}: the figure or its interval is not reported"
        return Condition(name, "statistical", asked, None, found)
    found = f"{value:.3f} ({low:.3f}-{high:.3f}), run {run['run']}"
    if low == high:
        found = f"{found}; an interval without width proves nothing"
    return Condition(name, "statistical", asked, low > baseline and low != high, found)


def _patients_apart(connection: sqlite3.Connection, runs: Sequence[Row]) -> Condition:
    asked = "views of one patient lie on one side of each split"
    columns = sorted({run["group_column"] or "" for run in runs})
    alone = [conditions.shared_by_parts(connection, run["run"])["images_without_group"] for run in runs]
    if "" in columns:
        found = "no splits.group_column says who the patients are, so their views can be on both sides"
    elif any(alone):
        found = f"{max(alone)} images have no {', '.join(columns)}"
    else:
        found = f"kept together by {', '.join(columns)}, if that column tells patients apart"
    met = "" not in columns and not any(alone)
    return Condition("leakage-patients", "statistical", asked, met, found)


def _parts_apart(connection: sqlite3.Connection, runs: Sequence[Row]) -> Condition:
    asked = "no image and no group is in the validation and in the test part"
    problems = []
    for run in runs:
        shared = conditions.shared_by_parts(connection, run["run"])
        images, groups = shared["images"], shared["groups"]
        if images or groups:
            problems.append(f"run {run['run']}: {images} images and {groups} groups in both")
    found = "; ".join(problems) or "none in both, by the rows of predictions"
    return Condition("leakage-parts", "statistical", asked, not problems, found)


def _labels_agree(runs: Sequence[Row]) -> Condition:
    asked = "no picture stands in the data twice under different classes"
    notes = dict.fromkeys(note for run in runs for note in json.loads(run["notes_json"]))
    twice = [note for note in notes if any(words in note for words in SAME_PICTURE)]
    more = f" (and {len(twice) - 3} more)" if len(twice) > 3 else ""
    found = f"{'; '.join(twice[:3])}{more}" if twice else "the reader of the data noticed none"
    return Condition("leakage-duplicates", "statistical", asked, not twice, found)
