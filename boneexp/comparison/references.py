"""The study's baseline and targets: of which images they are, and what is held against them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from boneexp.evaluation.multiplicity import Estimate, interval_of_best
from boneexp.ledger.queries.comparison import StudyReference
from boneexp.text.numbers import listed

PUBLISHED = "BTXRD"  # as a kind of data: with the published counts
LEAST_DIGITS = 8  # of a fingerprint that names a dataset


class Images(Protocol):
    """A dataset, or whatever names one."""

    @property
    def fingerprint(self) -> str:
        """The digest of its images."""

    @property
    def name(self) -> str:
        """What the grid file calls it."""

    @property
    def kind(self) -> str:
        """BTXRD, phantom, or neither."""

    @property
    def images(self) -> int:
        """How many there are."""


@dataclass(frozen=True)
class Target:
    """One target of the study, held against one experiment.

    `low` is the lower end that allows for having picked the best of several; None where there is no interval.
    `comparable` says whether the target is meant for the experiment's images.
    """

    figure: str
    target: float
    value: float | None
    low: float | None
    comparable: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the point estimate passes; None where it is not known, or the target is of other images."""
        return None if self.value is None or not self.comparable else self.value > self.target

    @property
    def met_by_interval(self) -> bool:
        """Whether the lower end passes too."""
        return self.comparable and self.low is not None and self.low > self.target


@dataclass(frozen=True)
class Reference:
    """A metric of the study's baseline or targets: on how many images it rests, and of which data it is."""

    value: float
    images: int | None = None
    comparable_to: str = PUBLISHED


def held_against_target(
    figure: str,
    target: Reference,
    value: float | None,
    estimate: Estimate | None,
    *,
    candidates: int,
    comparable: bool,
) -> Target:
    """Return a target held against a metric of the best of some candidates, with its interval if known."""
    interval = None if estimate is None else interval_of_best(estimate, candidates)
    return Target(figure, target.value, value, None if interval is None else interval[0], comparable)


def is_of(dataset: Images, comparable_to: str) -> bool:
    """Whether metrics that are `comparable_to` some data are of this dataset.

    "BTXRD" means its published counts, whatever the data are called; anything else is the name of the data,
    or their fingerprint from its first eight digits on.
    """
    if comparable_to == PUBLISHED:
        return dataset.kind == PUBLISHED
    named = len(comparable_to) >= LEAST_DIGITS and dataset.fingerprint.startswith(comparable_to.lower())
    return named or dataset.name == comparable_to


def references_of(rows: Sequence[StudyReference], kind: str) -> dict[str, Reference]:
    """Return the "baseline" or the "target" of the study, by metric."""
    return {
        row.figure: Reference(row.value, row.images, row.comparable_to) for row in rows if row.kind == kind
    }


def data_warning(dataset: Images) -> str:
    """Return what a reader must know of a dataset that is not BTXRD; "" for BTXRD itself."""
    if dataset.kind == PUBLISHED:
        return ""
    if dataset.kind == "phantom":
        return (
            f"The {dataset.images} images are a synthetic phantom: nothing here says anything about bone "
            "tumours."
        )
    return (
        f"The {dataset.images} images ({dataset.name}) do not have BTXRD's published counts: these are "
        "not BTXRD results."
    )


def reference_warning(dataset: Images, what: str, references: Iterable[Reference]) -> str:
    """Return that the study's baseline or targets (`what`) are of other images than these; "" where not."""
    of_others = sorted({each.comparable_to for each in references if not is_of(dataset, each.comparable_to)})
    if not of_others:
        return ""
    verb, them = ("is", "it") if what == "baseline" else ("are", "them")
    return (
        f"The study's {what} {verb} comparable to {listed(of_others)} alone: nothing of the "
        f"{dataset.images} images ({dataset.name}) is held against {them}."
    )
