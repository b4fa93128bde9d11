"""DeLong on the data of the paper, against its textbook form; McNemar against scipy; Holm by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from two_models import auroc_covariance, two_models

from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.paired import (
    delong_differences,
    holm,
    mcnemar_differences,
    mcnemar_p,
    midp_interval,
    paired_proportions,
)
from boneexp.results import CLASS_NAMES

# Ovarian cancer and intestinal obstruction (DeLong, DeLong and Clarke-Pearson, Biometrics 1988, section 3):
# albumin, total protein, Krebs-Goplerud score, 1 for who died within two months. 43 of the paper's 49
# patients have all three; the data are printed in the SAS/STAT User's Guide, PROC LOGISTIC, "Comparing
# Receiver Operating Characteristic Curves". The paper gives areas of .72, .65 and .69 for all 49.
OVARIAN = """
3.0 5.8 10 0   3.2 6.3 5 1   3.9 6.8 3 1   2.8 4.8 6 0   3.2 5.8 3 1   0.9 4.0 5 0   2.5 5.7 8 0
1.6 5.6 5 1    3.8 5.7 5 1   3.7 6.7 6 1   3.2 5.4 4 1   3.8 6.6 6 1   4.1 6.6 5 1   3.6 5.7 5 1
4.3 7.0 4 1    3.6 6.7 4 0   2.3 4.4 6 1   4.2 7.6 4 0   4.0 6.6 6 0   3.5 5.8 6 1   3.8 6.8 7 1
3.0 4.7 8 0    4.5 7.4 5 1   3.7 7.4 5 1   3.1 6.6 6 1   4.1 8.2 6 1   4.3 7.0 5 1   4.3 6.5 4 1
3.2 5.1 5 1    2.6 4.7 6 1   3.3 6.8 6 0   1.7 4.0 7 0   3.7 6.1 5 1   3.3 6.3 7 1   4.2 7.7 6 1
3.5 6.2 5 1    2.9 5.7 9 0   2.1 4.8 7 1   2.8 6.2 8 0   4.0 7.0 7 1   3.3 5.7 6 1   3.7 6.9 5 1
3.6 6.6 5 1
"""


def ovarian():
    """Return who died, and albumin, total protein and 10 - score, as the guide has them."""
    albumin, protein, score, died = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    return died == 1, np.stack([albumin, protein, 10 - score])


def textbook(positive, scores):
    """DeLong's structural components by comparing every positive with every negative."""
    above, below = np.flatnonzero(positive), np.flatnonzero(~positive)
    kernel = np.empty((len(scores), len(above), len(below)))
    for row, i, j in product(range(len(scores)), range(len(above)), range(len(below))):
        x, y = scores[row][above[i]], scores[row][below[j]]
        kernel[row, i, j] = 1.0 if x > y else 0.5 if x == y else 0.0
    areas = kernel.mean(axis=(1, 2))
    v10, v01 = kernel.mean(axis=2) - areas[:, None], kernel.mean(axis=1) - areas[:, None]
    s10 = v10 @ v10.T / (len(above) - 1)
    s01 = v01 @ v01.T / (len(below) - 1)
    return areas, s10 / len(above) + s01 / len(below)


def test_delong_on_the_papers_data_is_the_textbooks():
    died, scores = ovarian()
    assert (len(died), died.sum()) == (43, 31)
    areas, covariance = auroc_covariance(died, scores)
    expected_areas, expected = textbook(died, scores)
    np.testing.assert_allclose(areas, expected_areas, rtol=0, atol=1e-14)
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-14)
    for score, area in zip(scores, areas, strict=True):
        statistic = scipy.stats.mannwhitneyu(score[died], score[~died]).statistic
        assert area == pytest.approx(statistic / (31 * 12), abs=1e-14)
        assert area == pytest.approx(roc_auc_score(died, score), abs=1e-14)
    assert areas.round(2).tolist() == [0.74, 0.65, 0.73]  # without six patients


@pytest.mark.parametrize("seed, decimals", [(0, 9), (1, 1), (2, 0), (3, 9)])
def test_delong_is_the_textbooks_with_and_without_ties(seed, decimals):
    generator = np.random.default_rng(seed)
    positive = generator.random(40) < 0.3
    scores = (generator.normal(size=(3, 40)) + positive).round(decimals)
    for ours, expected in zip(auroc_covariance(positive, scores), textbook(positive, scores), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)


def t_test(positive, scores):
    """The difference of two areas, its error and Satterthwaite's degrees of freedom, by the textbook."""
    contrast = np.array([-1, 1])
    areas, covariance = textbook(positive, scores)
    parts = []
    for kind, others in ((positive, ~positive), (~positive, positive)):
        rows, columns = scores[:, kind][:, :, None], scores[:, others][:, None, :]
        above = (rows > columns) + 0.5 * (rows == columns)
        parts.append((contrast @ above.mean(axis=2)).var(ddof=1) / kind.sum())
    assert sum(parts) == pytest.approx(contrast @ covariance @ contrast)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (kind.sum() - 1) for part, kind in zip(parts, (positive, ~positive), strict=True)
    )
    return contrast @ areas, sum(parts) ** 0.5, freedom


