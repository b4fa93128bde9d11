"""Every metric against scikit-learn, weighted and not; bootstrap intervals against a plain loop."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import sklearn
from evaluating import evaluate, resample_counts
from sklearn import metrics as sk

from boneexp.evaluation import metrics
from boneexp.evaluation.confusions import classification_report, confusion_matrix
from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.intervals import wilson_interval
from boneexp.evaluation.metrics import (
    LOWER_IS_BETTER,
    OVERALL,
    PER_CLASS,
    WITHOUT_INTERVAL,
    left_out_metrics,
    metric_columns,
    metric_matrix,
)
from boneexp.results import CLASS_NAMES, INTERVAL_METHODS

TOLERANCE = 1e-12
pytestmark = pytest.mark.filterwarnings("ignore:The y_prob values do not sum")  # rounded, and meant to be
FIGURES = len(OVERALL) + len(CLASS_NAMES) * len(PER_CLASS)


def model_output(labels, seed, signal=1.0):
    """Softmax of noise that leans towards the true class by `signal`; negative leans away."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 3))
    logits[np.arange(len(labels)), labels] += signal
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


def of_sizes(*sizes):
    return np.random.default_rng(7).permutation(np.repeat([0, 1, 2], sizes))


def heavy_ties(labels):
    """Probabilities in quarters: at most five different scores per class."""
    generator = np.random.default_rng(3)
    return np.stack([generator.multinomial(4, row) for row in model_output(labels, 3)]) / 4


def never_malignant(labels):
    output = model_output(labels, 5)
    output[:, 2] *= 1e-3
    return output / output.sum(axis=1, keepdims=True)


def certain(labels):
    return np.eye(3)[labels]


def certainly_wrong(labels):
    return np.eye(3)[(labels + 1) % 3]


def reverse_ranked(labels):
    """Every image of a class below every other in that class's probability: each AUROC is 0."""
    return (1 - np.eye(3)[labels]) / 2


def tenths(labels):
    """Top probabilities of 0.4, 0.6, 0.8, 1.0: two of them are edges of calibration bins, 6/15 and 9/15."""
    top = np.random.default_rng(4).integers(2, 6, len(labels)) / 5
    output = np.stack([(1 - top) / 2, (1 - top) / 2, (1 - top) / 2], axis=1)
    output[np.arange(len(labels)), np.random.default_rng(5).integers(0, 3, len(labels))] = top
    return output


def sharpened(output):
    """As single precision leaves a bold softmax: exactly 1 for one class, exactly 0 for the others."""
    sharp = output**200
    sharp = sharp / sharp.sum(axis=1, keepdims=True)
    return np.where(sharp < 1e-7, 0, sharp) / np.where(sharp < 1e-7, 0, sharp).sum(axis=1, keepdims=True)


CASES = {
    "random": (of_sizes(60, 45, 12), lambda y: model_output(y, 1)),
    "single precision": (of_sizes(60, 45, 12), lambda y: model_output(y, 1).astype(np.float32)),
    "no signal": (of_sizes(40, 40, 40), lambda y: model_output(y, 2, signal=0)),
    "worse than chance": (of_sizes(40, 30, 10), lambda y: model_output(y, 4, signal=-2)),
    "heavy ties": (of_sizes(50, 40, 10), heavy_ties),
    "all tied": (of_sizes(20, 10, 5), lambda y: np.full((len(y), 3), 1 / 3)),
    "one image of a class": (of_sizes(20, 15, 1), lambda y: model_output(y, 6)),
    "one image of each class": (of_sizes(1, 1, 1), lambda y: model_output(y, 6)),
    "a class absent": (of_sizes(20, 15, 0), lambda y: model_output(y, 8, signal=0)),
    "one class only": (of_sizes(0, 9, 0), lambda y: model_output(y, 9)),
    "a class never predicted": (of_sizes(30, 20, 10), never_malignant),
    "certain": (of_sizes(9, 8, 7), certain),
    "certainly wrong": (of_sizes(9, 8, 7), certainly_wrong),
    "reverse ranked": (of_sizes(9, 8, 7), reverse_ranked),
    "at the edges of the bins": (of_sizes(30, 20, 10), tenths),
    "some exactly 0": (of_sizes(30, 20, 10), lambda y: sharpened(model_output(y, 4, signal=-2))),
}


