"""Non-inferiority: at most so much worse than the model that is promoted now, or than the baseline."""

import sqlite3
from collections.abc import Iterator, Sequence

from boneexp.comparison.compared import Comparison
from boneexp.comparison.metric_names import metric_named
from boneexp.comparison.predictions import predictions_of_run
from boneexp.comparison.references import reference_warning
from boneexp.evaluation.differences import Model, paired_differences
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.multiplicity import above_reference
from boneexp.evaluation.paired import Difference, check_same_images
from boneexp.ledger.promotions import Standing, standing
from boneexp.ledger.queries.experiments import ChosenRun
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.ledger.seals import Subject, seal_holds
from boneexp.promotion.gate.conditions import Condition
from boneexp.promotion.gate.estimates import estimate_of_run
from boneexp.study.decision_settings import PromotionSettings
from boneexp.text.labels import label, split_of

SEED = 42


def not_inferior(
    connection: sqlite3.Connection,
    runs: Sequence[ChosenRun],
    comparison: Comparison,
    policy: PromotionSettings,
) -> Iterator[Condition]:
    """Yield a condition for each figure that is held against the baseline; none without a margin."""
    if policy.non_inferiority_margin <= 0:
        return
    stands = standing(promotion_rows(connection))
    for figure in policy.above_baseline:
        split, _ = split_of(figure)
        run = next((run for run in runs if run.split == split), None)
        asked = f"{label(figure)}: less than {policy.non_inferiority_margin:g} below"
        if run is None:
            met, asked, found = None, f"{asked} the comparator", "there is no run of this split"
        elif broken := _broken(connection, run, stands):
            met, asked, found = None, f"{asked} what is promoted now", broken
        elif pair := _pair(connection, run, stands):
            difference = _difference(*pair, figure)
            met, found = _judged(difference.value, difference.low, difference.high, policy)
            asked = f"{asked} {stands.experiment}, which is promoted now"
        else:
            met, found = _against_baseline(connection, run, comparison, figure, policy)
            asked = f"{asked} the baseline"
        yield Condition(f"non-inferior {figure}", "statistical", asked, met, found)


def _pair(
    connection: sqlite3.Connection, run: ChosenRun, stands: Standing
) -> tuple[Predictions, Predictions] | None:
    """Return what the promoted run and this one said of the same images; None where there is no such pair."""
    promoted = _promoted(run, stands)
    if promoted is None:
        return None
    first, second = (predictions_of_run(connection, each, "test") for each in (promoted, run.run))
    try:
        check_same_images(first, second)
    except ValueError:
        return None
    return first, second


def _promoted(run: ChosenRun, stands: Standing) -> int | None:
    """Return the run of the split that is promoted now; None where it is this one."""
    promoted = stands.stratified_run_id if run.split == "stratified" else stands.center_run_id
    return None if promoted == run.run else promoted


def _broken(connection: sqlite3.Connection, run: ChosenRun, stands: Standing) -> str:
    """Return what is wrong with the seal of the run that is promoted now; "" for nothing."""
    promoted = _promoted(run, stands)
    if promoted is None or seal_holds(connection, Subject("run", (promoted,))):
        return ""
    return f"run {promoted} is not as it was sealed; see: boneexp doctor"


def _difference(first: Predictions, second: Predictions, figure: str) -> Difference:
    """Return how much the second is above the first in a figure such as "stratified_accuracy"."""
    metric = metric_named(split_of(figure)[1])
    column = (metric.name, metric.class_name)
    return paired_differences(Model((first,)), Model((second,)), [column], seed=SEED)[column]


def _against_baseline(
    connection: sqlite3.Connection,
    run: ChosenRun,
    comparison: Comparison,
    figure: str,
    policy: PromotionSettings,
) -> tuple[bool | None, str]:
    baseline = comparison.baseline.get(figure)
    if baseline is None:
        return None, "nothing else is promoted, and the study names no baseline for it"
    if warning := reference_warning(run, "baseline", [baseline]):
        return None, warning
    estimate = estimate_of_run(connection, run, figure)
    if estimate is None:
        return _judged(None, None, None, policy)
    found = above_reference(estimate, 1, baseline.value, baseline.images)
    if found is None:  # without width
        low = estimate.low - baseline.value
        return _judged(estimate.value - baseline.value, low, low, policy)
    return _judged(found.value, found.low, found.high, policy)


def _judged(
    value: float | None, low: float | None, high: float | None, policy: PromotionSettings
) -> tuple[bool | None, str]:
    if value is None or low is None or high is None:
        return None, "the difference or its interval is not known"
    found = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
    if low == high:
        return False, f"{found}; an interval without width proves nothing"
    return low > -policy.non_inferiority_margin, found
