"""Figures of subgroups: those of their images alone, and none where there are too few."""

import numpy as np
import pytest
from evaluating import evaluate
from two_models import two_models

from boneexp.evaluation.inputs import predictions_of, some_of
from boneexp.evaluation.metrics import metric_columns
from boneexp.evaluation.subgroups import FEWEST, subgroups, support
from boneexp.results import CLASS_NAMES, MetricValue

MODEL, _ = two_models(1, sizes=(60, 45, 24))
VIEWS, _ = two_models(1, sizes=(60, 45, 24), views=3)  # three images of each patient
CENTERS = [1 if number % 3 else 2 for number in range(129)]


def value_of(group, metric, class_name=""):
    return next(v for v in group.values if (v.metric, v.class_name) == (metric, class_name))


def test_a_subgroups_figures_are_those_of_its_images_alone():
    members = {
        value: {name for name, center in zip(VIEWS.image_ids, CENTERS, strict=True) if str(center) == value}
        for value in sorted(set(map(str, CENTERS)))
    }
    assert list(members) == ["1", "2"]
    for group, center in zip(subgroups(VIEWS, members, seed=4, resamples=60), (1, 2), strict=True):
        inside = np.array(CENTERS) == center
        expected = evaluate(
            VIEWS.labels[inside],
            VIEWS.probabilities[inside],
            CLASS_NAMES,
            seed=4,
            resamples=60,
            image_ids=np.array(VIEWS.image_ids)[inside].tolist(),
            groups=np.array(VIEWS.groups)[inside].tolist(),
        )
        rests_on = support(some_of(VIEWS, inside))
        assert group.values == tuple(
            value
            if rests_on[value.metric, value.class_name] >= FEWEST
            else MetricValue(value.metric, value.class_name, None, None, None)
            for value in expected
        )
        assert group.images == inside.sum()
        assert group.class_images == tuple(np.bincount(VIEWS.labels[inside]))


def test_bca_intervals_are_those_of_its_images_too():
    members = {"first": MODEL.image_ids[:100]}
    plain, moved = (subgroups(MODEL, members, seed=0, method=method)[0] for method in ("percentile", "bca"))
    assert value_of(plain, "accuracy").value == value_of(moved, "accuracy").value
    assert value_of(plain, "accuracy").low != value_of(moved, "accuracy").low


def test_figures_of_too_few_images_are_not_shown():
    (group,) = subgroups(MODEL, {"knee": MODEL.image_ids[:9]}, seed=0, resamples=10)
    assert (group.images, group.values) == (9, ())
    (group,) = subgroups(MODEL, {"knee": MODEL.image_ids[:10]}, seed=0, resamples=10)
    assert value_of(group, "accuracy").value is not None
    (group,) = subgroups(MODEL, {"knee": MODEL.image_ids[:9]}, seed=0, resamples=10, fewest=9)
    assert value_of(group, "accuracy").value is not None


def test_nor_are_those_of_a_class_with_too_few():
    ids = [*MODEL.image_ids[:40], *MODEL.image_ids[-9:]]  # 40 normal, 9 malignant
    (group,) = subgroups(MODEL, {"femur": ids}, seed=0, resamples=10)
    assert group.class_images == (40, 0, 9)
    hidden = value_of(group, "sensitivity", "Malignant")
    assert (hidden.value, hidden.low, hidden.high) == (None, None, None)
    assert value_of(group, "specificity", "Malignant").value is not None  # of the 40 others
    assert value_of(group, "sensitivity", "Normal").value is not None
    assert value_of(group, "specificity", "Normal").value is None  # of the 9 others
    (shown,) = subgroups(MODEL, {"femur": ids}, seed=0, resamples=10, fewest=9)
    assert value_of(shown, "sensitivity", "Malignant").value is not None


@pytest.mark.parametrize(
    ("sizes", "metric", "class_name", "is_shown"),
    [
        ((40, 40, 9), "macro_auroc", "", False),  # 9 malignant images, whatever the 89 others say
        ((40, 40, 10), "macro_auroc", "", True),
        ((40, 40, 9), "balanced_accuracy", "", False),
        ((40, 40, 0), "balanced_accuracy", "", True),  # a mean over the two that are there
        ((40, 40, 9), "accuracy", "", True),
        ((40, 40, 9), "auroc", "Malignant", False),
        ((9, 0, 40), "auroc", "Malignant", False),  # of few others
        ((9, 0, 40), "average_precision", "Malignant", False),
        ((9, 0, 40), "sensitivity", "Malignant", True),
        ((9, 0, 40), "specificity", "Malignant", False),
    ],
)
def test_a_figure_is_shown_where_what_it_rests_on_is_enough(sizes, metric, class_name, is_shown):
    model, _ = two_models(1, sizes=sizes)
    (group,) = subgroups(model, {"knee": model.image_ids}, seed=0, resamples=10)
    assert (value_of(group, metric, class_name).value is not None) is is_shown


