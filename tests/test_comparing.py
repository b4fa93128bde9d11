"""compare: the same numbers from the rows by other means, and every question that it answers."""

import csv
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import Study
from settled_ledger import settled_ledger
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from boneexp.comparison.compare import compare_as_asked
from boneexp.comparison.compared import compared, interval_notes
from boneexp.comparison.files import as_json, shown
from boneexp.comparison.metric_names import known_metrics, metric_named
from boneexp.comparison.one_test_set import Elsewhere
from boneexp.comparison.paired_tests import PairedTest, paired_tests
from boneexp.comparison.predictions import evaluated_runs
from boneexp.comparison.requests import Request
from boneexp.comparison.seeds import seed_spreads
from boneexp.comparison.subgroups import generalisation_gaps, subgroup_metrics
from boneexp.comparison.verdict import verdict_of
from boneexp.errors import MetricUnknown
from boneexp.evaluation.differences import Model, unpaired_differences
from boneexp.evaluation.paired import delong_differences, holm, mcnemar_differences
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.study import record_study
from boneexp.results import CLASS_NAMES, Metric
from boneexp.study.decision_settings import BaselineSettings, ReferenceSettings, SelectionSettings

FOUR = ("E1", "E2", "E3", "E4")


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Four experiments on both splits, all finished; tests must not change it."""
    return settled_ledger(tmp_path_factory.mktemp("four") / "ledger.db", FOUR)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Two experiments with three seeds each."""
    return settled_ledger(tmp_path_factory.mktemp("seeds") / "ledger.db", ("E1", "E2"), (42, 43, 44))


@pytest.fixture(scope="module")
def predictions(four):
    with closing(sqlite3.connect(four)) as connection:
        return pd.read_sql(
            "SELECT e.experiment, e.data_fingerprint, r.split, p.* FROM predictions p"
            " JOIN runs r ON r.id = p.run_id JOIN experiments e ON e.id = r.experiment_ref",
            connection,
        )


def by_scikit_learn(rows):
    """Return {(metric, class): value} of the prediction rows of one run and part."""
    shares = rows[["p_normal", "p_benign", "p_malignant"]].to_numpy()
    truth = rows.label.map(CLASS_NAMES.index).to_numpy()
    called = shares.argmax(axis=1)
    found = {
        ("accuracy", ""): accuracy_score(truth, called),
        ("balanced_accuracy", ""): balanced_accuracy_score(truth, called),
        ("macro_auroc", ""): roc_auc_score(truth, shares, multi_class="ovr"),
        ("macro_f1", ""): f1_score(truth, called, average="macro"),
        ("matthews_correlation", ""): matthews_corrcoef(truth, called),
        ("log_loss", ""): log_loss(truth, shares),
        ("brier_score", ""): ((shares - np.eye(3)[truth]) ** 2).sum(axis=1).mean(),
    }
    for label, name in enumerate(CLASS_NAMES):
        own, said = truth == label, called == label
        found |= {
            ("auroc", name): roc_auc_score(own, shares[:, label]),
            ("average_precision", name): average_precision_score(own, shares[:, label]),
            ("sensitivity", name): recall_score(own, said),
            ("specificity", name): recall_score(~own, ~said),
            ("precision", name): precision_score(own, said),
            ("f1", name): f1_score(own, said),
        }
    return found


def test_the_whole_table_comes_out_of_the_prediction_rows_again(four, predictions):
    with reading(four) as connection:
        table = {row.experiment_id: row for row in compared(connection).rows}
        stored = connection.execute("SELECT * FROM metric_figures").fetchall()
    seen = {
        (r["experiment"], r["split"], r["part"], r["metric"], r["class_name"]): r["value"] for r in stored
    }
    compared_cells = checked = 0
    for (experiment, split, part), rows in predictions.groupby(["experiment", "split", "part"]):
        again = by_scikit_learn(rows)
        for (metric, name), value in again.items():
            assert seen[experiment, split, part, metric, name] == pytest.approx(value, abs=1e-9)
            checked += 1
        if part == "test":
            for column, key in (
                ("accuracy", ("accuracy", "")),
                ("macro_auroc", ("macro_auroc", "")),
                ("malignant_sensitivity", ("sensitivity", "Malignant")),
            ):
                assert table[experiment].means[f"{split}_{column}"] == pytest.approx(again[key], abs=1e-9)
                compared_cells += 1
    assert (compared_cells, checked) == (4 * 6, 4 * 2 * 2 * 25)


