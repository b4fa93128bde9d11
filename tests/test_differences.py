"""Differences by resampling, against plain loops over the same draws and swaps."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score
from statsmodels.stats.proportion import confint_proportions_2indep
from two_models import two_models

from boneexp.evaluation import metrics
from boneexp.evaluation.differences import (
    Model,
    jackknifed_differences,
    paired_differences,
    permuted_differences,
    unpaired_differences,
)
from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import metric_columns, metric_matrix
from boneexp.evaluation.ranks import midranks
from boneexp.results import CLASS_NAMES

COLUMNS = metric_columns(CLASS_NAMES)


def figures(labels, probabilities):
    return metric_matrix(labels, probabilities, np.ones((1, len(labels)), int))[0]


def of(found, metric, class_name=""):
    return next(each for each in found if (each.metric, each.class_name) == (metric, class_name))


def differences(first, second, **given):
    """Every metric's difference between two models of one seed each."""
    models = Model((first,)), Model((second,))
    return paired_differences(*models, COLUMNS, **{"seed": 1, "swaps": 99, **given})


def swapped_differences(first, second, **given):
    return permuted_differences(Model((first,)), Model((second,)), **given)


def test_the_jackknife_is_a_loop_over_images_left_out():
    first, second = two_models(1, sizes=(30, 22, 9), signals=(0.8, 1.2))
    found = jackknifed_differences(Model((first,)), Model((second,)), COLUMNS, 0.8)
    looped = []
    for place in range(61):
        kept = np.arange(61) != place
        labels = first.labels[kept]
        looped.append(
            figures(labels, second.probabilities[kept]) - figures(labels, first.probabilities[kept])
        )
    assert list(found) == list(COLUMNS)
    for each, column in zip(found.values(), np.array(looped).T, strict=True):
        if each.metric == "expected_calibration_error":
            assert (each.low, each.high, each.p_value) == (None, None, None)
            continue
        squares = (column - column.mean()) ** 2 * 60 / 61
        classes = [squares[first.labels == label].sum() for label in range(3)]
        freedom = sum(n / (n - 1) * part for n, part in zip((30, 22, 9), classes, strict=True)) ** 2 / sum(
            (n / (n - 1) * part) ** 2 / (n - 1) for n, part in zip((30, 22, 9), classes, strict=True)
        )
        expected = scipy.stats.t(min(freedom, 60), each.value, squares.sum() ** 0.5)
        assert (each.low, each.high) == pytest.approx(expected.interval(0.8))
        assert each.p_value == pytest.approx(2 * min(expected.cdf(0), expected.sf(0)))


def test_groups_are_left_out_whole():
    first, second = two_models(2, views=3, signals=(0.8, 1.2))
    found = jackknifed_differences(Model((first,)), Model((second,)), COLUMNS)
    counts = (first.unit_numbers[None] != np.arange(first.unit_numbers.max() + 1)[:, None]).astype(int)
    left_out = metric_matrix(second.labels, second.probabilities, counts) - metric_matrix(
        first.labels, first.probabilities, counts
    )
    place = COLUMNS.index(("log_loss", ""))
    error = np.sqrt(((left_out[:, place] - left_out[:, place].mean()) ** 2).sum() * 27 / 28)
    each = found["log_loss", ""]
    assert 2.0 * error < each.high - each.value < 2.2 * error
    alone = jackknifed_differences(*(Model((replace(m, groups=None),)) for m in (first, second)), COLUMNS)
    assert alone["log_loss", ""].low != each.low


