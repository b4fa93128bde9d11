"""Facts -> the sentences of the documents: the decision, the comparison with the baseline, the targets.

Good news and bad news take the same form: every claim is followed by its numbers.
"""

from collections.abc import Sequence

from boneexp.comparison.leakage import leak_sentence
from boneexp.ledger.queries.datasets import SplitOverlap
from boneexp.reports.facts import Facts, Held
from boneexp.reports.prose.decision import overridden
from boneexp.reports.subject import IOU_THRESHOLD, Subject
from boneexp.text.labels import UNKNOWN, data_label, label, split_label
from boneexp.text.numbers import counted, format_estimate, listed, moment, signed


def titled(subject: Subject | None) -> str:
    """Return an experiment with its name, "E3 (b3_annotated)"."""
    if subject is None:
        return UNKNOWN
    return f"{subject.experiment} ({subject.name})" if subject.name else subject.experiment


def decision_taken(facts: Facts) -> str:
    """Return what was decided, by whom and when."""
    promotion = facts.promotion
    if promotion is None:
        return "No decision has been taken: no model of this grid is promoted."
    by = f"decided by {promotion.decided_by or UNKNOWN} on {moment(promotion.decided_at)}"
    if promotion.action == "keep-baseline":
        return f"The baseline is kept, and no model of this grid is promoted; {by}."
    if promotion.experiment is None:
        return f"The last promotion was rolled back, and no model of this grid is promoted; {by}."
    verb = "is promoted again" if promotion.action == "rollback" else "is promoted"
    over = overridden(facts)
    how = f" despite {counted(len(over), 'unmet condition')} (override)" if over else ""
    return f"{titled(facts.subject)} {verb}{how}; {by}."


def reason_given(facts: Facts) -> str:
    """Return the reason that the person gave."""
    given = ((facts.promotion.reason if facts.promotion else "") or UNKNOWN).strip()
    return f"Reason: {given}" if given.endswith((".", "!", "?")) else f"Reason: {given}."


def subject_described(facts: Facts) -> str:
    """Return why the documents describe this experiment."""
    if facts.subject is None:
        return "No experiment has finished the runs that the selection rule needs, so none is described."
    if facts.promotion and facts.promotion.experiment:
        return f"The following describes {titled(facts.subject)}, the promoted experiment."
    if len(facts.comparison.leaderboard) == 1:
        return f"The following describes {titled(facts.subject)}, the only experiment that can be ranked."
    why = (
        "the experiment ranked first by the selection rule"
        if facts.comparison.best and not facts.comparison.equal_to
        else "one of several experiments that rank first equally"
    )
    return f"The following describes {titled(facts.subject)}, {why}."


def study_design(facts: Facts) -> str:
    """Return in one sentence the kind of study, the number of experiments and the images."""
    kind = (
        "Development and internal testing of deep-learning classifiers (convolutional networks) that "
        "classify bone radiographs as Normal, Benign or Malignant"
    )
    if facts.subject is None:
        return f"{kind}; {counted(len(facts.grid), 'experiment')}."
    dataset, splits = facts.subject.dataset, [split_label(split) for split in facts.subject.chosen]
    images = f"{dataset.images:,} images, {data_label(dataset.name, dataset.kind)}"
    past = "" if dataset.kind == "phantom" else ", collected before the study (retrospective)"
    evaluated = f"evaluated on {counted(len(splits), 'split')} ({listed(splits)})"
    return f"{kind}; {counted(len(facts.grid), 'experiment')} on {images}{past}, {evaluated}."


def selection_rule(facts: Facts) -> str:
    """Return the study's selection rule."""
    order = facts.comparison.order
    on = " on the validation set" if facts.comparison.selected_on == "val" else ""
    return f"Highest {', then '.join(label(figure) for figure in order)}{on}." if order else f"{UNKNOWN}."


def ranking(facts: Facts) -> str:
    """Return what the selection rule says, and whether the person decided otherwise."""
    best, equals, why = facts.comparison.best, facts.comparison.equal_to, facts.comparison.why
    says = f"The selection rule ranks {listed([str(best), *equals])} first: {why}."
    if best is None:
        says = f"The selection rule names no best experiment: {why}."
    elif len(facts.comparison.leaderboard) == 1:
        says = f"{best} is {why}."
    promotion = facts.promotion
    if promotion is None:
        return f"{says} A person decides; no decision has been taken."
    if promotion.action == "keep-baseline":
        return f"{says} A person decided to keep the baseline instead." if best else says
    if promotion.experiment is None or best is None:
        return f"{says} A person decided."
    if promotion.experiment == best and not equals:
        return f"{says} The person's decision agrees."
    if promotion.experiment in (best, *equals):
        return f"{says} A person chose {promotion.experiment}."
    return f"{says} A person chose {promotion.experiment} instead."


def baseline_headline(facts: Facts) -> str:
    """Return whether the subject is better than the baseline; `baseline_differences` gives the numbers."""
    above, others = _above_and_others(facts)
    if facts.subject is None or not above + others:
        return "No metric can be compared with the baseline"
    name = facts.subject.experiment
    if not facts.comparable:
        return f"The results of {name} are not comparable with the baseline"
    if not above:
        return f"No metric of {name} exceeds the baseline"
    how_many = f"{len(above)} of {len(above + others)}" if others else f"all {len(above)}"
    return f"{name} exceeds the baseline in {how_many} metrics"


def baseline_differences(facts: Facts) -> str:
    """Return metric by metric what `baseline_headline` says, or why nothing is comparable."""
    above, others = _above_and_others(facts)
    if facts.subject is None or not above + others:
        return "none is known for both."
    if not facts.comparable:
        return f"the images are {data_label(facts.subject.dataset.name, facts.subject.dataset.kind)}."
    if above and others:
        return f"{_differences(above)}. At or below the baseline: {_differences(others)}."
    return f"{_differences(above + others)}."


