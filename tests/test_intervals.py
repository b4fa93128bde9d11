"""BCa and Wilson against scipy, and what the intervals do where the data say nothing."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.intervals import (
    acceleration,
    bca_interval,
    leave_one_out_blocks,
    small_sample_warnings,
    wilson_interval,
)
from boneexp.evaluation.metrics import accelerations, figures_of, metric_columns, resampled_figures
from boneexp.evaluation.statistics import percentile_interval
from boneexp.results import CLASS_NAMES

SIZES = (40, 25, 8)


def sample(seed, sizes=SIZES):
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], sizes)
    logits = generator.normal(size=(len(labels), 3))
    logits[np.arange(len(labels)), labels] += 1.2
    odds = np.exp(logits)
    return predictions_of(labels, odds / odds.sum(axis=1, keepdims=True), CLASS_NAMES)


def balanced(*samples, axis=-1):
    return np.mean([sample.mean(axis=axis) for sample in samples], axis=0)


def pooled(*samples, axis=-1):
    return sum(sample.sum(axis=axis) for sample in samples) / sum(sample.shape[axis] for sample in samples)


def log_of_mean(*samples, axis=-1):
    return np.log(0.1 + balanced(*samples, axis=axis))  # bent, so that it leans and accelerates


def jackknifed(statistic, samples):
    """Leave out one after the other, each from its own sample."""
    found = []
    for place, values in enumerate(samples):
        for one in range(len(values)):
            found.append(statistic(*samples[:place], np.delete(values, one), *samples[place + 1 :]))
    return np.array(found)


@pytest.mark.parametrize("statistic", [balanced, pooled, log_of_mean])
@pytest.mark.parametrize("kind", ["hits", "skewed"])
def test_bca_is_scipys_for_the_same_resamples(statistic, kind):
    generator = np.random.default_rng(3)
    if kind == "hits":
        samples = [
            (generator.random(size) < share) * 1.0 for size, share in zip(SIZES, (0.9, 0.7, 0.5), strict=True)
        ]
    else:
        samples = [generator.exponential(scale, size) for size, scale in zip(SIZES, (1, 2, 5), strict=True)]
    drawn = np.array(
        [statistic(*(generator.choice(values, len(values)) for values in samples)) for _ in range(999)]
    )
    expected = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn),
        confidence_level=0.9,
        method="BCa",
    ).confidence_interval
    strata = np.repeat([0, 1, 2], SIZES)
    skew = acceleration(jackknifed(statistic, samples), strata)
    ours = bca_interval(drawn, float(statistic(*samples)), skew, 0.9)
    assert ours == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert ours != percentile_interval(drawn, 0.9)


def test_the_acceleration_of_a_mean_is_a_sixth_of_its_skewness_over_the_root_of_n():
    values = np.random.default_rng(0).exponential(size=50)
    left_out = (values.sum() - values) / 49
    skewness = scipy.stats.skew(values)
    assert acceleration(left_out, np.zeros(50)) == pytest.approx(skewness / (6 * math.sqrt(50)))


def test_accelerations_of_the_metrics_are_those_of_images_left_out_one_by_one():
    predictions = sample(1)
    left_out = []
    for image in range(len(predictions.labels)):
        kept = np.arange(len(predictions.labels)) != image
        one_less = predictions_of(predictions.labels[kept], predictions.probabilities[kept], CLASS_NAMES)
        left_out.append(figures_of(one_less))
    expected = [acceleration(column, predictions.labels) for column in np.array(left_out).T]
    assert accelerations(predictions) == pytest.approx(expected, abs=1e-9)
    assert np.abs(expected).max() > 0.01


def test_a_units_leaving_takes_all_its_images():
    blocks = list(leave_one_out_blocks(np.array([0, 1, 0, 2, 1]), rows=2))
    assert [len(block) for block in blocks] == [2, 1]
    assert np.concatenate(blocks).tolist() == [[0, 1, 0, 1, 1], [1, 0, 1, 1, 0], [1, 1, 1, 0, 1]]


def test_what_does_not_vary_has_no_acceleration():
    assert acceleration(np.full(9, 0.5), np.zeros(9)) == 0
    assert acceleration(np.array([0.2, 0.9]), np.array([0, 1])) == 0  # one unit in each class
    assert acceleration(np.array([np.nan, np.nan]), np.array([0, 0])) == 0


def test_units_without_which_the_metric_is_undefined_are_passed_over():
    known = np.random.default_rng(0).exponential(size=20)
    with_gap = np.append(known, np.nan)
    assert acceleration(with_gap, np.zeros(21)) == acceleration(known, np.zeros(20))


def test_bca_without_lean_or_acceleration_is_the_percentile_interval():
    drawn = np.random.default_rng(1).permutation(np.arange(1001) / 1000)
    assert bca_interval(drawn, 0.5, 0.0, 0.95) == pytest.approx(percentile_interval(drawn, 0.95), abs=1e-9)


def test_bca_of_resamples_that_all_agree_has_no_width():
    assert bca_interval(np.full(50, 0.7), 0.7, 0.0, 0.95) == (0.7, 0.7)


@pytest.mark.parametrize("figure", [-1.0, 2.0])
def test_bca_stays_within_the_resamples_where_all_lie_on_one_side_of_the_figure(figure):
    drawn = np.random.default_rng(1).random(200)
    low, high = bca_interval(drawn, figure, 0.4, 0.95)
    assert drawn.min() <= low <= high <= drawn.max()
    assert bca_interval(drawn, figure, -0.4, 0.95)[0] is not None


def test_bca_of_what_is_undefined_is_none():
    assert bca_interval(np.full(9, np.nan), np.nan, 0.0, 0.95) == (None, None)
    assert bca_interval(np.array([]), 0.5, 0.0, 0.95) == (None, None)
    assert bca_interval(np.arange(9.0), np.nan, 0.0, 0.95) == (None, None)
    with pytest.raises(ValueError, match="confidence is 95"):
        bca_interval(np.arange(9.0), 3.0, 0.0, 95)


def test_bca_of_every_metric_is_that_of_its_own_resamples():
    predictions = sample(2)
    values, drawn = figures_of(predictions), resampled_figures(predictions, 300, seed=4)
    skews = accelerations(predictions)
    place = metric_columns(CLASS_NAMES).index(("auroc", "Malignant"))
    low, high = bca_interval(drawn[:, place], values[place], skews[place], 0.95)
    assert low < values[place] < high < 1


@pytest.mark.parametrize("hits, total", [(0, 1), (1, 1), (0, 20), (20, 20), (1, 3), (31, 51), (499, 564)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_wilson_is_scipys(hits, total, confidence):
    expected = scipy.stats.binomtest(hits, total).proportion_ci(confidence, method="wilson")
    assert wilson_interval(hits, total, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_all_or_none_has_a_width_and_of_nothing_is_none():
    assert wilson_interval(10, 10, 0.95) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    assert wilson_interval(0, 10, 0.95) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson_interval(0, 0, 0.95) == (None, None)


@pytest.mark.parametrize(
    ("hits", "total", "confidence", "told"),
    [(3, 2, 0.95, "3 hits of 2"), (-1, 2, 0.95, "-1 hits of 2"), (1, 2, 95, "confidence is 95")],
)
def test_a_proportion_that_cannot_be_is_refused(hits, total, confidence, told):
    with pytest.raises(ValueError, match=told):
        wilson_interval(hits, total, confidence)


def test_few_images_are_warned_of_and_none_or_enough_are_not():
    warnings = small_sample_warnings({"Normal": 282, "Benign": 20, "Malignant": 19, "Other": 0, "Rare": 1})
    assert [warning.split(";")[0] for warning in warnings] == [
        "Malignant: 19 images, fewer than 20",
        "Rare: 1 image, fewer than 20",
    ]