def reference(labels, probabilities, weights):
    """All figures by scikit-learn, in the order of `metric_columns`; nan where we call one undefined."""
    drawn = weights > 0
    labels, probabilities, weights = labels[drawn], probabilities[drawn].astype(float), weights[drawn]
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):  # thrice as fast
        return _reference(labels, probabilities, weights, np.unique(labels))


def _reference(labels, probabilities, weights, present):
    predicted, given = probabilities.argmax(axis=1), {"sample_weight": weights}
    cells = sk.multilabel_confusion_matrix(labels, predicted, labels=[0, 1, 2], **given)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, predicted, labels=[0, 1, 2], zero_division=np.nan, **given
    )
    per_class = np.full((3, len(PER_CLASS)), np.nan)
    for k, ((true_negatives, false_positives), _) in enumerate(cells):
        truth, scores = labels == k, probabilities[:, k]
        if truth.any():
            per_class[k, 1] = sk.average_precision_score(truth, scores, **given)
            per_class[k, 5] = f1[k]
        if not truth.all():
            per_class[k, 3] = true_negatives / (true_negatives + false_positives)
        if truth.any() and not truth.all():
            per_class[k, 0] = sk.roc_auc_score(truth, scores, **given)
    per_class[:, 2], per_class[:, 4] = recall, precision
    overall = [
        sk.accuracy_score(labels, predicted, **given),
        recall[present].mean(),
        sk.roc_auc_score(labels, probabilities, multi_class="ovr", **given) if len(present) == 3 else np.nan,
        sk.f1_score(labels, predicted, labels=present, average="macro", **given),
        sk.matthews_corrcoef(labels, predicted, **given)
        if min(len(present), len(np.unique(predicted))) > 1
        else np.nan,
        sk.log_loss(labels, probabilities, labels=[0, 1, 2], **given),
        sk.brier_score_loss(labels, probabilities, labels=[0, 1, 2], **given),
        calibration_error(labels, probabilities, weights),
    ]
    return np.append(overall, per_class)


def calibration_error(labels, probabilities, weights):
    """As Guo et al. define it, in plain Python: bins (0, 1/15], (1/15, 2/15], ... of the top probability."""
    edges = [place / 15 for place in range(1, 15)]
    bins = {}
    for label, row, weight in zip(labels, probabilities.tolist(), weights.tolist(), strict=True):
        place = sum(max(row) > edge for edge in edges)
        bins.setdefault(place, []).append((weight, row.index(max(row)) == label, max(row)))
    error = 0.0
    for images in bins.values():
        total = sum(weight for weight, _, _ in images)
        accuracy = sum(weight * right for weight, right, _ in images) / total
        confidence = sum(weight * top for weight, _, top in images) / total
        error += total / weights.sum() * abs(accuracy - confidence)
    return error


def found(values, metric, class_name=""):
    return next(v for v in values if (v.metric, v.class_name) == (metric, class_name))


@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_scikit_learns(case):
    labels, made = CASES[case]
    values = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=0)
    ours = np.array([np.nan if v.value is None else v.value for v in values])
    np.testing.assert_allclose(
        ours, reference(labels, made(labels), np.ones(len(labels))), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("case", CASES)
def test_every_figure_of_a_weighted_resample_is_scikit_learns(case):
    labels, made = CASES[case]
    probabilities = made(labels)
    counts = resample_counts(len(labels), 6, seed=1)  # classes may vanish
    expected = np.stack([reference(labels, probabilities, row) for row in counts])
    np.testing.assert_allclose(metric_matrix(labels, probabilities, counts), expected, rtol=0, atol=TOLERANCE)


def test_balanced_accuracy_is_scikit_learns_where_every_class_is_present():
    labels, made = CASES["random"]
    value = found(evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=0), "balanced_accuracy")
    expected = sk.balanced_accuracy_score(labels, made(labels).argmax(axis=1))
    assert value.value == pytest.approx(expected, abs=TOLERANCE)


