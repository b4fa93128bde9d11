"""Facts -> how sure the figures are: intervals, differences, the choice, calibration, seeds, few images."""

from boneexp.comparison.verdict import MOST_RUNS
from boneexp.evaluation.subgroups import FEWEST_NEEDED
from boneexp.reports.facts import Facts
from boneexp.reports.subject import RunFacts
from boneexp.results import is_at_bound
from boneexp.text.labels import UNKNOWN, split_label
from boneexp.text.numbers import counted, listed

FEW_IMAGES = 200  # below this, one image moves a class's sensitivity by half a point or more


def interval_method(facts: Facts) -> str:
    """Return how the intervals were made."""
    subject, said = facts.subject, facts.comparison.intervals_sentence()
    confidence = subject.setting("evaluation.confidence") if subject else None
    if confidence is None or not said:
        return f"Intervals: {UNKNOWN}."
    return f"Intervals cover {confidence * 100:g} %. {said}"


def independence_assumption(facts: Facts) -> str:
    """Return what the intervals and tests take for independent."""
    if columns := _groups(facts):
        return (
            f"The intervals take groups of images of equal {listed(columns)} as independent, and the images "
            "of one group as not."
        )
    return (
        "The intervals take every image as independent. Views of one patient are not, so the intervals are "
        "too narrow."
    )


def multiplicity_correction(facts: Facts) -> str:
    """Return what is corrected for the number of comparisons."""
    if facts.analysed.paired or facts.verdict.tests:
        return (
            "The p-values of paired tests are adjusted for the number of pairs in the same figure on the "
            "same split (Holm), and the claims to be above the baseline or a target for the number of "
            "experiments; other intervals, subgroups and the number of figures are not."
        )
    return "Nothing is corrected for the number of comparisons."


def scope_of_tests(facts: Facts) -> str:
    """Return what no test on the images can tell."""
    if most_seeds(facts) > 1:
        return (
            "Between experiments of several seeds these tests ask whether other images or other seeds would "
            "change the result; between those of one seed, whether other images would."
        )
    return (
        "These tests are about these trained models: whether other images would change the result. Whether "
        "another seed would is not known before several were run."
    )


def selection_optimism(facts: Facts) -> str:
    """Return what choosing the best has cost; "" where there was nothing to choose from."""
    ranked = len(facts.comparison.leaderboard)
    if ranked < 2:
        return ""
    if facts.comparison.selected_on == "val":
        return (
            f"The best of {ranked} experiments is chosen by figures of the validation part, which also chose "
            "the epochs: there its figures are optimistic, and on the test part the choice adds no optimism."
        )
    return (
        f"The best of {ranked} experiments is chosen by figures of the test part itself, which makes its "
        "figures optimistic."
    )


def calibration_note(facts: Facts) -> str:
    """Return what was done about probabilities and thresholds."""
    runs = facts.subject.chosen.values() if facts.subject else ()
    if runs and all(_has_temperature(run) for run in runs):
        return (
            "The class called is the most probable one, and the probabilities are the network's own. Figures "
            "at thresholds and with a temperature that validation chose stand beside them; that both were "
            "chosen on few images is not in their intervals."
        )
    return (
        "The probabilities have not been calibrated, and no threshold was tuned: the class is the most "
        "probable one."
    )


def consistency_note(facts: Facts) -> str:
    """Return how to read the consistency test."""
    said = (
        "The expected calibration error of a model whose probabilities are true is not 0 on so few images; "
        "beside it stands its mean if each label were drawn from its image's probabilities. p is the chance "
        "of an error as large then (consistency resampling). The scaled Brier score is 1 at best, and 0 for "
        "the class frequencies alone."
    )
    at_bound = [
        split_label(split)
        for split, run in (facts.subject.chosen.items() if facts.subject else ())
        if is_at_bound("temperature", run.estimate("test", "temperature").value)
    ]
    if not at_bound:
        return said
    return (
        f"{said} The temperature of the {listed(at_bound)} split lies at the bound of its search: validation "
        "would have it more extreme still, so what it gives is no calibration."
    )


def uses_of_test_sets(facts: Facts) -> str:
    """Return how often the test parts were evaluated, and decided upon."""
    return facts.verdict.looks() or "No test part has been evaluated yet."


def drawn_by_groups(facts: Facts) -> bool:
    """Tell whether the intervals of all chosen runs draw whole groups of images."""
    return bool(_groups(facts))


def factors_reported(facts: Facts) -> str:
    """Return of which factors there are figures."""
    known = list(dict.fromkeys(each.attribute for each in facts.analysed.subgroups))
    if not known:
        return f"Figures by centre and class are under Quantitative analyses; by other factors: {UNKNOWN}."
    return (
        f"Figures by {listed(known)}, as the dataset's table has them, are under Quantitative analyses. The "
        "size of the lesion and the machine are not among them."
    )


def subgroups_note(facts: Facts) -> str:
    """Return how to read the subgroups; why there are none, where there are none."""
    if not facts.analysed.subgroups:
        return (
            f"Figures of subgroups: {UNKNOWN}; they are made from runs of the grid that was queued last, of "
            f"up to {MOST_RUNS} of an experiment."
        )
    return (
        f"{FEWEST_NEEDED}. "
        "Many subgroups are many chances to find something: a gap in one of twenty is no finding."
    )


def most_seeds(facts: Facts) -> int:
    """Return with how many seeds the experiments were trained, at most."""
    return max((row["finished_runs"] for row in facts.comparison.figures.values()), default=0)


def external_validation(facts: Facts) -> str:
    """Return that no test is external."""
    splits = {split for (_, split), row in facts.comparison.figures.items() if row["finished_runs"]}
    splits |= set(facts.subject.chosen) if facts.subject else set()
    said = "Every test part comes from the same dataset as the training images"
    if "center_holdout" not in splits:
        return f"{said}; no centre was kept out, and nothing here is an external validation."
    return f"{said}. The centre-holdout split changes their source; it is not an external validation."


def few_malignant(facts: Facts) -> list[str]:
    """Return for each test part with few malignant images how much one of them weighs."""
    runs = facts.subject.chosen.values() if facts.subject else ()
    counts = [(split_label(run.row.split), run.images("test", label="Malignant")) for run in runs]
    return [
        f"The {split} test part has only {counted(images, 'malignant image')}: one of them more or less "
        f"moves the malignant sensitivity by {1 / images:.3f}."
        for split, images in counts
        if 0 < images < FEW_IMAGES
    ]


def _groups(facts: Facts) -> list[str]:
    """Return the columns whose groups the intervals of all chosen runs were drawn by; [] where one has none.

    Runs of before drew single images whatever the column; they have no temperature either.
    """
    runs = facts.subject.chosen.values() if facts.subject else ()
    columns = [str(run.split.get("group_column") or "") if _has_temperature(run) else "" for run in runs]
    return sorted(set(columns)) if all(columns) else []


def _has_temperature(run: RunFacts) -> bool:
    return run.estimate("test", "temperature").value is not None
