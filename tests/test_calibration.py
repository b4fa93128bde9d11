"""Whether labels could have been drawn from the probabilities: level, power, and what groups do to it."""

import numpy as np
import pytest
from two_models import softmax, two_models

from boneexp.evaluation.calibration import consistency, scaled_brier
from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import evaluated
from boneexp.results import CLASS_NAMES

METRICS = ("expected_calibration_error", "log_loss", "brier_score")


def drawn_labels(probabilities, chance):
    return (chance[:, None] >= probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)


def calibrated(seed, images=110, boldness=1.0, views=1):
    """Return predictions whose labels were drawn from them, then made bolder; views share both."""
    generator = np.random.default_rng(seed)
    patients = np.arange(images) // views
    probabilities = softmax(1.5 * generator.normal(size=(images, 3)))[patients]
    labels = drawn_labels(probabilities, generator.random(images)[patients])
    groups = [f"p{number}" for number in patients] if views > 1 else None
    said = softmax(np.log(probabilities) * boldness)
    return predictions_of(labels, said, CLASS_NAMES, [f"i{n:04d}" for n in range(images)], groups)


@pytest.mark.parametrize("metric", METRICS)
def test_the_figure_is_the_one_that_runs_report(metric):
    model, _ = two_models(1)
    reported = {value.metric: value.value for value in evaluated(model, seed=0, resamples=0)}
    assert consistency(model, metric, seed=1, draws=5).value == pytest.approx(reported[metric], abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_its_mean_is_that_over_labels_drawn_from_the_probabilities(metric):
    model = calibrated(3, images=60)
    generator, figures = np.random.default_rng(4), []
    for _ in range(300):
        labels = drawn_labels(model.probabilities, generator.random(60))
        figures.append(
            consistency(predictions_of(labels, model.probabilities, CLASS_NAMES), metric, seed=0, draws=1)
        )
    other = np.array([each.value for each in figures])
    expected = consistency(model, metric, seed=5, draws=1000).expected
    assert expected == pytest.approx(other.mean(), abs=4 * other.std() / 300**0.5)


@pytest.mark.parametrize("views", [1, 3])
def test_true_probabilities_are_rejected_in_about_five_per_cent_and_bold_ones_nearly_always(views):
    for metric in METRICS:
        true = [
            consistency(calibrated(n, views=views), metric, seed=n, draws=200).p_value for n in range(200)
        ]
        assert 0.01 <= np.mean(np.array(true) < 0.05) <= 0.1
        bold = consistency(calibrated(0, images=300, boldness=4, views=views), metric, seed=0, draws=200)
        assert bold.p_value < 0.01
        assert bold.excess > 0


def test_views_of_one_patient_are_no_independent_evidence():
    grouped = [calibrated(n, views=3) for n in range(200)]
    alone = [predictions_of(each.labels, each.probabilities, CLASS_NAMES) for each in grouped]
    rejected = np.mean([consistency(each, seed=1, draws=200).p_value < 0.05 for each in alone])
    assert rejected > 0.2  # as independent images, four times too often


def test_too_careful_probabilities_are_found_by_a_log_loss_below_what_they_give():
    careful = consistency(calibrated(1, images=400, boldness=0.4), "log_loss", seed=1, draws=400)
    assert careful.excess < 0
    assert careful.p_value < 0.01


def test_the_test_is_the_same_whenever_it_is_made_and_never_gives_a_p_of_zero():
    bold = calibrated(1, images=400, boldness=6)
    first = consistency(bold, seed=9, draws=50)
    assert first == consistency(bold, seed=9, draws=50)
    assert first.p_value == 1 / 51


def test_the_scaled_brier_score_is_zero_for_the_class_frequencies_and_one_for_certainty():
    labels = np.repeat([0, 1, 2], (30, 20, 10))
    frequencies = np.tile([0.5, 1 / 3, 1 / 6], (60, 1))
    assert scaled_brier(predictions_of(labels, frequencies, CLASS_NAMES)) == pytest.approx(0, abs=1e-12)
    assert scaled_brier(predictions_of(labels, np.eye(3)[labels], CLASS_NAMES)) == 1
    assert scaled_brier(predictions_of(labels[:5], frequencies[:5], CLASS_NAMES)) is None