def test_auroc_counts_a_tie_half_and_a_weight_whole():
    labels = np.array([0, 0, 1, 2])
    malignant = np.array([0.5, 0.2, 0.2, 0.2])
    probabilities = np.stack([(1 - malignant) / 2, (1 - malignant) / 2, malignant], axis=1)
    column = metric_columns(CLASS_NAMES).index(("auroc", "Malignant"))
    weights = np.array([[1, 1, 1, 1], [3, 1, 0, 1], [0, 1, 1, 5]])
    aurocs = metric_matrix(labels, probabilities, weights)[:, column]
    assert aurocs.tolist() == [1 / 3, 1 / 8, 1 / 2]  # above none; beside 2 of 3, 1 of 4, 2 of 2


def test_every_interval_is_that_of_a_plain_loop_over_the_same_resamples():
    labels, made = of_sizes(25, 18, 3), never_malignant
    given = {"seed": 11, "resamples": 40, "confidence": 0.9, "method": "percentile"}
    values = evaluate(labels, made(labels), CLASS_NAMES, **given)
    counts = resample_counts(len(labels), 40, seed=11)
    looped = np.stack([reference(labels, made(labels), row) for row in counts])
    for value, column in zip(values, looped.T, strict=True):
        defined = column[~np.isnan(column)]
        if value.metric in WITHOUT_INTERVAL or (value.metric, value.class_name) == ("precision", "Malignant"):
            assert (value.low, value.high) == (None, None)
            continue
        assert value.interval_method == "percentile"
        assert value.low == pytest.approx(np.percentile(defined, 5), abs=TOLERANCE)
        assert value.high == pytest.approx(np.percentile(defined, 95), abs=TOLERANCE)


def test_the_values_come_overall_first_and_then_class_by_class():
    labels, made = CASES["random"]
    values = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=20)
    assert [(v.metric, v.class_name) for v in values] == list(metric_columns(CLASS_NAMES))
    assert [v.metric for v in values[:8]] == [
        "accuracy",
        "balanced_accuracy",
        "macro_auroc",
        "macro_f1",
        "matthews_correlation",
        "log_loss",
        "brier_score",
        "expected_calibration_error",
    ]
    assert [(v.metric, v.class_name) for v in values[8:14]] == [
        ("auroc", "Normal"),
        ("average_precision", "Normal"),
        ("sensitivity", "Normal"),
        ("specificity", "Normal"),
        ("precision", "Normal"),
        ("f1", "Normal"),
    ]
    assert len(values) == FIGURES == 26
    assert all(type(v.value) is float for v in values)
    assert all(
        type(end) is float for v in values if v.metric not in WITHOUT_INTERVAL for end in (v.low, v.high)
    )


def test_what_an_absent_class_leaves_undefined_is_none():
    labels, made = CASES["a class absent"]
    assert (made(labels).argmax(axis=1) == 2).any()  # it is predicted all the same
    values = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=50)
    undefined = {(v.metric, v.class_name) for v in values if v.value is None}
    of_the_class = {(metric, "Malignant") for metric in ("auroc", "average_precision", "sensitivity", "f1")}
    assert undefined == of_the_class | {("macro_auroc", "")}
    with_interval = [v for v in values if v.metric not in WITHOUT_INTERVAL]
    assert all((v.low is None) == (v.high is None) == (v.value is None) for v in with_interval)
    assert found(values, "precision", "Malignant").value == 0  # all those calls were wrong: a true 0


def test_a_class_never_predicted_has_no_precision_but_a_sensitivity_of_zero():
    labels, made = CASES["a class never predicted"]
    values = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=50)
    assert found(values, "precision", "Malignant").value is None
    assert found(values, "sensitivity", "Malignant").value == 0
    assert found(values, "f1", "Malignant").value == 0


