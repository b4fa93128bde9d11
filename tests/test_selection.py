import sqlite3
from contextlib import closing
from fractions import Fraction
from itertools import permutations

import pytest
import specs as make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed_again import seal_again
from settled_ledger import settled_ledger

from boneexp.comparison.compared import best_sentence, compared
from boneexp.comparison.leakage import NO_PATIENTS, leak_sentence
from boneexp.comparison.ranking import choose
from boneexp.comparison.references import Reference, held_against_target
from boneexp.comparison.verdict import verdict_of
from boneexp.evaluation.intervals import wilson_interval
from boneexp.evaluation.multiplicity import Estimate
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.queries.datasets import SplitOverlap
from boneexp.ledger.queue import claim_next
from boneexp.ledger.settling import finish
from boneexp.ledger.study import record_study
from boneexp.ledger.summaries import summarise
from boneexp.results import CLASS_NAMES, mean_metric
from boneexp.study.decision_settings import BaselineSettings, ReferenceSettings, SelectionSettings
from boneexp.text.labels import label

ORDER = ("stratified_accuracy", "stratified_malignant_sensitivity", "center_holdout_accuracy")


def settle(ledger, spec, accuracy, malignant=0.5):
    with writing(ledger) as connection:
        make.queued(connection, [spec])
        claim = claim_next(connection, make.WORKER, 0, 60)
        path = f"{claim.folder}/best.pt"
        assert finish(connection, claim, make.finished(accuracy, malignant, path=path), 1)


def study(ledger, figures, **study_figures):
    """Settle {experiment: (stratified accuracy, malignant sensitivity, centre-holdout accuracy)}."""
    for experiment, (accuracy, malignant, held_out) in figures.items():
        settle(ledger, make.spec(experiment), accuracy, malignant)
        settle(ledger, make.spec(experiment, split="center_holdout"), held_out)
    with writing(ledger) as connection:
        record_study(
            connection,
            SelectionSettings(),
            ReferenceSettings(**study_figures.get("targets", {})),
            BaselineSettings(comparable_to=make.FACTS.name, **study_figures.get("baseline", {})),
            0,
        )
    with reading(ledger) as connection:
        return compared(connection)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ((0.7, 0.9, 0.9), "E1 has the highest stratified accuracy: 0.800, next E2 with 0.700"),
        (
            (0.8, 0.5, 0.9),
            "equal to E2 in stratified accuracy, E1 has the highest stratified malignant sensitivity",
        ),
        ((0.8, 0.6, 0.1), "E1 has the highest centre-holdout accuracy: 0.300, next E2 with 0.100"),
    ],
)
def test_the_first_key_that_differs_decides(ledger, second, why):
    found = study(ledger, {"E1": (0.8, 0.6, 0.3), "E2": second})
    assert found.best == "E1"
    assert why in found.why


def test_every_equal_experiment_is_named_and_a_person_decides(ledger):
    equal, worse = (0.8, 0.6, 0.3), (0.7, 0.9, 0.9)
    found = study(ledger, {"E1": equal, "E2": equal, "E3": worse, "E4": equal})
    assert (found.best, found.equal_to) == ("E1", ("E2", "E4"))
    assert "E1, E2 and E4 are equal in" in found.why
    assert "a person must decide" in found.why
    assert best_sentence(found).startswith("Best: E1 (equal to E2 and E4): ")
    assert [row.place for row in found.leaderboard] == [1, 1, 1, 4]


def test_the_only_experiment_is_not_called_the_best_of_itself(ledger):
    found = study(ledger, {"E1": (0.8, 0.6, 0.3)})
    assert found.best == "E1"
    assert best_sentence(found).startswith("E1 is the only experiment that can be ranked")


def test_the_reason_names_everyone_who_was_level_until_it_decided(ledger):
    found = study(
        ledger, {"E1": (0.8, 0.6, 0.3), "E2": (0.8, 0.5, 0.9), "E3": (0.8, 0.5, 0.1), "E4": (0.7, 0.9, 0.9)}
    )
    assert found.why == (
        "equal to E2 and E3 in stratified accuracy, E1 has the highest stratified malignant sensitivity: "
        "0.600, next E2 and E3 with 0.500"
    )


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """Four experiments with five finished seeds on one split, whose summaries a test may rewrite."""
    path = open_ledger(tmp_path_factory.mktemp("seeded") / "ledger.db")
    for experiment in ("E1", "E2", "E3", "E4"):
        for seed in range(5):
            settle(path, make.spec(experiment, seed=seed), 0.8)
    with writing(path) as connection:
        rule = SelectionSettings(order=("stratified_accuracy",))
        record_study(connection, rule, ReferenceSettings(), BaselineSettings(), 0)
    return path


