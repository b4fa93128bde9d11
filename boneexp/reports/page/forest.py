"""The comparison's metrics with their intervals -> a forest plot: where each experiment's line lies.

One panel per metric and test set, so that results on different images never share an axis. Lengths are
SVG units; what is drawn with them is the template's.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from boneexp.ledger.queries.comparison import SeedMean
from boneexp.reports.facts import Facts
from boneexp.results import COMPARED, SPLITS
from boneexp.text.labels import label
from boneexp.text.numbers import format_estimate

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
    """One metric of every experiment that was tested on the same images."""

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
        panel for split in SPLITS for metric in COMPARED for panel in _panels_of(facts, split, metric.key)
    )


@dataclass(frozen=True)
class _Result:
    """One experiment's metric on a split: its mean, and what it is marked with."""

    experiment: str
    test_set: str
    mean: SeedMean
    value: float
    marks: str

    @property
    def whiskers(self) -> tuple[float | None, float | None]:
        """The interval of a single run; of several seeds the lowest and the highest."""
        if self.mean.seeds > 1:
            return self.mean.lowest, self.mean.highest
        return self.mean.low, self.mean.high


def _panels_of(facts: Facts, split: str, metric: str) -> Iterator[Panel]:
    """Yield a panel for each test set that a metric was measured on."""
    known = [
        _Result(experiment, each.test_set, mean, mean.value, facts.comparison.marks(experiment, split))
        for (experiment, own), each in facts.comparison.results.items()
        if own == split and (mean := each.metrics[metric]).value is not None
    ]
    test_sets = list(dict.fromkeys(each.test_set for each in known))
    figure = f"{split}_{metric}"
    words = label(figure)
    for test_set in test_sets:
        title = f"{words}, test set {test_set}" if len(test_sets) > 1 else words
        on_it = [each for each in known if each.test_set == test_set]
        yield _panel(facts, figure, title[:1].upper() + title[1:], on_it)


def _panel(facts: Facts, figure: str, title: str, results: Sequence[_Result]) -> Panel:
    shown = sorted(results, key=lambda each: -each.value)[:MOST_LINES]
    shown.sort(key=lambda each: (len(each.experiment), each.experiment))
    drawn = facts.comparison.drawn_references()
    baseline, target = (drawn.get((kind, figure)) for kind in ("baseline", "target"))
    ends = [end for each in shown for end in (each.value, *each.whiskers)]
    axis = _axis(end for end in (*ends, baseline, target) if end is not None)
    return Panel(
        title=title,
        lines=tuple(_line(facts, axis, position, each) for position, each in enumerate(shown)),
        left_out=len(results) - len(shown),
        ticks=tuple(axis.ticks()),
        baseline=axis.mark(baseline),
        target=axis.mark(target),
    )


def _line(facts: Facts, axis: Axis, position: int, result: _Result) -> Line:
    name, (low, high), subject = result.experiment, result.whiskers, facts.subject
    return Line(
        name=name,
        is_subject=subject is not None and subject.is_current and subject.experiment == name,
        seeds=result.mean.seeds,
        y=TOP + LINE * (position + 0.5),
        x=axis.x_of(result.value),
        low=None if low is None else axis.x_of(low),
        high=None if high is None else axis.x_of(high),
        shown=f"{format_estimate(result.value, low, high)}{result.marks}",
    )


def _axis(values: Iterable[float]) -> Axis:
    """Return an axis with at most eight steps that holds all values."""
    known = list(values)
    for step in STEPS:
        start, stop = math.floor(min(known) / step) * step, math.ceil(max(known) / step) * step
        if stop - start < 7.5 * step:
            break
    return Axis(start, max(stop, start + step), step)