def test_of_equal_probabilities_the_first_class_is_predicted():
    labels = np.array([0, 1, 2])
    values = evaluate(labels, np.full((3, 3), 1 / 3), CLASS_NAMES, seed=0, resamples=0)
    assert found(values, "sensitivity", "Normal").value == 1
    assert found(values, "accuracy").value == pytest.approx(1 / 3)


def test_certain_and_right_is_one_everywhere_and_reverse_ranked_is_an_auroc_of_zero():
    labels, made = CASES["certain"]
    right = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=30)
    for value in right:
        perfect = 0 if value.metric in LOWER_IS_BETTER else 1
        assert value.value == perfect
        if value.metric in (*LOWER_IS_BETTER, "matthews_correlation"):
            assert (value.low, value.high) == (None, None)  # no method is known where nothing varies
        else:
            assert 0.5 < value.low < value.high == 1
    labels, made = CASES["reverse ranked"]
    wrong = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=30)
    area = found(wrong, "macro_auroc")
    assert (area.value, area.low) == (0, 0) and 0 < area.high < 0.5


def test_with_image_ids_the_order_of_the_images_changes_nothing():
    labels = of_sizes(60, 45, 12)
    probabilities = model_output(labels, 1)
    ids = [f"IMG{number:06d}.jpeg" for number in range(len(labels))]
    shuffled = np.random.default_rng(5).permutation(len(labels))
    given = {"class_names": CLASS_NAMES, "seed": 3, "resamples": 200, "method": "percentile"}
    straight = evaluate(labels, probabilities, image_ids=ids, **given)
    mixed_ids = [ids[position] for position in shuffled]
    mixed = (labels[shuffled], probabilities[shuffled])
    assert evaluate(*mixed, image_ids=mixed_ids, **given) == straight
    assert evaluate(labels, probabilities, **given) == straight  # sorted already
    assert evaluate(*mixed, **given) != straight  # without ids, the draws fall on other images


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    labels, made = CASES["random"]
    first, again, other = (
        evaluate(labels, made(labels), CLASS_NAMES, seed=seed, resamples=200, method="percentile")
        for seed in (4, 4, 5)
    )
    assert first == again
    assert [v.value for v in first] == [v.value for v in other]
    assert found(first, "accuracy") != found(other, "accuracy")


@pytest.mark.parametrize("cells", [1, 117 * 7, 10**9])
def test_the_size_of_the_blocks_changes_nothing(monkeypatch, cells):
    labels, made = CASES["random"]
    given = {"seed": 4, "resamples": 50, "method": "percentile"}
    usual = evaluate(labels, made(labels), CLASS_NAMES, **given)
    monkeypatch.setattr(metrics, "BLOCK_CELLS", cells)
    for value, expected in zip(evaluate(labels, made(labels), CLASS_NAMES, **given), usual, strict=True):
        if value.metric in LOWER_IS_BETTER:  # sums of fractions, whose order is the linear algebra's
            assert value.value == pytest.approx(expected.value, abs=TOLERANCE)
            assert value.low == pytest.approx(expected.low, abs=TOLERANCE)
            assert value.high == pytest.approx(expected.high, abs=TOLERANCE)
        else:
            assert value == expected


def test_memory_stays_bounded_however_many_resamples_there_are():
    labels = of_sizes(282, 231, 51)
    probabilities = model_output(labels, 1)
    tracemalloc.start()
    evaluate(labels, probabilities, CLASS_NAMES, seed=0, resamples=10_000, method="percentile")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 15e6  # the counts alone would be 45 MB as int64


def test_intervals_get_wider_with_confidence_and_hold_the_figure():
    labels, made = CASES["random"]
    narrow, wide = (
        evaluate(labels, made(labels), CLASS_NAMES, seed=1, resamples=500, confidence=confidence)
        for confidence in (0.5, 0.99)
    )
    for inner, outer in zip(narrow, wide, strict=True):
        if inner.metric in WITHOUT_INTERVAL:
            continue
        assert outer.low <= inner.low <= inner.high <= outer.high
        assert outer.low <= outer.value <= outer.high


