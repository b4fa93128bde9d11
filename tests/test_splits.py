import csv
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tiny_dataset import REAL, dataset_of

from boneexp.data.btxrd import BTXRD_COUNTS, read_dataset
from boneexp.data.overlaps import Overlap, contradicting_images, overlaps
from boneexp.data.splits import Split, center_holdout, stratified, write_manifest
from boneexp.errors import DataInvalid
from boneexp.results import PARTS

STRATIFIED = {"ratios": (0.70, 0.15, 0.15), "seed": 42}
HOLDOUT = {"train_centers": (1,), "test_centers": (2, 3), "ratios": (0.85, 0.15), "seed": 42}


def btxrd(ties=()):
    """Return a dataset with BTXRD's counts; `ties` gives pairs of places the same perceptual hash."""
    entries = [
        [label, center, None, ""]
        for center, counts in BTXRD_COUNTS.items()
        for label, count in enumerate(counts)
        for _ in range(count)
    ]
    for number, places in enumerate(ties):
        for place in places:
            entries[place][2] = f"twin{number:012x}"
    return dataset_of(entries)


def tiny(kinds="NNNNNNBBBBBBMMMMMM", centers="111122111122111122"):
    return dataset_of(
        [("NBM".index(kind), int(center), None, "") for kind, center in zip(kinds, centers, strict=True)]
    )


def sizes(split):
    return [len(split.indices(part)) for part in PARTS]


def by_class(dataset, split, part):
    return np.bincount(dataset.labels[split.indices(part)], minlength=3).tolist()


def test_the_stratified_split_of_btxrd_has_the_published_sizes_within_two_images():
    dataset = btxrd()
    split = stratified(dataset, **STRATIFIED)
    assert split.name == "stratified"
    assert np.abs(np.array(sizes(split)) - (2621, 561, 564)).max() <= 2
    assert np.abs(np.array(by_class(dataset, split, "test")) - (282, 231, 51)).max() <= 2
    assert sum(sizes(split)) == 3746


def test_the_center_holdout_split_of_btxrd_has_the_published_sizes_within_two_images():
    dataset = btxrd()
    split = center_holdout(dataset, **HOLDOUT)
    assert np.abs(np.array(sizes(split)) - (2499, 439, 808)).max() <= 2
    assert by_class(dataset, split, "test") == [286, 415, 107]
    assert set(dataset.centers[split.indices("test")]) == {2, 3}
    assert split.notes == ()


def test_the_same_picture_never_falls_on_two_sides_and_sizes_stay():
    rng = np.random.default_rng(0)
    ties = rng.choice(2938, (21, 2), replace=False).tolist()
    dataset = btxrd(ties)
    for split in (stratified(dataset, **STRATIFIED), center_holdout(dataset, **HOLDOUT)):
        assert all(split.part_of[first] == split.part_of[second] for first, second in ties)
    assert np.abs(np.array(sizes(stratified(dataset, **STRATIFIED))) - (2621, 561, 564)).max() <= 2
    assert np.abs(np.array(sizes(center_holdout(dataset, **HOLDOUT))) - (2499, 439, 808)).max() <= 2


def test_groups_stay_together_and_chain_with_equal_pictures():
    rng = np.random.default_rng(1)
    entries = [[int(rng.integers(3)), 1, None, f"patient{number // 3}"] for number in range(300)]
    entries[0][2] = entries[299][2] = "same"
    dataset = dataset_of(entries)
    split = stratified(dataset, **STRATIFIED)
    for start in range(0, 300, 3):
        assert len(set(split.part_of[start : start + 3])) == 1
    assert split.part_of[0] == split.part_of[299]
    assert np.abs(np.array(sizes(split)) - (210, 45, 45)).max() <= 6


def test_a_blank_group_ties_nothing():
    dataset = tiny()
    assert sizes(stratified(dataset, **STRATIFIED)) == [12, 3, 3]


def test_a_training_image_tied_to_a_test_center_is_left_out_and_noted():
    dataset = btxrd(ties=[(0, 2938), (1, 3745), (2, 3)])
    split = center_holdout(dataset, **HOLDOUT)
    assert (split.part_of[0], split.part_of[1]) == ("", "")
    assert (split.part_of[2938], split.part_of[3745]) == ("test", "test")
    (note,) = split.notes
    assert note.endswith("tied to images of the test centers: IMG000001.jpeg, IMG000002.jpeg (2 in all)")


def test_images_of_other_centers_are_not_used():
    dataset = btxrd()
    split = center_holdout(dataset, **HOLDOUT | {"test_centers": (2,)})
    assert {part for part, center in zip(split.part_of, dataset.centers, strict=True) if center == 3} == {""}


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_the_images():
    dataset = btxrd(ties=[(0, 100), (5, 2000)])
    order = np.random.default_rng(2).permutation(len(dataset.radiographs))
    shuffled = replace(dataset, radiographs=tuple(dataset.radiographs[place] for place in order))
    for make, settings in ((stratified, STRATIFIED), (center_holdout, HOLDOUT)):
        split, again = make(dataset, **settings), make(shuffled, **settings)
        assert again.digest == split.digest
        assert [split.part_of[place] for place in order] == list(again.part_of)
        assert make(dataset, **settings | {"seed": 43}).digest != split.digest


