"""The comparison's figures with their intervals -> a forest plot: where each experiment's line lies.

One panel per figure and test set, so that figures of different images never stand on one axis. Lengths are
SVG units; what is drawn with them is the template's.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from boneexp.comparison.ranking import Row
from boneexp.reports.facts import Facts
from boneexp.results import SPLITS
from boneexp.text.labels import label
from boneexp.text.numbers import format_estimate

METRICS = ("accuracy", "macro_auroc", "malignant_sensitivity")
LEFT, RIGHT, TOP = 104, 376, 8  # the edges of the plot
LINE = 24  # height of one experiment
MOST_LINES = 40
STEPS = (0.02, 0.05, 0.1, 0.2)
LONGEST_NAME = 14


@dataclass(frozen=True)
class Axis:
    """From `start` to `stop`, with a tick each `step`."""

    start: float
    stop: float
    step: float

    def x_of(self, value: float) -> float:
        """Return where a value lies."""
        return round(LEFT + (RIGHT - LEFT) * (value - self.start) / (self.stop - self.start), 1)

    def mark(self, value: float | None) -> "Mark | None":
        """Return a value with its place; None for None."""
        return None if value is None else Mark(self.x_of(value), format_estimate(value))

    def ticks(self) -> Iterator["Mark"]:
        """Yield the ticks from left to right."""
        for number in range(round((self.stop - self.start) / self.step) + 1):
            value = self.start + number * self.step
            yield Mark(self.x_of(value), f"{value:.2f}")


@dataclass(frozen=True)
class Mark:
    """A value on the axis."""

    x: float
    shown: str


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
class Panel:
    """One figure of every experiment that was tested on the same images."""

    title: str
    lines: tuple[Line, ...]
    left_out: int  # experiments beyond MOST_LINES
    ticks: tuple[Mark, ...]
    baseline: Mark | None
    target: Mark | None
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP

    @property
    def bottom(self) -> int:
        """Where the axis lies."""
        return TOP + LINE * len(self.lines)

    @property
    def described(self) -> str:
        """All that the picture shows, in words."""
        return "; ".join(f"{line.name}: {line.shown}" for line in self.lines)


def panels(facts: Facts) -> tuple[Panel, ...]:
    """Return the panels, stratified first; baseline and targets only where they are of the images."""
    return tuple(
        panel for split in SPLITS for metric in METRICS for panel in _panels_of(facts, (split, metric))
    )


def _panels_of(facts: Facts, what: tuple[str, str]) -> Iterator[Panel]:
    """Yield a panel for each test set that a figure was measured on."""
    split, metric = what
    rows = [row for (_, own), row in facts.comparison.figures.items() if own == split]
    known = [row for row in rows if row[metric] is not None]
    test_sets = list(dict.fromkeys(row["test_set"] for row in known))
    words = label(f"{split}_{metric}")
    for test_set in test_sets:
        title = f"{words}, test set {test_set}" if len(test_sets) > 1 else words
        on_it = [row for row in known if row["test_set"] == test_set]
        yield _panel(facts, what, (title[:1].upper() + title[1:], on_it))


def _panel(facts: Facts, what: tuple[str, str], titled_rows: tuple[str, Sequence[Row]]) -> Panel:
    figure, metric = "_".join(what), what[1]
    title, rows = titled_rows
    shown = sorted(rows, key=lambda row: -row[metric])[:MOST_LINES]
    shown.sort(key=lambda row: (len(row["experiment"]), row["experiment"]))
    drawn = facts.comparison.drawn_references()
    baseline, target = (drawn.get((kind, figure)) for kind in ("baseline", "target"))
    ends = [end for row in shown for end in (row[metric], *_whiskers(row, metric))]
    axis = _axis(end for end in (*ends, baseline, target) if end is not None)
    return Panel(
        title=title,
        lines=tuple(_line(facts, axis, what, (place, row)) for place, row in enumerate(shown)),
        left_out=len(rows) - len(shown),
        ticks=tuple(axis.ticks()),
        baseline=axis.mark(baseline),
        target=axis.mark(target),
    )


def _line(facts: Facts, axis: Axis, what: tuple[str, str], placed: tuple[int, Row]) -> Line:
    (split, metric), (place, row) = what, placed
    name, (low, high) = row["experiment"], _whiskers(row, metric)
    subject = facts.subject
    return Line(
        name=name,
        is_subject=subject is not None and subject.is_current and subject.experiment == name,
        seeds=row["finished_runs"],
        y=TOP + LINE * (place + 0.5),
        x=axis.x_of(row[metric]),
        low=None if low is None else axis.x_of(low),
        high=None if high is None else axis.x_of(high),
        shown=f"{format_estimate(row[metric], low, high)}{facts.comparison.marks(name, split)}",
    )


def _whiskers(row: Row, metric: str) -> tuple[float | None, float | None]:
    """Return the interval of a single run; of several seeds the lowest and the highest."""
    ends = ("min", "max") if row["finished_runs"] > 1 else ("low", "high")
    low, high = (row[f"{metric}_{end}"] for end in ends)
    return low, high


def _axis(values: Iterable[float]) -> Axis:
    """Return an axis with at most eight steps that holds all values."""
    known = list(values)
    for step in STEPS:
        start, stop = math.floor(min(known) / step) * step, math.ceil(max(known) / step) * step
        if stop - start < 7.5 * step:
            break
    return Axis(start, max(stop, start + step), step)