def test_a_95_percent_interval_of_the_accuracy_covers_the_truth_about_95_times_in_100():
    labels = np.repeat([0, 1, 2], [60, 50, 40])
    generator = np.random.default_rng(8)
    covered = 0
    for trial in range(200):
        right = generator.random(len(labels)) < 0.8
        predicted = np.where(right, labels, (labels + 1) % 3)
        value = evaluate(labels, np.eye(3)[predicted], CLASS_NAMES, seed=trial, resamples=200)[0]
        covered += value.low <= 0.8 <= value.high
    assert 0.90 <= covered / 200 <= 0.98


def test_where_all_images_are_called_one_class_there_is_no_matthews_correlation():
    labels, made = CASES["all tied"]
    values = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=50)
    assert found(values, "matthews_correlation").value is None  # scikit-learn says 0
    assert sk.matthews_corrcoef(labels, made(labels).argmax(axis=1)) == 0


def test_a_probability_of_exactly_zero_costs_what_scikit_learn_lets_it_cost():
    values = evaluate(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]), ("A", "B"), seed=0, resamples=0)
    assert found(values, "log_loss").value == pytest.approx(-np.log(np.finfo(float).eps) / 2)
    assert found(values, "brier_score").value == 1  # of at most 2 per image
    assert found(values, "expected_calibration_error").value == 0.5


def test_an_edge_of_the_calibration_bins_belongs_to_the_bin_below_it():
    sure = np.array([0.39, 0.4, 0.41])  # 6/15 is an edge: the first two share a bin
    probabilities = np.stack([sure, (1 - sure) / 2, (1 - sure) / 2], axis=1)
    values = evaluate(np.array([0, 1, 0]), probabilities, CLASS_NAMES, seed=0, resamples=0)
    expected = abs((1 - 0.39) + (0 - 0.4)) / 3 + abs(1 - 0.41) / 3
    assert found(values, "expected_calibration_error").value == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("method", ["analytic", "percentile"])
def test_groups_of_one_image_change_nothing_and_larger_groups_do(method):
    labels, made = CASES["random"]
    given = {"seed": 3, "resamples": 200, "method": method}
    plain = evaluate(labels, made(labels), CLASS_NAMES, **given)
    alone = [f"patient {number}" for number in range(len(labels))]
    ones = evaluate(labels, made(labels), CLASS_NAMES, groups=alone, **given)
    for value, expected in zip(ones, plain, strict=True):
        assert value.interval_method == expected.interval_method
        assert (value.value, value.low, value.high) == pytest.approx(
            (expected.value, expected.low, expected.high), abs=TOLERANCE
        )
    twice = np.repeat(np.arange(len(labels)), 2)  # every image comes twice, as two views of a patient
    doubled = labels[twice], made(labels)[twice]
    naive = evaluate(*doubled, CLASS_NAMES, **given)
    clustered = evaluate(*doubled, CLASS_NAMES, groups=[alone[number] for number in twice], **given)
    for value, expected in zip(clustered, plain, strict=True):  # a second look tells nothing new
        assert value.value == pytest.approx(expected.value, abs=TOLERANCE)
        if method == "percentile":
            ends = (expected.low, expected.high)
            assert (value.low, value.high) == pytest.approx(ends, abs=TOLERANCE)
        elif value.low is not None:  # of few groups the variance itself is uncertain
            assert 0.95 < (value.high - value.low) / (expected.high - expected.low) < 1.2
    width = [value.high - value.low for value in (found(naive, "accuracy"), found(plain, "accuracy"))]
    assert width[0] < 0.85 * width[1]  # but taken as images of their own they would seem to


def test_with_image_ids_the_order_changes_nothing_with_groups_and_bca_either():
    labels, made = CASES["random"]
    ids = [f"IMG{number:06d}" for number in range(len(labels))]
    groups = [f"p{number // 3}" for number in range(len(labels))]
    mixed = np.random.default_rng(5).permutation(len(labels))
    for method in ("percentile", "bca"):
        given = {"class_names": CLASS_NAMES, "seed": 3, "resamples": 100, "method": method}
        straight = evaluate(labels, made(labels), image_ids=ids, groups=groups, **given)
        assert straight == evaluate(
            labels[mixed],
            made(labels)[mixed],
            image_ids=[ids[place] for place in mixed],
            groups=[groups[place] for place in mixed],
            **given,
        )


