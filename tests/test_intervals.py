"""Intervals against scipy and statsmodels, and what they do where the data say nothing."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.special
import scipy.stats
from statsmodels.stats.proportion import confint_proportions_2indep

from boneexp.evaluation.areas import auroc_influences, class_auroc_interval, macro_auroc_interval
from boneexp.evaluation.bca import acceleration, bca_interval, leave_one_out_blocks
from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.intervals import (
    auroc_score_interval,
    log_interval,
    logit_interval,
    newcombe_difference,
    proportion_design_effect,
    satterthwaite,
    small_sample_warnings,
    t_interval,
    wilson_interval,
)
from boneexp.evaluation.metrics import accelerations, metric_columns, metrics_of, resampled_metrics
from boneexp.evaluation.statistics import percentile_interval
from boneexp.evaluation.student import incomplete_beta, t_quantile, two_sided_p
from boneexp.results import CLASS_NAMES

SIZES = (40, 25, 8)


def sample(seed, sizes=SIZES):
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], sizes)
    logits = generator.normal(size=(len(labels), 3))
    logits[np.arange(len(labels)), labels] += 1.2
    odds = np.exp(logits)
    return predictions_of(labels, odds / odds.sum(axis=1, keepdims=True), CLASS_NAMES)


def mean(values, axis=-1):
    return values.mean(axis=axis)


def log_of_mean(values, axis=-1):
    return np.log(0.1 + values.mean(axis=axis))  # bent, so that it leans and accelerates


@pytest.mark.parametrize("statistic", [mean, log_of_mean])
@pytest.mark.parametrize("kind", ["hits", "skewed"])
def test_bca_is_scipys_for_the_same_resamples(statistic, kind):
    generator = np.random.default_rng(3)
    values = (generator.random(73) < 0.8) * 1.0 if kind == "hits" else generator.exponential(2, 73)
    drawn = np.array([statistic(generator.choice(values, 73)) for _ in range(999)])
    expected = scipy.stats.bootstrap(
        (values,),
        statistic,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn),
        confidence_level=0.9,
        method="BCa",
    ).confidence_interval
    left_out = np.array([statistic(np.delete(values, one)) for one in range(73)])
    ours = bca_interval(drawn, float(statistic(values)), acceleration(left_out), 0.9)
    assert ours == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert kind == "hits" or ours != percentile_interval(drawn, 0.9)


def test_the_acceleration_of_a_mean_is_a_sixth_of_its_skewness_over_the_root_of_n():
    values = np.random.default_rng(0).exponential(size=50)
    left_out = (values.sum() - values) / 49
    skewness = scipy.stats.skew(values)
    assert acceleration(left_out) == pytest.approx(skewness / (6 * math.sqrt(50)))


def test_accelerations_of_the_metrics_are_those_of_images_left_out_one_by_one():
    predictions = sample(1)
    left_out = []
    for image in range(len(predictions.labels)):
        kept = np.arange(len(predictions.labels)) != image
        one_less = predictions_of(predictions.labels[kept], predictions.probabilities[kept], CLASS_NAMES)
        left_out.append(metrics_of(one_less))
    expected = [acceleration(column) for column in np.array(left_out).T]
    assert accelerations(predictions) == pytest.approx(expected, abs=1e-9)
    assert np.abs(expected).max() > 0.005


def test_a_units_leaving_takes_all_its_images():
    blocks = list(leave_one_out_blocks(np.array([0, 1, 0, 2, 1]), rows=2))
    assert [len(block) for block in blocks] == [2, 1]
    assert np.concatenate(blocks).tolist() == [[0, 1, 0, 1, 1], [1, 0, 1, 1, 0], [1, 1, 1, 0, 1]]


def test_what_does_not_vary_has_no_acceleration():
    assert acceleration(np.full(9, 0.5)) == 0
    assert acceleration(np.array([0.2])) == 0
    assert acceleration(np.array([np.nan, np.nan])) == 0


def test_units_without_which_the_metric_is_undefined_are_passed_over():
    known = np.random.default_rng(0).exponential(size=20)
    with_gap = np.append(known, np.nan)
    assert acceleration(with_gap) == acceleration(known)


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
    values, drawn = metrics_of(predictions), resampled_metrics(predictions, 300, seed=4)
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


@pytest.mark.parametrize("freedom", [1, 2.5, 7, 50, 562.3, 1e5, math.inf])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99, 1 - 0.05 / 16])
def test_students_t_is_scipys(freedom, confidence):
    expected = scipy.stats.t.ppf((1 + confidence) / 2, freedom)
    assert t_quantile(confidence, freedom) == pytest.approx(expected, rel=1e-9)
    assert two_sided_p(2.3, freedom) == pytest.approx(2 * scipy.stats.t.sf(2.3, freedom), rel=1e-9)
    assert two_sided_p(0.0, freedom) == 1
    assert t_interval(0.5, 0.1, freedom, confidence) == pytest.approx(
        (0.5 - expected / 10, 0.5 + expected / 10)
    )


@pytest.mark.parametrize("a, b", [(0.5, 0.5), (3, 8), (120, 0.5), (40, 70)])
def test_the_incomplete_beta_function_is_scipys(a, b):
    for x in (0.0, 1e-6, 0.2, 0.5, 0.93, 1.0):
        assert incomplete_beta(x, a, b) == pytest.approx(scipy.special.betainc(a, b, x), rel=1e-9, abs=1e-300)


def test_a_confidence_or_freedom_that_cannot_be_is_refused():
    for confidence, freedom in ((0, 5), (1, 5), (0.95, 0)):
        with pytest.raises(ValueError, match="degrees of freedom"):
            t_quantile(confidence, freedom)


@pytest.mark.parametrize("first", [(0, 51), (51, 51), (31, 51), (7, 34)])
@pytest.mark.parametrize("second", [(0, 20), (20, 20), (13, 20), (499, 564)])
def test_newcombes_difference_is_that_of_statsmodels(first, second):
    expected = confint_proportions_2indep(*second, *first, method="newcomb", compare="diff", alpha=0.05)
    assert newcombe_difference(*first, *second, 0.95) == pytest.approx(expected, abs=1e-12)
    low, high = newcombe_difference(*second, *first, 0.95)
    assert (-high, -low) == pytest.approx(newcombe_difference(*first, *second, 0.95))
    assert newcombe_difference(*first, 0, 0, 0.95) == (None, None)


def test_a_design_effect_is_the_variance_over_groups_against_independent_images():
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 5, size=60)
    hits = generator.binomial(1, 0.7, 60) * sizes  # images of a group all alike
    share, total = hits.sum() / sizes.sum(), sizes.sum()
    # the ratio estimator by the textbook: residuals over the mean size
    error = np.std(hits - share * sizes, ddof=1) / math.sqrt(60) / sizes.mean()
    few = (scipy.stats.t.ppf(0.975, 59) / scipy.stats.norm.ppf(0.975)) ** 2
    expected = error**2 / (share * (1 - share) / total) * few
    assert proportion_design_effect(hits, sizes, 0.95) == pytest.approx(expected)
    low, high = wilson_interval(hits.sum(), total, 0.95, expected)
    plain = wilson_interval(hits.sum(), total, 0.95)
    assert low < plain[0] < share < plain[1] < high


def test_a_design_effect_is_at_least_one_and_the_largest_where_groups_show_no_variance():
    ones = np.ones(20)
    assert proportion_design_effect(ones * 0, ones, 0.95) == 1
    assert proportion_design_effect(np.array([]), np.array([]), 0.95) == 1
    apart = np.array([1, 1, 1, 1] * 5)  # one hit in each pair: images of a group more unlike than by chance
    assert 1 <= proportion_design_effect(apart, 2 * np.ones(20), 0.95) < 1.2
    threes = 3 * np.ones(20)
    assert 3 < proportion_design_effect(threes, threes, 0.95) < 3.5
    assert proportion_design_effect(np.array([4]), np.array([7]), 0.95) == 7


def test_a_design_effect_narrows_nothing_and_moves_no_estimate():
    for effect in (1.0, 2.0, 40.0):
        low, high = wilson_interval(51, 51, 0.95, effect)
        assert high == 1 and low == pytest.approx(wilson_interval(51 / effect, 51 / effect, 0.95)[0])
    with pytest.raises(ValueError, match="design effect 0"):
        wilson_interval(1, 2, 0.95, 0)


def test_intervals_on_another_scale_are_those_of_that_scale():
    low, high = logit_interval(0.9, 0.03, 12, 0.95)
    middle, reach = scipy.special.logit(0.9), scipy.stats.t.ppf(0.975, 12) * 0.03 / 0.09
    assert (low, high) == pytest.approx(tuple(scipy.special.expit([middle - reach, middle + reach])))
    low, high = log_interval(0.8, 0.1, math.inf, 0.95)
    reach = math.exp(scipy.stats.norm.ppf(0.975) * 0.1 / 0.8)
    assert (low, high) == pytest.approx((0.8 / reach, 0.8 * reach))
    assert logit_interval(0.5, 1e6, 1, 0.95) == (0.0, 1.0)


def test_satterthwaites_freedom_is_welchs():
    generator = np.random.default_rng(8)
    one, other = generator.normal(size=9), generator.normal(scale=3, size=31)
    parts = [one.var(ddof=1) / 9, other.var(ddof=1) / 31]
    assert satterthwaite(parts, [8, 30]) == pytest.approx(
        scipy.stats.ttest_ind(one, other, equal_var=False).df
    )
    assert satterthwaite([0, 0], [8, 30]) == math.inf


def mann_whitney(positive, scores):
    hits, misses = scores[positive], scores[~positive]
    return ((hits[:, None] > misses) + 0.5 * (hits[:, None] == misses)).mean()


def test_an_influence_is_what_leaving_out_the_image_takes_away():
    generator = np.random.default_rng(4)
    positive = np.arange(40) < 11
    scores = np.round(generator.normal(size=40) + positive, 1)  # with ties
    area, influences = auroc_influences(positive, scores)
    assert area == pytest.approx(mann_whitney(positive, scores))
    left_out = [mann_whitney(np.delete(positive, one), np.delete(scores, one)) for one in range(40)]
    sizes = np.where(positive, 11, 29)
    assert influences == pytest.approx((area - np.array(left_out)) * (sizes - 1) / sizes)


def test_the_interval_of_an_auroc_rests_on_delongs_variance():
    predictions = sample(5)
    positive, scores = predictions.labels == 2, predictions.probabilities[:, 2]
    hits, misses = scores[positive], scores[~positive]
    passed = ((hits[:, None] > misses) + 0.5 * (hits[:, None] == misses)).astype(float)
    parts = [passed.mean(axis=1).var(ddof=1) / 8, passed.mean(axis=0).var(ddof=1) / 65]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 7 + parts[1] ** 2 / 64)
    expected = logit_interval(float(passed.mean()), math.sqrt(sum(parts)), freedom, 0.95)
    found = class_auroc_interval(positive, scores, 0.95)
    assert found == (pytest.approx(expected[0]), pytest.approx(expected[1]), "logit-delong")


def test_an_auroc_without_variance_has_the_score_interval():
    positive = np.arange(30) < 6
    low, high, method = class_auroc_interval(positive, positive * 1.0, 0.95)
    assert (high, method) == (1.0, "newcombe") and 0.5 < low < 0.99
    assert class_auroc_interval(positive, -1.0 * positive, 0.95) == (0.0, pytest.approx(1 - low), "newcombe")
    low, high, method = class_auroc_interval(np.arange(30) < 1, np.sin(np.arange(30)), 0.95)
    assert 0 <= low < mann_whitney(np.arange(30) < 1, np.sin(np.arange(30))) < high <= 1
    assert method == "newcombe"
    assert class_auroc_interval(np.zeros(5, bool), np.arange(5.0), 0.95) == (None, None, "")


def test_the_ends_of_the_score_interval_reach_the_estimate_by_their_own_error():
    positives, negatives, area = 51, 513, 0.83
    z = scipy.stats.norm.ppf(0.975)
    for end in auroc_score_interval(area, positives, negatives, 0.95):
        typical = (positives + negatives) / 2 - 1
        spread = 1 + typical * ((1 - end) / (2 - end) + end / (1 + end))
        assert abs(area - end) == pytest.approx(
            z * math.sqrt(end * (1 - end) * spread / positives / negatives)
        )


def test_groups_of_alike_images_widen_the_interval_of_an_auroc_as_fewer_images_do():
    predictions = sample(6, sizes=(30, 20, 12))
    twice = np.repeat(np.arange(62), 2)
    positive, scores = predictions.labels == 2, predictions.probabilities[:, 2]
    alone = class_auroc_interval(positive, scores, 0.95)
    grouped = class_auroc_interval(positive[twice], scores[twice], 0.95, twice)
    assert grouped[:2] == pytest.approx(alone[:2])
    assert class_auroc_interval(positive[twice], scores[twice], 0.95)[0] > alone[0]
    whole = macro_auroc_interval(predictions.labels, predictions.probabilities, 0.95)
    doubled = predictions.labels[twice], predictions.probabilities[twice]
    assert macro_auroc_interval(*doubled, 0.95, twice)[:2] == pytest.approx(whole[:2])


def test_the_variance_of_the_macro_auroc_holds_the_covariance_of_the_areas():
    predictions = sample(7, sizes=(60, 40, 25))
    influences = [
        auroc_influences(predictions.labels == label, predictions.probabilities[:, label])[1]
        for label in range(3)
    ]
    covariance = np.array([[one @ other for other in influences] for one in influences])
    low, high, method = macro_auroc_interval(predictions.labels, predictions.probabilities, 0.95)
    width = scipy.special.logit(high) - scipy.special.logit(low)
    area = scipy.special.expit((scipy.special.logit(high) + scipy.special.logit(low)) / 2)
    error = math.sqrt(covariance.sum()) / 3
    assert width == pytest.approx(2 * 1.96 * error / (area * (1 - area)), rel=0.06)  # t, and n / (n - 1)
    assert method == "logit-delong"


def test_the_macro_auroc_of_a_perfect_ranking_has_a_width():
    labels = np.repeat([0, 1, 2], (20, 12, 5))
    low, high, method = macro_auroc_interval(labels, np.eye(3)[labels], 0.95)
    assert (high, method) == (1.0, "newcombe") and 0.5 < low < 0.97
    assert macro_auroc_interval(labels[labels < 2], np.eye(3)[labels[labels < 2]], 0.95) == (None, None, "")


def test_few_images_are_warned_of_and_none_or_enough_are_not():
    warnings = small_sample_warnings({"Normal": 282, "Benign": 20, "Malignant": 19, "Other": 0, "Rare": 1})
    assert [warning.split(";")[0] for warning in warnings] == [
        "Malignant: 19 images, fewer than 20",
        "Rare: 1 image, fewer than 20",
    ]