def test_the_digest_is_pinned_for_ledgers_already_written():
    assert stratified(tiny(), **STRATIFIED).digest[:16] == "0b93889ee3c2ad45"
    assert center_holdout(tiny(), **HOLDOUT).digest[:16] == "a23602f042ce963a"


def test_indices_rise_and_parts_cover_every_image_once():
    split = stratified(tiny(), **STRATIFIED)
    together = np.concatenate([split.indices(part) for part in PARTS])
    assert sorted(together.tolist()) == list(range(18))
    assert (np.diff(split.indices("train")) > 0).all()


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_few_images_of_a_class_still_reach_every_part(count):
    dataset = tiny("N" * 20 + "B" * 20 + "M" * count, "1" * (40 + count))
    split = stratified(dataset, **STRATIFIED)
    assert all(min(by_class(dataset, split, part)) >= 1 for part in PARTS)


def test_a_part_without_a_class_is_refused_with_the_counts():
    dataset = tiny("NNNNBBBBMM", "1111111111")
    with pytest.raises(
        DataInvalid, match="the stratified split leaves .* without a Malignant image"
    ) as caught:
        stratified(dataset, **STRATIFIED)
    assert "[splits]" in str(caught.value)
    dataset = tiny("NNNNNNBBBBBBMMM", "111122111122111")
    with pytest.raises(DataInvalid) as caught:
        center_holdout(dataset, **HOLDOUT)
    assert "leaves test without a Malignant image (assigned: 2 to train, 1 to val, 0 to test)" in str(
        caught.value
    )


def test_a_dataset_without_the_training_center_is_refused():
    with pytest.raises(DataInvalid, match="leaves train without a Normal image"):
        center_holdout(tiny(centers="2" * 18), **HOLDOUT)


def test_the_manifest_has_a_row_per_image_and_runs_nothing_in_a_spreadsheet(tmp_path):
    dataset = tiny()
    first = replace(dataset.radiographs[0], image_id="-1.jpeg", group='=HYPERLINK("http://x")')
    dataset = replace(dataset, radiographs=(first, *dataset.radiographs[1:]))
    split = center_holdout(dataset, **HOLDOUT | {"test_centers": (2,)})
    write_manifest(split, dataset, tmp_path / "splits" / "manifest.csv")
    with (tmp_path / "splits" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image_id", "part", "center", "label", "group", "sha256"]
    assert (rows[0]["image_id"], rows[0]["group"]) == ("'-1.jpeg", '\'=HYPERLINK("http://x")')
    assert Counter(one["part"] for one in rows) == Counter(split.part_of)
    assert (rows[17]["label"], rows[17]["center"], rows[17]["sha256"]) == ("Malignant", "2", f"{18:064x}")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real radiographs are not here: {REAL}")
def test_real_radiographs_are_split_with_every_class_in_every_part():
    dataset = read_dataset(REAL)
    split = stratified(dataset, **STRATIFIED)
    assert sizes(split) == [230, 49, 49]
    holdout = center_holdout(dataset, **HOLDOUT)
    assert by_class(dataset, holdout, "test") == [43, 41, 19]


def test_centers_in_neither_list_are_noted():
    dataset = dataset_of(
        [(label, center, None, "") for center in (1, 2, 4) for label in range(3) for _ in range(4)]
    )
    split = center_holdout(dataset, train_centers=[1], test_centers=[2], ratios=(0.5, 0.5), seed=1)
    assert split.notes == ("centers in neither train_centers nor test_centers, so unused: 4 (12 images)",)


def test_what_parts_share_is_counted_whatever_the_split_was_to_keep():
    dataset = dataset_of(
        [
            (0, 1, "twin", "p1"),
            (1, 1, "twin", "p1"),  # another class, the same picture
            (2, 1, None, "p2"),
            (0, 1, None, ""),
            (1, 1, None, "p3"),
            (2, 1, None, "p2"),
        ]
    )
    split = Split("stratified", ("train", "test", "train", "val", "val", "test"), "d" * 64)
    found = {(each.first_part, each.second_part): each for each in overlaps(split, dataset)}
    assert found["train", "test"] == Overlap("train", "test", 2, 2, 1, 0)
    assert found["train", "val"] == Overlap("train", "val", 2, 0, 0, 1)
    assert found["val", "test"] == Overlap("val", "test", 2, 0, 0, 1)
    assert contradicting_images(dataset) == 2


def test_a_split_by_groups_shares_none():
    groups = [f"p{number // 2}" for number in range(60)]
    dataset = dataset_of([(number // 2 % 3, 1, None, group) for number, group in enumerate(groups)])
    for each in overlaps(stratified(dataset, **STRATIFIED), dataset):
        assert (each.images_of_shared_groups, each.images_without_group) == (0, 0)
    mixed = Split("stratified", tuple(PARTS[number % 2 * 2] for number in range(60)), "d" * 64)
    assert overlaps(mixed, dataset)[1].images_of_shared_groups == 30
