"""Tables as cells to show and to sort."""

from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.reports.numbers import Number
from boneexp.text.labels import UNKNOWN
from boneexp.text.markdown import Table, plain

LONG = 24  # characters; shorter texts are not wrapped


@dataclass(frozen=True)
class Cell:
    """A value as it is shown; a number also has what it is sorted by."""

    text: str
    order: float | None = None
    beside: str = ""  # the interval of a number
    anchor: str = ""  # a place on this page
    state: str = ""  # of a run
    is_digest: bool = False  # which nobody reads and anybody may want to copy

    @property
    def length(self) -> str:
        """The class of cells whose texts are about as long."""
        return "short" if len(self.text) + len(self.beside) <= LONG else "long"


def as_cells(table: Table) -> list[list[Cell]]:
    """Return a table's rows as cells."""
    return [[_cell(value) for value in row] for row in table.rows]


def numeric_columns(rows: Sequence[Sequence[Cell]]) -> list[bool]:
    """Return of each column whether all its cells are numbers, or not known."""
    columns = zip(*rows, strict=True)
    return [all(cell.order is not None or cell.text == UNKNOWN for cell in column) for column in columns]


def _cell(value: object) -> Cell:
    if isinstance(value, Cell):
        return value
    if isinstance(value, Number):
        return Cell(value.shown, value.order, value.beside)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(plain(value), value)
    return Cell(plain(value))
