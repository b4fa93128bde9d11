"""The draws and the intervals of the bootstrap."""

import numpy as np
import pytest

from boneexp.evaluation.statistics import (
    percentile_interval,
    resample_blocks,
    stratified_resample_counts,
    unit_strata,
)

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 25, 5]))


def test_every_resample_keeps_the_number_of_images_of_each_class():
    counts = stratified_resample_counts(LABELS, 300, seed=1)
    assert counts.shape == (300, len(LABELS))
    for label, size in enumerate((40, 25, 5)):
        assert (counts[:, label == LABELS].sum(axis=1) == size).all()


def test_the_counts_are_those_of_a_plain_loop_over_the_same_draws():
    counts = stratified_resample_counts(LABELS, 30, seed=9)
    expected = np.zeros_like(counts)
    for label in (0, 1, 2):
        generator = np.random.default_rng([9, label])
        positions = [position for position in range(len(LABELS)) if LABELS[position] == label]
        for resample in range(30):
            for draw in generator.integers(len(positions), size=len(positions)):
                expected[resample, positions[draw]] += 1
    assert (counts == expected).all()


def test_each_image_of_a_class_is_as_likely_as_the_next_and_draws_are_with_replacement():
    counts = stratified_resample_counts(LABELS, 20_000, seed=2)
    for label, size in enumerate((40, 25, 5)):
        drawn = counts[:, label == LABELS]
        # multinomial: mean 1, variance 1 - 1/size, covariance -1/size
        np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.04)
        np.testing.assert_allclose(drawn.var(axis=0), 1 - 1 / size, atol=0.06)
        assert np.cov(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(-1 / size, abs=0.03)


def test_classes_are_drawn_independently_of_one_another():
    twins = np.repeat([0, 1], 30)
    counts = stratified_resample_counts(twins, 200, seed=3)
    assert (counts[:, :30] != counts[:, 30:]).any(axis=1).all()
    alone = stratified_resample_counts(twins[30:], 200, seed=3)
    assert (alone == counts[:, 30:]).all()


def test_the_seed_decides_the_draws():
    first, again, other = (stratified_resample_counts(LABELS, 10, seed) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_more_resamples_begin_with_the_same_ones():
    few, many = (stratified_resample_counts(LABELS, resamples, seed=5) for resamples in (7, 50))
    assert (many[:7] == few).all()


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_blocks_put_together_are_the_whole(rows):
    blocks = list(resample_blocks(LABELS, 50, seed=5, rows=rows))
    assert max(len(block) for block in blocks) == min(rows, 50)
    assert (np.concatenate(blocks) == stratified_resample_counts(LABELS, 50, seed=5)).all()


def test_no_resamples_are_an_empty_matrix():
    assert stratified_resample_counts(LABELS, 0, seed=5).shape == (0, len(LABELS))


def drawn_units(labels, units, resamples, seed):
    return np.concatenate(list(resample_blocks(labels, resamples, seed, 7, np.asarray(units))))


def test_whole_groups_are_drawn_and_every_class_keeps_its_number_of_groups():
    units = np.repeat(np.arange(28), [1, 4] * 14)
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [16, 8, 4]))[units]
    counts = drawn_units(labels, units, 200, seed=4)
    for unit in range(28):
        assert (counts[:, units == unit] == counts[:, units == unit][:, :1]).all()
    first = [int(np.flatnonzero(units == unit)[0]) for unit in range(28)]
    for label, groups in enumerate((16, 8, 4)):
        assert (counts[:, first][:, labels[first] == label].sum(axis=1) == groups).all()
    assert len(set(counts.sum(axis=1))) > 1  # the number of images varies


def test_groups_of_one_image_are_drawn_as_images_are():
    units = np.arange(len(LABELS))
    assert (drawn_units(LABELS, units, 30, 5) == stratified_resample_counts(LABELS, 30, seed=5)).all()


def test_a_group_of_several_classes_counts_for_the_rarest_of_the_part():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 0, 2])
    units = np.array([0, 0, 1, 2, 2, 3, 4, 4, 5, 5])
    assert unit_strata(labels, units).tolist() == [0, 0, 1, 1, 2, 2]


def test_of_equally_rare_classes_a_group_counts_for_the_first():
    assert unit_strata(np.array([3, 1]), np.array([0, 0])).tolist() == [1]
    assert unit_strata(np.array([1, 3]), np.array([0, 0])).tolist() == [1]


def test_one_group_of_all_images_is_always_drawn_whole():
    assert (drawn_units(LABELS, np.zeros(len(LABELS), int), 9, 0) == 1).all()


@pytest.mark.parametrize(
    ("labels", "resamples", "seed", "told"),
    [
        (np.array([], int), 10, 0, "no image to draw"),
        (np.array([0, -1]), 10, 0, "lowest label -1"),
        (np.array([0, 1]), -10, 0, "resamples -10"),
        (np.array([0, 1]), 10, -2, "seed -2"),
    ],
)
def test_draws_that_cannot_be_made_are_refused(labels, resamples, seed, told):
    with pytest.raises(ValueError, match=told):
        stratified_resample_counts(labels, resamples, seed)


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
