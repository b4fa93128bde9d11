"""The smallest difference that a test set shows: found as often as promised, and DeLong's variance."""

import numpy as np
import pytest
import scipy.stats
from two_models import auroc_covariance, two_models

from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import resampled_metrics
from boneexp.evaluation.power import (
    design_effect,
    error_of,
    least_difference,
    least_paired_difference,
    macro_auroc_influence,
)


@pytest.mark.parametrize(("images", "discordance"), [(564, 0.2), (564, 0.05), (51, 0.3)])
def test_the_smallest_difference_is_found_in_four_of_five_test_sets(images, discordance):
    difference = least_paired_difference(images, discordance)
    apart = max(discordance, difference)
    generator = np.random.default_rng(1)
    cells = [(apart - difference) / 2, (apart + difference) / 2, 1 - apart]
    fewer, more, _ = generator.multinomial(images, cells, 20_000).T
    score = (more - fewer) / np.sqrt(np.maximum(more + fewer, 1))
    assert (np.abs(score) > 1.959964).mean() == pytest.approx(0.8, abs=0.04)


def test_it_solves_connors_formula_and_falls_with_images_and_agreement():
    difference, (sure, found) = least_paired_difference(564, 0.2), scipy.stats.norm.ppf([0.975, 0.8])
    images = ((sure * 0.2**0.5 + found * (0.2 - difference**2) ** 0.5) / difference) ** 2
    assert images == pytest.approx(564, rel=1e-9)
    assert least_paired_difference(2256, 0.2) == pytest.approx(difference / 2, rel=0.01)
    assert least_paired_difference(564, 0.1) < difference < least_paired_difference(564, 0.2, power=0.9)


def test_models_that_agree_need_the_difference_itself_and_few_images_show_none():
    assert 0 < least_paired_difference(564, 0.0) < least_paired_difference(564, 0.2)
    assert least_paired_difference(3, 0.3) is None
    with pytest.raises(ValueError, match="discordance 1.2"):
        least_paired_difference(10, 1.2)
    assert least_difference(0.1) == pytest.approx(0.1 * (1.959964 + 0.841621), rel=1e-6)


def test_influence_on_the_auroc_of_two_classes_is_delongs_variance_and_covariance():
    generator = np.random.default_rng(2)
    labels = np.repeat([0, 1], (60, 25))
    models = []
    for _ in range(2):
        scores = generator.normal(size=85) + labels
        share = 1 / (1 + np.exp(-np.round(scores, 1)))  # with ties
        models.append(predictions_of(labels, np.column_stack([1 - share, share]), ("a", "b")))
    one, other = (macro_auroc_influence(model) for model in models)
    scores = np.stack([model.probabilities[:, 1] for model in models])
    _, covariance = auroc_covariance(labels == 1, scores)
    assert [one @ one, other @ other, one @ other] == pytest.approx(
        [covariance[0, 0], covariance[1, 1], covariance[0, 1]]
    )


@pytest.mark.parametrize("views", [1, 3])
def test_the_error_of_a_macro_auroc_difference_is_that_of_the_paired_bootstrap(views):
    models = two_models(3, sizes=(150, 99, 51), signals=(1.0, 1.3), views=views)
    drawn = [resampled_metrics(model, 600, 1)[:, 2] for model in models]
    influences = [macro_auroc_influence(model) for model in models]
    error = error_of(influences[1] - influences[0], models[0].unit_numbers)
    assert error == pytest.approx((drawn[1] - drawn[0]).std(), rel=0.12)
    few, _ = two_models(3, sizes=(10, 10, 1))
    assert macro_auroc_influence(few) is None


def test_the_design_effect_is_one_alone_the_number_of_views_if_they_agree_and_never_below():
    generator = np.random.default_rng(4)
    values = (generator.random(300) < 0.6).astype(float)
    assert design_effect(values, np.arange(300)) == 1
    assert design_effect(np.repeat(values, 4), np.repeat(np.arange(300), 4)) == pytest.approx(4, rel=0.01)
    assert design_effect(np.tile([0.0, 1.0], 50), np.repeat(np.arange(50), 2)) == 1
    assert design_effect(np.ones(30), np.repeat(np.arange(10), 3)) == 1