def test_the_ranking_is_that_of_the_rule_over_the_rows(four, predictions):
    called = predictions[["p_normal", "p_benign", "p_malignant"]].to_numpy().argmax(axis=1)
    right = pd.Series(called, predictions.index) == predictions.label.map(CLASS_NAMES.index)
    test = predictions.assign(right=right)[predictions.part == "test"]
    near, far = (test[test.split == split] for split in ("stratified", "center_holdout"))
    keys = pd.DataFrame(
        {
            "first": near.groupby("experiment").right.mean(),
            "second": near[near.label == "Malignant"].groupby("experiment").right.mean(),
            "third": far.groupby("experiment").right.mean(),
        }
    )
    order = keys.sort_values(["first", "second", "third"], ascending=False).index.tolist()
    with reading(four) as connection:
        assert [row.experiment_id for row in compared(connection).leaderboard] == order


def test_subgroups_in_sql_and_in_python_are_those_of_the_rows(four, predictions):
    with closing(sqlite3.connect(four)) as connection:
        attributes = pd.read_sql("SELECT * FROM image_attributes", connection)
        stored = pd.read_sql("SELECT * FROM subgroup_figures", connection)
    called = predictions[["p_normal", "p_benign", "p_malignant"]].to_numpy().argmax(axis=1)
    right = called == predictions.label.map(CLASS_NAMES.index)
    centres = predictions.assign(attribute="centre", value=predictions.center.astype(str), right=right)
    named = predictions.assign(right=right).merge(attributes, on=["data_fingerprint", "image_id"])
    every = pd.concat([centres, named])
    again = every.groupby(["run_id", "part", "attribute", "value"]).right.agg(["size", "mean"])
    assert len(again) == len(stored) > 100
    for row in stored.itertuples():
        size, mean = again.loc[row.run, row.part, row.attribute, row.value]
        assert (row.images, row.accuracy) == (size, pytest.approx(mean))
    with reading(four) as connection:
        found = subgroup_metrics(connection, evaluated_runs(connection), [Metric("accuracy")])
    assert len(found) == len(stored[stored.part == "test"])
    for each in found:
        size, mean = again.loc[each.run, "test", each.attribute, each.value]
        (metric,) = each.metrics
        assert each.images == size
        assert metric.value == (None if size < 10 else pytest.approx(mean))


def test_paired_tests_are_those_of_the_pairs_and_holm_is_over_each_figure(four):
    with reading(four) as connection:
        evaluated = evaluated_runs(connection)
    found = paired_tests(evaluated, [Metric("accuracy"), Metric("auroc", "Malignant")])
    assert len(found) == 2 * 2 * 6
    for figure, split in product(("accuracy", "malignant_auroc"), ("stratified", "center_holdout")):
        of_it = [test for test in found if (test.figure, test.split) == (figure, split)]
        assert [test.adjusted_p for test in of_it] == list(holm([test.p_value for test in of_it]))
    one = next(
        t for t in found if (t.first, t.second, t.split, t.figure) == ("E1", "E4", "stratified", "accuracy")
    )
    first, second = (evaluated.of(name, "stratified")[0].parts["test"] for name in ("E1", "E4"))
    tested = mcnemar_differences(first, second)[0]
    assert (one.difference, one.low, one.high) == (tested.value, tested.low, tested.high)
    assert (one.p_value, one.test) == (tested.p_value, "mid-p mcnemar")
    auroc = next(t for t in found if (t.first, t.second, t.figure) == ("E1", "E4", "malignant_auroc"))
    assert (auroc.p_value, auroc.test) == (delong_differences(first, second)[2].p_value, "delong")


def test_a_sensitivity_rests_on_the_images_of_its_class(four):
    with reading(four) as connection:
        evaluated = evaluated_runs(connection)
    figures = [Metric("accuracy"), Metric("sensitivity", "Malignant"), Metric("specificity", "Malignant")]
    tests = paired_tests(evaluated, figures, splits=["stratified"])
    assert {test.figure: test.images for test in tests} == {
        "accuracy": 60,
        "malignant_sensitivity": 10,
        "malignant_specificity": 50,
    }


