"""The draws and the intervals of the bootstrap."""

import numpy as np
import pytest
from evaluating import resample_counts

from boneexp.evaluation.statistics import percentile_interval, resample_blocks, unit_strata

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 25, 5]))


def test_every_resample_draws_as_many_images_as_there_are_of_whatever_class():
    counts = resample_counts(len(LABELS), 300, seed=1)
    assert counts.shape == (300, len(LABELS))
    assert (counts.sum(axis=1) == len(LABELS)).all()
    malignant = counts[:, LABELS == 2].sum(axis=1)
    assert malignant.min() < 5 < malignant.max()  # another test set would have other numbers, too


def test_the_counts_are_those_of_a_plain_loop_over_the_same_draws():
    counts = resample_counts(70, 30, seed=9)
    expected = np.zeros_like(counts)
    for resample, draws in enumerate(np.random.default_rng(9).integers(70, size=(30, 70))):
        for draw in draws:
            expected[resample, draw] += 1
    assert (counts == expected).all()


def test_each_image_is_as_likely_as_the_next_and_draws_are_with_replacement():
    counts = resample_counts(20, 20_000, seed=2)
    # multinomial: mean 1, variance 1 - 1/size, covariance -1/size
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.04)
    np.testing.assert_allclose(counts.var(axis=0), 1 - 1 / 20, atol=0.06)
    assert np.cov(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-1 / 20, abs=0.03)


def test_the_seed_decides_the_draws():
    first, again, other = (resample_counts(70, 10, seed) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_more_resamples_begin_with_the_same_ones():
    few, many = (resample_counts(70, resamples, seed=5) for resamples in (7, 50))
    assert (many[:7] == few).all()


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_blocks_put_together_are_the_whole(rows):
    blocks = list(resample_blocks(np.arange(70), 50, seed=5, rows=rows))
    assert max(len(block) for block in blocks) == min(rows, 50)
    assert (np.concatenate(blocks) == resample_counts(70, 50, seed=5)).all()


def test_no_resamples_are_an_empty_matrix():
    assert resample_counts(70, 0, seed=5).shape == (0, 70)


def drawn_units(units, resamples, seed):
    return np.concatenate(list(resample_blocks(np.asarray(units), resamples, seed, 7)))


def test_whole_groups_are_drawn():
    units = np.repeat(np.arange(28), [1, 4] * 14)
    counts = drawn_units(units, 200, seed=4)
    for unit in range(28):
        assert (counts[:, units == unit] == counts[:, units == unit][:, :1]).all()
    first = [int(np.flatnonzero(units == unit)[0]) for unit in range(28)]
    assert (counts[:, first].sum(axis=1) == 28).all()
    assert len(set(counts.sum(axis=1))) > 1  # the number of images varies


def test_a_group_of_several_classes_counts_for_the_rarest_of_the_part():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 0, 2])
    units = np.array([0, 0, 1, 2, 2, 3, 4, 4, 5, 5])
    assert unit_strata(labels, units).tolist() == [0, 0, 1, 1, 2, 2]


def test_of_equally_rare_classes_a_group_counts_for_the_first():
    assert unit_strata(np.array([3, 1]), np.array([0, 0])).tolist() == [1]
    assert unit_strata(np.array([1, 3]), np.array([0, 0])).tolist() == [1]


def test_one_group_of_all_images_is_always_drawn_whole():
    assert (drawn_units(np.zeros(70, int), 9, 0) == 1).all()


@pytest.mark.parametrize(
    ("images", "resamples", "seed", "told"),
    [(0, 10, 0, "no image to draw"), (2, -10, 0, "resamples -10"), (2, 10, -2, "seed -2")],
)
def test_draws_that_cannot_be_made_are_refused(images, resamples, seed, told):
    with pytest.raises(ValueError, match=told):
        resample_counts(images, resamples, seed)


def test_an_interval_leaves_half_of_the_rest_beyond_each_end():
    values = np.random.default_rng(0).permutation(np.arange(1001) / 10)
    assert percentile_interval(values, 0.95) == pytest.approx((2.5, 97.5))
    assert percentile_interval(values, 0.5) == pytest.approx((25, 75))


def test_an_interval_leaves_undefined_resamples_out_until_they_are_the_majority():
    defined = np.arange(50.0)
    half = np.concatenate([defined, np.full(50, np.nan)])
    assert percentile_interval(half, 0.9) == percentile_interval(defined, 0.9)
    assert percentile_interval(half, 0.9) == pytest.approx(tuple(np.percentile(defined, [5, 95])))
    assert percentile_interval(np.append(half, np.nan), 0.9) == (None, None)
    assert percentile_interval(np.full(3, np.nan), 0.9) == (None, None)
    assert percentile_interval(np.array([]), 0.9) == (None, None)


def test_an_interval_of_equal_values_has_no_width():
    assert percentile_interval(np.full(20, 0.7), 0.95) == (0.7, 0.7)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, float("nan")])
def test_a_confidence_that_is_no_share_is_refused(confidence):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        percentile_interval(np.arange(10.0), confidence)
