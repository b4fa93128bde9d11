"""Facts -> how certain the results are: intervals, tests, selection, calibration, seeds, few images."""

from boneexp.comparison.verdict import MOST_RUNS
from boneexp.evaluation.subgroups import FEWEST_NEEDED
from boneexp.reports.facts import Facts
from boneexp.reports.subject import RunFacts
from boneexp.results import is_at_bound
from boneexp.text.labels import UNKNOWN, split_label
from boneexp.text.numbers import counted, listed

FEW_IMAGES = 200  # below this, one image changes a sensitivity by half a percentage point or more


def interval_method(facts: Facts) -> str:
    """Return how the intervals were computed."""
    subject, method = facts.subject, facts.comparison.intervals_sentence()
    confidence = subject.confidence if subject else None
    if confidence is None or not method:
        return f"Intervals: {UNKNOWN}."
    return f"Confidence level of the intervals: {confidence * 100:g} %. {method}"


def independence_assumption(facts: Facts) -> str:
    """Return what the intervals and tests assume to be independent."""
    if columns := _groups(facts):
        return (
            f"Intervals treat groups of images with the same {listed(columns)} as independent, and images "
            "within a group as correlated."
        )
    return (
        "Intervals treat every image as independent. Views of the same patient are not, so the intervals "
        "are too narrow."
    )


def multiplicity_correction(facts: Facts) -> str:
    """Return what is adjusted for multiple comparisons."""
    if facts.analysed.tests or facts.verdict.tests:
        return (
            "P-values of paired tests are adjusted over all pairs for the same metric and split (Holm). "
            "Comparisons with the baseline and the targets are adjusted for the number of experiments. Other "
            "intervals, subgroups and the number of metrics are not adjusted for."
        )
    return "Nothing is adjusted for multiple comparisons."


def scope_of_tests(facts: Facts) -> str:
    """Return what the paired tests cover: other images, and other seeds only where several were run."""
    if most_seeds(facts) > 1:
        return (
            "Between experiments with several seeds these tests ask whether other images or other seeds "
            "would change the result; between experiments with one seed, whether other images would."
        )
    return (
        "These tests are about the trained models themselves: whether other images would change the result. "
        "Whether another seed would is unknown until several have been run."
    )


def selection_optimism(facts: Facts) -> str:
    """Return how optimistic selecting the best makes its results; "" where there was nothing to select."""
    ranked = len(facts.comparison.leaderboard)
    if ranked < 2:
        return ""
    if facts.comparison.selected_on == "val":
        return (
            f"The best of {ranked} experiments is selected on the validation set, which also selected the "
            "epochs: its validation results are optimistic, but the selection adds no optimism to its test "
            "results."
        )
    return (
        f"The best of {ranked} experiments is selected on the test set itself, which makes its test results "
        "optimistic."
    )


def calibration_note(facts: Facts) -> str:
    """Return what was done about probabilities and thresholds."""
    runs = facts.subject.chosen.values() if facts.subject else ()
    if runs and all(_has_temperature(run) for run in runs):
        return (
            "The predicted class is the most probable one, and the probabilities are those of the network, "
            "not recalibrated. Results at operating points and after temperature scaling, both fitted on "
            "validation, are given as well; their intervals do not include the uncertainty of that fit."
        )
    return (
        "The probabilities have not been calibrated and no threshold was tuned: the predicted class is the "
        "most probable one."
    )


def consistency_note(facts: Facts) -> str:
    """Return how to read the consistency test."""
    note = (
        "Even a perfectly calibrated model has an expected calibration error above 0 on so few images. The "
        "table therefore also gives its expected value under perfect calibration (labels drawn from the "
        "predicted probabilities) and p, the probability of an error at least as large (consistency "
        "resampling). The scaled Brier score is 1 for perfect predictions and 0 for predicting the class "
        "frequencies."
    )
    at_bound = [
        split_label(split)
        for split, run in (facts.subject.chosen.items() if facts.subject else ())
        if is_at_bound("temperature", run.estimate("test", "temperature").value)
    ]
    if not at_bound:
        return note
    return (
        f"{note} The temperature of the {listed(at_bound)} split lies at the bound of its search: validation "
        "favours a more extreme value still, so temperature scaling does not calibrate this model."
    )


def uses_of_test_sets(facts: Facts) -> str:
    """Return how often the test sets were evaluated, and used for a decision."""
    return facts.verdict.looks() or "No test set has been evaluated yet."


def drawn_by_groups(facts: Facts) -> bool:
    """Return True if the intervals of all chosen runs resample whole groups of images."""
    return bool(_groups(facts))


def factors_reported(facts: Facts) -> str:
    """Return the factors that results are given for."""
    known = list(dict.fromkeys(each.attribute for each in facts.analysed.subgroups))
    if not known:
        return f"Results by centre and class are under Quantitative analyses; by other factors: {UNKNOWN}."
    return (
        f"Results by {listed(known)}, as recorded in the dataset's table, are under Quantitative analyses. "
        "Lesion size and X-ray device are not among them."
    )


def subgroups_note(facts: Facts) -> str:
    """Return how to read the subgroup results, or why there are none."""
    if not facts.analysed.subgroups:
        return (
            f"Subgroup results: {UNKNOWN}; they need runs of the most recently queued grid, at most "
            f"{MOST_RUNS} per experiment."
        )
    return (
        f"{FEWEST_NEEDED}. "
        "Among many subgroups some differ by chance: a gap in one of twenty is not a finding."
    )


def most_seeds(facts: Facts) -> int:
    """Return the largest number of seeds that an experiment was trained with."""
    return facts.comparison.most_seeds


def external_validation(facts: Facts) -> str:
    """Return that no test is an external validation."""
    splits = {split for (_, split), each in facts.comparison.results.items() if each.finished_runs}
    splits |= set(facts.subject.chosen) if facts.subject else set()
    source = "All test sets come from the same dataset as the training images"
    if "center_holdout" not in splits:
        return f"{source}; no centre was held out, and nothing here is an external validation."
    return f"{source}. The centre-holdout split tests on other centres; it is not an external validation."


def few_malignant(facts: Facts) -> list[str]:
    """Return for each test set with few malignant images how much one of them weighs."""
    runs = facts.subject.chosen.values() if facts.subject else ()
    counts = [(split_label(run.row.split), run.images("test", label="Malignant")) for run in runs]
    return [
        f"The {split} test set has only {counted(images, 'malignant image')}: one more or one fewer detected "
        f"changes malignant sensitivity by {1 / images:.3f}."
        for split, images in counts
        if 0 < images < FEW_IMAGES
    ]


def _groups(facts: Facts) -> list[str]:
    """Return the columns whose groups the intervals of all chosen runs resample; [] if one has none.

    Older runs, which have no temperature, resampled single images whatever the column.
    """
    runs = facts.subject.chosen.values() if facts.subject else ()
    columns = [run.assignment.group_column if _has_temperature(run) else "" for run in runs]
    return sorted(set(columns)) if all(columns) else []


def _has_temperature(run: RunFacts) -> bool:
    return run.estimate("test", "temperature").value is not None
