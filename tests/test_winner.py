"""The winner's curse, against plain loops and against a study whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from evaluating import resample_counts
from two_models import softmax, two_models

from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import metric_columns, metric_matrix
from boneexp.evaluation.winner import Criterion, winners_curse
from boneexp.results import CLASS_NAMES

ACCURACY = Criterion("stratified", "accuracy")
SENSITIVITY = Criterion("stratified", "sensitivity", "Malignant")
LOSS = Criterion("stratified", "log_loss")


def part(seed, signals, sizes=(40, 30, 12)):
    """One model per signal, all asked about the same images, as independent as can be."""
    labels = np.repeat([0, 1, 2], sizes)
    ids = [f"IMG{number:06d}" for number in range(len(labels))]
    generator = np.random.default_rng(seed)
    found = []
    for signal in signals:
        logits = generator.normal(size=(len(labels), 3))
        logits[np.arange(len(labels)), labels] += signal
        found.append(predictions_of(labels, softmax(logits), CLASS_NAMES, ids))
    return found


def candidates_of(seed, signals, split="stratified", **given):
    test, val = part(2 * seed, signals, **given), part(2 * seed + 1, signals, **given)
    return {
        f"E{number + 1}": {(split, "test"): [test[number]], (split, "val"): [val[number]]}
        for number in range(len(signals))
    }


def looped(candidates, order, resamples, seed):
    """Choose again on each resample, one after the other; ties are shared."""
    names = sorted(candidates)
    columns = metric_columns(CLASS_NAMES)
    models = [candidates[name]["stratified", "test"][0] for name in names]
    (whole,) = [
        [metric_matrix(m.labels, m.probabilities, np.ones((1, len(m.labels)), int))[0] for m in models]
    ]
    wins, above = dict.fromkeys(names, 0.0), np.zeros(len(order))
    for counts in resample_counts(len(models[0].labels), resamples, 2 * seed):
        drawn = [metric_matrix(m.labels, m.probabilities, counts[None])[0] for m in models]
        keys = []
        for figures in drawn:
            values = [figures[columns.index((each.metric, each.class_name))] for each in order]
            keys.append(
                tuple(-v if each.metric == "log_loss" else v for v, each in zip(values, order, strict=True))
            )
        best = [place for place, key in enumerate(keys) if key == max(keys)]
        for place in best:
            wins[names[place]] += 1 / len(best) / resamples
            for position, each in enumerate(order):
                column = columns.index((each.metric, each.class_name))
                above[position] += (drawn[place][column] - whole[place][column]) / len(best) / resamples
    return wins, above


@pytest.mark.parametrize("order", [[ACCURACY, SENSITIVITY], [SENSITIVITY], [LOSS, ACCURACY]])
def test_the_choice_and_the_optimism_are_those_of_a_loop(order):
    candidates = candidates_of(1, (1.0, 1.1, 1.2))
    study = winners_curse(candidates, order, seed=3, resamples=150)
    wins, above = looped(candidates, order, 150, seed=3)
    assert study.by_test.wins == pytest.approx(wins)
    assert sum(study.by_test.wins.values()) == pytest.approx(1)
    for figure, expected in zip(study.figures, above, strict=True):
        sign = -1 if figure.criterion == LOSS else 1
        assert figure.optimism == pytest.approx(sign * expected)
        assert figure.corrected == pytest.approx(figure.apparent - expected)


def test_the_winner_has_the_highest_figure_of_its_part():
    candidates = candidates_of(2, (0.8, 1.6, 0.9))
    study = winners_curse(candidates, [ACCURACY], seed=0, resamples=50)
    assert study.by_test.winners == study.by_validation.winners == ("E2",)
    best = candidates["E2"]["stratified", "test"][0]
    right = (best.probabilities.argmax(axis=1) == best.labels).mean()
    assert study.figures[0].apparent == study.figures[0].of_validation_choice == pytest.approx(right)
    assert study.by_test.wins["E2"] > 0.9


def test_validation_may_choose_another_and_its_test_figure_is_shown():
    test, val = part(5, (2.0, 1.0)), part(6, (0.2, 1.4))
    candidates = {
        name: {("stratified", "test"): [test[k]], ("stratified", "val"): [val[k]]}
        for k, name in enumerate(("E1", "E2"))
    }
    study = winners_curse(candidates, [ACCURACY], seed=0, resamples=50)
    assert study.by_test.winners == ("E1",)
    assert study.by_validation.winners == ("E2",)
    right = (test[1].probabilities.argmax(axis=1) == test[1].labels).mean()
    assert study.figures[0].of_validation_choice == pytest.approx(right)
    assert study.figures[0].of_validation_choice < study.figures[0].apparent


def test_with_one_candidate_there_is_nothing_to_choose_and_no_optimism():
    study = winners_curse(candidates_of(3, (1.0,)), [ACCURACY], seed=0, resamples=4000)
    assert study.by_test.wins == {"E1": 1.0}
    assert study.figures[0].optimism == pytest.approx(0, abs=0.003)


def test_equal_candidates_share_the_wins():
    one = candidates_of(4, (1.0,))["E1"]
    study = winners_curse({"E2": one, "E1": one}, [ACCURACY, SENSITIVITY], seed=0, resamples=20)
    assert study.by_test.winners == ("E1", "E2")
    assert study.by_test.wins == {"E1": 0.5, "E2": 0.5}


def test_picking_the_best_of_several_like_models_is_optimistic_and_the_estimate_says_so():
    apparent, corrected = [], []
    for trial in range(60):
        candidates = candidates_of(100 + trial, (1.0,) * 5)
        figure = winners_curse(candidates, [ACCURACY], seed=trial, resamples=100).figures[0]
        apparent.append(figure.apparent)
        corrected.append(figure.corrected)
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(400_000, 3))
    truth = ((logits[:, 0] + 1) > logits[:, 1:].max(axis=1)).mean()  # the same for every class
    assert np.mean(apparent) - truth > 0.03
    assert 0 < np.mean(corrected) - truth < 0.7 * (np.mean(apparent) - truth)


def test_the_figure_of_an_experiment_is_the_mean_over_its_seeds():
    test, val = part(7, (1.0, 1.4, 1.2)), part(8, (1.0, 1.4, 1.2))
    where = ("stratified", "test"), ("stratified", "val")
    candidates = {
        "E1": {where[0]: test[:2], where[1]: val[:2]},
        "E2": {where[0]: test[2:], where[1]: val[2:]},
    }
    study = winners_curse(candidates, [ACCURACY], seed=0, resamples=20)
    right = [(each.probabilities.argmax(axis=1) == each.labels).mean() for each in test]
    means = {"E1": (right[0] + right[1]) / 2, "E2": right[2]}
    assert study.by_test.winners == (max(means, key=means.get),)
    assert study.figures[0].apparent == pytest.approx(max(means.values()))


def test_seeds_in_another_order_are_equal_and_share_the_wins():
    test, val = part(15, (1.0, 1.4, 1.2, 0.9, 1.1)), part(16, (1.0, 1.4, 1.2, 0.9, 1.1))
    where = ("stratified", "test"), ("stratified", "val")
    candidates = {
        name: {where[0]: [test[k] for k in order], where[1]: [val[k] for k in order]}
        for name, order in {"E1": (0, 1, 2, 3, 4), "E2": (4, 2, 0, 3, 1), "E3": (3, 4, 1, 0, 2)}.items()
    }
    macro = Criterion("stratified", "macro_auroc")
    for order in ([ACCURACY, SENSITIVITY], [macro]):
        study = winners_curse(candidates, order, seed=0, resamples=60)
        assert study.by_test.winners == study.by_validation.winners == ("E1", "E2", "E3")
        assert study.by_test.wins == pytest.approx(dict.fromkeys(candidates, 1 / 3))


def test_two_splits_are_drawn_apart_and_both_count():
    inside, outside = candidates_of(9, (1.0, 1.0)), candidates_of(9, (0.3, 2.0), split="center_holdout")
    candidates = {name: inside[name] | outside[name] for name in inside}
    tied = {name: {key: inside["E1"][key] for key in inside["E1"]} | outside[name] for name in inside}
    order = [ACCURACY, Criterion("center_holdout", "accuracy")]
    study = winners_curse(tied, order, seed=0, resamples=50)
    assert study.by_test.winners == ("E2",)  # equal on the first split, better on the second
    assert study.by_test.wins["E2"] > 0.9
    assert len(winners_curse(candidates, order, seed=0, resamples=50).figures) == 2


def test_neither_parts_nor_splits_are_drawn_alike():
    test = part(14, (1.0, 1.0))
    where = [(split, each) for split in ("center_holdout", "stratified") for each in ("test", "val")]
    candidates = {f"E{number + 1}": dict.fromkeys(where, [test[number]]) for number in range(2)}
    once = winners_curse(candidates, [ACCURACY], seed=0, resamples=300)
    assert once.by_test.winners == once.by_validation.winners
    assert once.by_test.wins != once.by_validation.wins
    both = [ACCURACY, Criterion("center_holdout", "accuracy")]
    twice = winners_curse(candidates, both, seed=0, resamples=300)
    assert twice.by_test.wins != once.by_test.wins  # drawn alike, a tie in one would be a tie in the other


def test_an_unknown_figure_ranks_last():
    candidates = candidates_of(10, (0.5, 1.5), sizes=(30, 30, 0))
    study = winners_curse(candidates, [SENSITIVITY, ACCURACY], seed=0, resamples=20)
    assert study.by_test.winners == ("E2",)  # both unknown: the next criterion decides
    assert (study.figures[0].apparent, study.figures[0].optimism) == (None, None)
    precision = Criterion("stratified", "precision", "Malignant")
    never, sometimes = candidates_of(11, (1.0, 1.0)).items()
    for where, (model,) in never[1].items():
        silent = model.probabilities * [1, 1, 1e-6]
        never[1][where] = [replace(model, probabilities=silent / silent.sum(axis=1, keepdims=True))]
    study = winners_curse(dict([never, sometimes]), [precision], seed=0, resamples=20)
    assert study.by_test.winners == ("E2",)
    assert study.by_test.wins == {"E1": 0.0, "E2": 1.0}


def test_neither_the_order_of_candidates_nor_that_of_images_changes_anything():
    candidates = candidates_of(12, (1.0, 1.1))
    mixed = np.random.default_rng(0).permutation(82)
    shuffled = {
        name: {
            where: [
                predictions_of(
                    model.labels[mixed],
                    model.probabilities[mixed],
                    CLASS_NAMES,
                    [model.image_ids[place] for place in mixed],
                )
                for model in models
            ]
            for where, models in parts.items()
        }
        for name, parts in reversed(candidates.items())
    }
    order = [ACCURACY, SENSITIVITY]
    assert winners_curse(shuffled, order, seed=1, resamples=50) == winners_curse(
        candidates, order, seed=1, resamples=50
    )


def test_what_cannot_be_chosen_from_is_refused():
    candidates = candidates_of(13, (1.0, 1.1))
    with pytest.raises(ValueError, match="0 candidates"):
        winners_curse({}, [ACCURACY], seed=0)
    with pytest.raises(ValueError, match="0 criteria"):
        winners_curse(candidates, [], seed=0)
    with pytest.raises(ValueError, match="0 resamples"):
        winners_curse(candidates, [ACCURACY], seed=0, resamples=0)
    with pytest.raises(ValueError, match="E1 has no predictions of the test part of center_holdout"):
        winners_curse(candidates, [Criterion("center_holdout", "accuracy")], seed=0)
    with pytest.raises(ValueError, match="is no metric of these classes"):
        winners_curse(candidates, [Criterion("stratified", "iou")], seed=0)
    other = two_models(1, sizes=(9, 9, 9))[0]
    with pytest.raises(ValueError, match="the images differ"):
        winners_curse(candidates | {"E3": {("stratified", "test"): [other]}}, [ACCURACY], seed=0)
