"""The points that the curves are drawn through: scikit-learn's, few enough, and exact at their ends."""

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from boneexp.evaluation.calibration import calibration_cells, calibration_metrics
from boneexp.evaluation.curves import precision_recall_points, reliability, roc_points, thinned


@pytest.fixture
def answers():
    """Return labels and probabilities of 400 images, with ties."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 400)
    scores = generator.normal(size=(400, 3)) + 1.2 * np.eye(3)[labels]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return labels, np.round(shares, 2)


def test_the_roc_curve_is_that_of_scikit_learn(answers):
    labels, shares = answers
    points = roc_points(labels == 2, shares[:, 2])
    false, true, _ = roc_curve(labels == 2, shares[:, 2], drop_intermediate=False)
    assert np.allclose(points, np.column_stack([false, true]))
    assert auc(*points.T) == pytest.approx(roc_auc_score(labels == 2, shares[:, 2]))


def test_the_area_below_the_precision_recall_steps_is_the_average_precision(answers):
    labels, shares = answers
    recall, precision = precision_recall_points(labels == 2, shares[:, 2]).T
    expected = average_precision_score(labels == 2, shares[:, 2])
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(expected)
    expected_precision, expected_recall, _ = precision_recall_curve(labels == 2, shares[:, 2])
    assert np.allclose(precision[1:], expected_precision[::-1][1:])
    assert np.allclose(recall, expected_recall[::-1])


def test_a_curve_that_is_not_defined_has_no_points():
    none, every, scores = np.zeros(4, bool), np.ones(4, bool), np.linspace(0, 1, 4)
    assert [len(roc_points(which, scores)) for which in (none, every)] == [0, 0]
    assert [len(precision_recall_points(which, scores)) for which in (none, every)] == [0, 5]


def test_a_thinned_curve_keeps_its_ends_and_its_area(answers):
    labels, shares = answers
    points = roc_points(labels == 1, shares[:, 1] + np.arange(400) / 1e6)
    few = thinned(points, 50)
    assert len(points) > 300 >= 50 >= len(few) > 40
    assert (few[0] == points[0]).all()
    assert (few[-1] == points[-1]).all()
    assert {tuple(point) for point in few} <= {tuple(point) for point in points}
    assert auc(*few.T) == pytest.approx(auc(*points.T), abs=0.005)
    assert thinned(points, 1000) is points


def test_the_bins_of_the_reliability_diagram_are_those_of_the_expected_calibration_error(answers):
    labels, shares = answers
    bins = reliability(labels, shares)
    cells = calibration_cells(labels, shares).sum(axis=0)[None]
    expected = calibration_metrics(cells, np.array([400]))["expected_calibration_error"][0]
    assert sum(each.images for each in bins) == 400
    assert sum(each.images * abs(each.right - each.confidence) for each in bins) / 400 == pytest.approx(
        expected
    )
    assert all(each.low <= each.right <= each.high for each in bins)
