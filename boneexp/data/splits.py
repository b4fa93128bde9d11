"""Assign the images to training, validation and test set, and never the same picture to two of them.

Images with equal perceptual hash or equal group are one unit. Units are taken in the order of a hash of the
seed and their first image_id, so a split depends on neither the rows' order nor a library's generator.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boneexp.data.btxrd import Dataset
from boneexp.errors import DataInvalid
from boneexp.files.atomic import write_text
from boneexp.results import CLASS_NAMES, PARTS
from boneexp.study.settings import digest_of
from boneexp.text.escaping import csv_text

UNUSED = ""
Unit = tuple[int, ...]  # indices of images that stay together


def stratified(dataset: Dataset, *, ratios: tuple[float, float, float], seed: int) -> "Split":
    """Return a split in which every class is shared out by `ratios` to train, val and test.

    Without groups it is optimistic: views of one patient fall on both sides.

    Raises:
        DataInvalid: a part would get no image of some class.
    """
    assigned = _assigned(dataset, _units(dataset), dict(zip(PARTS, ratios, strict=True)), seed)
    return _split("stratified", dataset, assigned)


def center_holdout(
    dataset: Dataset,
    *,
    train_centers: Sequence[int],
    test_centers: Sequence[int],
    ratios: tuple[float, float],
    seed: int,
) -> "Split":
    """Return a split with all of `test_centers` as test, and `train_centers` shared out to train and val.

    An image of a training center that is tied to one of a test center is left out, and the split's notes say
    so; images of other centers are left out too.

    Raises:
        DataInvalid: a part would get no image of some class.
    """
    centers = dataset.centers
    kept: list[Unit] = []
    left_out: list[int] = []
    for unit in _units(dataset):
        training = tuple(index for index in unit if centers[index] in train_centers)
        if any(centers[index] in test_centers for index in unit):
            left_out += training
        elif training:
            kept.append(training)
    assigned = _assigned(dataset, kept, dict(zip(PARTS, ratios, strict=False)), seed)
    assigned |= {index: "test" for index, center in enumerate(centers) if center in test_centers}
    notes = (*_left_out(dataset, left_out), *_unused_centers(dataset, {*train_centers, *test_centers}))
    return _split("center_holdout", dataset, assigned, notes)


def write_manifest(split: "Split", dataset: Dataset, path: Path) -> None:
    """Write a CSV with a row per image: image_id, part ("" for unused), center, label, group, sha256."""
    rows = [
        {
            "image_id": one.image_id,
            "part": part,
            "center": one.center,
            "label": CLASS_NAMES[one.label],
            "group": one.group,
            "sha256": one.sha256,
        }
        for one, part in zip(dataset.radiographs, split.part_of, strict=True)
    ]
    write_text(path, csv_text(list(rows[0]), rows))


def _units(dataset: Dataset) -> list[Unit]:
    """Return the images as sets that are tied together by equal perceptual hash or equal group."""
    parents = list(range(len(dataset.radiographs)))

    def top(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, one in enumerate(dataset.radiographs):
        for tie in [("picture", one.phash), *([("group", one.group)] if one.group else [])]:
            parents[top(index)] = top(first.setdefault(tie, index))
    units: dict[int, list[int]] = {}
    for index in range(len(parents)):
        units.setdefault(top(index), []).append(index)
    return [tuple(unit) for unit in units.values()]


def _assigned(
    dataset: Dataset, units: Iterable[Unit], ratios: Mapping[str, float], seed: int
) -> dict[int, str]:
    """Return the part of every image: large units first, each to the part that misses its classes most."""
    labels = dataset.labels
    counts = {unit: np.bincount(labels[list(unit)], minlength=len(CLASS_NAMES)) for unit in units}
    totals = sum(counts.values(), np.zeros(len(CLASS_NAMES), dtype=np.int64))
    quotas = np.array([_shares(total, list(ratios.values())) for total in totals.tolist()]).T
    room = quotas.copy()  # (parts, classes): how many images are still missing
    assigned: dict[int, str] = {}
    for unit in sorted(counts, key=lambda unit: (-len(unit), _draw(dataset, unit, seed))):
        overflow = np.maximum(counts[unit] - room, 0).sum(axis=1)
        missing = (counts[unit] * room / np.maximum(quotas, 1)).sum(axis=1)
        part = int(np.lexsort((-missing, overflow))[0])
        room[part] -= counts[unit]
        assigned |= dict.fromkeys(unit, list(ratios)[part])
    return assigned


def _shares(total: int, ratios: Sequence[float]) -> list[int]:
    """Share `total` out by largest remainder; no part stays empty where there are enough for all."""
    exact = [round(total * ratio, 9) for ratio in ratios]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(ratios)), key=lambda part: (shares[part] - exact[part], part))
    for part in by_remainder[: total - sum(shares)]:
        shares[part] += 1
    for part in range(len(shares)):
        if shares[part] == 0 and total >= len(shares):
            shares[shares.index(max(shares))] -= 1
            shares[part] = 1
    return shares


def _draw(dataset: Dataset, unit: Unit, seed: int) -> str:
    name = min(dataset.radiographs[index].image_id for index in unit)
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _left_out(dataset: Dataset, indices: Sequence[int]) -> tuple[str, ...]:
    if not indices:
        return ()
    names = sorted(dataset.radiographs[index].image_id for index in indices)
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return (f"left out of training, being tied to images of the test centers: {shown} ({len(names)} in all)",)


def _unused_centers(dataset: Dataset, used: set[int]) -> tuple[str, ...]:
    counts = {center: sum(by_class) for center, by_class in dataset.counts.items() if center not in used}
    if not counts:
        return ()
    listed = ", ".join(f"{center} ({images} images)" for center, images in counts.items())
    return (f"centers in neither train_centers nor test_centers, so unused: {listed}",)


def _split(name: str, dataset: Dataset, assigned: Mapping[int, str], notes: tuple[str, ...] = ()) -> "Split":
    part_of = tuple(assigned.get(index, UNUSED) for index in range(len(dataset.radiographs)))
    for place, class_name in enumerate(CLASS_NAMES):
        counts = dict.fromkeys(PARTS, 0)
        for part, label in zip(part_of, dataset.labels, strict=True):
            if part and label == place:
                counts[part] += 1
        if empty := [part for part in PARTS if not counts[part]]:
            raise DataInvalid(
                _lacking(name, empty[0], class_name, counts), [f"{name}: {empty[0]}: {class_name}"]
            )
    ids = [one.image_id for one in dataset.radiographs]
    return Split(name, part_of, digest_of(sorted(zip(ids, part_of, strict=True))), notes)


def _lacking(name: str, part: str, class_name: str, counts: Mapping[str, int]) -> str:
    counted = ", ".join(f"{count} to {other}" for other, count in counts.items())
    return (
        f"the {name} split leaves {part} without a {class_name} image (assigned: {counted}); "
        f"use a dataset with more of them, or change ratios, centers or groups under [splits]"
    )


@dataclass(frozen=True)
class Split:
    """Which part each radiograph belongs to, in the dataset's order; "" where it is not used.

    `digest` is the SHA-256 over the sorted pairs of image_id and part.
    """

    name: str
    part_of: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()

    def indices(self, part: str) -> NDArray[np.int64]:
        """Return the indices of the part's radiographs, rising."""
        return np.flatnonzero(np.array(self.part_of, dtype=object) == part).astype(np.int64)
