"""Temperature scaling against scipy's minimiser, and where there is nothing to fit."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from sklearn.metrics import log_loss
from two_models import softmax, two_models

from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import evaluated
from boneexp.evaluation.temperature import (
    HIGHEST,
    LOWEST,
    TEMPERED,
    fit_temperature,
    tempered,
    tempered_values,
)
from boneexp.results import CLASS_NAMES


def labels_drawn_from(probabilities, seed):
    draws = np.random.default_rng(seed).random(len(probabilities))
    return (probabilities.cumsum(axis=1) < draws[:, None]).sum(axis=1).clip(max=2)


@pytest.mark.parametrize("boldness", [0.3, 1.0, 4.0])
def test_the_temperature_is_where_scipy_finds_the_lowest_log_loss(boldness):
    logits = np.random.default_rng(1).normal(size=(500, 3)) * 1.5
    labels = labels_drawn_from(softmax(logits), 2)
    probabilities = softmax(logits * boldness)

    def loss(log_temperature):
        return log_loss(
            labels, scipy.special.softmax(np.log(probabilities) / np.exp(log_temperature), axis=1)
        )

    expected = scipy.optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    ours = fit_temperature(labels, probabilities)
    assert ours == pytest.approx(np.exp(expected.x), rel=1e-5)
    assert ours == pytest.approx(boldness, rel=0.15)  # what was done to true probabilities is undone
    assert loss(np.log(ours)) <= loss(0)


def test_tempered_is_a_softmax_of_divided_logits_and_one_changes_nothing():
    logits = np.random.default_rng(3).normal(size=(20, 3)) * 3
    np.testing.assert_allclose(tempered(softmax(logits), 2.5), softmax(logits / 2.5), rtol=1e-12)
    np.testing.assert_allclose(tempered(softmax(logits), 1.0), softmax(logits), rtol=1e-12)
    assert (tempered(softmax(logits), 7.0).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_where_the_loss_falls_to_the_end_the_end_is_taken():
    labels = np.array([0, 1, 2, 1])
    right = softmax(np.eye(3)[labels])
    assert fit_temperature(labels, right) == LOWEST
    assert fit_temperature((labels + 1) % 3, right) == HIGHEST
    assert fit_temperature(labels, np.full((4, 3), 1 / 3)) == HIGHEST  # they tell nothing at any temperature
    assert fit_temperature(np.array([1]), np.array([[0.2, 0.5, 0.3]])) == LOWEST


def test_probabilities_of_exactly_zero_and_one_are_made_more_careful():
    labels = np.array([0] * 9 + [1])
    probabilities = np.tile([1.0, 0.0, 0.0], (10, 1))  # sure of the first class, and wrong once in ten
    temperature = fit_temperature(labels, probabilities)
    assert 1 < temperature < HIGHEST
    assert tempered(probabilities, temperature)[0, 0] == pytest.approx(0.9, abs=1e-6)
    assert np.isfinite(tempered(probabilities, LOWEST)).all()


def bold_parts():
    parts = []
    for seed in (1, 2):
        model, _ = two_models(seed, sizes=(150, 120, 60), signals=(1.2, 1))
        bold = model.probabilities**3
        bold /= bold.sum(axis=1, keepdims=True)
        parts.append(predictions_of(model.labels, bold, CLASS_NAMES, model.image_ids))
    return parts


def test_what_is_fitted_on_validation_mends_the_test_part():
    validation, test = bold_parts()
    values = {value.metric: value for value in tempered_values(validation, test, seed=3, resamples=100)}
    assert tuple(values) == TEMPERED
    before = {value.metric: value for value in evaluated(test, seed=3, resamples=100)}
    assert values["temperature"].value == fit_temperature(validation.labels, validation.probabilities) > 1.5
    for metric in ("log_loss", "brier_score", "expected_calibration_error"):
        assert values[f"{metric}_tempered"].value < before[metric].value
        assert values[f"{metric}_tempered"].class_name == ""
    after = tempered(test.probabilities, values["temperature"].value)
    assert values["log_loss_tempered"].value == pytest.approx(log_loss(test.labels, after))
    assert (
        values["log_loss_tempered"].low < values["log_loss_tempered"].value < values["log_loss_tempered"].high
    )
    assert values["expected_calibration_error_tempered"].low is None
    moved = tempered_values(validation, test, seed=3, resamples=100, method="bca")
    assert moved[1].value == values["log_loss_tempered"].value
    assert moved[1].low != values["log_loss_tempered"].low
