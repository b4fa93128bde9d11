"""Differences by resampling, against plain loops over the same draws and swaps."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score
from two_models import two_models

from boneexp.evaluation import metrics
from boneexp.evaluation.differences import paired_differences, permuted_differences, unpaired_differences
from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import metric_columns, metric_matrix
from boneexp.evaluation.ranks import midranks
from boneexp.evaluation.statistics import resample_blocks, stratified_resample_counts
from boneexp.results import CLASS_NAMES

COLUMNS = metric_columns(CLASS_NAMES)


def figures(labels, probabilities):
    return metric_matrix(labels, probabilities, np.ones((1, len(labels)), int))[0]


def of(found, metric, class_name=""):
    return next(each for each in found if (each.metric, each.class_name) == (metric, class_name))


def test_the_paired_bootstrap_is_a_loop_over_images_drawn_for_both():
    first, second = two_models(1, signals=(0.8, 1.2))
    found = paired_differences(first, second, seed=5, resamples=60, confidence=0.8)
    assert [(each.metric, each.class_name) for each in found] == list(COLUMNS)
    looped = []
    for counts in stratified_resample_counts(first.labels, 60, seed=5):
        drawn = np.repeat(np.arange(len(counts)), counts)
        labels = first.labels[drawn]
        looped.append(
            figures(labels, second.probabilities[drawn]) - figures(labels, first.probabilities[drawn])
        )
    for each, column in zip(found, np.array(looped).T, strict=True):
        if each.metric == "expected_calibration_error":
            assert (each.low, each.high, each.p_value) == (None, None, None)
            continue
        assert (each.low, each.high) == pytest.approx(tuple(np.percentile(column, [10, 90])))
        sides = min((column <= 1e-12).sum(), (column >= -1e-12).sum())
        assert each.p_value == pytest.approx(min(1, 2 * (sides + 1) / 61))
    right = [model.probabilities.argmax(axis=1) for model in (first, second)]
    expected = accuracy_score(first.labels, right[1]) - accuracy_score(first.labels, right[0])
    assert of(found, "accuracy").value == pytest.approx(expected)


def test_groups_are_drawn_whole_for_both():
    first, second = two_models(2, views=3, signals=(0.8, 1.2))
    found = paired_differences(first, second, seed=5, resamples=80)
    (counts,) = resample_blocks(first.labels, 80, 5, 80, first.unit_numbers)
    drawn = metric_matrix(second.labels, second.probabilities, counts) - metric_matrix(
        first.labels, first.probabilities, counts
    )
    place = COLUMNS.index(("macro_auroc", ""))
    expected = np.percentile(drawn[:, place], [2.5, 97.5])
    assert (of(found, "macro_auroc").low, of(found, "macro_auroc").high) == pytest.approx(tuple(expected))
    alone = paired_differences(
        replace(first, groups=None), replace(second, groups=None), seed=5, resamples=80
    )
    assert of(alone, "macro_auroc").low != of(found, "macro_auroc").low


def test_a_model_is_no_better_than_itself():
    model, _ = two_models(3)
    for each in paired_differences(model, model, seed=1, resamples=50):
        if each.metric != "expected_calibration_error":
            assert (each.value, each.low, each.high, each.p_value) == (0, 0, 0, 1)
    assert {each.p_value for each in permuted_differences(model, model, seed=1, permutations=50)} == {1.0}


def test_a_much_better_model_is_found_out_by_both_tests():
    weak, strong = two_models(4, signals=(0.0, 2.5))
    for each in (
        of(paired_differences(weak, strong, seed=1, resamples=199), "accuracy"),
        of(permuted_differences(weak, strong, seed=1, permutations=199), "accuracy"),
    ):
        assert each.value > 0.3
        assert each.p_value <= 0.01  # 2/200 and 1/200: never 0


def swapped_by_hand(first, second, swaps):
    """The difference after exchanging the answers of the images in `swaps`; of ranks where ranking counts."""
    answers = [model.probabilities.copy() for model in (first, second)]
    ranks = [np.column_stack([midranks(column) for column in each.T]) for each in answers]
    for pair in (answers, ranks):
        kept = pair[0][swaps].copy()
        pair[0][swaps] = pair[1][swaps]
        pair[1][swaps] = kept
    found = {}
    right = [accuracy_score(first.labels, each.argmax(axis=1)) for each in answers]
    found["accuracy", ""] = right[1] - right[0]
    for label, name in enumerate(CLASS_NAMES):
        truth = first.labels == label
        for metric, function in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
            found[metric, name] = function(truth, ranks[1][:, label]) - function(truth, ranks[0][:, label])
    return found


@pytest.mark.parametrize("views", [1, 3])
def test_permutation_is_a_loop_over_the_same_swaps(views):
    first, second = two_models(5, views=views, signals=(0.8, 1.2))
    found = permuted_differences(first, second, seed=7, permutations=40)
    units = first.unit_numbers
    real = swapped_by_hand(first, second, np.zeros(len(units), bool))
    as_large = dict.fromkeys(real, 1)
    for swaps in np.random.default_rng(7).integers(2, size=(40, units.max() + 1)):
        for name, value in swapped_by_hand(first, second, swaps[units] == 1).items():
            as_large[name] += abs(value) >= abs(real[name]) - 1e-12
    for (metric, name), count in as_large.items():
        each = of(found, metric, name)
        assert each.value == pytest.approx(real[metric, name])
        assert each.p_value == pytest.approx(count / 41)
        assert (each.low, each.high, each.test) == (None, None, "permutation")


def test_permuted_ranks_do_not_mind_another_scale():
    first, second = two_models(6)
    two = [
        predictions_of((model.labels == 2).astype(int), pair(model), ("other", "Malignant"), model.image_ids)
        for model, pair in ((first, two_classes), (second, two_classes), (second, bold_two_classes))
    ]
    plain = of(permuted_differences(two[0], two[1], seed=1, permutations=99), "auroc", "Malignant")
    scaled = of(permuted_differences(two[0], two[2], seed=1, permutations=99), "auroc", "Malignant")
    assert plain == scaled


def two_classes(model):
    malignant = model.probabilities[:, 2]
    return np.column_stack([1 - malignant, malignant])


def bold_two_classes(model):
    odds = two_classes(model) ** 3
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("function", [paired_differences, permuted_differences])
def test_the_order_of_the_images_changes_nothing(function):
    first, second = two_models(8, views=2)
    mixed = np.random.default_rng(0).permutation(len(first.labels))
    shuffled = [
        predictions_of(
            model.labels[mixed],
            model.probabilities[mixed],
            CLASS_NAMES,
            [model.image_ids[place] for place in mixed],
            [model.groups[place] for place in mixed],
        )
        for model in (first, second)
    ]
    assert function(*shuffled, seed=3) == function(first, second, seed=3)


@pytest.mark.parametrize("function", [paired_differences, permuted_differences, unpaired_differences])
def test_the_seed_decides(function):
    first, second = two_models(9)
    assert function(first, second, seed=3) == function(first, second, seed=3)
    assert function(first, second, seed=3) != function(first, second, seed=4)


def test_the_size_of_the_blocks_changes_no_swap(monkeypatch):
    first, second = two_models(9)
    usual = permuted_differences(first, second, seed=3, permutations=50)
    monkeypatch.setattr(metrics, "BLOCK_CELLS", 1)
    assert [each.p_value for each in permuted_differences(first, second, seed=3, permutations=50)] == [
        each.p_value for each in usual
    ]


def test_without_resamples_there_is_a_difference_and_nothing_more():
    first, second = two_models(9)
    each = of(paired_differences(first, second, seed=3, resamples=0), "accuracy")
    assert each.value is not None
    assert (each.low, each.high, each.p_value) == (None, None, None)


def test_what_is_undefined_has_no_p_value():
    first, second = two_models(10, sizes=(20, 20, 0))
    for found in (
        paired_differences(first, second, seed=1, resamples=50),
        permuted_differences(first, second, seed=1, permutations=50),
    ):
        each = of(found, "auroc", "Malignant")
        assert (each.value, each.low, each.high, each.p_value) == (None, None, None, None)
        assert of(found, "accuracy").p_value is not None


def test_swaps_that_leave_a_metric_undefined_do_not_speak_against_equality():
    labels, ids = np.array([2, 0, 1, 1]), list("abcd")
    calls = np.array([2, 0, 1, 1]), np.array([0, 2, 1, 1])  # each calls one image malignant
    first, second = (predictions_of(labels, np.eye(3)[call], CLASS_NAMES, ids) for call in calls)
    each = of(permuted_differences(first, second, seed=1, permutations=99), "precision", "Malignant")
    assert each.value == -1  # swapping "a" alone leaves the first without such a call
    assert each.p_value == 1


def test_the_gap_between_two_test_sets_draws_each_on_its_own():
    inside, _ = two_models(11, sizes=(60, 50, 20), signals=(1.5, 1))
    outside, _ = two_models(12, sizes=(70, 90, 30), signals=(0.5, 1))
    found = of(unpaired_differences(inside, outside, seed=2, resamples=2000), "accuracy")
    assert found.test == "unpaired bootstrap"
    shares = [
        [
            (model.probabilities.argmax(axis=1) == model.labels)[model.labels == label].mean()
            for label in range(3)
        ]
        for model in (inside, outside)
    ]
    variance = 0.0
    for model, right in zip((inside, outside), shares, strict=True):
        sizes = np.bincount(model.labels)
        variance += sum(
            size * share * (1 - share) / sizes.sum() ** 2 for size, share in zip(sizes, right, strict=True)
        )
    assert found.value < -0.1
    assert (found.high - found.low) == pytest.approx(2 * 1.96 * variance**0.5, rel=0.08)


def test_two_test_sets_of_one_size_are_not_drawn_alike():
    inside, _ = two_models(11)
    found = of(unpaired_differences(inside, inside, seed=2, resamples=500), "accuracy")
    assert found.value == 0
    assert found.low < 0 < found.high  # drawn alike, every difference would be 0


def test_two_test_sets_need_the_same_classes():
    first, second = two_models(9)
    with pytest.raises(ValueError, match="the classes are"):
        unpaired_differences(first, replace(second, class_names=("A", "B", "C")), seed=1)


def test_resamples_that_all_agree_on_a_difference_give_no_p_value():
    labels = np.array([0, 0, 1, 1, 2, 2])
    ids = [f"IMG{number}" for number in range(6)]
    right = predictions_of(labels, np.eye(3)[labels], CLASS_NAMES, ids)
    wrong = predictions_of(labels, np.eye(3)[(labels + 1) % 3], CLASS_NAMES, ids)
    found = of(paired_differences(wrong, right, seed=1, resamples=50), "accuracy")
    assert (found.value, found.low, found.high, found.p_value) == (1, 1, 1, None)
    same = of(paired_differences(right, right, seed=1, resamples=50), "accuracy")
    assert (same.value, same.p_value) == (0, 1)