def test_groups_take_the_tests_that_assume_independence_out(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2"), splits=("stratified",))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE predictions SET group_id = substr(image_id, 1, 7)")
    with reading(path) as connection:
        tests = paired_tests(evaluated_runs(connection))
    assert {test.figure: test.test for test in tests} == {
        "accuracy": "jackknife",
        "macro_auroc": "permutation",  # one group has all malignant images: no variance is known
        "malignant_sensitivity": "permutation",
    }


def test_several_seeds_are_compared_by_their_mean(seeds):
    with reading(seeds) as connection:
        evaluated = evaluated_runs(connection)
        (accuracy, *_) = paired_tests(evaluated, [Metric("accuracy")])
        spreads = seed_spreads(connection, [Metric("accuracy")])
        rows = connection.execute(
            "SELECT experiment, accuracy FROM experiment_figures WHERE split = 'stratified'"
        ).fetchall()
    means = {row["experiment"]: row["accuracy"] for row in rows}
    assert accuracy.difference == pytest.approx(means["E2"] - means["E1"])
    assert accuracy.test == "t over images and seeds"
    assert {spread.experiment: spread.runs for spread in spreads[0].study.spreads} == {"E1": 3, "E2": 3}
    assert {s.experiment: s.mean for s in spreads[0].study.spreads} == pytest.approx(means)


def test_the_gap_to_other_centres_is_the_difference_of_the_two_test_parts(four):
    with reading(four) as connection:
        evaluated = evaluated_runs(connection)
    gaps = {gap.experiment: gap for gap in generalisation_gaps(evaluated, [Metric("accuracy")])}
    near, far = (evaluated.of("E3", split)[0].parts["test"] for split in ("stratified", "center_holdout"))
    again = unpaired_differences(Model((near,)), Model((far,)))["accuracy", ""]
    assert (gaps["E3"].gap, gaps["E3"].low, gaps["E3"].high) == (again.value, again.low, again.high)
    assert gaps["E3"].gap == pytest.approx(gaps["E3"].center_holdout - gaps["E3"].stratified)


def test_who_cannot_be_told_from_the_best_is_tied_with_it(four):
    with reading(four) as connection:
        verdict = verdict_of(connection, compared(connection))
    assert {test.second for test in verdict.tests} == {verdict.best} == {"E4"}
    assert verdict.tied == tuple(test.first for test in verdict.tests if test.adjusted_p >= 0.05)
    assert "Statistical ties: E4 does not differ significantly from" in verdict.ties()
    assert "in stratified accuracy (Holm-adjusted over 6 pairs" in verdict.ties()


