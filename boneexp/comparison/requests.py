"""What `compare` can be asked, and what an answer is: rows of plain values, the same in every format."""

from collections.abc import Mapping
from dataclasses import dataclass

from boneexp.comparison.compared import Comparison
from boneexp.comparison.verdict import Verdict
from boneexp.text.labels import RESEARCH_ONLY

Cell = str | int | float | None
TableRow = Mapping[str, Cell]
STORED = "stored"


@dataclass(frozen=True)
class Request:
    """What `compare` is asked: `kind` is one of ANSWERS, "" for the comparison itself."""

    kind: str = ""
    metric: str = ""
    part: str = "test"
    intervals: str = STORED  # or one of boneexp.evaluation.metrics.METHODS
    only: tuple[str, ...] = ()  # experiments to ask about; all where none is named
    prevalence: float | None = None  # of malignant images where a model is to be used, for "calibration"


@dataclass(frozen=True)
class Answer:
    """What was asked for: tables of rows by title, and notes to read beside them."""

    tables: Mapping[str, tuple[TableRow, ...]]
    notes: tuple[str, ...]

    @property
    def rows(self) -> list[TableRow]:
        """The rows of the first table, for CSV and Markdown."""
        return list(next(iter(self.tables.values()), ()))

    def as_json(self) -> dict[str, object]:
        """Return everything, ready for json.dumps."""
        tables = {title: list(rows) for title, rows in self.tables.items()}
        return {"note": RESEARCH_ONLY, "tables": tables, "notes": list(self.notes)}


@dataclass(frozen=True)
class Compared:
    """The comparison, and either what stands behind its best or the answer to a narrower request."""

    comparison: Comparison
    verdict: Verdict | None
    answer: Answer | None
