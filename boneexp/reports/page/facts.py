"""What the page shows beyond the facts of the two documents, read at the same moment."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.queries.events import Event
from boneexp.ledger.queries.events import last_event as read_last_event
from boneexp.ledger.queries.finished import Origin, current_origins
from boneexp.ledger.queries.predictions import WrongPrediction, predicted_counts, wrong_predictions
from boneexp.ledger.queries.promotions import PromotionRow, promotion_rows
from boneexp.ledger.queries.runs import RunStatus, run_rows
from boneexp.reports.facts import Facts
from boneexp.reports.page.forest import Panel, panels
from boneexp.reports.page.run_charts import RunCharts, run_charts

MOST_CHARTED = 40  # runs whose curves are in the page; about 12 kB each


@dataclass(frozen=True)
class Mistakes:
    """The test images that a run of the subject predicted wrongly, the most confident error first."""

    run: RunStatus
    images: int  # of the test set
    rows: tuple[WrongPrediction, ...]


@dataclass(frozen=True)
class PageFacts:
    """What the page shows."""

    facts: Facts
    comparable: bool  # whether baseline or targets apply to anything here
    runs: tuple[RunStatus, ...]  # run_status, of every run
    forest: tuple[Panel, ...]
    charts: tuple[RunCharts, ...]  # the subject's own runs first
    mistakes: tuple[Mistakes, ...]  # by run of the subject
    origins: tuple[Origin, ...]
    decisions: tuple[PromotionRow, ...]
    last_event: Event | None
    broken_event: int | None  # the first that does not fit into the chain

    @property
    def charted(self) -> frozenset[int]:
        """The runs that have charts here."""
        return frozenset(charts.row.run for charts in self.charts)

    @property
    def finished_runs(self) -> int:
        """How many runs have charts at all, here or in their folders."""
        return sum(row.state == "succeeded" for row in self.runs)


def gather_page(connection: sqlite3.Connection, facts: Facts) -> PageFacts:
    """Read the rest of what the page shows, within the `read_snapshot` in which `facts` were gathered."""
    rows = {row.run: row for row in run_rows(connection)}
    origins = current_origins(connection)
    chosen = facts.subject.chosen.values() if facts.subject else ()
    first = [run.row.run for run in chosen]
    to_chart = list(dict.fromkeys([*first, *(row.run for row in origins)]))
    charts = (run_charts(connection, rows[run_id]) for run_id in to_chart[:MOST_CHARTED])
    return PageFacts(
        facts=facts,
        runs=tuple(rows.values()),
        comparable=bool(facts.comparison.drawn_references()) or not facts.comparison.references,
        forest=panels(facts),
        charts=tuple(each for each in charts if each is not None),
        mistakes=tuple(_mistakes(connection, [rows[run_id] for run_id in first])),
        origins=tuple(origins),
        decisions=tuple(promotion_rows(connection)),
        last_event=read_last_event(connection),
        broken_event=first_broken_event(connection),
    )


def _mistakes(connection: sqlite3.Connection, runs: list[RunStatus]) -> Iterator[Mistakes]:
    for row in runs:
        counts = predicted_counts(connection, row.run)
        images = sum(each.images for each in counts if each.part == "test")
        yield Mistakes(row, images, tuple(wrong_predictions(connection, row.run)))