def test_a_precision_rests_on_the_images_that_are_called_so():
    labels = np.repeat([0, 1, 2], 20)
    for called, is_shown in ((9, False), (10, True)):
        probabilities = np.tile([0.8, 0.1, 0.1], (60, 1))
        probabilities[:called] = [0.1, 0.1, 0.8]
        model = predictions_of(labels, probabilities, CLASS_NAMES, [f"i{n:02d}" for n in range(60)])
        (group,) = subgroups(model, {"knee": model.image_ids}, seed=0, resamples=10)
        assert (value_of(group, "precision", "Malignant").value is not None) is is_shown
        assert value_of(group, "sensitivity", "Malignant").value is not None


def test_patients_are_counted_where_they_are_known():
    assert support(MODEL)["accuracy", ""] == 129
    assert support(VIEWS)["accuracy", ""] == 43
    assert support(VIEWS)["sensitivity", "Malignant"] == support(VIEWS)["macro_auroc", ""] == 8
    assert set(support(VIEWS)) == set(metric_columns(CLASS_NAMES))
    (group,) = subgroups(VIEWS, {"knee": VIEWS.image_ids}, seed=0, resamples=10)
    assert group.images == 129
    assert value_of(group, "sensitivity", "Malignant").value is None  # 24 images of 8 patients
    assert value_of(group, "sensitivity", "Benign").value is not None
    assert group.few == ("Benign", "Malignant")
    (few,) = subgroups(VIEWS, {"knee": VIEWS.image_ids[:27]}, seed=0, resamples=10)
    assert (few.images, few.values) == (27, ())


def test_few_images_are_warned_of():
    ids = [*MODEL.image_ids[:40], *MODEL.image_ids[-9:]]
    (group,) = subgroups(MODEL, {"femur": ids}, seed=0, resamples=10)
    assert group.few == ("Malignant",)
    (group,) = subgroups(MODEL, {"knee": MODEL.image_ids[:19]}, seed=0, resamples=10)
    assert group.few == ("all classes", "Normal")


def test_subgroups_may_overlap_be_empty_or_name_images_of_other_parts():
    members = {
        "hand": MODEL.image_ids[:50],
        "wrist": MODEL.image_ids[25:75],
        "hip": ["IMG999999"],
        "foot": [],
    }
    found = subgroups(MODEL, members, seed=0, resamples=10)
    assert [(group.name, group.images) for group in found] == [
        ("hand", 50),
        ("wrist", 50),
        ("hip", 0),
        ("foot", 0),
    ]
    assert found[2].values == found[2].few == found[3].values == ()


def test_a_subgroup_of_one_class_has_a_sensitivity_and_no_auroc():
    ids = [name for name, label in zip(MODEL.image_ids, MODEL.labels, strict=True) if label == 2]
    (group,) = subgroups(MODEL, {"osteosarcoma": ids}, seed=0, resamples=10)
    assert value_of(group, "sensitivity", "Malignant").value == value_of(group, "accuracy").value
    assert value_of(group, "auroc", "Malignant").value is None


def test_some_of_the_images_keep_what_belongs_to_them():
    inside = np.arange(129) % 2 == 1
    part = some_of(VIEWS, inside)
    assert part.image_ids == VIEWS.image_ids[1::2]
    assert part.groups == VIEWS.groups[1::2]
    assert (part.probabilities == VIEWS.probabilities[1::2]).all()


def test_without_ids_nobody_knows_who_is_in_a_subgroup():
    nameless = predictions_of(MODEL.labels, MODEL.probabilities, CLASS_NAMES)
    with pytest.raises(ValueError, match="0 image ids"):
        subgroups(nameless, {"1": ["a"]}, seed=0)
    with pytest.raises(ValueError, match="fewest 0"):
        subgroups(MODEL, {"1": ["a"]}, seed=0, fewest=0)