def test_each_figure_has_the_test_that_fits_it_best():
    tests = {name: each.test for name, each in differences(*two_models(3, signals=(0.8, 1.2))).items()}
    assert {tests["accuracy", ""], tests["sensitivity", "Benign"], tests["specificity", "Normal"]} == {
        "mid-p mcnemar"
    }
    assert {tests["macro_auroc", ""], tests["auroc", "Malignant"]} == {"delong"}
    assert {tests["macro_f1", ""], tests["log_loss", ""], tests["precision", "Benign"]} == {"jackknife"}
    grouped = differences(*two_models(3, views=3, signals=(0.8, 1.2)))
    assert grouped["accuracy", ""].test == "jackknife" and grouped["macro_auroc", ""].test == "delong"
    seeds = two_models(3, signals=(0.8, 1.2, 1.0, 1.1))
    several = paired_differences(Model(tuple(seeds[:2])), Model(tuple(seeds[2:])), COLUMNS, seed=1)
    assert several["accuracy", ""].test == "t over images and seeds"
    expected = [metric_matrix(m.labels, m.probabilities, np.ones((1, 82), int))[0, 0] for m in seeds]
    assert several["accuracy", ""].value == pytest.approx(np.mean(expected[2:]) - np.mean(expected[:2]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(0, 6)),
    signals=st.tuples(st.floats(-1, 4), st.floats(-1, 4)),
    views=st.sampled_from([1, 2]),
    rounded=st.booleans(),
)
def test_interval_and_p_value_never_contradict(seed, sizes, signals, views, rounded):
    pair = two_models(seed, sizes=sizes, signals=signals, views=views)
    if rounded:  # ties, and models that predict one class alone
        pair = [replace(m, probabilities=np.eye(3)[m.probabilities.argmax(axis=1)]) for m in pair]
    for each in differences(*pair).values():
        assert (each.value is None) <= (each.low is None and each.p_value is None)
        if each.low is None:
            continue
        assert each.low < each.high and each.low <= each.value <= each.high
        assert (each.p_value < 0.05) == (not each.low <= 0 <= each.high)


def test_a_model_is_no_better_than_itself():
    model, _ = two_models(3)
    for each in differences(model, model).values():
        if each.metric != "expected_calibration_error":
            assert (each.value, each.p_value) == (0, 1)
            assert each.low is None or each.low < 0 < each.high
    assert {
        each.p_value
        for each in permuted_differences(Model((model,)), Model((model,)), seed=1, permutations=50)
    } == {1.0}


def test_a_difference_that_no_image_moves_is_tested_exactly():
    labels = np.repeat([0, 1, 2], (40, 30, 51))
    ids = [f"IMG{number:04d}" for number in range(121)]
    right = predictions_of(labels, np.eye(3)[labels], CLASS_NAMES, ids)
    none = predictions_of(labels, np.eye(3)[labels % 2], CLASS_NAMES, ids)  # never predicts malignant
    found = differences(none, right)
    sensitivity = found["sensitivity", "Malignant"]
    assert (sensitivity.value, sensitivity.test) == (1, "mid-p mcnemar")
    assert 0 < sensitivity.p_value < 1e-12 and sensitivity.low > 0.85
    balanced = found["balanced_accuracy", ""]
    assert balanced.value == pytest.approx(1 / 3)
    assert (balanced.test, balanced.p_value, balanced.low) == ("permutation", 0.01, None)
    grouped = [replace(each, groups=tuple(f"{n // 2}" for n in range(121))) for each in (none, right)]
    assert differences(*grouped)["sensitivity", "Malignant"].p_value == 0.01


def test_over_several_seeds_too_a_difference_that_no_image_moves_is_tested():
    labels = np.repeat([0, 1, 2], (20, 20, 51))
    ids = [f"IMG{number:04d}" for number in range(91)]
    right = predictions_of(labels, np.eye(3)[labels], CLASS_NAMES, ids)
    none = predictions_of(labels, np.eye(3)[labels % 2], CLASS_NAMES, ids)
    several = Model((none, none)), Model((right, right, right))
    column = ("sensitivity", "Malignant")
    each = paired_differences(*several, [column], seed=1, swaps=199)[column]
    assert (each.value, each.p_value, each.test) == (1, 1 / 200, "permutation")


def test_a_much_better_model_is_found_out_by_both_tests():
    weak, strong = two_models(4, signals=(0.0, 2.5))
    swapped = of(permuted_differences(Model((weak,)), Model((strong,)), seed=1, permutations=199), "accuracy")
    for each in (differences(weak, strong)["accuracy", ""], swapped):
        assert each.value > 0.3
        assert each.p_value <= 0.01  # 1/200 by swaps: never 0


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
    found = permuted_differences(Model((first,)), Model((second,)), seed=7, permutations=40)
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
    plain = of(
        permuted_differences(Model((two[0],)), Model((two[1],)), seed=1, permutations=99),
        "auroc",
        "Malignant",
    )
    scaled = of(
        permuted_differences(Model((two[0],)), Model((two[2],)), seed=1, permutations=99),
        "auroc",
        "Malignant",
    )
    assert plain == scaled


