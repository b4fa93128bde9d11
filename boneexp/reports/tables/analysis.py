"""Facts -> the tables about differences, calibration, subgroups, other centres and seeds."""

from boneexp.comparison.calibration import Calibration
from boneexp.comparison.metric_names import has_direction
from boneexp.comparison.paired_tests import PairedTest
from boneexp.comparison.seeds import MetricSpread
from boneexp.evaluation.intervals import FEW
from boneexp.evaluation.metrics import LOWER_IS_BETTER
from boneexp.evaluation.thresholds import OPERATING
from boneexp.reports.facts import Facts
from boneexp.reports.numbers import Number, difference, estimate, probability, temperature
from boneexp.reports.subject import Subject
from boneexp.results import Metric
from boneexp.text.labels import label, metric_label, split_label
from boneexp.text.markdown import Table, table

PAIR = ("Split", "Metric", "First", "Second", "Images", "Second minus first", "Test", "p", "p_holm")


def paired_table(facts: Facts, experiment: str = "") -> Table:
    """Return the paired tests of `compare --paired`, of all pairs or of those with one experiment."""
    wanted = (test for test in facts.analysed.tests if experiment in ("", test.first, test.second))
    rows = ([*_pair(test), probability(test.false_claim), test.verdict] for test in wanted)
    return table([*PAIR, "False claim", "Verdict"], rows)


def best_table(facts: Facts) -> Table:
    """Return the paired tests of the best against each other experiment, in the metric that decides."""
    return table(PAIR, map(_pair, facts.verdict.tests))


def subgroup_table(facts: Facts, split: str) -> Table:
    """Return the subject's metrics in every subgroup of a test set; those of too few images are left out."""
    rows = [each for each in facts.analysed.subgroups if each.split == split]
    figures = [label(Metric(value.metric, value.class_name).key) for value in rows[0].metrics] if rows else []
    return table(
        ["Attribute", "Value", "Images", "Malignant", *figures, f"Fewer than {FEW} images"],
        (
            [
                each.attribute,
                each.value,
                each.images,
                each.malignant_images,
                *(estimate(value.value, value.low, value.high) for value in each.metrics),
                list(each.few) or "no",
            ]
            for each in rows
        ),
    )


def gap_table(facts: Facts) -> Table:
    """Return the subject's difference between the centre-holdout and the stratified test set."""
    rows = (
        [
            label(gap.figure),
            estimate(gap.stratified),
            estimate(gap.center_holdout),
            difference(gap.gap, gap.low, gap.high),
        ]
        for gap in facts.analysed.gaps
    )
    return table(["Metric", "Stratified", "Centre-holdout", "Centre-holdout minus stratified"], rows)


def calibration_table(subject: Subject) -> Table:
    """Return calibration on the test set, before and after temperature scaling fitted on validation."""
    rows = (
        [
            split_label(split),
            metric_label(metric),
            run.estimate("test", metric).number,
            run.estimate("test", f"{metric}_tempered").number,
            temperature(run.estimate("test", "temperature").value),
        ]
        for split, run in subject.chosen.items()
        for metric in LOWER_IS_BETTER
    )
    return table(["Split", "Metric", "Uncalibrated", "After temperature scaling", "Temperature"], rows)


def consistency_table(facts: Facts) -> Table:
    """Return the expected calibration error and its expected value under perfect calibration."""
    rows = (
        [
            split,
            how,
            estimate(tested.value),
            estimate(tested.expected),
            probability(tested.p_value),
            brier,
        ]
        for split, each in _calibrations(facts)
        for how, tested, brier in (
            ("uncalibrated", each.plain, estimate(each.scaled_brier)),
            ("after temperature scaling", each.scaled, estimate(each.scaled_brier_tempered)),
        )
    )
    header = ["Split", "Probabilities", "Expected calibration error", "Under perfect calibration"]
    return table([*header, "p", "Scaled Brier score"], rows)


def recalibration_table(facts: Facts) -> Table:
    """Return calibration slope and intercept of each class."""
    rows = (
        [
            split,
            one.class_name,
            one.images,
            difference(one.slope.value, one.slope.low, one.slope.high),
            difference(one.intercept.value, one.intercept.low, one.intercept.high),
        ]
        for split, each in _calibrations(facts)
        for one in each.classes
    )
    return table(["Split", "Class", "Images", "Slope", "Intercept"], rows)


def net_benefit_table(facts: Facts) -> Table:
    """Return the net benefit of treating images as malignant, by threshold probability (decision curve)."""
    found = _calibrations(facts)
    header = ["Threshold"]
    for split, _ in found:
        header += [f"{split}: model", f"{split}: treat all"]
    rows = []
    for points in zip(*(each.curve for _, each in found if each.curve), strict=True):
        benefits = [benefit for point in points for benefit in (point.model, point.treat_all)]
        rows.append([points[0].threshold, *(Number(f"{each:+.4f}", each) for each in benefits)])
    return table(header, rows if all(each.curve for _, each in found) else [])


def predictive_table(facts: Facts) -> Table:
    """Return PPV and NPV of the class Malignant at several prevalences."""
    rows = (
        [
            split,
            Number(
                f"{one.prevalence:.3f}",
                one.prevalence,
                "(of the test set)" if one.prevalence == each.prevalence else "",
            ),
            estimate(one.ppv, one.ppv_low, one.ppv_high),
            estimate(one.npv, one.npv_low, one.npv_high),
        ]
        for split, each in _calibrations(facts)
        for one in each.predictive
    )
    return table(["Split", "Prevalence of malignant images", "PPV", "NPV"], rows)


def _calibrations(facts: Facts) -> list[tuple[str, Calibration]]:
    """Return the calibration of each chosen run with its split, in the documents' order."""
    by_run = {each.run: each for each in facts.analysed.calibration}
    chosen = facts.subject.chosen.items() if facts.subject else ()
    found = ((split_label(split), by_run.get(run.row.run)) for split, run in chosen)
    return [(split, each) for split, each in found if each is not None]


def operating_table(subject: Subject) -> Table:
    """Return malignant sensitivity and specificity at operating points, evaluated on the test set."""
    header = ["Malignant, test set", *(split_label(split) for split in subject.chosen)]
    rows = (
        [
            metric_label(metric),
            *(run.estimate("test", metric, "Malignant").number for run in subject.chosen.values()),
        ]
        for metric in OPERATING
    )
    return table(header, rows)


def variance_table(facts: Facts) -> Table:
    """Return how much of the variance of each metric comes from seeds and how much from experiments."""
    header = ["Split", "Metric", "SD between seeds", "SD between experiments"]
    header += ["Fraction of variance between experiments", "Best minus runner-up", "Standard error"]
    return table(header, map(_spread, facts.analysed.spreads))


def _spread(each: MetricSpread) -> list[object]:
    study, has_best = each.study, has_direction(each.metric)
    values = [study.seed_sd, study.experiment_sd, study.experiment_share]
    values += [study.gap, study.gap_error] if has_best else [None, None]
    return [split_label(each.split), label(each.metric.key), *map(estimate, values)]


def _pair(test: PairedTest) -> list[object]:
    return [
        split_label(test.split),
        label(test.figure),
        test.first,
        test.second,
        test.images,
        difference(test.difference, test.low, test.high),
        test.test,
        probability(test.p_value),
        probability(test.adjusted_p),
    ]