def baseline_certainty(facts: Facts) -> str:
    """Return for which metrics the whole interval lies above the baseline; "" where none is comparable."""
    known = [held for held in facts.held if held.delta is not None]
    if not facts.comparable or not known:
        return ""
    clear = [label(held.figure) for held in known if held.clears]
    open_ = [label(held.figure) for held in known if held.clears is None]
    found = (
        f"The whole interval of the difference{_best_of(facts)} lies above 0 for {listed(clear)}."
        if clear
        else f"For no metric does the whole interval of the difference{_best_of(facts)} lie above 0."
    )
    found = f"{found} No interval is known for {listed(open_)}." if open_ else found
    return f"{found} {_of_the_baseline(facts)}".strip()


def _best_of(facts: Facts) -> str:
    """Return how the interval is adjusted for selecting one of several, as part of a sentence."""
    candidates = facts.comparison.candidates
    return (
        f", adjusted for selecting the best of {candidates} (each bound at 1 - 0.025/{candidates}),"
        if candidates > 1
        else ""
    )


def _of_the_baseline(facts: Facts) -> str:
    """Return whether the differences include the baseline's own uncertainty."""
    known = [held for held in facts.held if held.difference is not None]
    fixed = [label(held.figure) for held in known if held.difference and not held.difference.with_reference]
    if not known:
        return ""
    if not fixed:
        return "The baseline's own uncertainty is included."
    which = "" if len(fixed) == len(known) else f" for {listed(fixed)}"
    return f"The baseline's own uncertainty is unknown{which}, so it is treated as a fixed number."


def targets_met(facts: Facts) -> str:
    """Return how many targets are met."""
    held = [each.target for each in facts.held if each.target is not None]
    if not held:
        return "The study sets no targets."
    if not facts.targets_comparable:
        return "The study's targets were set for other images and do not apply to these."
    met = [label(each.figure) for each in held if each.met]
    sure = [label(each.figure) for each in held if each.met_by_interval]
    unknown = [label(each.figure) for each in held if each.met is None]
    found = f"Targets met by the point estimate: {len(met)} of {len(held)}{_in_brackets(met)}; "
    found += f"by the lower bound of the interval{_best_of(facts)} {len(sure)}{_in_brackets(sure)}."
    return f"{found} Unknown: {listed(unknown)}." if unknown else found


def run_history(facts: Facts) -> str:
    """Return how many runs and attempts there were, and how they ended."""
    runs = facts.runs
    states = ("succeeded", "failed", "running", "queued", "cancelled")
    ended = listed([f"{count} {state}" for state in states if (count := getattr(runs, state))])
    attempts = sum(row.attempts for row in facts.attempts)
    failures = sum(row.attempts for row in facts.attempts if row.failure_kind)
    earlier = runs.runs - runs.current
    found = f"The ledger has {counted(runs.runs, 'run')} ({ended or 'none ended'}) in "
    found += f"{counted(attempts, 'attempt')}; failed or lost: {failures}."
    if not earlier:
        return found
    return f"{found} {counted(earlier, 'run belongs', 'runs belong')} to earlier settings or splits."


def split_leakage(facts: Facts) -> str:
    """Return what training and test sets share, as counted when they were queued."""
    runs = facts.subject.chosen.values() if facts.subject else ()
    splits = [
        SplitOverlap(
            split=run.row.split,
            group_column=run.assignment.group_column or None,
            images=run.row.test_images,
            images_of_shared_groups=run.row.images_of_shared_groups,
            images_of_shared_pictures=run.row.images_of_shared_pictures,
            images_without_group=run.row.images_without_group,
        )
        for run in runs
    ]
    found = [(leak_sentence(split) or _apart(split)) for split in splits] or facts.comparison.leaks
    return " ".join(dict.fromkeys(filter(None, found)))


def _apart(split: SplitOverlap) -> str:
    """Return that training and test share no group; "" for a split without groups."""
    column = split.group_column
    if not column:
        return ""
    return (
        f"None of the {split.images} {split_label(split.split)} test images shares its {column} with a "
        "training image. If that column does not identify patients, the results are optimistic."
    )


def other_warnings(facts: Facts) -> list[str]:
    """Return the comparison's own warnings, without those that the documents give elsewhere."""
    elsewhere = {*facts.comparison.leaks, *facts.banners}
    return [warning for warning in facts.comparison.warnings if warning not in elsewhere]


def lesion_overlap(facts: Facts) -> str:
    """Return the overlap of the heat maps with annotated lesions in one sentence."""
    runs = facts.subject.chosen.items() if facts.subject else ()
    found = [
        f"{format_estimate(run.iou)} over {counted(each.images, 'annotated image')} ({split_label(split)})"
        for split, run in runs
        for each in run.overlaps
        if abs(each.threshold - IOU_THRESHOLD) < 1e-9
    ]
    mean = f"Mean IoU at threshold {IOU_THRESHOLD}"
    return f"{mean}: {listed(found)}." if found else f"{mean}: {UNKNOWN}; measure it with: boneexp gradcam."


def _in_brackets(names: Sequence[str]) -> str:
    return f" ({listed(names)})" if names else ""


def _above_and_others(facts: Facts) -> tuple[list[Held], list[Held]]:
    known = [(held, held.delta) for held in facts.held if held.delta is not None]
    return [held for held, delta in known if delta > 0], [held for held, delta in known if delta <= 0]


def _differences(held: Sequence[Held]) -> str:
    return "; ".join(
        f"{label(each.figure)} {each.estimate.shown} vs {format_estimate(each.baseline)} "
        f"({signed(each.delta)})"
        for each in held
    )