def test_the_difference_of_each_class_is_that_of_its_two_curves():
    first, second = two_models(1, signals=(0.6, 1.4))
    found = delong_differences(first, second)
    assert [(*each.column, each.test) for each in found] == [
        *(("auroc", name, "delong") for name in CLASS_NAMES),
        ("macro_auroc", "", "delong"),
    ]
    for label, each in enumerate(found[:3]):
        scores = np.stack([first.probabilities[:, label], second.probabilities[:, label]])
        value, error, freedom = t_test(first.labels == label, scores)
        assert each.value == pytest.approx(value)
        assert each.value > 0  # the second is the better one
        assert (each.low, each.high) == pytest.approx(scipy.stats.t.interval(0.95, freedom, value, error))
        assert each.p_value == pytest.approx(2 * scipy.stats.t.sf(abs(value) / error, freedom))
    assert found[3].value == pytest.approx(np.mean([each.value for each in found[:3]]))


def test_a_tiny_p_value_is_tiny_and_not_zero():
    generator = np.random.default_rng(0)
    labels, ids = np.repeat([0, 1], 600), [f"{number:04d}" for number in range(1200)]
    scores = [(generator.normal(size=1200) + labels * gain) / 20 + 0.4 for gain in (0.0, 1.2)]
    pair = [predictions_of(labels, np.column_stack([1 - s, s]), ("A", "B"), ids) for s in scores]
    each = delong_differences(*pair)[1]
    value, error, freedom = t_test(labels == 1, np.stack(scores))
    assert 0 < each.p_value == pytest.approx(2 * scipy.stats.t.sf(value / error, freedom), rel=1e-9)
    assert each.p_value < 1e-30


def test_the_other_way_round_only_the_sign_changes():
    first, second = two_models(2, signals=(0.6, 1.0))
    for test in (delong_differences, mcnemar_differences):
        for there, back in zip(test(first, second), test(second, first), strict=True):
            assert there.value == pytest.approx(-back.value)
            assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
            assert there.p_value == pytest.approx(back.p_value)


def test_a_model_compared_with_itself_differs_by_nothing():
    model, _ = two_models(3)
    for each in delong_differences(model, model):
        assert (each.value, each.low, each.high, each.p_value) == (0, None, None, 1)
    for each in mcnemar_differences(model, model):
        assert (each.value, each.p_value) == (0, 1)
        assert each.low < 0 < each.high  # no discordant image among few proves no equality


def test_curves_without_variance_that_differ_have_no_p_value():
    labels, ids = np.array([0, 0, 1, 1, 2, 2]), list("abcdef")
    right = predictions_of(labels, np.eye(3)[labels], CLASS_NAMES, ids)
    blind = predictions_of(labels, np.full((6, 3), 1 / 3), CLASS_NAMES, ids)
    for each in delong_differences(blind, right):
        assert (each.value, each.low, each.high, each.p_value) == (0.5, None, None, None)


@pytest.mark.parametrize(
    ("labels", "value"), [([0, 0, 1, 1], None), ([0, 0, 1, 2], "a number"), ([2, 2, 2, 2], None)]
)
def test_with_no_image_of_a_class_nothing_is_known_and_with_one_no_variance(labels, value):
    generator = np.random.default_rng(0)
    pair = [
        predictions_of(np.array(labels), generator.dirichlet([1, 1, 1], 4), CLASS_NAMES, list("abcd"))
        for _ in range(2)
    ]
    malignant = delong_differences(*pair)[2]
    assert (malignant.value is None) == (value is None)
    assert (malignant.low, malignant.high, malignant.p_value) == (None, None, None)


