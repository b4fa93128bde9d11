"""Net benefit, PPV and NPV: by their definitions, against counts, and how often the intervals hold."""

import numpy as np
import pytest

from boneexp.evaluation.decisions import decision_curve, predictive_values


def scored(seed=1, positives=51, negatives=300):
    generator = np.random.default_rng(seed)
    positive = np.repeat([True, False], (positives, negatives))
    return positive, generator.beta(np.where(positive, 3, 1), 4)


def test_net_benefit_is_true_less_weighted_false_positives_per_image():
    positive, scores = scored()
    for point in decision_curve(positive, scores, (0.1, 0.25, 0.5)):
        acted = scores >= point.threshold
        odds = point.threshold / (1 - point.threshold)
        expected = ((acted & positive).sum() - odds * (acted & ~positive).sum()) / 351
        assert point.model == pytest.approx(expected)
        assert point.treat_all == pytest.approx((51 - odds * 300) / 351)


def test_acting_on_all_is_the_model_that_is_sure_of_all_and_a_threshold_itself_is_reached():
    positive, _ = scored()
    sure = decision_curve(positive, np.ones(351), (0.3,))[0]
    assert sure.model == pytest.approx(sure.treat_all)
    assert decision_curve(positive, np.full(351, 0.3), (0.3,))[0].model == pytest.approx(sure.treat_all)
    assert decision_curve(positive, np.full(351, 0.2999), (0.3,))[0].model == 0
    assert decision_curve(np.ones(5, bool), np.ones(5)) == ()


def test_at_another_prevalence_net_benefit_is_that_of_images_repeated_to_it():
    positive, scores = scored(negatives=102)
    repeated = np.concatenate([np.arange(153), *[np.arange(51, 153)] * 3])  # 51 of 459, one in nine
    expected = decision_curve(positive[repeated], scores[repeated], (0.2,))[0]
    found = decision_curve(positive, scores, (0.2,), prevalence=51 / 459)[0]
    assert (found.model, found.treat_all) == pytest.approx((expected.model, expected.treat_all))


def test_at_the_images_own_prevalence_ppv_and_npv_are_plain_shares():
    positive, scores = scored()
    called = scores > 0.45
    found = predictive_values(called, positive, 51 / 351)
    assert found.ppv == pytest.approx(positive[called].mean())
    assert found.npv == pytest.approx((~positive[~called]).mean())
    assert found.ppv_low < found.ppv < found.ppv_high
    rarer = predictive_values(called, positive, 0.01)
    assert rarer.ppv < found.ppv
    assert rarer.npv > found.npv


def test_the_interval_is_mercaldos_on_the_logit_scale():
    called = np.repeat([True, False, True, False], (40, 10, 30, 270))
    positive = np.repeat([True, False], (50, 300))
    found = predictive_values(called, positive, 0.1)
    middle = np.log(0.8 * 0.1 / (0.1 * 0.9))
    error = np.sqrt(0.2 / 0.8 / 50 + 0.9 / 0.1 / 300)
    ends = 1 / (1 + np.exp(-(middle + np.array([-1, 1]) * 1.959964 * error)))
    assert (found.ppv_low, found.ppv_high) == pytest.approx(tuple(ends), rel=1e-6)
    middle = np.log(0.9 * 0.9 / (0.2 * 0.1))
    error = np.sqrt(0.8 / 0.2 / 50 + 0.1 / 0.9 / 300)
    ends = 1 / (1 + np.exp(-(middle + np.array([-1, 1]) * 1.959964 * error)))
    assert (found.npv_low, found.npv_high) == pytest.approx(tuple(ends), rel=1e-6)


@pytest.mark.parametrize("rates", [(0.7, 0.95), (0.95, 0.9)])
def test_the_intervals_hold_the_truth_at_51_and_at_20_positives(rates):
    generator = np.random.default_rng(3)
    odds = 0.1 * rates[0] / (0.9 * (1 - rates[1])), 0.9 * rates[1] / (0.1 * (1 - rates[0]))
    ppv, npv = (each / (1 + each) for each in odds)
    for positives in (51, 20):
        positive, held = np.repeat([True, False], (positives, 200)), []
        for _ in range(1000):
            right = generator.random(len(positive)) < np.where(positive, *rates)
            found = predictive_values(right == positive, positive, 0.1)
            held.append((found.ppv_low <= ppv <= found.ppv_high, found.npv_low <= npv <= found.npv_high))
        # Exactly 92.5 % of the NPV's at 20 positives of which 95 % are found: there are few counts to get.
        assert (np.mean(held, axis=0) > (0.93, 0.91)).all()


def test_perfect_and_useless_models_have_intervals_with_a_width():
    positive = np.repeat([True, False], (20, 80))
    perfect = predictive_values(positive, positive, 0.1)
    assert (perfect.ppv, perfect.npv, perfect.ppv_high) == (1, 1, 1)
    assert perfect.ppv_low < 0.9
    silent = predictive_values(np.zeros(100, bool), positive, 0.1)
    assert (silent.ppv, silent.ppv_low) == (None, None)
    assert silent.npv == pytest.approx(0.9)
    assert silent.npv_low < 0.9 < silent.npv_high
    assert predictive_values(positive[:20], positive[:20], 0.1).ppv is None


def test_groups_widen_and_a_prevalence_or_threshold_of_none_or_all_is_refused():
    positive, scores = scored()
    plain = predictive_values(scores > 0.45, positive, 0.1)
    wide = predictive_values(scores > 0.45, positive, 0.1, design_effects=(2, 2))
    assert wide.ppv == plain.ppv
    assert wide.ppv_high - wide.ppv_low > plain.ppv_high - plain.ppv_low
    for prevalence in (0, 1, -1, 7):
        with pytest.raises(ValueError, match="between 0 and 1"):
            predictive_values(scores > 0.45, positive, prevalence)
    with pytest.raises(ValueError, match="between 0 and 1"):
        decision_curve(positive, scores, (1.0,))
