"""Spread over seeds, against scipy's analysis of variance and a simulation with known variances."""

import math

import numpy as np
import pytest
import scipy.stats
from scipy.stats import ttest_ind

from boneexp.evaluation.seeds import seed_study, seeded_difference
from boneexp.evaluation.student import two_sided_p

FIGURES = {"E1": [0.70, 0.72, 0.71], "E2": [0.74, 0.78, 0.76, 0.75], "E3": [0.80, 0.79]}


def test_means_and_spreads_are_those_of_the_runs_best_first():
    study = seed_study(FIGURES)
    assert [spread.experiment for spread in study.spreads] == ["E3", "E2", "E1"]
    for spread in study.spreads:
        runs = FIGURES[spread.experiment]
        assert (spread.runs, spread.lowest, spread.highest) == (len(runs), min(runs), max(runs))
        assert spread.mean == pytest.approx(np.mean(runs))
        assert spread.sd == pytest.approx(np.std(runs, ddof=1))


def test_the_variances_are_those_of_the_analysis_of_variance():
    study = seed_study(FIGURES)
    runs = list(FIGURES.values())
    sizes = np.array([len(each) for each in runs])
    within = sum((np.array(each) - np.mean(each)) @ (np.array(each) - np.mean(each)) for each in runs) / 6
    assert study.seed_sd == pytest.approx(math.sqrt(within))
    ratio = scipy.stats.f_oneway(*runs).statistic
    typical = (9 - (sizes**2).sum() / 9) / 2
    between = (ratio * within - within) / typical
    assert study.experiment_sd == pytest.approx(math.sqrt(between))
    assert study.experiment_share == pytest.approx(between / (between + within))


def test_known_variances_are_found_again():
    generator = np.random.default_rng(0)
    figures = {
        f"E{number}": generator.normal(generator.normal(0.7, 0.03), 0.01, size=int(generator.integers(2, 6)))
        for number in range(400)
    }
    study = seed_study(figures)
    assert study.seed_sd == pytest.approx(0.01, rel=0.05)
    assert study.experiment_sd == pytest.approx(0.03, rel=0.1)
    assert study.experiment_share == pytest.approx(0.9, abs=0.02)


def test_seeds_that_explain_all_leave_nothing_to_the_experiments():
    study = seed_study({"E1": [0.6, 0.8], "E2": [0.69, 0.71]})
    assert study.experiment_sd == 0
    assert study.experiment_share == 0


def test_a_gap_within_the_noise_of_the_seeds_is_warned_of():
    study = seed_study({"E1": [0.70, 0.74], "E2": [0.69, 0.73]})
    assert study.gap == pytest.approx(0.01)
    assert study.gap_error == pytest.approx(math.sqrt(0.0008) * 1)  # sd 0.0283, two runs each
    assert study.warnings == (
        "The seeds' noise exceeds the gap: E1 is 0.010 ahead of E2, and the standard error of that from the "
        "seeds alone is 0.028.",
    )


def test_the_error_of_the_gap_is_that_of_two_means():
    study = seed_study(FIGURES)  # E3 has two runs, E2 four
    assert study.gap == pytest.approx(0.795 - 0.7575)
    assert study.gap_error == pytest.approx(study.seed_sd * math.sqrt(1 / 2 + 1 / 4))


def test_a_gap_beyond_the_noise_is_not():
    assert seed_study({"E1": [0.70, 0.71], "E2": [0.80, 0.81]}).warnings == ()


def test_one_seed_each_says_that_nobody_knows():
    study = seed_study({"E1": [0.7], "E2": [0.8]})
    assert (study.seed_sd, study.experiment_sd, study.experiment_share, study.gap_error) == (None,) * 4
    assert study.gap == pytest.approx(0.1)
    assert study.warnings == (
        "every experiment has one seed: how much of a difference the seed makes is not known.",
    )
    assert [spread.sd for spread in study.spreads] == [None, None]


def test_one_experiment_has_no_gap_and_no_warning():
    study = seed_study({"E1": [0.7, 0.72]})
    assert (study.gap, study.experiment_sd, study.warnings) == (None, None, ())
    assert study.seed_sd == pytest.approx(np.std([0.7, 0.72], ddof=1))


def test_seeds_that_all_agree_leave_no_noise():
    study = seed_study({"E1": [0.7, 0.7], "E2": [0.7, 0.7]})
    assert (study.seed_sd, study.gap, study.gap_error, study.experiment_share) == (0, 0, 0, None)
    assert len(study.warnings) == 1  # equal, and no noise to tell them apart


def test_where_low_is_good_the_lowest_comes_first():
    study = seed_study({"E1": [0.5, 0.51], "E2": [0.4, 0.41]}, lower_is_better=True)
    assert [spread.experiment for spread in study.spreads] == ["E2", "E1"]
    assert study.gap == pytest.approx(0.1)


def test_the_order_of_experiments_changes_nothing():
    assert seed_study(dict(reversed(FIGURES.items()))) == seed_study(FIGURES)


@pytest.mark.parametrize("figures", [{}, {"E1": []}, {"E1": [0.7, float("nan")]}])
def test_figures_that_cannot_be_are_refused(figures):
    with pytest.raises(ValueError, match="finite metrics"):
        seed_study(figures)


def test_with_seeds_alone_it_is_the_pooled_t_test():
    first, second = [0.70, 0.74, 0.71], [0.75, 0.73, 0.78, 0.76]
    value, error, freedom = seeded_difference(first, second, 0.0, 500)
    again = ttest_ind(second, first)
    assert freedom == 5
    assert value / error == pytest.approx(again.statistic)
    assert two_sided_p(value / error, freedom) == pytest.approx(again.pvalue)


def test_both_variances_count_and_so_do_their_degrees_of_freedom():
    value, error, freedom = seeded_difference([0.70, 0.74], [0.75, 0.79], 0.02, 101)
    pooled = 0.0008  # of both recipes: 0.04² / 2 each
    assert value == pytest.approx(0.05)
    assert error == pytest.approx(math.sqrt(0.02**2 + pooled * (1 / 2 + 1 / 2)))
    assert freedom == pytest.approx(error**4 / (0.02**4 / 100 + pooled**2 / 2))


def test_one_seed_each_has_no_spread_to_go_by():
    with pytest.raises(ValueError, match="1 and 1 seeds have no spread"):
        seeded_difference([0.7], [0.8], 0.02, 100)


@pytest.mark.parametrize("seeds", [3, 5])
def test_two_series_of_runs_of_one_recipe_seldom_differ(seeds):
    """Type-I error: the tests of images alone find a difference in 20 % and more of such pairs."""
    generator, trials, images = np.random.default_rng(seeds), 800, 400
    by_images = by_both = 0
    for _ in range(trials):
        difficulty = generator.normal(1.2, 1.5, images)
        of_seed = generator.normal(0, 0.35, (2 * seeds, 1))  # a training run is better or worse as a whole
        right = generator.random((2 * seeds, images)) < 1 / (1 + np.exp(-difficulty - of_seed))
        figures = right.mean(axis=1)
        apart = right[seeds:].mean(axis=0) - right[:seeds].mean(axis=0)
        image_error = apart.std(ddof=1) / math.sqrt(images)
        value, error, freedom = seeded_difference(figures[:seeds], figures[seeds:], image_error, images)
        by_both += two_sided_p(value / error, freedom) < 0.05
        by_images += abs(value) > 1.96 * image_error
    assert by_images / trials > 0.2
    assert 0.01 < by_both / trials < 0.06
