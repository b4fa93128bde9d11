"""What two parts of a split share: patients (by the group column), and pictures that look the same."""

from collections.abc import Iterator
from dataclasses import dataclass

from boneexp.data.btxrd import Dataset
from boneexp.data.radiograph import Radiograph
from boneexp.data.splits import Split

PAIRS = (("train", "val"), ("train", "test"), ("val", "test"))


@dataclass(frozen=True)
class Overlap:
    """How many images of the second part have a group, or a perceptual hash, that the first part has too."""

    first_part: str
    second_part: str
    images: int  # of the second part
    images_of_shared_groups: int
    images_of_shared_pictures: int
    images_without_group: int  # of both parts


def overlaps(split: Split, dataset: Dataset) -> tuple[Overlap, ...]:
    """Return the overlap of each pair of parts, counted image by image whatever the split was to keep."""
    parts = {part: [dataset.radiographs[i] for i in split.indices(part)] for pair in PAIRS for part in pair}
    return tuple(_overlap(pair, parts[pair[0]], parts[pair[1]]) for pair in PAIRS)


def contradicting_images(dataset: Dataset) -> int:
    """Count the images that look the same as one of another class."""
    classes: dict[str, set[int]] = {}
    for one in dataset.radiographs:
        classes.setdefault(one.phash, set()).add(one.label)
    return sum(len(classes[one.phash]) > 1 for one in dataset.radiographs)


def _overlap(pair: tuple[str, str], first: list[Radiograph], second: list[Radiograph]) -> Overlap:
    groups, pictures = set(_groups(first)), {one.phash for one in first}
    return Overlap(
        *pair,
        images=len(second),
        images_of_shared_groups=sum(group in groups for group in _groups(second)),
        images_of_shared_pictures=sum(one.phash in pictures for one in second),
        images_without_group=sum(not one.group for one in (*first, *second)),
    )


def _groups(radiographs: list[Radiograph]) -> Iterator[str]:
    return (one.group for one in radiographs if one.group)
