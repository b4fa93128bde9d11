"""Attributes of images, as the ledger keeps them for subgroups."""

from collections import Counter
from dataclasses import replace

import pytest
from tiny_dataset import dataset_of

from boneexp.data.attributes import age_band, attributes_of

RADIOGRAPH = dataset_of([(0, 1, None, "")]).radiographs[0]


def test_every_age_has_one_band():
    bands = Counter(age_band(age) for age in range(111))
    assert bands == {"0-9": 10, "10-19": 10, "20-39": 20, "40-59": 20, "60 and above": 51}
    assert (age_band(9), age_band(10)) == ("0-9", "10-19")
    with pytest.raises(ValueError, match="-1 years"):
        age_band(-1)


def test_an_image_has_all_its_values_and_what_is_not_known_is_said():
    one = replace(
        RADIOGRAPH,
        label=2,
        age=12,
        gender="F",
        sites=("femur", "knee-joint"),
        regions=("lower limb",),
        views=(),
        subtypes=("osteosarcoma",),
    )
    assert list(attributes_of(one)) == [
        ("site", "femur"),
        ("site", "knee-joint"),
        ("region", "lower limb"),
        ("view", "not known"),
        ("subtype", "osteosarcoma"),
        ("sex", "female"),
        ("age band", "10-19"),
    ]


def test_a_normal_image_has_no_subtype_and_blank_cells_are_not_known():
    one = replace(RADIOGRAPH, label=0, age=None, gender=None, subtypes=())
    found = dict(attributes_of(one))
    assert "subtype" not in found
    assert (found["sex"], found["age band"]) == ("not known", "not known")
