"""Which of the experiments on a split share a test set: metrics of other images are no comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from boneexp.text.labels import label


class Tested(Protocol):
    """Something of an experiment on a split, and the images that it was tested on."""

    @property
    def experiment(self) -> str:
        """The experiment's id."""

    @property
    def split(self) -> str:
        """The split's name."""

    @property
    def test_set(self) -> str:
        """The images, by the digests of dataset and split."""


Row = TypeVar("Row", bound=Tested)


@dataclass(frozen=True)
class Elsewhere:
    """An experiment that was tested on other images of a split than most."""

    split: str
    experiment: str


@dataclass(frozen=True)
class OnOneTestSet(Generic[Row]):
    """The rows of each split that share the test set of most experiments, and who was left out."""

    rows: tuple[Row, ...]
    elsewhere: tuple[Elsewhere, ...]


def on_one_test_set(rows: Sequence[Row]) -> OnOneTestSet[Row]:
    """Return the rows of each split on the test set of most experiments, the first of equals."""
    standard = {split: _most_frequent_set(rows, split) for split in {row.split for row in rows}}
    taken = tuple(row for row in rows if row.test_set == standard[row.split])
    others = [Elsewhere(row.split, row.experiment) for row in rows if row.test_set != standard[row.split]]
    return OnOneTestSet(taken, tuple(dict.fromkeys(others)))


def left_out_notes(left_out: Sequence[Elsewhere]) -> list[str]:
    """Say for each split which experiments were tested on other images than most."""
    by_split: dict[str, list[str]] = {}
    for each in left_out:
        by_split.setdefault(each.split, []).append(each.experiment)
    return [
        f"Left out of the {label(split)} split, since tested on other images: {', '.join(names)}."
        for split, names in by_split.items()
    ]


def _most_frequent_set(rows: Sequence[Tested], split: str) -> str:
    sets: dict[str, set[str]] = {}
    for row in rows:
        if row.split == split:
            sets.setdefault(row.test_set, set()).add(row.experiment)
    return max(sets, key=lambda name: len(sets[name]))
