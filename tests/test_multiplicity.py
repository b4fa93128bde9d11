"""Claims about the best of several, against published intervals and simulated truths."""

import math

import numpy as np
import pytest

from boneexp.evaluation.intervals import wilson_interval
from boneexp.evaluation.multiplicity import (
    Estimate,
    above_reference,
    independent_images,
    interval_of_best,
    level_of_best,
)


def wilson(hits, images, metric="accuracy", confidence=0.95):
    return Estimate(metric, hits / images, *wilson_interval(hits, images, confidence), confidence)


def test_each_end_errs_so_many_times_less_often():
    assert level_of_best(0.95, 1) == 0.95
    assert level_of_best(0.95, 4) == pytest.approx(1 - 2 * 0.025 / 4)
    assert level_of_best(0.90, 5) == pytest.approx(0.98)


@pytest.mark.parametrize(("hits", "images"), [(0, 51), (1, 20), (31, 51), (51, 51), (423, 564), (7, 808)])
def test_the_stored_interval_gives_its_number_of_images_back(hits, images):
    assert independent_images(wilson(hits, images)) == pytest.approx(images, rel=1e-6)


@pytest.mark.parametrize("candidates", [1, 4, 16])
def test_a_proportion_has_wilsons_interval_at_the_level_of_the_best(candidates):
    found = interval_of_best(wilson(31, 51), candidates)
    assert found == pytest.approx(wilson_interval(31, 51, level_of_best(0.95, candidates)), abs=1e-6)


def test_the_interval_of_an_auroc_is_stretched_on_the_logit_scale():
    middle, reach = math.log(0.9 / 0.1), 0.5
    ends = [1 / (1 + math.exp(-(middle + side * reach))) for side in (-1, 1)]
    low, high = interval_of_best(Estimate("macro_auroc", 0.9, *ends), 4)
    times = 2.497705 / 1.959964  # normal quantiles of 0.99375 and 0.975
    assert math.log(low / (1 - low)) == pytest.approx(middle - reach * times, abs=1e-4)
    assert math.log(high / (1 - high)) == pytest.approx(middle + reach * times, abs=1e-4)
    same = interval_of_best(Estimate("macro_auroc", 0.9, *ends), 1)
    assert same == pytest.approx(tuple(ends))


def test_an_interval_without_width_proves_nothing():
    certain = Estimate("accuracy", 0.417, 0.417, 0.417)
    assert interval_of_best(certain, 4) is None
    assert above_reference(certain, 4, 0.3, 564) is None
    assert above_reference(certain, 4, 0.3, None) is None


def test_the_difference_to_a_baseline_of_known_size_is_newcombes():
    """Newcombe 1998, table II, example (a): 56 of 70 less 48 of 80, method 10."""
    found = above_reference(wilson(56, 70), 1, 48 / 80, 80)
    assert found.with_reference
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_baseline_of_unknown_size_is_a_fixed_number():
    estimate = wilson(423, 564)
    found = above_reference(estimate, 1, 0.679, None)
    assert not found.with_reference
    assert (found.low, found.high) == pytest.approx((estimate.low - 0.679, estimate.high - 0.679))
    known = above_reference(estimate, 1, 0.679, 564)
    assert known.low < found.low
    area = above_reference(Estimate("macro_auroc", 0.9, 0.87, 0.92), 1, 0.846, 564)
    assert not area.with_reference  # no proportion


@pytest.mark.parametrize("candidates", [4, 8, 16])
def test_the_best_of_several_at_the_bar_seldom_passes_it(candidates):
    """Type-I error of "target met by the interval" where every model is worth just the target."""
    generator, trials, images, target = np.random.default_rng(candidates), 1500, 564, 0.75
    best = generator.binomial(images, target, (trials, candidates)).max(axis=1)
    passing = {hits: interval_of_best(wilson(hits, images), candidates)[0] > target for hits in set(best)}
    plain = {hits: wilson(hits, images).low > target for hits in set(best)}
    assert np.mean([plain[hits] for hits in best]) > 0.08
    assert np.mean([passing[hits] for hits in best]) < 0.045


def test_the_best_of_several_above_a_measured_baseline_is_seldom_found_by_chance():
    generator, trials, images, truth = np.random.default_rng(0), 600, 400, 0.7
    found = 0
    for _ in range(trials):
        best = generator.binomial(images, truth, 4).max()
        baseline = generator.binomial(300, truth) / 300
        found += above_reference(wilson(best, images), 4, baseline, 300).low > 0
    assert found / trials < 0.045
