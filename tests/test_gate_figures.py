"""How the gate judges calibration and subgroups: in how many studies a model fails that should not."""

import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from test_calibration import calibrated
from two_models import softmax

from boneexp.comparison.predictions import predictions_of_run
from boneexp.evaluation.calibration import Consistency
from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.paired import holm
from boneexp.ledger.database import reading
from boneexp.ledger.queries.experiments import chosen_run
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.promotion.gate.calibration import Part, calibration_condition, is_calibrated, part_of
from boneexp.promotion.gate.subgroups import LEVEL, binomial_tail, worst_subgroups
from boneexp.results import CLASS_NAMES
from boneexp.study.decision_settings import PromotionSettings

ECE = "expected_calibration_error"


@pytest.fixture
def ledger(settled, tmp_path):
    shutil.copytree(settled, tmp_path / "study")
    return tmp_path / "study" / "ledger.db"


def change_rows(ledger, changed):
    """Write (group, three probabilities) of each test prediction of E2 anew, as `changed` gives them."""
    with sqlite3.connect(ledger) as connection:
        query = """SELECT run_id, image_id, group_id, p_normal, p_benign, p_malignant FROM predictions
                   WHERE run_id IN (3, 4) AND part = 'test' ORDER BY run_id, image_id"""
        rows = connection.execute(query).fetchall()
        connection.executemany(
            """UPDATE predictions SET group_id = ?, p_normal = ?, p_benign = ?, p_malignant = ?
               WHERE part = 'test' AND run_id = ? AND image_id = ?""",
            [(*changed(number, *row[2:]), *row[:2]) for number, row in enumerate(rows)],
        )


def calibration(ledger, run_ids=(3, 4), **keys):
    policy = PromotionSettings.model_validate(keys)
    with reading(ledger) as connection:
        runs = [chosen_run(connection, run_id) for run_id in run_ids]
        return calibration_condition(connection, runs, policy)


def subgroups(ledger, run_ids=(3, 4), **keys):
    policy = PromotionSettings.model_validate(keys)
    with reading(ledger) as connection:
        runs = [chosen_run(connection, run_id) for run_id in run_ids]
        return list(worst_subgroups(connection, runs, policy))


# Calibration.


@pytest.mark.parametrize("parts", [1, 2])
def test_a_perfectly_calibrated_model_fails_in_about_one_study_of_twenty(parts):
    fails = 0
    for study in range(80):
        found = [part_of("p", calibrated(parts * study + n, images=110), ECE) for n in range(parts)]
        fails += not is_calibrated(found, ECE, 0.0)
    assert 1 <= fails <= 10


def test_a_model_that_calls_every_image_the_same_does_not_pass_whatever_its_probabilities():
    labels = np.repeat([0, 1, 2], (55, 37, 18))
    frequencies = np.tile(np.bincount(labels) / 110, (110, 1))
    part = part_of("test", predictions_of(labels, frequencies, CLASS_NAMES), ECE)
    assert part.tested.p_value > 0.5  # these are true probabilities, and tell nothing
    assert part.only_class == "Normal"
    for metric, bound in ((ECE, 0.0), (ECE, 0.5), ("log_loss", 5.0), ("brier_score", 0.0)):
        assert not is_calibrated([part], metric, bound)
    assert "every image predicted as Normal" in part.shown()


def part_with(value, expected, p_value):
    return Part("test", Consistency(value, expected, p_value), "")


def test_a_bound_is_how_far_the_error_may_lie_above_that_of_true_probabilities():
    assert is_calibrated([part_with(0.255, 0.06, 0.001)], ECE, 0.2)
    assert not is_calibrated([part_with(0.265, 0.06, 0.001)], ECE, 0.2)
    assert is_calibrated([part_with(0.265, 0.06, 0.06)], ECE, 0.2)  # chance gives as much
    assert not is_calibrated([part_with(0.265, 0.06, 0.03)], ECE, 0.0)
    other = part_with(0.05, 0.06, 0.8)
    assert is_calibrated([part_with(0.265, 0.06, 0.03), other], ECE, 0.0)  # Holm over the two
    assert not is_calibrated([part_with(0.265, 0.06, 0.02), part_with(0.05, 0.06, 0.8)], ECE, 0.0)


def test_of_log_loss_and_brier_score_the_bound_is_one_of_the_figure_itself():
    for metric in ("log_loss", "brier_score"):
        assert is_calibrated([part_with(0.595, 0.3, 0.001)], metric, 0.6)
        assert not is_calibrated([part_with(0.605, 0.6, 0.9)], metric, 0.6)
        assert not is_calibrated([part_with(0.605, 0.4, 0.001)], metric, 0.0)