def test_bca_has_the_figures_of_the_percentiles_and_other_ends():
    labels, made = CASES["random"]
    plain, moved = (
        evaluate(labels, made(labels), CLASS_NAMES, seed=1, resamples=500, method=method)
        for method in ("percentile", "bca")
    )
    assert [value.value for value in plain] == [value.value for value in moved]
    assert [value.low for value in plain] != [value.low for value in moved]
    assert found(moved, "expected_calibration_error").low is None
    assert all(value.low < value.value < value.high for value in moved if value.low is not None)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore::UserWarning")
def test_where_scikit_learn_says_something_else_is_known():
    labels, predicted = np.array([0, 0, 1, 1, 0]), np.array([0, 2, 1, 0, 0])  # 2 is predicted and absent
    probabilities = np.eye(3)[predicted] * 0.7 + 0.1
    ours = evaluate(labels, probabilities, CLASS_NAMES, seed=0)
    of_classes = sk.f1_score(labels, predicted, average=None, labels=[0, 1, 2])
    assert of_classes[2] == 0 and found(ours, "f1", "Malignant").value is None
    assert sk.f1_score(labels, predicted, average="macro") == pytest.approx(of_classes.mean())
    assert found(ours, "macro_f1").value == pytest.approx(of_classes[:2].mean())
    assert sk.average_precision_score(labels == 2, probabilities[:, 2]) == 0
    assert found(ours, "average_precision", "Malignant").value is None
    assert sk.recall_score(labels == 2, predicted == 2) == 0
    assert found(ours, "sensitivity", "Malignant").value is None
    assert np.isnan(sk.roc_auc_score(labels == 2, probabilities[:, 2]))
    assert found(ours, "auroc", "Malignant").value is found(ours, "macro_auroc").value is None
    assert sk.balanced_accuracy_score(labels, predicted) == pytest.approx(
        found(ours, "balanced_accuracy").value
    )
    one = evaluate(labels, np.tile([0.8, 0.1, 0.1], (5, 1)), CLASS_NAMES, seed=0)
    assert sk.precision_score(labels == 1, np.zeros(5)) == 0
    assert found(one, "precision", "Benign").value is None
    two = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    brier = found(evaluate(np.array([0, 0, 1]), two, ("A", "B"), seed=0), "brier_score").value
    assert brier == pytest.approx(2 * sk.brier_score_loss([0, 0, 1], two[:, 1]))


@pytest.mark.parametrize("case", CASES)
def test_every_analytic_interval_has_a_width_and_holds_its_figure(case):
    labels, made = CASES[case]
    for value in evaluate(labels, made(labels), CLASS_NAMES, seed=0):
        assert (value.low is None) == (value.high is None) == (value.interval_method == "")
        if value.low is not None:
            assert value.interval_method in INTERVAL_METHODS
            assert value.low < value.high and value.low <= value.value <= value.high
            assert value.low >= -1 and (value.metric in LOWER_IS_BETTER or value.high <= 1)
        elif value.value is not None:  # no method is known for these where no image moves them
            assert value.metric in (*LOWER_IS_BETTER, "matthews_correlation")


def test_a_model_that_predicts_one_class_has_an_interval():
    labels = of_sizes(47, 15, 51)  # 47 of 113 are of the first class: 0.416
    values = evaluate(labels, np.tile([0.6, 0.3, 0.1], (113, 1)), CLASS_NAMES, seed=0)
    accuracy = found(values, "accuracy")
    assert (accuracy.low, accuracy.high) == wilson_interval(47, 113, 0.95)
    assert (found(values, "sensitivity", "Malignant").low, found(values, "sensitivity", "Normal").high) == (
        0,
        1,
    )
    assert found(values, "sensitivity", "Malignant").high == pytest.approx(wilson_interval(0, 51, 0.95)[1])
    area = found(values, "auroc", "Malignant")
    assert area.value == 0.5 and area.low < 0.5 < area.high
    f1, jaccard = found(values, "f1", "Normal"), wilson_interval(47, 113, 0.95)
    assert (f1.low, f1.high) == pytest.approx(tuple(2 * end / (1 + end) for end in jaccard))