def shares_of(images):
    """Totals of five seeds each, so that equal ones are frequent: hits in every seed's test part."""
    hits = st.lists(st.integers(0, min(images, 4)), min_size=5, max_size=5)
    return st.tuples(st.just(images), st.integers(0, images - min(images, 4)), *[hits] * 4)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([3, 7, 10, 51, 107, 256, 512, 564, 808, 1024, 1536]).flatmap(shares_of))
def test_ranks_are_those_of_exact_fractions_in_whatever_order_seeds_are_added(seeded, drawn):
    images, base, *of_experiments = drawn
    exact = [sum(Fraction(base + hit, images) for hit in hits) / 5 for hits in of_experiments]
    with closing(sqlite3.connect(seeded)) as connection:
        connection.row_factory = sqlite3.Row
        run = iter(range(1, 21))
        for hits in of_experiments:
            for hit in hits:
                connection.execute(
                    "UPDATE run_summaries SET accuracy = ? WHERE run_id = ?",
                    ((base + hit) / images, next(run)),
                )
        rows = connection.execute("SELECT experiment_id, place, key_1 FROM leaderboard").fetchall()
        spread = connection.execute(
            "SELECT accuracy_min <= accuracy AND accuracy <= accuracy_max FROM experiment_figures"
        ).fetchall()
    places = {row["experiment_id"]: row["place"] for row in rows}
    keys = {row["experiment_id"]: row["key_1"] for row in rows}
    for number, mean in enumerate(exact):
        assert places[f"E{number + 1}"] == 1 + sum(other > mean for other in exact)
        shares = [(base + hit) / images for hit in of_experiments[number]]
        assert keys[f"E{number + 1}"] == mean_metric(shares) == pytest.approx(float(mean), abs=1e-9)
    assert all(row[0] for row in spread)


