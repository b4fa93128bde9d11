"""Numbers, durations and lists as text."""

import time
from collections.abc import Sequence

from boneexp.text.labels import UNKNOWN


def format_estimate(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a figure with its interval, "0.812 (0.781-0.842)"; "not reported" where there is none."""
    if value is None:
        return UNKNOWN
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f}{' to ' if low < 0 else '-'}{high:.3f})"


def temperature(value: float | None) -> str:
    """Return a temperature, marked where the search for it ended at a bound."""
    from boneexp.results import AT_BOUND, is_at_bound  # ten milliseconds that --help and status do without

    return (
        f"{format_estimate(value)} {AT_BOUND}"
        if is_at_bound("temperature", value)
        else format_estimate(value)
    )


def signed(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a difference with its sign and interval, "+0.033 (-0.010 to +0.076)"."""
    if value is None:
        return UNKNOWN
    return f"{value:+.3f}" if low is None or high is None else f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def p_value(value: float | None) -> str:
    """Return a p-value; a tiny one by its power of ten."""
    if value is None:
        return UNKNOWN
    return f"{value:.1e}" if 0 < value < 0.0005 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """Return a time span in the two units that matter, "1 h 05 min"."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(at: float | None) -> str:
    """Return seconds since the epoch as a date and time in UTC."""
    return UNKNOWN if at is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun, "1 run", "8 runs"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b", or "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def first_few(names: Sequence[str], most: int) -> str:
    """Return the first `most` names, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def clock_time(seconds: float | None) -> str:
    """Return a time as h:mm:ss or m:ss; "" for None. It is negative where the clock was put back."""
    if seconds is None:
        return ""
    sign = "-" if round(seconds) < 0 else ""
    minutes, rest = divmod(abs(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{rest:02}" if hours else f"{sign}{minutes}:{rest:02}"


def three_decimals(value: float | None) -> str:
    """Return a figure with three decimals; "" for None."""
    return "" if value is None else f"{value:.3f}"