def test_balanced_accuracy_adds_the_squares_of_the_classes_intervals():
    labels, made = CASES["random"]
    values = evaluate(labels, made(labels), CLASS_NAMES, seed=0)
    parts = [found(values, "sensitivity", name) for name in CLASS_NAMES]
    mean = sum(part.value for part in parts) / 3
    below = sum((part.value - part.low) ** 2 for part in parts) ** 0.5 / 3
    above = sum((part.high - part.value) ** 2 for part in parts) ** 0.5 / 3
    whole = found(values, "balanced_accuracy")
    assert (whole.value, whole.low, whole.high) == pytest.approx((mean, mean - below, mean + above))


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_out_by_formula_is_what_is_left_out_one_by_one(case):
    labels, made = CASES[case]
    predictions = predictions_of(labels, made(labels), CLASS_NAMES)
    for rounded in (predictions, replace(predictions, probabilities=predictions.probabilities.round(1))):
        one_by_one = 1 - np.eye(len(labels), dtype=int)
        expected = metric_matrix(labels, rounded.probabilities, one_by_one)
        np.testing.assert_allclose(left_out_metrics(rounded), expected, rtol=0, atol=TOLERANCE)


GOOD = np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]])


def changed(row, values):
    output = GOOD.copy()
    output[row] = values
    return output


@pytest.mark.parametrize(
    ("labels", "probabilities", "told"),
    [
        (np.array([2, 0]), GOOD, r"probabilities is \(3, 3\), not \(2, 3\)"),
        (np.array([2, 0, 1]), GOOD[:, :2], r"probabilities is \(3, 2\), not \(3, 3\)"),
        (np.array([2, 0, 3]), GOOD, r"labels spans 0 to 3, not within 0\.\.2"),
        (np.array([2, 0, -1]), GOOD, r"labels spans -1 to 2"),
        (np.array([2.0, 0.0, 1.0]), GOOD, r"labels is \(3,\) of float64"),
        (np.array([[2, 0, 1]]), GOOD, r"labels is \(1, 3\)"),
        (np.array([], int), np.empty((0, 3)), r"with n > 0"),
        (np.array([2, 0, 1]), changed(1, [np.nan, 0.5, 0.5]), "probabilities of image 1 .* not finite"),
        (np.array([2, 0, 1]), changed(2, [np.inf, 0, 0]), "probabilities of image 2 .* not finite"),
        (np.array([2, 0, 1]), changed(2, [1.2, -0.1, -0.1]), "probabilities of image 2 .* below 0"),
        (np.array([2, 0, 1]), changed(0, [0.2, 0.3, 0.502]), "probabilities of image 0 sum to 1.002"),
    ],
)
def test_input_that_cannot_be_right_is_refused_with_what_is_wrong(labels, probabilities, told):
    with pytest.raises(ValueError, match=told):
        evaluate(labels, probabilities, CLASS_NAMES, seed=0, resamples=10)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"image_ids": ["a", "b"]}, "2 image ids, 2 different, for 3 images"),
        ({"image_ids": ["a", "b", "a"]}, "3 image ids, 2 different, for 3 images"),
        ({"class_names": ("A", "B", "A")}, "at least two different names"),
        ({"confidence": 95}, "confidence is 95"),
        ({"groups": ["a", "b"]}, "2 groups for 3 images"),
        ({"method": "normal"}, "method is 'normal'"),
        ({"seed": -1, "method": "percentile"}, "seed -1"),
        ({"resamples": -1, "method": "bca"}, "resamples -1"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(given, told):
    settings = {"class_names": CLASS_NAMES, "seed": 0, "resamples": 10} | given
    with pytest.raises(ValueError, match=told):
        evaluate(np.array([2, 0, 1]), GOOD, **settings)


def test_rounded_probabilities_are_accepted_and_the_arrays_given_are_left_alone():
    labels, probabilities = np.array([2, 0, 1], np.uint8), changed(0, [0.2, 0.3, 0.5009])
    before = probabilities.copy()
    evaluate(labels, probabilities, CLASS_NAMES, seed=0, resamples=10, image_ids=["c", "b", "a"])
    assert (probabilities == before).all()
    assert labels.tolist() == [2, 0, 1]


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    labels, made = CASES["random"]
    predicted = made(labels).argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, 3)
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels, predicted), 1)
    assert matrix.tolist() == counts.tolist()
    assert (matrix != matrix.T).any()  # or this test could not tell rows from columns
    assert matrix.sum(axis=1).tolist() == [60, 45, 12]


