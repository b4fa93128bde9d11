"""Values -> Markdown: numbers the same way everywhere, and text from outside made harmless.

What a user typed (a name, a reason) may hold anything; here it loses the power to break a table, inject HTML
or pass for a block marker. What is not known is said to be "not reported", never left blank or made up.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from boneexp.results import AT_BOUND, is_at_bound

UNKNOWN = "not reported"
RESEARCH_ONLY = "Research use only, not for clinical use."

_ACTIVE = re.compile(
    r"[&<>|`*~$\\\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    r"|:(?=//)|(?<=\bwww)\."  # addresses that some renderers make links of
    r"|^[#+=-](?=[\s#+=-]|$)|^[0-9](?=[0-9]{0,8}[.)](?:\s|$))",  # what opens a heading or a list
    re.IGNORECASE,
)

_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_auroc": "Macro AUROC (one-vs-rest)",
    "macro_f1": "Macro F1",
    "matthews_correlation": "Matthews correlation",
    "log_loss": "Log loss",
    "brier_score": "Brier score",
    "expected_calibration_error": "Expected calibration error",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "threshold_at_90_specificity": "Threshold for 90 % specificity (from validation)",
    "sensitivity_at_90_specificity": "Sensitivity at the threshold for 90 % specificity",
    "specificity_at_90_specificity": "Specificity at the threshold for 90 % specificity",
    "threshold_at_95_specificity": "Threshold for 95 % specificity (from validation)",
    "sensitivity_at_95_specificity": "Sensitivity at the threshold for 95 % specificity",
    "specificity_at_95_specificity": "Specificity at the threshold for 95 % specificity",
    "temperature": "Temperature (fitted on validation)",
    "log_loss_tempered": "Log loss after temperature scaling",
    "brier_score_tempered": "Brier score after temperature scaling",
    "expected_calibration_error_tempered": "Expected calibration error after temperature scaling",
}
_SPLITS = {"stratified": "stratified", "center_holdout": "centre-holdout"}
_PARTS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Table:
    """A table of values of any kind, not yet in any language; printed, it is Markdown."""

    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def markdown(self) -> Markup:
        """Return it as Markdown; a table without rows is "not reported"."""
        titles = _row([Markup(escaped(title)) for title in self.header])  # an empty title stays empty
        rule = Markup("|") + "---|" * len(self.header)
        return Markup("\n").join([titles, rule, *map(_row, self.rows)]) if self.rows else Markup(UNKNOWN)


def escaped(text: str) -> str:
    """Return text on one line, every character that Markdown or HTML would act on as an entity."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", " ".join(printable.split()))


def plain(value: object) -> str:
    """Return any value as a person writes it; None and empty text are "not reported"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or UNKNOWN
    return UNKNOWN if value is None or str(value).strip() == "" else str(value)


def printed(value: object) -> Markup:
    """Return any value as harmless Markdown; None and empty text are "not reported".

    The templates print everything through this, so nothing from outside is printed as it came.
    """
    if isinstance(value, Markup):
        return value
    if isinstance(value, Table):
        return value.markdown()
    return Markup(escaped(plain(value)) or UNKNOWN)


def table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table of these cells; every row has as many as the header."""
    return Table(tuple(header), tuple(map(tuple, rows)))


def bullets(sentences: Iterable[object]) -> Markup:
    """Return a Markdown list."""
    return Markup("\n").join([Markup("- ") + printed(sentence) for sentence in sentences])


def share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a figure with its interval, "0.812 (0.781-0.842)"; "not reported" where there is none."""
    if value is None:
        return UNKNOWN
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f}{' to ' if low < 0 else '-'}{high:.3f})"


def temperature(value: float | None) -> str:
    """Return a temperature, marked where the search for it ended at a bound."""
    return f"{share(value)} {AT_BOUND}" if is_at_bound("temperature", value) else share(value)


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


def metric_label(metric: str) -> str:
    """Return the words for a metric's name in the ledger."""
    return _METRICS.get(metric, metric)


def split_label(split: str) -> str:
    """Return the words for a split's name."""
    return _SPLITS.get(split, split)


def part_label(part: str) -> str:
    """Return the words for a part's name."""
    return _PARTS.get(part, part)


def data_label(name: str, kind: str) -> str:
    """Return what to call a dataset; its name in the grid file is to be trusted only for BTXRD itself."""
    if kind == "BTXRD":
        return name if name == "BTXRD" else f"BTXRD (called {name} in the grid file)"
    what = "a synthetic phantom" if kind == "phantom" else "not those of BTXRD"
    return f"{what} (called {name} in the grid file)"


def _row(cells: Sequence[object]) -> Markup:
    return Markup("| ") + Markup(" | ").join(printed(cell) for cell in cells) + Markup(" |")
