"""The comparison's figures with their intervals -> a forest plot: where each experiment's line lies.

One panel per figure and test set, so that figures of different images never stand on one axis. Lengths are
SVG units; what is drawn with them is the template's.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from boneexp.config import SPLITS
from boneexp.documents.facts import Facts
from boneexp.documents.wording import share
from boneexp.selection import Row, label

METRICS = ("accuracy", "macro_auroc", "malignant_sensitivity")
LEFT, RIGHT, TOP, LINE = 104, 376, 8, 24  # the plot runs from LEFT to RIGHT, one experiment per LINE
MOST_LINES = 40
STEPS = (0.02, 0.05, 0.1, 0.2)
LONGEST_NAME = 14


@dataclass(frozen=True)
class Line:
    """One experiment: its point and whiskers; over several seeds the whiskers are lowest and highest."""

    name: str
    is_subject: bool
    seeds: int
    y: float
    x: float
    low: float | None
    high: float | None
    shown: str

    @property
    def short_name(self) -> str:
        """The name as far as there is room."""
        return self.name if len(self.name) <= LONGEST_NAME else f"{self.name[: LONGEST_NAME - 1]}…"


@dataclass(frozen=True)
class Mark:
    """A value on the axis."""

    x: float
    shown: str


@dataclass(frozen=True)
class Panel:
    """One figure of every experiment that was tested on the same images."""

    figure: str
    title: str
    test_set: str
    lines: tuple[Line, ...]
    left_out: int  # experiments beyond MOST_LINES
    ticks: tuple[Mark, ...]
    baseline: Mark | None
    target: Mark | None

    @property
    def bottom(self) -> int:
        """Where the axis lies."""
        return TOP + LINE * len(self.lines)

    @property
    def described(self) -> str:
        """All that the picture shows, in words."""
        return "; ".join(f"{line.name}: {line.shown}" for line in self.lines)


def panels(facts: Facts, comparable: bool) -> tuple[Panel, ...]:
    """Return the panels, stratified first; baseline and targets only where they are `comparable`."""
    found = []
    for figure, split, metric in [
        (f"{split}_{metric}", split, metric) for split in SPLITS for metric in METRICS
    ]:
        rows = [row for (_, own), row in facts.comparison.figures.items() if own == split]
        known = [row for row in rows if row[metric] is not None]
        for test_set in dict.fromkeys(row["test_set"] for row in known):
            on_it = [row for row in known if row["test_set"] == test_set]
            found.append(_panel(facts, (figure, metric), on_it, comparable))
    return tuple(found)


def _panel(facts: Facts, what: tuple[str, str], rows: Sequence[Row], comparable: bool) -> Panel:
    figure, metric = what
    shown = sorted(rows, key=lambda row: -row[metric])[:MOST_LINES]
    shown.sort(key=lambda row: (len(row["experiment"]), row["experiment"]))
    baseline = facts.comparison.baseline.get(figure) if comparable else None
    target = facts.comparison.targets.get(figure) if comparable else None
    ends = [end for row in shown for end in (row[metric], *_whiskers(row, metric))]
    start, stop, step = _axis(end for end in (*ends, baseline, target) if end is not None)

    def x_of(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (value - start) / (stop - start), 1)

    subject = facts.subject.experiment if facts.subject else None
    lines = []
    for number, row in enumerate(shown):
        low, high = _whiskers(row, metric)
        lines.append(
            Line(
                name=row["experiment"],
                is_subject=row["experiment"] == subject,
                seeds=row["finished_runs"],
                y=TOP + LINE * (number + 0.5),
                x=x_of(row[metric]),
                low=None if low is None else x_of(low),
                high=None if high is None else x_of(high),
                shown=share(row[metric], low, high),
            )
        )
    words = label(figure)
    return Panel(
        figure=figure,
        title=words[:1].upper() + words[1:],
        test_set=shown[0]["test_set"],
        lines=tuple(lines),
        left_out=len(rows) - len(shown),
        ticks=tuple(Mark(x_of(value), f"{value:.2f}") for value in _ticks(start, stop, step)),
        baseline=None if baseline is None else Mark(x_of(baseline), share(baseline)),
        target=None if target is None else Mark(x_of(target), share(target)),
    )


def _whiskers(row: Row, metric: str) -> tuple[float | None, float | None]:
    """Return the interval of a single run; of several seeds the lowest and the highest."""
    ends = ("min", "max") if row["finished_runs"] > 1 else ("low", "high")
    low, high = (row[f"{metric}_{end}"] for end in ends)
    return low, high


def _axis(values: Iterable[float]) -> tuple[float, float, float]:
    """Return start, stop and step of an axis with at most eight ticks that holds all values."""
    known = list(values)
    for step in STEPS:
        start, stop = math.floor(min(known) / step) * step, math.ceil(max(known) / step) * step
        if stop - start < 7.5 * step:
            break
    return start, max(stop, start + step), step


def _ticks(start: float, stop: float, step: float) -> Iterator[float]:
    for number in range(round((stop - start) / step) + 1):
        yield start + number * step
