"""The points that the curves are drawn through: counted by hand, few enough, and exact at their ends."""

import numpy as np
import pytest
from sklearn.metrics import auc

from boneexp.evaluation.calibration import calibration_cells, calibration_metrics
from boneexp.evaluation.curves import precision_recall_points, reliability, roc_points, thinned
from boneexp.evaluation.ranks import ranked_metrics


@pytest.fixture
def answers():
    """Return labels and probabilities of 400 images, with ties."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 400)
    scores = generator.normal(size=(400, 3)) + 1.2 * np.eye(3)[labels]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return labels, np.round(shares, 2)


def rates_at_each_threshold(positive, scores):
    """Return (false positive rate, recall, precision) at each threshold, the highest first."""
    for threshold in sorted(set(scores), reverse=True):
        above = scores >= threshold
        hits, false = (above & positive).sum(), (above & ~positive).sum()
        yield false / (~positive).sum(), hits / positive.sum(), hits / (hits + false)


def test_the_roc_curve_is_counted_at_every_threshold(answers):
    labels, shares = answers
    points = roc_points(labels == 2, shares[:, 2])
    counted = [(false, recall) for false, recall, _ in rates_at_each_threshold(labels == 2, shares[:, 2])]
    assert np.allclose(points, [(0, 0), *counted], rtol=0, atol=1e-15)
    above, below = shares[labels == 2, 2][:, None], shares[labels != 2, 2]
    assert auc(*points.T) == pytest.approx(((above > below) + (above == below) / 2).mean())


def test_the_area_below_the_precision_recall_steps_is_the_average_precision(answers):
    labels, shares = answers
    points = precision_recall_points(labels == 2, shares[:, 2])
    counted = [each[1:] for each in rates_at_each_threshold(labels == 2, shares[:, 2])]
    assert np.allclose(points, [(0, counted[0][1]), *counted], rtol=0, atol=1e-15)
    recall, precision = points.T
    _, average_precision = ranked_metrics(labels == 2, shares[:, 2], np.ones((1, 400), int))
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(average_precision[0])


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
    assert sum(each.images * abs(each.right - each.confidence) for each in bins) / 400 == pytest.approx(
        expected
    )
    assert all(each.low <= each.right <= each.high for each in bins)


def test_each_bin_holds_the_images_above_its_lower_edge_up_to_its_upper_one(answers):
    labels, shares = answers
    shares[:2] = [(0.6, 0.4, 0.0), (0.8, 0.2, 0.0)]  # edges of fifteen bins: in the bin below them
    shares[2] = (1 + 1e-9, 0.0, 0.0)
    found = iter(reliability(labels, shares))
    confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == labels
    for lower in range(15):
        inside = (confidence > lower / 15) & (confidence <= (lower + 1) / 15 + 1e-8 * (lower == 14))
        if inside.any():
            each = next(found)
            assert each.images == inside.sum()
            assert each.confidence == pytest.approx(confidence[inside].mean())
            assert each.right == pytest.approx(correct[inside].mean())
    assert next(found, None) is None
