"""Numbers as the tables show them: what is printed, what stands beside it, and what they are sorted by."""

from dataclasses import dataclass

from boneexp.results import AT_BOUND, is_at_bound
from boneexp.text.numbers import duration, format_estimate, p_value, signed


@dataclass(frozen=True)
class Number:
    """A number of a table; printed as text it is followed by its interval."""

    shown: str
    order: float | None  # what it is sorted by; None where it is not known
    beside: str = ""  # its interval or what else belongs to it, in brackets

    def __str__(self) -> str:
        """The number and what stands beside it."""
        return f"{self.shown} {self.beside}".rstrip()


@dataclass(frozen=True)
class Estimate:
    """A metric and its interval; None where not known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def shown(self) -> str:
        """The metric with its interval, as both documents print it."""
        return format_estimate(self.value, self.low, self.high)

    @property
    def number(self) -> Number:
        """The metric with its interval, for a table."""
        return estimate(self.value, self.low, self.high)


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Number:
    """Return a metric with its interval, "0.812 (0.781-0.842)"."""
    return _with_beside(value, format_estimate(value), format_estimate(value, low, high))


def difference(value: float | None, low: float | None = None, high: float | None = None) -> Number:
    """Return a difference with its sign and interval, "+0.033 (-0.010 to +0.076)"."""
    return _with_beside(value, signed(value), signed(value, low, high))


def probability(p: float | None) -> Number:
    """Return a p-value."""
    return Number(p_value(p), p)


def time_span(seconds: float | None) -> Number:
    """Return a duration, sorted by its seconds."""
    return Number(duration(seconds), seconds)


def temperature(value: float | None) -> Number:
    """Return a temperature, marked where the search for it ended at a bound."""
    return Number(format_estimate(value), value, AT_BOUND if is_at_bound("temperature", value) else "")


def part_of(count: int, whole: int) -> Number:
    """Return "2 of 3", sorted by the first."""
    return Number(f"{count} of {whole}", count)


def _with_beside(value: float | None, shown: str, whole: str) -> Number:
    return Number(shown, value, whole.removeprefix(shown).strip())