def two_classes(model):
    malignant = model.probabilities[:, 2]
    return np.column_stack([1 - malignant, malignant])


def bold_two_classes(model):
    odds = two_classes(model) ** 3
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("function", [differences, swapped_differences])
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


def test_the_seed_decides_which_answers_are_swapped():
    first, second = two_models(9)
    once, again, other = (
        permuted_differences(Model((first,)), Model((second,)), seed=seed) for seed in (3, 3, 4)
    )
    assert once == again != other


def test_the_size_of_the_blocks_changes_no_swap(monkeypatch):
    first, second = two_models(9)
    usual = permuted_differences(Model((first,)), Model((second,)), seed=3, permutations=50)
    monkeypatch.setattr(metrics, "BLOCK_CELLS", 1)
    assert [
        each.p_value
        for each in permuted_differences(Model((first,)), Model((second,)), seed=3, permutations=50)
    ] == [each.p_value for each in usual]


def test_what_is_undefined_has_no_p_value():
    first, second = two_models(10, sizes=(20, 20, 0))
    for found in (
        differences(first, second).values(),
        permuted_differences(Model((first,)), Model((second,)), seed=1, permutations=50),
    ):
        each = of(found, "auroc", "Malignant")
        assert (each.value, each.low, each.high, each.p_value) == (None, None, None, None)
        assert of(found, "accuracy").p_value is not None


def test_swaps_that_leave_a_metric_undefined_do_not_speak_against_equality():
    labels, ids = np.array([2, 0, 1, 1]), list("abcd")
    calls = np.array([2, 0, 1, 1]), np.array([0, 2, 1, 1])  # each calls one image malignant
    first, second = (predictions_of(labels, np.eye(3)[call], CLASS_NAMES, ids) for call in calls)
    each = of(
        permuted_differences(Model((first,)), Model((second,)), seed=1, permutations=99),
        "precision",
        "Malignant",
    )
    assert each.value == -1  # swapping "a" alone leaves the first without such a call
    assert each.p_value == 1


def test_the_gap_between_two_test_sets_adds_the_variances_of_both():
    inside, _ = two_models(11, sizes=(60, 50, 20), signals=(1.5, 1))
    outside, _ = two_models(12, sizes=(70, 90, 30), signals=(0.5, 1))
    models = Model((inside,)), Model((outside,))
    found = unpaired_differences(*models)
    hits = [
        (int((m.probabilities.argmax(axis=1) == m.labels).sum()), len(m.labels)) for m in (inside, outside)
    ]
    accuracy = found["accuracy", ""]
    assert (accuracy.value < -0.1, accuracy.test) == (True, "newcombe")
    expected = confint_proportions_2indep(*hits[1], *hits[0], method="newcomb", compare="diff")
    assert (accuracy.low, accuracy.high) == pytest.approx(expected)
    loss, place = found["log_loss", ""], COLUMNS.index(("log_loss", ""))
    error = sum(len(m.runs[0].labels) * m.left_out[:, place].var() for m in models) ** 0.5
    assert loss.high - loss.low == pytest.approx(2 * 1.97 * error, rel=0.02)
    same = unpaired_differences(models[0], models[0])["accuracy", ""]
    assert same.value == 0 and same.low < 0 < same.high


def test_the_gap_of_groups_is_less_certain_than_that_of_as_many_images():
    inside, outside = (two_models(seed, sizes=(60, 50, 20), views=4)[0] for seed in (11, 12))
    grouped = unpaired_differences(Model((inside,)), Model((outside,)))["accuracy", ""]
    alone = unpaired_differences(*(Model((replace(m, groups=None),)) for m in (inside, outside)))
    assert grouped.value == pytest.approx(alone["accuracy", ""].value)
    assert grouped.high - grouped.low > 1.1 * (alone["accuracy", ""].high - alone["accuracy", ""].low)


def test_two_test_sets_need_the_same_classes():
    first, second = two_models(9)
    with pytest.raises(ValueError, match="the classes are"):
        unpaired_differences(Model((first,)), Model((replace(second, class_names=("A", "B", "C")),)))
