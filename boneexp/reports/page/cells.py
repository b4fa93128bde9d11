"""Tables as cells to show and to sort: what is a number, a digest, a figure with its interval."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.text.labels import UNKNOWN
from boneexp.text.markdown import Table, plain

_DIGEST = re.compile(r"[0-9a-f]{40,64}")
_WITH_INTERVAL = re.compile(r"([+-]?[0-9.]+[†‡§]*) (\([^()]+\)(?: \(mean of [0-9]+ seeds\))?)")
_LONG = 24  # characters; shorter texts are not wrapped
_NUMBER = re.compile(r"[+-]?[0-9]+(,[0-9]{3})*(\.[0-9]+)?(e[+-][0-9]+)?(?![0-9A-Za-z_,-])")


@dataclass(frozen=True)
class Cell:
    """A value as it is shown; `order` is what it is sorted by where its text says something else."""

    text: str
    order: float | None = None
    anchor: str = ""  # a place on this page
    state: str = ""  # of a run

    @property
    def is_number(self) -> bool:
        """Whether the text begins with a number, or none is known."""
        return self.text == UNKNOWN or self.order is not None or bool(_NUMBER.match(self.text))

    @property
    def length(self) -> str:
        """The class of cells whose texts are about as long."""
        return "short" if len(self.text) <= _LONG else "long"

    @property
    def figure(self) -> str:
        """The figure that comes before an interval, and the text as it is where none does."""
        found = _WITH_INTERVAL.fullmatch(self.text)
        return found[1] if found else self.text

    @property
    def interval(self) -> str:
        """The interval, or what else stands behind a figure in brackets; "" without one."""
        found = _WITH_INTERVAL.fullmatch(self.text)
        return found[2] if found else ""

    @property
    def is_digest(self) -> bool:
        """Whether it is a digest, which nobody reads and anybody may want to copy."""
        return bool(_DIGEST.fullmatch(self.text))


def as_cells(table: Table) -> list[list[Cell]]:
    """Return a table's rows as cells."""
    return [[value if isinstance(value, Cell) else Cell(plain(value)) for value in row] for row in table.rows]


def numeric_columns(rows: Sequence[Sequence[Cell]]) -> list[bool]:
    """Tell of each column whether all its cells begin with a number."""
    return [all(cell.is_number for cell in column) for column in zip(*rows, strict=True)]
