"""Thresholds for a specificity, against a scan over every possible one."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_curve
from two_models import two_models

from boneexp.evaluation.intervals import proportion_design_effect, wilson_interval
from boneexp.evaluation.thresholds import OPERATING, operating_values, threshold_for
from boneexp.results import CLASS_NAMES


def scanned(positive, scores, specificity):
    """The most that can be called with so many of the others spared, trying every threshold."""
    others = scores[~positive]
    allowed = [t for t in np.unique(scores) if (others <= t).sum() >= specificity * len(others) - 1e-9]
    return min(allowed)


@pytest.mark.parametrize("specificity", [0.05, 0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("decimals", [9, 1, 0])
def test_the_threshold_calls_as_many_as_a_scan_finds(specificity, decimals):
    for seed in range(10):
        generator = np.random.default_rng(seed)
        positive = generator.random(60) < 0.3
        scores = (generator.random(60) * 0.7 + 0.3 * positive).round(decimals)
        threshold = threshold_for(positive, scores, specificity)
        expected = scanned(positive, scores, specificity)
        assert ((scores > threshold) == (scores > expected)).all()
        assert (scores[~positive] <= threshold).mean() >= specificity - 1e-12


def test_on_validation_the_sensitivity_is_that_of_the_roc_curve():
    validation, _ = two_models(1)
    truth, scores = validation.labels == 2, validation.probabilities[:, 2]
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    values = {value.metric: value.value for value in operating_values(validation, validation, "Malignant")}
    for percent in (90, 95):
        expected = tpr[fpr <= 1 - percent / 100 + 1e-12].max()
        assert values[f"sensitivity_at_{percent}_specificity"] == pytest.approx(expected)
        assert values[f"specificity_at_{percent}_specificity"] >= percent / 100


def test_nine_of_ten_is_ninety_percent_whatever_binary_fractions_say():
    scores = np.arange(10) / 10
    assert (
        threshold_for(np.zeros(10, bool), scores, 0.9) == 0.8
    )  # the ninth of ten is spared, the tenth called
    assert threshold_for(np.zeros(100, bool), np.arange(100), 0.95) == 94
    assert 0.55 * 100 > 55  # in binary fractions
    assert threshold_for(np.zeros(100, bool), np.arange(100), 0.55) == 54
    assert threshold_for(np.zeros(10, bool), scores, 0.91) == 0.9


def test_ties_are_spared_together():
    positive = np.array([False, False, False, False, True, True])
    scores = np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.9])
    assert threshold_for(positive, scores, 0.5) == 0.5
    assert threshold_for(positive, scores, 0.2) == 0.1


def test_one_other_image_is_enough_and_none_is_not():
    assert threshold_for(np.array([True, False]), np.array([0.9, 0.4]), 0.9) == 0.4
    assert threshold_for(np.array([True, True]), np.array([0.9, 0.4]), 0.9) is None


def test_the_threshold_of_validation_is_judged_on_the_test_part():
    (validation, _), (test, _) = two_models(1), two_models(2, sizes=(60, 50, 25))
    values = operating_values(validation, test, "Malignant")
    assert tuple(value.metric for value in values) == OPERATING
    assert {value.class_name for value in values} == {"Malignant"}
    for place, percent in ((0, 0.9), (3, 0.95)):
        threshold, sensitivity, specificity = values[place : place + 3]
        assert threshold.value == threshold_for(
            validation.labels == 2, validation.probabilities[:, 2], percent
        )
        assert (threshold.low, threshold.high) == (None, None)
        called = test.probabilities[:, 2] > threshold.value
        assert sensitivity.value == called[test.labels == 2].mean()
        assert specificity.value == (~called)[test.labels != 2].mean()
        hits = int(called[test.labels == 2].sum())
        assert (sensitivity.low, sensitivity.high) == wilson_interval(hits, 25, 0.95)
    assert values[1].value >= values[4].value  # more specific, less sensitive


def test_with_groups_the_intervals_have_the_design_effect():
    (validation, _), (test, _) = two_models(1), two_models(2, sizes=(60, 50, 25), views=5, shared=0.9)
    clustered = operating_values(validation, test, "Malignant")
    alone = operating_values(validation, replace(test, groups=None), "Malignant")
    assert [value.value for value in clustered] == [value.value for value in alone]
    assert clustered[1].high - clustered[1].low > alone[1].high - alone[1].low
    called = test.probabilities[:, 2] > clustered[0].value
    hits, sizes = (
        [int(each[test.unit_numbers == unit].sum()) for unit in range(27)]
        for each in (called & (test.labels == 2), test.labels == 2)
    )
    effect = proportion_design_effect(np.array(hits), np.array(sizes), 0.95)
    assert (clustered[1].low, clustered[1].high) == wilson_interval(sum(hits), 25, 0.95, effect)


def test_what_cannot_be_known_is_none():
    (validation, _), (test, _) = two_models(1), two_models(2, sizes=(20, 20, 0))
    threshold, sensitivity, specificity = operating_values(validation, test, "Malignant")[:3]
    assert threshold.value is not None
    assert (sensitivity.value, sensitivity.low, sensitivity.high) == (None, None, None)
    assert specificity.value is not None
    only_malignant, _ = two_models(3, sizes=(0, 0, 9))
    values = operating_values(only_malignant, test, "Malignant")
    assert {(value.value, value.low, value.high) for value in values} == {(None, None, None)}


def test_settings_that_cannot_be_right_are_refused():
    model, _ = two_models(1)
    with pytest.raises(ValueError, match="'Cyst' is none of the classes"):
        operating_values(model, model, "Cyst")
    with pytest.raises(ValueError, match="class 2 in one part and 0 in the other"):
        operating_values(model, replace(model, class_names=CLASS_NAMES[::-1]), "Malignant")
    with pytest.raises(ValueError, match="specificity is 90"):
        threshold_for(np.array([False]), np.array([0.5]), 90)