@pytest.mark.parametrize(
    "only_first, only_second", [(0, 0), (1, 0), (0, 5), (7, 7), (6, 16), (40, 21), (300, 0)]
)
def test_mid_p_mcnemar_is_the_exact_test_of_statsmodels_less_the_probability_of_what_was_observed(
    only_first, only_second
):
    apart = only_first + only_second
    point = scipy.stats.binom.pmf(only_first, apart, 0.5)
    expected = mcnemar([[9, only_first], [only_second, 9]], exact=True).pvalue - point
    if only_first == only_second:
        expected = 1 - point / 2 if apart else 1.0  # Fagerland et al. 2013
    assert mcnemar_p(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(only_second, only_first) == mcnemar_p(only_first, only_second)


def test_mid_p_mcnemar_is_as_published():
    # Airway hyper-responsiveness before and after transplantation, Fagerland et al. 2013, table 1.
    assert mcnemar_p(1, 7) == pytest.approx(0.039, abs=5e-4)


@pytest.mark.parametrize("hits, total", [(0, 7), (7, 7), (3, 11), (40, 61)])
def test_the_ends_of_the_mid_p_interval_are_where_the_test_turns(hits, total):
    low, high = midp_interval(hits, total, 0.95)
    for end, at_bound, tail in ((low, hits == 0, "sf"), (high, hits == total, "cdf")):
        if not at_bound:
            chance = getattr(scipy.stats.binom, tail)(hits, total, end)
            point = scipy.stats.binom.pmf(hits, total, end)
            assert chance + (point / 2 if tail == "sf" else -point / 2) == pytest.approx(0.025)
    assert (low == 0) == (hits == 0) and (high == 1) == (hits == total)


def test_mcnemar_counts_accuracy_and_each_class():
    first, second = two_models(4, signals=(0.5, 1.5))
    found = mcnemar_differences(first, second)
    assert [each.column for each in found] == [
        ("accuracy", ""),
        *((metric, name) for name in CLASS_NAMES for metric in ("sensitivity", "specificity")),
    ]
    for each in found:
        label = CLASS_NAMES.index(each.class_name) if each.class_name else None
        images = first.labels == label if each.metric == "sensitivity" else first.labels != label
        right = [
            (model.probabilities.argmax(axis=1) == model.labels)[images]
            if each.metric != "specificity"
            else (model.probabilities.argmax(axis=1) != label)[images]
            for model in (first, second)
        ]
        assert each.value == pytest.approx(right[1].mean() - right[0].mean())
        assert each.p_value == mcnemar_p(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
        assert each.low < each.value < each.high


def test_the_interval_of_paired_proportions_leaves_out_0_exactly_where_mid_p_rejects():
    for apart in (1, 5, 6, 17, 80):
        for only_first in range(apart + 1):
            for images in (apart, apart + 40):
                value, low, high = paired_proportions(only_first, apart - only_first, images, 0.95)
                assert -1 <= low <= value <= high <= 1 and low < high
                assert (low <= 0 <= high) == (mcnemar_p(only_first, apart - only_first) >= 0.05)


def test_the_interval_of_paired_proportions_turns_with_its_order_and_has_a_width_without_discordance():
    _, low, high = paired_proportions(3, 11, 51, 0.95)
    assert paired_proportions(11, 3, 51, 0.95)[1:] == (pytest.approx(-high), pytest.approx(-low))
    value, low, high = paired_proportions(0, 0, 51, 0.95)
    assert value == 0 and low < -0.02 and high > 0.02
    value, low, high = paired_proportions(0, 51, 51, 0.95)
    assert (value, high) == (1, 1) and 0.85 < low < 0.95


def test_the_interval_of_paired_proportions_at_its_edges():
    assert paired_proportions(0, 0, 0, 0.95) == (None, None, None)
    value, low, high = paired_proportions(0, 1, 1, 0.95)
    assert (value, high) == (1, 1.0)
    assert -1 <= low < 0
    with pytest.raises(ValueError, match="confidence is 95"):
        paired_proportions(1, 2, 10, 95)


def test_a_class_without_an_image_has_no_sensitivity_to_differ():
    generator = np.random.default_rng(0)
    pair = [
        predictions_of(np.array([0, 1, 1]), generator.dirichlet([1, 1, 1], 3), CLASS_NAMES, list("abc"))
        for _ in range(2)
    ]
    malignant = mcnemar_differences(*pair)[5]
    assert malignant.column == ("sensitivity", "Malignant")
    assert (malignant.value, malignant.low, malignant.high, malignant.p_value) == (None, None, None, None)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"image_ids": ()}, "needs the ids"),
        ({"class_names": ("A", "B", "C")}, "the classes are"),
        ({"labels": np.zeros(82, int)}, "other labels or groups"),
        ({"groups": ("one",) * 82}, "other labels or groups"),
    ],
)
@pytest.mark.parametrize("test", [delong_differences, mcnemar_differences])
def test_what_is_not_the_same_images_is_not_compared(test, changed, told):
    first, second = two_models(5)
    with pytest.raises(ValueError, match=told):
        test(first, replace(second, **changed))


def test_other_images_are_named():
    first, second = two_models(5)
    other = replace(second, image_ids=(*second.image_ids[:-1], "IMG999999"))
    with pytest.raises(
        ValueError, match="the images differ: 2 are only in one of the two, such as IMG000081"
    ):
        delong_differences(first, other)


def test_holm_multiplies_the_smallest_most_and_never_falls():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([0.04]) == (0.04,)
    assert holm([]) == ()


def test_holm_leaves_what_is_unknown_out_of_the_family():
    assert holm([None, 0.02, None, 0.03]) == (None, 0.04, None, 0.04)
    assert holm([None]) == (None,)


def test_holm_rejects_what_stepping_down_rejects():
    generator = np.random.default_rng(0)
    for _ in range(50):
        p_values = generator.random(6) ** 3
        adjusted = holm(p_values.tolist())
        rejected = set()
        for rank, place in enumerate(np.argsort(p_values)):
            if p_values[place] > 0.05 / (6 - rank):
                break
            rejected.add(int(place))
        assert {place for place, value in enumerate(adjusted) if value <= 0.05} == rejected
