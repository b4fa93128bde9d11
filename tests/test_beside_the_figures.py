"""What stands beside the figures: calibration, power, false claims, and what has no better or worse."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from conftest import Study
from sealed_again import seal_again
from settled_ledger import settled_ledger
from sklearn.metrics import brier_score_loss

from boneexp.comparison.calibration import calibration_of
from boneexp.comparison.compare import compare_as_asked
from boneexp.comparison.compared import compared
from boneexp.comparison.detectable import detectable_differences
from boneexp.comparison.metric_names import has_direction, known_metrics
from boneexp.comparison.paired_tests import paired_tests
from boneexp.comparison.predictions import evaluated_runs
from boneexp.comparison.requests import Request
from boneexp.comparison.subgroups import generalisation_gaps
from boneexp.comparison.verdict import verdict_of
from boneexp.evaluation.false_claims import false_claim, false_claim_of_test
from boneexp.evaluation.paired import mcnemar_differences
from boneexp.evaluation.power import least_paired_difference
from boneexp.ledger.database import reading
from boneexp.ledger.queries.experiments import chosen_run
from boneexp.promotion.gate.noninferior import not_inferior
from boneexp.results import CLASS_NAMES
from boneexp.study.decision_settings import PromotionSettings
from boneexp.text.numbers import temperature


@pytest.fixture
def study(settled, tmp_path):
    shutil.copytree(settled, tmp_path / "study")
    return Study(tmp_path / "study")


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return settled_ledger(tmp_path_factory.mktemp("four") / "ledger.db", ("E1", "E2", "E3", "E4"))


def right_or_wrong(ledger, run, part="test"):
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute(
            "SELECT label, p_normal, p_benign, p_malignant FROM predictions WHERE run_id = ? AND part = ?"
            " ORDER BY image_id",
            (run, part),
        ).fetchall()
    labels = np.array([row[0] for row in rows])
    return labels, np.array(CLASS_NAMES)[np.array([row[1:] for row in rows]).argmax(axis=1)] == labels


def answered(ledger, **request):
    with reading(ledger) as connection:
        return compare_as_asked(connection, Request(**request)).answer


def test_calibration_is_asked_for_with_a_prevalence_and_of_some_experiments(study):
    said = json.loads(
        study("compare", "--calibration", "--prevalence", "0.03", "--only", "E2", "--json").stdout
    )
    titles = list(said["tables"])
    assert [title.split(",")[0].split(" by ")[0] for title in titles] == [
        "Calibration",
        "Calibration slope and intercept",
        "Net benefit of acting on Malignant",
        "PPV and NPV of Malignant",
    ]
    with reading(study.ledger) as connection:
        own = calibration_of(connection, 3, prevalences=(0.03,))
    row = said["tables"][titles[0]][0]
    assert (row["run"], row["ece"], row["ece_if_calibrated"], row["p"]) == (
        3,
        own.plain.value,
        own.plain.expected,
        own.plain.p_value,
    )
    assert {row["experiment"] for rows in said["tables"].values() for row in rows} == {"E2"}
    assert [row["prevalence"] for row in said["tables"][titles[3]]][:2] == [10 / 60, 0.03]
    assert said["tables"][titles[2]][0]["treat_none"] == 0
    assert [row["npv"] for row in said["tables"][titles[3]]][:2] == [each.npv for each in own.predictive]
    assert "Slope 1 and intercept 0 are perfect" in study("compare", "--calibration").stdout.replace(
        "\n", " "
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--calibration", "--paired"], "--paired and --calibration contradict each other"),
        (["--calibration", "--metric", "accuracy"], "--metric and --calibration contradict each other"),
        (["--prevalence", "0.1"], "--prevalence needs --calibration"),
        (["--calibration", "--prevalence", "0"], "must lie between 0 and 1"),
        (["--calibration", "--prevalence", "1.5"], "must lie between 0 and 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(study, given, said):
    assert said in " ".join(study("compare", *given, code=2).stderr.split())


def test_calibration_is_that_of_the_stored_figures(study):
    with reading(study.ledger) as connection:
        own = calibration_of(connection, 3)
        stored = dict(
            connection.execute(
                "SELECT metric, value FROM metrics WHERE run_id = 3 AND part = 'test' AND class_name = ''"
            ).fetchall()
        )
    assert own.plain.value == pytest.approx(stored["expected_calibration_error"])
    assert own.scaled.value == pytest.approx(stored["expected_calibration_error_tempered"])
    assert own.temperature == pytest.approx(stored["temperature"])
    reference = brier_score_loss(np.repeat([0, 1, 2], (30, 20, 10)), np.tile([0.5, 1 / 3, 1 / 6], (60, 1)))
    reference *= 1 if reference > 0.5 else 2  # scikit-learn halves it in some versions
    assert own.scaled_brier == pytest.approx(1 - stored["brier_score"] / reference)


def test_neither_more_nor_less_of_a_threshold_or_a_temperature_is_better(study):
    without = {metric.key for metric in known_metrics() if not has_direction(metric)}
    assert without == {
        "temperature",
        "malignant_threshold_at_90_specificity",
        "malignant_threshold_at_95_specificity",
    }
    for name in without:
        said = " ".join(answered(study.ledger, kind="figure", metric=name).notes)
        assert "neither higher nor lower is better" in said
        assert answered(study.ledger, kind="seeds", metric=name).notes == ()
    of_error = answered(study.ledger, kind="figure", metric="expected_calibration_error").notes
    assert (of_error[0].split(";")[0], len(of_error)) == ("lower is better", 2)
    for name, better in (
        ("log_loss_tempered", "lower"),
        ("malignant_sensitivity_at_90_specificity", "higher"),
    ):
        assert f"{better} is better" in answered(study.ledger, kind="figure", metric=name).notes[0]


def test_no_experiment_is_ahead_in_temperature(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", seeds=(42, 43), splits=("stratified",))
    for name, has_gap in (("temperature", False), ("log_loss", True)):
        answer = answered(ledger, kind="seeds", metric=name)
        row = list(answer.tables.values())[1][0]
        assert (row["gap"] is not None) is (row["gap_error"] is not None) is has_gap
        assert row["between_seeds_sd"] is not None
        assert has_gap or answer.notes == ()


def test_a_temperature_at_the_bound_of_its_search_is_marked_wherever_it_is_printed(study):
    with sqlite3.connect(study.ledger) as connection:
        connection.execute("UPDATE metrics SET value = 20.0 WHERE metric = 'temperature' AND run_id = 3")
    seal_again(study.ledger)
    marked = "(at the bound of its search)"
    notes = answered(study.ledger, kind="figure", metric="temperature").notes
    assert f"E2, stratified, seed 42: 20.000 {marked}." in notes
    assert len(notes) == 2
    assert answered(study.ledger, kind="seeds", metric="temperature").notes == notes[1:]
    assert temperature(20.0) == f"20.000 {marked}"
    assert temperature(0.05) == f"0.050 {marked}"
    assert temperature(19.99) == "19.990"
    assert temperature(None) == "not reported"
    assert marked in study("show", "3").stdout
    assert marked not in study("show", "4").stdout


def test_false_claims_come_from_the_counts_of_a_pair_or_from_half_its_p(four):
    with reading(four) as connection:
        tests = paired_tests(evaluated_runs(connection))
    first, second = right_or_wrong(four, 1)[1], right_or_wrong(four, 3)[1]
    accuracy = next(
        test for test in tests if (test.figure, test.first, test.second) == ("accuracy", "E1", "E2")
    )
    assert accuracy.false_claim == false_claim(int((first & ~second).sum()), int((second & ~first).sum()))
    auroc = next(test for test in tests if test.figure == "macro_auroc")
    assert auroc.false_claim == false_claim_of_test(auroc.p_value) == auroc.p_value / 2
    assert all(0 <= test.false_claim <= 0.5 for test in tests if test.false_claim is not None)
    rows = answered(four, kind="paired").rows
    assert rows[0]["false_claim"] == tests[0].false_claim


def test_images_in_groups_take_the_false_claim_from_the_test(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", splits=("stratified",))
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE predictions SET group_id = substr(image_id, 1, length(image_id) - 6)")
    with reading(ledger) as connection:
        tests = paired_tests(evaluated_runs(connection))
    assert [test.false_claim for test in tests] == [false_claim_of_test(test.p_value) for test in tests]


def test_the_smallest_difference_is_that_of_the_mean_discordance_of_the_pairs(four):
    with reading(four) as connection:
        found = detectable_differences(evaluated_runs(connection))
        verdict = verdict_of(connection, compared(connection))
    right = [right_or_wrong(four, run)[1] for run in (1, 3, 5, 7)]
    apart = [np.mean(one != other) for place, one in enumerate(right) for other in right[place + 1 :]]
    assert found[0].difference == pytest.approx(least_paired_difference(60, float(np.mean(apart))))
    assert [(each.split, each.figure, each.images, each.pairs) for each in found[:3]] == [
        ("stratified", "accuracy", 60, 6),
        ("stratified", "macro_auroc", 60, 6),
        ("stratified", "malignant_sensitivity", 10, 6),
    ]
    assert verdict.detectable == found
    assert f"stratified accuracy {found[0].difference:.3f}, macro AUROC" in verdict.power()
    assert (
        "80 % power (two-sided 5 %, one comparison, from how much the experiments agree, 6 pairs)"
        in verdict.power()
    )
    assert verdict.power() in verdict.sentences()
    assert verdict.as_json()["detectable_differences"][0]["difference"] == found[0].difference


def test_one_experiment_alone_is_compared_with_one_that_errs_independently(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", ("E1",), splits=("stratified",))
    with reading(ledger) as connection:
        verdict = verdict_of(connection, compared(connection))
    accuracy = right_or_wrong(ledger, 1)[1].mean()
    expected = least_paired_difference(60, 2 * accuracy * (1 - accuracy))
    assert (verdict.detectable[0].pairs, verdict.detectable[0].difference) == (0, pytest.approx(expected))
    assert "as if two models erred independently of each other" in verdict.power()


def test_a_gap_that_rests_on_few_images_of_either_part_is_not_shown(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", ("E1",))
    with sqlite3.connect(ledger) as connection:
        connection.execute(
            "DELETE FROM predictions WHERE (run_id, part, image_id) IN (SELECT run_id, part, image_id"
            " FROM predictions WHERE run_id = 2 AND part = 'test' AND label = 'Malignant' LIMIT 1)"
        )
    with reading(ledger) as connection:
        gaps = {gap.figure: gap for gap in generalisation_gaps(evaluated_runs(connection))}
    assert gaps["accuracy"].gap is not None
    for name in ("macro_auroc", "malignant_sensitivity"):  # nine malignant images of the other centres
        assert (gaps[name].stratified, gaps[name].center_holdout, gaps[name].gap) == (None, None, None)


def test_a_class_of_few_patients_is_warned_of_and_nothing_is_said_of_acting_on_it(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", ("E1",), splits=("stratified",))
    with sqlite3.connect(ledger) as connection:
        rows = connection.execute(
            "SELECT image_id, label FROM predictions WHERE part = 'test' ORDER BY image_id"
        ).fetchall()
        groups = [(f"p{number // 2}", image) for number, (image, label) in enumerate(rows)]
        connection.executemany("UPDATE predictions SET group_id = ? WHERE image_id = ?", groups)
    with reading(ledger) as connection:
        notes = verdict_of(connection, compared(connection)).notes
        few = calibration_of(connection, 1)
    assert "stratified test part, Malignant: 5 groups, fewer than 20" in [
        note.split(";")[0] for note in notes
    ]
    assert "stratified test part, Normal: 15 groups, fewer than 20" in [note.split(";")[0] for note in notes]
    assert (few.curve, few.predictive) == ((), ())
    assert few.classes[2].slope.value is None
    assert few.classes[0].slope.value is not None


def test_a_margin_holds_the_candidate_against_what_is_promoted_now_or_else_the_baseline(study):
    def judged(run, margin, figures=("stratified_accuracy", "stratified_macro_auroc")):
        policy = PromotionSettings(non_inferiority_margin=margin, above_baseline=figures)
        with reading(study.ledger) as connection:
            runs = [chosen_run(connection, run)]
            return list(not_inferior(connection, runs, compared(connection), policy))

    assert judged(1, 0.0) == []
    baseline = judged(1, 0.1)
    assert [each.name for each in baseline] == [
        "non-inferior stratified_accuracy",
        "non-inferior stratified_macro_auroc",
    ]
    assert baseline[0].asked == "stratified accuracy: less than 0.1 below the baseline"
    study("promote", "E2", "--yes")
    with reading(study.ledger) as connection:
        evaluated = evaluated_runs(connection)
        promoted, candidate = (evaluated.of(name, "stratified")[0].parts["test"] for name in ("E2", "E1"))
    low = mcnemar_differences(promoted, candidate)[0].low
    assert low < -0.02
    beside = judged(1, -low + 0.005)[0]
    assert (beside.asked.endswith("below E2, which is promoted now"), beside.met) == (True, True)
    assert judged(1, -low - 0.005)[0].met is False
    assert judged(1, 0.9)[1].met is True
    assert judged(3, 0.1)[0].asked.endswith("below the baseline")  # it is itself what is promoted
    with sqlite3.connect(study.ledger) as connection:
        connection.execute("UPDATE metrics SET value = 0.1 WHERE run_id = 3 AND metric = 'log_loss'")
    assert judged(1, 0.9)[0].met is None
    assert "run 3 is not as it was sealed" in judged(1, 0.9)[0].found


def test_a_margin_is_asked_of_a_promotion_and_of_no_baseline_and_other_images_nothing_is_known(
    study, tmp_path
):
    study.grid.write_text(
        "[promotion]\nenforce = true\nabove_baseline = ['center_holdout_malignant_specificity']\n"
        "subgroups = []\ncalibration_metric = ''\nleakage = false\nnon_inferiority_margin = 0.05\n"
    )
    said = study("promote", "E1", "--yes", code=6).stderr
    assert "below the baseline: not known; nothing else is promoted, and the study names no baseline" in said
    other = settled_ledger(tmp_path / "other.db", ("E1",), kind="phantom")
    policy = PromotionSettings(non_inferiority_margin=0.2, above_baseline=("stratified_accuracy",))
    with reading(other) as connection:
        runs = [chosen_run(connection, 1)]
        (found,) = not_inferior(connection, runs, compared(connection), policy)
    assert found.met is None