def test_a_single_class_predictor_is_marked_and_never_the_best_while_another_is_not_one(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2", "E3"), skill=0.0)
    always_normal(path, 5)
    with sqlite3.connect(
        path
    ) as connection:  # 30 of 60 test images are Normal, so it has the highest accuracy
        connection.execute("UPDATE run_summaries SET accuracy = 0.4 - run_id / 100.0 WHERE run_id < 5")
    with reading(path) as connection:
        found, verdict = compared(connection), verdict_of(connection, compared(connection))
    assert found.mean("E3", "stratified_accuracy").value == 0.5
    assert [(row.experiment_id, row.place, row.single_class) for row in found.leaderboard] == [
        ("E1", 1, 0),
        ("E2", 2, 0),
        ("E3", 3, 1),
    ]
    assert found.best == "E1"
    assert found.marks("E3", "stratified") == "¶"
    assert any("¶ E3 stratified: a single-class predictor" in warning for warning in found.warnings)
    assert set(verdict.curse.by_test.wins) == {"E1", "E2"}


def test_where_every_experiment_is_one_the_rule_decides_among_them(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", ("E1", "E2"), splits=("stratified",), skill=0.0)
    always_normal(path, 1)
    with reading(path) as connection:
        found = compared(connection)
        assert found.why.startswith("E1 predicts one class only, and is no candidate while E2")
        assert verdict_of(connection, found).optimism() == ""  # nothing was chosen of one candidate
    always_normal(path, 2)
    with reading(path) as connection:
        found = compared(connection)
    assert (found.best, found.equal_to) == ("E1", ("E2",))


def always_normal(path, run_id):
    """Rewrite a run's figures to those of calling every test image Normal."""
    figures = {
        ("accuracy", ""): 0.5,
        **{("sensitivity", name): float(name == "Normal") for name in CLASS_NAMES},
        **{("specificity", name): float(name != "Normal") for name in CLASS_NAMES},
    }
    with sqlite3.connect(path) as connection:
        for (metric, name), value in figures.items():
            connection.execute(
                "UPDATE metrics SET value = ?"
                " WHERE run_id = ? AND part = 'test' AND metric = ? AND class_name = ?",
                (value, run_id, metric, name),
            )
        connection.execute("DELETE FROM run_summaries WHERE run_id = ?", (run_id,))
        summarise(connection, run_id)
    seal_again(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group_column": ""}, NO_PATIENTS),
        ({"group_column": "", "split": "center_holdout"}, ""),
        ({}, ""),
        (
            {"images_without_group": 12},
            "12 images of training and test of the stratified split have no patient",
        ),
        ({"images_of_shared_groups": 7}, "7 of 60 test images share their patient with a training image"),
        (
            {"images_of_shared_pictures": 2, "group_column": ""},
            "2 of 60 test images share the picture with a",
        ),
        (
            {"images": None, "images_of_shared_groups": None, "images_of_shared_pictures": None},
            "was not counted",
        ),
    ],
)
def test_what_is_said_of_a_leak_is_what_was_counted(change, said):
    counts = {
        "group_column": "patient",
        "images": 60,
        "images_of_shared_groups": 0,
        "images_of_shared_pictures": 0,
        "images_without_group": 0,
    }
    sentence = leak_sentence(SplitOverlap(**{"split": "stratified", **counts, **change}))
    assert said in sentence
    assert bool(sentence) is bool(said)


def test_the_mean_is_the_same_float_in_any_order_of_addition():
    shares = [0.1, 0.7, 1 / 3, 0.2, 2 / 3]
    assert len({sum(order) / 5 for order in permutations(shares)}) > 1
    assert len({mean_metric(order) for order in permutations(shares)}) == 1
    assert mean_metric([0.7, 0.8]) == 0.75


def test_results_of_different_test_sets_are_not_ranked_together(ledger):
    study(ledger, {"E1": (0.8, 0.6, 0.3)})
    other = make.spec("E2").model_copy(update={"split_digest": "d" * 64})
    settle(ledger, other, 0.9)
    with reading(ledger) as connection:
        found = compared(connection)
    assert found.best is None
    assert "different images" in found.why
    assert [row.place for row in found.leaderboard] == [1, 1]


def test_several_seeds_are_averaged_and_have_no_interval(ledger):
    settle(ledger, make.spec(seed=1), 0.8)
    settle(ledger, make.spec(seed=2), 0.6)
    with reading(ledger) as connection:
        found = compared(connection)
    mean = found.mean("E1", "stratified_accuracy")
    assert mean.value == pytest.approx(0.7)
    assert (mean.low, mean.high) == (None, None)
    assert (mean.lowest, mean.highest, mean.seeds) == (0.6, 0.8, 2)


def test_deltas_and_targets_hold_what_is_known(ledger):
    targets = {"stratified_accuracy": 0.65, "gradcam_iou": 0.15}
    found = study(ledger, {"E1": (0.8, 0.6, 0.3)}, targets=targets, baseline={"center_holdout_accuracy": 0.4})
    assert found.deltas("E1") == {"center_holdout_accuracy": pytest.approx(-0.1)}
    accuracy, iou = found.targets_of("E1")
    assert (accuracy.met, accuracy.met_by_interval) == (True, True)
    assert (iou.met, iou.met_by_interval) == (None, False)


def test_an_interval_without_width_passes_no_target():
    bar, certain = Reference(0.7), Estimate("accuracy", 1.0, 1.0, 1.0)
    held = held_against_target("f", bar, 1.0, certain, candidates=1, comparable=True)
    assert (held.met, held.met_by_interval, held.low) == (True, False, None)
    wide = Estimate("accuracy", 0.8, 0.65, 0.9)
    held = held_against_target("f", bar, 0.8, wide, candidates=1, comparable=True)
    assert (held.met, held.met_by_interval) == (True, False)


def test_a_target_that_one_model_meets_surely_the_best_of_many_may_not():
    low, high = wilson_interval(450, 564, 0.95)
    of_one, of_many = (
        held_against_target(
            "f",
            Reference(0.76),
            450 / 564,
            Estimate("accuracy", 450 / 564, low, high),
            candidates=k,
            comparable=True,
        )
        for k in (1, 16)
    )
    assert (of_one.met_by_interval, of_many.met_by_interval) == (True, False)
    assert of_one.low == pytest.approx(low)


def test_an_empty_ledger_has_no_best():
    assert choose([], ORDER).best is None


def test_figures_are_worded_for_people():
    assert label("center_holdout_macro_auroc") == "centre-holdout macro AUROC"