def test_a_confusion_matrix_keeps_classes_that_do_not_occur():
    matrix = confusion_matrix(np.array([0, 0]), np.array([0, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]


def reported(case):
    labels, made = CASES[case]
    return classification_report(labels, made(labels).argmax(axis=1), CLASS_NAMES)


@pytest.mark.parametrize("case", ["random", "heavy ties", "worse than chance", "certainly wrong"])
def test_the_report_is_what_the_counts_say(case):
    labels, made = CASES[case]
    predicted, report = made(labels).argmax(axis=1), reported(case)
    assert list(report) == [*CLASS_NAMES, "accuracy", "macro avg", "weighted avg"]
    assert report["accuracy"] == pytest.approx((labels == predicted).mean(), abs=TOLERANCE)
    expected = []
    for label, name in enumerate(CLASS_NAMES):
        own, said = labels == label, predicted == label
        recall, precision = (own & said).sum() / own.sum(), (own & said).sum() / said.sum()
        f1 = 2 * (own & said).sum() / (own.sum() + said.sum())
        expected.append([precision, recall, f1, own.sum()])
        assert list(report[name]) == ["precision", "recall", "f1-score", "support"]
        assert list(report[name].values()) == pytest.approx(expected[-1], abs=TOLERANCE)
    expected = np.array(expected)
    for average, weights in (("macro avg", None), ("weighted avg", expected[:, 3])):
        mean = np.average(expected[:, :3], axis=0, weights=weights)
        assert list(report[average].values()) == pytest.approx([*mean, len(labels)], abs=TOLERANCE)


def test_the_report_agrees_with_the_metrics():
    labels, made = CASES["random"]
    report = reported("random")
    values = evaluate(labels, made(labels), CLASS_NAMES, seed=0, resamples=0)
    assert report["macro avg"]["recall"] == pytest.approx(found(values, "balanced_accuracy").value)
    assert report["macro avg"]["f1-score"] == pytest.approx(found(values, "macro_f1").value)
    for name in CLASS_NAMES:
        assert report[name]["recall"] == pytest.approx(found(values, "sensitivity", name).value)


def test_the_report_says_null_where_a_figure_is_undefined():
    report = reported("a class never predicted")
    assert report["Malignant"]["precision"] is None
    assert report["macro avg"]["precision"] is None  # leaving it out would reward never saying Malignant
    assert report["weighted avg"]["precision"] is None
    assert report["macro avg"]["recall"] > 0
    report = reported("a class absent")
    assert report["Malignant"]["recall"] is None
    assert report["Malignant"]["support"] == 0
    present = (report["Normal"]["recall"] + report["Benign"]["recall"]) / 2
    assert report["macro avg"]["recall"] == pytest.approx(present)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_leaving_the_ranked_metrics_out_changes_no_other():
    labels = of_sizes(30, 20, 10)
    output = model_output(labels, 1)
    counts = resample_counts(len(labels), 50, seed=1)
    whole, cheap = (metric_matrix(labels, output, counts, ranked=ranked) for ranked in (True, False))
    left_out = np.array([name in metrics.RANKED for name, _ in metrics.metric_columns(CLASS_NAMES)])
    assert (whole[:, ~left_out] == cheap[:, ~left_out]).all()
    assert np.isnan(cheap[:, left_out]).all()
    assert not np.isnan(whole[:, left_out]).any()