def test_the_condition_is_held_against_the_runs_own_predictions(ledger):
    assert calibration(ledger).met is True
    change_rows(ledger, lambda number, group, *chances: (group, *softmax(4 * np.log([chances]))[0].tolist()))
    with reading(ledger) as connection:
        tested = [part_of("", predictions_of_run(connection, run, "test"), ECE).tested for run in (3, 4)]
    excess = max(each.excess for each in tested if each.p_value < 0.025)
    assert calibration(ledger).met is False
    assert calibration(ledger, calibration_at_most=excess + 0.005).met is True
    found = calibration(ledger, calibration_at_most=excess - 0.005)
    assert found.met is False
    assert f"{tested[0].value:.3f}, {tested[0].expected:.3f} expected, p = " in found.found
    assert f"at most {excess - 0.005:g} above what true probabilities would give" in found.asked


def test_after_scaling_it_is_held_against_the_temperature_of_the_ledger(ledger):
    scaled = calibration(ledger, temperature_scaling=True)
    assert (
        scaled.asked
        == "expected calibration error after temperature scaling: what true probabilities would give"
    )
    assert scaled.found != calibration(ledger).found
    with sqlite3.connect(ledger) as connection:
        stored = connection.execute(
            "SELECT value FROM metrics WHERE run_id = 3 AND metric = 'expected_calibration_error_tempered'"
        ).fetchone()[0]
        connection.execute("DELETE FROM metrics WHERE metric = 'temperature' AND run_id = 4")
    assert scaled.found.startswith(f"{stored:.3f}, ")
    assert "no temperature reported (centre-holdout)" in calibration(ledger, temperature_scaling=True).found


# Subgroups.


def failing(hits, sizes, floor):
    """Return in which rows of (b, subgroups) hits any subgroup fails, as the condition judges them."""
    tails = {size: np.array([binomial_tail(k, size, floor) for k in range(size + 1)]) for size in set(sizes)}
    p_values = np.column_stack([tails[size][column] for size, column in zip(sizes, hits.T, strict=True)])
    return p_values.min(axis=1) * len(sizes) < LEVEL  # Holm's smallest


@pytest.mark.parametrize(
    ("floor", "truth", "most"), [(0.5, 0.5, 0.055), (0.9, 0.9, 0.055), (0.5, 0.61, 0.005)]
)
def test_a_model_at_the_floor_everywhere_fails_in_at_most_five_per_cent(floor, truth, most):
    generator = np.random.default_rng(5)
    for sizes in ([30] * 8, [20] * 30, [200, 60, 40, 20]):
        hits = generator.binomial(sizes, truth, size=(4000, len(sizes)))
        assert failing(hits, sizes, floor).mean() <= most


def test_one_subgroup_far_below_the_floor_is_found_among_many():
    hits = np.array([[8, *[40] * 20], [17, *[40] * 20]])
    assert failing(hits, [40, *[60] * 20], 0.5).tolist() == [True, False]


def test_the_tail_is_the_binomial_one():
    for hits, total, chance in ((3, 20, 0.4), (0, 7, 0.5), (7, 7, 0.3), (60, 100, 0.7)):
        assert binomial_tail(hits, total, chance) == pytest.approx(scipy.stats.binom.cdf(hits, total, chance))
    assert binomial_tail(19, 20, 1.0) == 0
    assert binomial_tail(0, 20, 0.0) == 1


def test_the_floor_moves_the_verdict_where_the_test_says_so(ledger):
    keys = {"subgroups": ["centre"], "smallest_subgroup": 5}
    with reading(ledger) as connection:
        tested = [each for each in prediction_rows(connection, 4) if each.part == "test"]
    right = {}
    for each in tested:
        right.setdefault(each.center, []).append(int(np.argmax(each.probabilities)) == each.label)
    counted = [(sum(hits), len(hits)) for hits in right.values()]

    def lowest(floor):
        return min(holm([binomial_tail(*each, floor) for each in counted]))

    floors = np.linspace(0.3, 0.99, 691)
    turn = next(floor for floor in floors if lowest(floor) < LEVEL)
    assert subgroups(ledger, (4,), **keys, least_accuracy=turn - 0.005)[0].met is True
    found = subgroups(ledger, (4,), **keys, least_accuracy=turn + 0.005)[0]
    assert found.met is False
    assert f"{len(counted)} subgroups judged, p = 0.0" in found.found


def test_views_of_one_patient_count_as_one_in_a_subgroup(ledger):
    alone = subgroups(ledger, (4,), subgroups=["centre"], smallest_subgroup=25)[0]
    change_rows(ledger, lambda number, group, *chances: (f"p{number // 3}", *chances))
    found = subgroups(ledger, (4,), subgroups=["centre"], smallest_subgroup=25)[0]
    assert alone.met is not None
    assert found.found != alone.found
    assert "fewer than 25 images or patients not judged" in found.found


def test_a_part_is_named_with_its_figures():
    part = replace(part_with(0.1, 0.05, 0.2), name="stratified")
    assert part.shown() == "0.100, 0.050 expected, p = 0.200 (stratified)"
