"""Calibration slope and intercept against scikit-learn and scipy, and where there is nothing to fit."""

import numpy as np
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression
from two_models import softmax, two_models

from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.recalibration import recalibrations
from boneexp.evaluation.subgroups import FEWEST
from boneexp.results import CLASS_NAMES


def logits_of(model, label):
    own = model.probabilities[:, label]
    return np.log(own / (1 - own))


@pytest.mark.parametrize("boldness", [0.4, 1.0, 3.0])
def test_slope_and_intercept_are_those_of_scikit_learn_and_scipy(boldness):
    model, _ = two_models(2, sizes=(150, 100, 51))
    bold = softmax(np.log(model.probabilities) * boldness)
    model = predictions_of(model.labels, bold, CLASS_NAMES, model.image_ids)
    for label, found in enumerate(recalibrations(model)):
        logits, positive = logits_of(model, label), model.labels == label
        fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], positive)
        assert found.slope.value == pytest.approx(fitted.coef_[0, 0], rel=1e-4)

        def loss(intercept, logits=logits, positive=positive):
            return np.logaddexp(0, logits + intercept).sum() - (logits + intercept)[positive].sum()

        expected = scipy.optimize.minimize_scalar(
            loss, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10}
        )
        assert found.intercept.value == pytest.approx(expected.x, abs=1e-5)
        # The curvature of the likelihood by differences gives the width of the interval.
        curvature = (loss(expected.x + 1e-3) - 2 * loss(expected.x) + loss(expected.x - 1e-3)) / 1e-6
        assert found.intercept.high - found.intercept.low == pytest.approx(
            2 * 1.959964 / curvature**0.5, rel=1e-3
        )
        assert (found.class_name, found.images) == (CLASS_NAMES[label], positive.sum())


def test_bolder_probabilities_have_a_slope_that_undoes_it():
    model, _ = two_models(2, sizes=(150, 100, 51))
    own = model.probabilities[:, 2]
    twice = 1 / (1 + ((1 - own) / own) ** 2)  # twice the logit
    rest = (1 - twice)[:, None] / 2
    bold = predictions_of(model.labels, np.column_stack([rest, rest, twice]), CLASS_NAMES)
    before, after = recalibrations(model)[2].slope, recalibrations(bold)[2].slope
    assert after.value == pytest.approx(before.value / 2, rel=1e-6)
    assert after.low == pytest.approx(before.low / 2, rel=1e-6)


def test_groups_widen_the_intervals():
    grouped, _ = two_models(4, sizes=(150, 99, 51), views=3)
    doubled = predictions_of(
        np.repeat(grouped.labels, 2),
        np.repeat(grouped.probabilities, 2, axis=0),
        CLASS_NAMES,
        groups=[name for name in range(300) for _ in range(2)],
    )
    alone = predictions_of(grouped.labels, grouped.probabilities, CLASS_NAMES)
    once, twice = recalibrations(alone)[0], recalibrations(doubled)[0]
    assert twice.slope.value == pytest.approx(once.slope.value)
    width = [each.slope.high - each.slope.low for each in (once, twice)]
    assert width[1] == pytest.approx(width[0], rel=0.15)  # each image twice tells nothing more


def test_nothing_is_fitted_to_few_images_to_one_probability_or_to_a_class_without_an_error():
    few, _ = two_models(1, sizes=(40, 30, FEWEST - 1))
    assert recalibrations(few)[2].slope.value is None
    assert recalibrations(few)[2].intercept.value is None
    assert recalibrations(few)[0].slope.value is not None
    labels = np.repeat([0, 1, 2], 20)
    flat = recalibrations(predictions_of(labels, np.full((60, 3), 1 / 3), CLASS_NAMES))
    assert flat[0].slope.value is None
    assert flat[0].intercept.value == pytest.approx(0, abs=1e-9)  # a third is how frequent each class is
    for sure in (np.eye(3)[labels], softmax(3.0 * np.eye(3)[labels])):
        found = recalibrations(predictions_of(labels, sure, CLASS_NAMES))
        assert found[0].slope.value is None


def test_views_of_few_patients_are_few_units():
    model, _ = two_models(1, sizes=(60, 60, 27), views=3)  # nine malignant patients
    assert recalibrations(model)[2].slope.value is None
    assert recalibrations(model)[1].slope.value is not None
