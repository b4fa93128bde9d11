"""What `compare` says of differences, subgroups and calibration stands in both documents too."""

import re
import sqlite3
from dataclasses import replace

import pytest
from decided_facts import assert_tables_hold, both, facts_of, model_card, poc_report
from settled_ledger import settled_ledger
from settled_study import settled_study

from boneexp.comparison.compare import compare_as_asked
from boneexp.comparison.requests import Request
from boneexp.ledger.database import reading
from boneexp.ledger.queries.figures import metric_rows
from boneexp.reports.analyses import MOST_PAIRED, Analysed
from boneexp.reports.markers import blocks_of
from boneexp.text.labels import label
from boneexp.text.numbers import format_estimate, p_value, signed

SPLITS = {"stratified": "stratified", "center_holdout": "centre-holdout"}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Three experiments, finished."""
    return settled_ledger(tmp_path_factory.mktemp("evidence") / "ledger.db", experiments=("E1", "E2", "E3"))


@pytest.fixture(scope="module")
def facts(ledger):
    """The facts once E2 is promoted."""
    return facts_of(ledger)


@pytest.fixture(scope="module")
def report(facts):
    return blocks_of(poc_report(facts))


@pytest.fixture(scope="module")
def card(facts):
    return blocks_of(model_card(facts))


def with_runs(facts, change):
    runs = {split: change(run) for split, run in facts.subject.chosen.items()}
    return replace(facts, subject=replace(facts.subject, chosen=runs, runs=tuple(runs.values())))


def test_every_pair_stands_in_the_report_as_compare_has_it_and_those_of_the_subject_in_the_card(
    ledger, report, card
):
    with reading(ledger) as connection:
        answer = compare_as_asked(connection, Request("paired")).answer
    assert len(answer.rows) == 18
    for row in answer.rows:
        size = signed(row["difference"], row["low"], row["high"])
        about = [SPLITS[row["split"]], label(row["figure"]), row["first"], row["second"]]
        tested = [row["test"], p_value(row["p"]), p_value(row["p_holm"])]
        tested += [p_value(row["false_claim"]), row["verdict"]]
        found = f"| {' | '.join([*about, str(row['images']), size, *tested])} |"
        assert found in report["differences"]
        assert (found in card["quantitative-analyses"]) == ("E2" in (row["first"], row["second"]))
    for note in answer.notes:
        assert f"- {note}" in report["differences"]


def test_ties_and_optimism_are_said_in_the_words_of_compare(facts, report, card):
    ties = facts.verdict.ties().replace(">", "&#62;").replace("<", "&#60;")
    assert ties
    assert facts.verdict.optimism()
    for text in (report["differences"], card["quantitative-analyses"]):
        assert ties in text
        assert facts.verdict.optimism() in text
    of_table = {
        frozenset((test.first, test.second)): test.adjusted_p
        for test in facts.analysed.tests
        if (test.split, test.figure) == ("stratified", "accuracy")
    }
    for test in facts.verdict.tests:
        assert test.adjusted_p == of_table[frozenset((test.first, test.second))]
    assert ties in report["summary"]
    assert facts.verdict.looks() in report["limitations"]


def test_with_many_experiments_only_the_best_is_tested_against_the_others(facts):
    many = replace(facts, analysed=replace(facts.analysed, tests=(), paired_notes=()))
    text = blocks_of(poc_report(many))["differences"]
    assert "boneexp compare --paired" in text
    assert len(re.findall(r"^\| stratified \| accuracy \| E", text, re.MULTILINE)) == 2
    assert MOST_PAIRED > 4


def test_of_very_many_runs_neither_pairs_nor_subgroups_are_computed_and_that_is_said(ledger, monkeypatch):
    monkeypatch.setattr("boneexp.reports.analyses.MOST_RUNS", 1)
    monkeypatch.setattr("boneexp.comparison.verdict.MOST_RUNS", 1)
    facts = facts_of(ledger, None)
    assert (facts.analysed.tests, facts.analysed.subgroups, facts.analysed.gaps) == ((), (), ())
    for text in both(facts):
        assert "this grid has more" in text
        assert "No two experiments" not in text
        assert "Subgroup results: not reported" in text
        assert_tables_hold(text)


def test_subgroups_of_the_subject_have_their_number_and_interval_or_are_suppressed(ledger, report, card):
    with reading(ledger) as connection:
        rows = [
            row
            for row in compare_as_asked(connection, Request("subgroups")).answer.rows
            if row["experiment"] == "E2"
        ]
    assert len(rows) == 19
    for row in rows:
        figures = [
            format_estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])
            for name in ("accuracy", "macro_auroc", "malignant_sensitivity")
        ]
        about = [row["attribute"], row["value"], row["images"], row["malignant"], *figures]
        about.append(row["fewer_than_20"] or "no")
        line = f"| {' | '.join(map(str, about))} |"
        assert line in report["subgroups"]
        assert line in card["quantitative-analyses"]
    assert "| not reported |" in report["subgroups"]
    assert "A metric is shown where it rests on 10 images or more" in report["subgroups"]
    assert "Results by centre, site, sex and age band, as recorded in the dataset's table" in card["factors"]


def test_calibration_decisions_and_predictive_values_stand_in_both_documents(facts, report, card):
    assert [each.run for each in facts.analysed.calibration] == [3, 4]
    for text in (report["operating"], card["quantitative-analyses"]):
        for split, each in zip(("stratified", "centre-holdout"), facts.analysed.calibration, strict=True):
            for how, tested, brier in (
                ("uncalibrated", each.plain, format_estimate(each.scaled_brier)),
                ("after temperature scaling", each.scaled, format_estimate(each.scaled_brier_tempered)),
            ):
                figures = " | ".join(
                    (format_estimate(tested.value), format_estimate(tested.expected), p_value(tested.p_value))
                )
                assert f"| {split} | {how} | {figures} | {brier} |" in text
            for one in each.classes:
                slope = signed(one.slope.value, one.slope.low, one.slope.high)
                assert f"| {split} | {one.class_name} | {one.images} | {slope} |" in text
            for one in each.predictive:
                ppv, npv = (
                    format_estimate(one.ppv, one.ppv_low, one.ppv_high),
                    format_estimate(one.npv, one.npv_low, one.npv_high),
                )
                assert f"| {ppv} | {npv} |" in text
        for point, other in zip(*(each.curve for each in facts.analysed.calibration), strict=True):
            cells = [f"{value:+.4f}" for each in (point, other) for value in (each.model, each.treat_all)]
            assert f"| {point.threshold:g} | {' | '.join(cells)} |" in text.replace("&#43;", "+").replace(
                "&#45;", "-"
            )
        assert "(of the test set)" in text
    assert facts.verdict.power() in report["differences"]


def test_what_is_lost_at_other_centres_has_its_interval(facts, report, card):
    assert [gap.figure for gap in facts.analysed.gaps] == ["accuracy", "macro_auroc", "malignant_sensitivity"]
    for gap in facts.analysed.gaps:
        lost = signed(gap.gap, gap.low, gap.high)
        stratified, holdout = format_estimate(gap.stratified), format_estimate(gap.center_holdout)
        line = f"| {label(gap.figure)} | {stratified} | {holdout} | {lost} |"
        assert line in report["subgroups"]
        assert line in card["quantitative-analyses"]


def test_calibration_before_and_after_and_sensitivities_at_thresholds_are_the_ledgers(ledger, report, card):
    with reading(ledger) as connection:
        rows = {(row.metric, row.class_name): row for row in metric_rows(connection, 3)}
    shown = {key: format_estimate(row.value, row.low, row.high) for key, row in rows.items()}
    for text in (report["operating"], card["quantitative-analyses"]):
        for metric, words in (("log_loss", "Log loss"), ("brier_score", "Brier score")):
            before, after = shown[metric, ""], shown[f"{metric}_tempered", ""]
            assert f"| stratified | {words} | {before} | {after} | {shown['temperature', '']} |" in text
        for level in (90, 95):
            found = shown[f"sensitivity_at_{level}_specificity", "Malignant"]
            assert f"| Sensitivity at the threshold for {level} % specificity | {found} |" in text


def test_several_seeds_have_their_spread_and_compares_notes(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", seeds=(42, 43))
    text = blocks_of(poc_report(facts_of(ledger, runs=(5, 7))))["results"]
    with reading(ledger) as connection:
        answer = compare_as_asked(connection, Request("seeds")).answer
    spreads = list(answer.tables.values())[1]
    assert len(spreads) == 6
    for row in spreads:
        assert f"| {label(row['figure'])} | {format_estimate(row['between_seeds_sd'])} |" in text
    for note in answer.notes:
        assert f"- {note}" in text
    differences = blocks_of(poc_report(facts_of(ledger, None)))["differences"]
    assert "whether other images or other seeds would" in differences


def test_what_is_not_true_any_more_is_not_said(facts, tmp_path):
    for text in both(facts):
        assert "have not been calibrated" not in text
        assert "Nothing is adjusted" not in text
        assert "(Holm)" in text
        assert_tables_hold(text)
    old = with_runs(facts, lambda run: replace(run, metrics={}))
    old = replace(old, analysed=Analysed(), verdict=replace(old.verdict, tests=()))
    for text in both(old):
        assert "The probabilities have not been calibrated" in text
        assert "Nothing is adjusted for multiple comparisons" in text
        assert_tables_hold(text)


def test_groups_that_are_drawn_together_are_said_to_be_by_runs_that_draw_them(facts):
    def grouped(run):
        return replace(run, assignment=replace(run.assignment, group_column="patient"))

    for text in both(with_runs(facts, grouped)):
        assert "groups of images with the same patient as independent" in text
        assert "treat every image as independent" not in text
        assert "are Wilson intervals, with the design effect of the groups" in text
    for text in both(with_runs(facts, lambda run: replace(grouped(run), metrics={}))):
        assert "treat every image as independent" in text
    for text in both(facts):
        assert "treat every image as independent" in text


def test_a_held_out_centre_is_spoken_of_only_where_there_is_one(facts, tmp_path):
    alone = facts_of(settled_ledger(tmp_path / "ledger.db", splits=("stratified",)), None)
    for text in both(alone):
        assert "no centre was held out, and nothing here is an external validation" in text
    for text in both(facts):
        assert "The centre-holdout split tests on other centres; it is not an external" in text


def test_a_choice_on_validation_is_not_called_optimistic_on_the_test_part(facts):
    chosen = replace(facts, comparison=replace(facts.comparison, selected_on="val"))
    report = blocks_of(poc_report(chosen))
    assert "selected on the validation set" in report["limitations"]
    assert "the selection adds no optimism to its test results" in report["limitations"]
    assert "on the validation set. |" in report["decision"]
    assert "selected on the test set itself" in poc_report(facts)


def test_a_model_of_former_settings_has_no_subgroups_and_that_is_said(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", experiments=("E1",))
    settled_ledger(ledger, experiments=("E1",), designs={"E1": {"training": {"learning_rate": 1e-3}}})
    facts = facts_of(ledger, experiment="E1", runs=(1, 2))
    assert facts.analysed.subgroups == facts.analysed.gaps == ()
    for text in both(facts):
        assert "Subgroup results: not reported; they need runs of the most recently queued grid" in text
        assert "No two experiments can be compared on the same images." in text
        assert_tables_hold(text)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM predictions WHERE run_id = 3 AND part = 'test'",
        "DELETE FROM predictions WHERE run_id = 3 AND image_id LIKE 'IMG00000%'",
        "UPDATE predictions SET label = 'Broken' WHERE run_id = 3 AND image_id LIKE 'IMG00000%'",
        "UPDATE predictions SET p_normal = p_normal + 1 WHERE run_id = 3",
        "UPDATE predictions SET group_id = 'x' WHERE run_id = 3",
    ],
)
def test_predictions_that_no_run_leaves_are_damage_and_nothing_is_written(tmp_path, damage):
    study = settled_study(tmp_path / "study")
    study("promote", "E1", "--yes")
    with sqlite3.connect(study.ledger) as connection:
        connection.execute(damage)
    before = (study.folder / "docs" / "poc_report.md").read_bytes()
    for command in (["report"], ["report", "--check"], ["compare"]):
        assert "see: boneexp doctor" in study(*command, code=7).output
    findings = study("doctor", code=7).output
    assert "run 3" in findings
    assert (study.folder / "docs" / "poc_report.md").read_bytes() == before