def test_ties_concern_the_figure_that_decided_and_are_adjusted_over_all_pairs(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", FOUR, splits=("stratified",), skill=0.4)
    with sqlite3.connect(path) as connection:  # E1 and E3 are level on accuracy, and sensitivity decides
        connection.execute("UPDATE run_summaries SET accuracy = 0.1 * run_id")
        connection.execute(
            "UPDATE run_summaries SET accuracy = 0.9, malignant_sensitivity = 0.8 WHERE run_id = 3"
        )
        connection.execute(
            "UPDATE run_summaries SET accuracy = 0.9, malignant_sensitivity = 0.7 WHERE run_id = 1"
        )
    with reading(path) as connection:
        verdict = verdict_of(connection, compared(connection))
        evaluated = evaluated_runs(connection)
    assert (verdict.best, verdict.deciding, verdict.pairs) == ("E3", "stratified_malignant_sensitivity", 6)
    assert {test.first: test.figure for test in verdict.tests} == {
        "E1": "malignant_sensitivity",
        "E2": "accuracy",
        "E4": "accuracy",
    }
    for figure in (Metric("accuracy"), Metric("sensitivity", "Malignant")):
        pairs = paired_tests(evaluated, [figure], splits=["stratified"])
        assert [each.adjusted_p for each in pairs] == list(holm([each.p_value for each in pairs]))
        assert len(pairs) == 6
        for test in verdict.tests:
            if test.figure == figure.name:
                (pair,) = [each for each in pairs if {each.first, each.second} == {test.first, "E3"}]
                assert (test.p_value, test.adjusted_p) == (pair.p_value, pair.adjusted_p)
                assert test.difference == pytest.approx(pair.difference * (1 if pair.second == "E3" else -1))
    assert "E1 in stratified malignant sensitivity" in verdict.ties()
    assert "That is about these trained models" in verdict.ties()


def test_with_seeds_interval_and_p_are_of_t_over_images_and_seeds(seeds):
    with reading(seeds) as connection:
        evaluated = evaluated_runs(connection)
        tests = paired_tests(evaluated, splits=["stratified"])
        found, verdict = compared(connection), verdict_of(connection, compared(connection))
        notes = compare_as_asked(connection, Request("paired")).answer.notes
    for test in tests:
        assert test.test == "t over images and seeds"
        assert (test.p_value < 0.05) is (not test.low <= 0 <= test.high)
    assert "stratified: the tests allow for other images and for other seeds." in notes
    assert "That allows for other images and for other seeds." in verdict.ties()
    mean = found.mean("E1", "stratified_accuracy")
    assert mean.lowest <= mean.value <= mean.highest
    shown_cell = shown(found, "E1", "stratified_accuracy")
    assert shown_cell == f"{mean.value:.3f} (3 seeds: {mean.lowest:.3f}-{mean.highest:.3f})"
    assert as_json(found)["experiments"][0]["seeds"]["stratified_accuracy"]["n"] == 3


def test_the_optimism_stands_beside_the_winner_and_validation_says_whom_it_would_choose(four):
    with reading(four) as connection:
        verdict = verdict_of(connection, compared(connection))
    first = verdict.curse.figures[0]
    assert verdict.curse.by_test.winners == ("E4",)
    assert first.corrected == pytest.approx(first.apparent - first.optimism)
    assert f"optimistic by about {first.optimism:.3f}" in verdict.optimism()
    assert "The validation part would choose the same." in verdict.optimism()


def test_with_selection_on_validation_the_test_part_does_not_choose(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2"), skill=0.4)
    order = ("stratified_accuracy",)
    found = {}
    for part in ("test", "val"):
        with writing(path) as connection:
            chosen = SelectionSettings(order=order, part=part)
            record_study(connection, chosen, ReferenceSettings(), BaselineSettings(), 0)
        with reading(path) as connection:
            found[part] = compared(connection)
            verdict = verdict_of(connection, found[part])
            best = connection.execute(
                "SELECT experiment FROM part_figures WHERE part = ? AND split = 'stratified'"
                " ORDER BY accuracy DESC LIMIT 1",
                (part,),
            ).fetchone()[0]
        assert found[part].best == best
    assert found["test"].rows == found["val"].rows  # what is shown is the test part all the same
    assert "on the validation part" in found["val"].why
    assert "carry no optimism from the choice" in verdict.optimism()


def test_a_class_of_few_test_images_is_warned_of(four):
    with reading(four) as connection:
        verdict = verdict_of(connection, compared(connection))
    assert [note.split(";")[0] for note in verdict.notes] == [
        "stratified test part, Malignant: 10 images, fewer than 20",
        "centre-holdout test part, Malignant: 10 images, fewer than 20",
    ]


def test_looks_at_the_test_part_are_counted_from_the_ledger(seeds):
    with reading(seeds) as connection:
        verdict = verdict_of(connection, compared(connection))
    assert "stratified 6 times (experiments: 2, seeds: 3)" in verdict.looks()
    assert "Decisions taken in view of them: 0." in verdict.looks()


def test_what_was_tested_on_other_images_is_marked_and_left_out(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2"), splits=("stratified",))
    settled_ledger(path, ("E3",), kind="other", splits=("stratified",))
    with reading(path) as connection:
        found = compared(connection)
        evaluated = evaluated_runs(connection)
        answer = compare_as_asked(connection, Request("paired")).answer
    assert (evaluated.experiments, evaluated.elsewhere) == (("E1", "E2"), (Elsewhere("stratified", "E3"),))
    assert [found.marks(name, "stratified") for name in ("E1", "E2", "E3")] == ["", "", "‡"]
    assert found.best is None
    left_out = "Left out of the stratified split, since tested on other images: E3."
    assert left_out in answer.notes
    with reading(path) as connection:
        for request in (Request("seeds"), Request("figure", "accuracy")):
            answer = compare_as_asked(connection, request).answer
            assert {row["experiment"] for row in answer.rows} == {"E1", "E2"}
            assert left_out in answer.notes


def test_another_number_of_seeds_is_marked(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2"), splits=("stratified",))
    settled_ledger(path, ("E3",), (42, 43), splits=("stratified",))
    with reading(path) as connection:
        found = compared(connection)
    assert found.marks("E3", "stratified") == "§"
    assert any(warning.startswith("§ E3 stratified") for warning in found.warnings)


def test_every_figure_that_a_run_keeps_can_be_asked_for(four):
    with reading(four) as connection:
        for metric in known_metrics():
            answer = compare_as_asked(connection, Request("figure", metric.key)).answer
            assert [row["experiment"] for row in answer.rows] == [name for name in FOUR for _ in range(2)]
    assert metric_named("malignant_sensitivity") == Metric("sensitivity", "Malignant")
    with pytest.raises(MetricUnknown, match="did you mean 'accuracy'"):
        metric_named("acuracy")


@pytest.fixture
def study(four, tmp_path):
    with closing(sqlite3.connect(four)) as source, closing(sqlite3.connect(tmp_path / "ledger.db")) as copy:
        source.backup(copy)
    return Study(tmp_path)


@pytest.mark.parametrize(
    "question",
    [
        ("--paired",),
        ("--subgroups",),
        ("--seeds",),
        ("--calibration",),
        ("--metric", "log_loss"),
        ("--part", "val"),
    ],
)
def test_each_question_is_answered_in_every_format_and_changes_nothing(study, question):
    before = study.ledger.read_bytes()
    shown = study("compare", *question).stdout
    assert "Research use only, not for clinical use." in shown
    assert study.json("compare", *question)["note"] == "Research use only, not for clinical use."
    header, first, *_ = csv.reader(study("compare", *question, "--csv").stdout.splitlines())
    assert len(first) == len(header) > 5
    assert study("compare", *question, "--md").stdout.startswith("| ")
    assert study.ledger.read_bytes() == before
    assert not (study.artifacts / "comparison.csv").exists()


def test_the_queries_that_are_printed_give_the_same_rows(study):
    said = study("compare", "--sql").stdout
    (leaderboard,) = [query for query in said.split(";\n") if "leaderboard" in query]
    with closing(sqlite3.connect(study.ledger)) as connection:
        rows = connection.execute(leaderboard).fetchall()
        for query in filter(str.strip, said.split(";\n")):
            connection.execute(query)
    assert [row[1] for row in rows] == [row["Experiment ID"] for row in ranked(study)]


def ranked(study):
    rows = study.json("compare")["experiments"]
    return sorted(rows, key=lambda row: -row["Stratified Accuracy"])


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_other_intervals_come_from_the_predictions(study, method):
    stored, again = study.json("compare"), study.json("compare", "--intervals", method)
    for before, after in zip(stored["experiments"], again["experiments"], strict=True):
        figure = "stratified_accuracy"
        assert before["intervals"][figure] != after["intervals"][figure]
        low, high = after["intervals"][figure]
        assert low < after["Stratified Accuracy"] < high
    assert {row["interval_method"] for row in again["interval_methods"]} == {method}
    assert {row["interval_method"] for row in stored["interval_methods"]} == {"wilson", "logit-delong"}
    same = study.json("compare", "--intervals", "analytic")
    assert [row["intervals"] for row in same["experiments"]] == [
        row["intervals"] for row in stored["experiments"]
    ]
    assert "Intervals: Wilson (accuracy, sensitivity, specificity)" in " ".join(
        study("compare").stdout.split()
    )
    kept = json.loads((study.artifacts / "comparison.json").read_text())
    assert kept["experiments"][0]["intervals"] == stored["experiments"][0]["intervals"]


def test_runs_with_percentile_intervals_are_said_to_have_them(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2"), splits=("stratified",))
    with reading(path) as connection:
        assert not interval_notes(compared(connection).interval_methods)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE metrics SET interval_method = 'percentile' WHERE run_id = 1")
    with reading(path) as connection:
        (note,) = interval_notes(compared(connection).interval_methods)
        assert note in compared(connection).warnings
    assert note.startswith("The intervals of 1 run are percentile bootstrap intervals of an earlier")
    assert "boneexp compare --intervals analytic" in note


def test_a_pair_without_a_p_value_is_not_testable_and_no_tie():
    about = ("stratified", "test", "accuracy", "E1", "E2", 9)
    unknown = PairedTest(*about, 0.1, None, None, None, "delong", None)
    assert unknown.verdict == "not testable"
    assert replace(unknown, p_value=0.3, adjusted_p=0.3).verdict == "no significant difference"
    assert replace(unknown, p_value=0.01, adjusted_p=0.01).verdict == "differ"


@pytest.mark.parametrize(
    ("given", "said", "code"),
    [
        (("--paired", "--seeds"), "contradict each other", 2),
        (("--paired", "--intervals", "bca"), "contradict each other", 2),
        (("--part", "train"), "one of test, val", 2),
        (("--intervals", "normal"), "one of stored, analytic, percentile, bca", 2),
        (("--metric", "f2"), "there is no metric 'f2'", 1),
        (("--seeds", "--only", "E1"), "--only needs --paired", 2),
        (("--paired", "--only", "E1,E9"), "no experiment 'E9' is compared", 1),
        (("--paired", "--metric", "temperature"), "no paired test of temperature", 1),
        (("--subgroups", "--metric", "temperature"), "rests on validation", 1),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(study, given, said, code):
    assert said in " ".join(study("compare", *given, code=code).output.split())


def test_comparison_json_has_what_stands_behind_the_best(study):
    study("compare")
    verdict = json.loads((study.artifacts / "comparison.json").read_text())["verdict"]
    assert verdict["deciding_figure"] == "stratified_accuracy"
    assert verdict["winners_curse"]["by_test"]["winners"] == ["E4"]
    assert [use["finished_runs"] for use in verdict["test_part_uses"]] == [4, 4]


def test_a_grid_too_large_for_ties_says_so(tmp_path, monkeypatch):
    from boneexp.comparison import verdict as choice

    monkeypatch.setattr(choice, "MOST_CANDIDATES", 1)
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2"), splits=("stratified",))
    with reading(path) as connection:
        verdict = verdict_of(connection, compared(connection))
    assert (verdict.tests, verdict.curse) == ((), None)
    assert "this grid has more" in verdict.notes[-1]


def test_of_many_experiments_the_best_ranked_are_shown(four, monkeypatch):
    from boneexp.cli import compared_tables
    from boneexp.cli.compared_tables import comparison_parts

    monkeypatch.setattr(compared_tables, "MOST_COMPARED", 2)
    with reading(four) as connection:
        found = compared(connection)
    table, *_ = comparison_parts(found)
    best = sorted(row.experiment_id for row in found.leaderboard[:2])
    assert list(table.columns[0].cells) == best
    assert table.caption == "and 2 more; all of them with --csv or --json"


@pytest.mark.parametrize("question", [("--paired",), ("--subgroups",), ("--intervals", "bca")])
def test_predictions_of_too_many_runs_are_not_read_and_some_can_be_named(study, monkeypatch, question):
    from boneexp.comparison import answers

    monkeypatch.setattr(answers, "MOST_CANDIDATES", 3)
    said = " ".join(study("compare", *question, code=1).output.split())
    assert "4 experiments with 8 finished runs are too many" in said
    if "--intervals" not in question:
        rows = list(study.json("compare", *question, "--only", "E1,E3")["tables"].values())[0]
        assert {row.get("experiment", row.get("first")) for row in rows} <= {"E1", "E3"}


def test_a_subgroup_of_few_images_is_marked_with_the_classes_that_are_few(study):
    rows = study.json("compare", "--subgroups")["tables"]["Subgroups, test part"]
    marks = {(row["images"], row["malignant"]): row["fewer_than_20"] for row in rows}
    few = [mark.split(", ") for (images, _), mark in marks.items() if images < 20]
    assert few and all(mark[0] == "all classes" for mark in few)
    assert all("Malignant" in mark for (_, malignant), mark in marks.items() if 0 < malignant < 20)
    assert all("all classes" not in mark for (images, _), mark in marks.items() if images >= 20)


def test_an_empty_ledger_has_nothing_to_compare(tmp_path):
    open_ledger(tmp_path / "ledger.db")
    assert "no experiment is in the ledger yet" in Study(tmp_path)("compare", "--paired", code=4).output
