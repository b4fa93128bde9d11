"""Heat map against lesion: small planes counted by hand, random ones counted by a plain loop."""

import math

import numpy as np
import pytest

from boneexp.evaluation.overlap import energy_inside, iou_at, pointing_hit

HEATMAP = np.array([[0.0, 0.2, 0.5], [0.1, 1.0, 0.5], [0.0, 0.0, 0.2]])
LESION = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1]], bool)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.0, 3 / 9), (0.2, 3 / 5), (0.5, 2 / 4), (0.51, 0.0), (1.0, 0.0)],
)
def test_iou_counts_the_pixels_at_or_above_the_threshold(threshold, expected):
    assert iou_at(HEATMAP, LESION, threshold) == expected


def test_iou_is_one_where_hot_region_and_lesion_are_the_same():
    assert iou_at(LESION.astype(float), LESION, 0.5) == 1


def test_iou_is_zero_where_nothing_is_hot():
    assert iou_at(np.zeros((3, 3)), LESION, 0.5) == 0


def test_energy_is_the_share_of_the_mass_on_the_lesion():
    assert energy_inside(HEATMAP, LESION) == pytest.approx(1.2 / 2.5)
    assert energy_inside(HEATMAP, ~LESION) == pytest.approx(1.3 / 2.5)
    assert energy_inside(np.full((3, 3), 0.4), LESION) == pytest.approx(1 / 3)


def test_energy_is_undefined_where_there_is_none():
    assert math.isnan(energy_inside(np.zeros((3, 3)), LESION))


def test_energy_of_a_large_map_in_single_precision_does_not_drift():
    heatmap = np.full((3000, 3000), 0.1, np.float32)
    lesion = np.zeros((3000, 3000), bool)
    lesion[:1500] = True
    assert energy_inside(heatmap, lesion) == pytest.approx(0.5, abs=1e-12)


def test_pointing_hits_where_the_highest_pixel_lies_on_the_lesion():
    assert not pointing_hit(HEATMAP, LESION)
    moved = HEATMAP.copy()
    moved[1, 1] = 0.4
    assert pointing_hit(moved, LESION)


def test_of_several_highest_pixels_the_first_row_by_row_counts():
    tied = np.array([[0.0, 0.0, 0.9], [0.9, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert pointing_hit(tied, LESION)
    assert not pointing_hit(tied.T, LESION)  # now the first is (0, 1)


def test_a_map_of_zeros_points_nowhere():
    assert not pointing_hit(np.zeros((3, 3)), np.ones((3, 3), bool))


def test_all_three_agree_with_a_loop_over_pixels():
    generator = np.random.default_rng(4)
    for _ in range(25):
        heatmap, lesion = generator.random((6, 9)), generator.random((6, 9)) < 0.3
        pixels = list(zip(heatmap.ravel(), lesion.ravel(), strict=True))
        both = sum(heat >= 0.6 and inside for heat, inside in pixels)
        either = sum(heat >= 0.6 or inside for heat, inside in pixels)
        mass = sum(heat for heat, _ in pixels)
        assert iou_at(heatmap, lesion, 0.6) == both / either
        assert energy_inside(heatmap, lesion) == pytest.approx(sum(h for h, i in pixels if i) / mass)
        assert pointing_hit(heatmap, lesion) == max(pixels)[1]


def test_answers_are_plain_numbers():
    assert type(iou_at(HEATMAP, LESION, 0.2)) is float
    assert type(energy_inside(HEATMAP.astype(np.float32), LESION)) is float
    assert type(pointing_hit(HEATMAP, LESION)) is bool


@pytest.mark.parametrize("answer", [lambda h, m: iou_at(h, m, 0.5), energy_inside, pointing_hit])
@pytest.mark.parametrize(
    ("heatmap", "lesion", "told"),
    [
        (HEATMAP[:2], LESION, r"shape \(2, 3\) and lesion \(3, 3\)"),
        (HEATMAP.ravel(), LESION.ravel(), "not the same plane"),
        (HEATMAP, np.zeros((3, 3), bool), "no pixel of the lesion is True"),
        (HEATMAP, LESION.astype(np.uint8) * 255, "lesion is of uint8"),
        (HEATMAP * 2, LESION, r"outside \[0, 1\]"),
        (HEATMAP - 0.1, LESION, r"outside \[0, 1\]"),
        (np.where(LESION, np.nan, HEATMAP), LESION, r"outside \[0, 1\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(answer, heatmap, lesion, told):
    with pytest.raises(ValueError, match=told):
        answer(heatmap, lesion)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_off_the_scale_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold is"):
        iou_at(HEATMAP, LESION, threshold)
