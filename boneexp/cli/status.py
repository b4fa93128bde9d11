"""`boneexp status`: one line per run."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, LEDGER, ArtifactsPath, Csv, Json, LedgerPath, Markdown
from boneexp.cli.output import (
    WIDE,
    describe_state,
    empty_table,
    escaped,
    machine_readable,
    more,
    with_checkpoint_path,
)
from boneexp.cli.unfinished_promotion import mention_interrupted_promotion
from boneexp.ledger.database import reading
from boneexp.ledger.queries.runs import RunStatus, run_rows, state_counts, status_rows
from boneexp.ledger.statements import record
from boneexp.text.numbers import clock_time, three_decimals

if TYPE_CHECKING:
    from rich.table import Table


def status(
    *,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds.")] = False,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """Show every run with its state, progress and results. Changes nothing."""
    if watch:
        from boneexp.cli.progress import watch as watch_table

        return watch_table(lambda: _status_now(ledger), every_s=2)
    every = json or csv or md
    with reading(ledger) as connection:
        rows = run_rows(connection) if every else status_rows(connection, MOST_RUNS)
        counts = state_counts(connection)
        mention_interrupted_promotion(connection)
    if every:
        return machine_readable([record(with_checkpoint_path(row, artifacts)) for row in rows], json, csv)
    output.show(*status_parts(rows, time.time(), sum(counts.values()), output.console().width))
    if waiting := counts.get("queued"):
        output.talk(f"{waiting} queued; run them with: boneexp run --all")
    return None


def _status_now(ledger: Path) -> tuple[Any, bool]:
    with reading(ledger) as connection:
        rows = status_rows(connection, MOST_RUNS)
        counts = state_counts(connection)
    final = not counts.keys() & {"queued", "running"}
    parts = status_parts(rows, time.time(), sum(counts.values()), output.console().width)
    return output.together(parts), final


MOST_RUNS = 300  # rows shown: rich needs two milliseconds for each


STATE_COLOURS = {
    "queued": "cyan",
    "running": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
}


def status_parts(rows: Sequence[RunStatus], now: float, of: int, width: int) -> "list[Any]":
    """Return the table of runs for a terminal of `width` columns; `of` is their total number.

    On a narrow terminal the table has fewer columns, and remarks about a run follow below, one per line.
    """
    if width >= WIDE:
        return [status_table(rows, now, of)]
    remarks = [f"run {row.run}: {remark}" for row in rows if (remark := _remark(row, now))]
    return [_narrow_status_table(rows, of), *(escaped(remark) for remark in remarks)]


def _narrow_status_table(rows: Sequence[RunStatus], of: int) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    seeds = len({row.seed for row in rows}) > 1
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("run", overflow="fold", min_width=3)
    for name in ("experiment", "split", *(["seed"] if seeds else []), "state", "epochs"):
        table.add_column(name, overflow="fold")
    for name in ("accu-\nracy", "macro\nAUROC", "mal.\nsens."):
        table.add_column(name, no_wrap=True, min_width=len("0.000"))
    table.caption = more(len(rows), of)
    for row in rows:
        table.add_row(
            str(row.run),
            escaped(f"{row.experiment} {row.name}".strip()),
            row.split,
            *([str(row.seed)] if seeds else []),
            f"[{STATE_COLOURS[row.state]}]{row.state}[/]",
            f"{row.epochs_done or 0}/{row.epochs_planned}",
            *map(three_decimals, (row.accuracy, row.macro_auroc, row.malignant_sensitivity)),
        )
    return table


def _remark(row: RunStatus, now: float) -> str:
    """Return what the narrow table has no column for, or ""."""
    attempts = f"{row.attempts} attempts" if row.attempts > 1 else ""
    return "; ".join(part for part in (attempts, describe_state(row, now)) if part)


def status_table(rows: Sequence[RunStatus], now: float, of: int) -> "Table":
    """Return the full table of runs; `of` is their total number."""
    table = empty_table("run", "experiment", "split", "seed", "state", "epochs", "attempts")
    for column in ("accuracy", "macro AUROC", "mal. sens."):
        table.add_column(column, overflow="fold", min_width=len("0.000"))
    for column in ("time", "note"):
        table.add_column(column, overflow="fold")
    table.caption = more(len(rows), of)
    for row in rows:
        table.add_row(
            str(row.run),
            escaped(f"{row.experiment} {row.name}".strip()),
            row.split,
            str(row.seed),
            f"[{STATE_COLOURS[row.state]}]{row.state}[/]",
            f"{row.epochs_done or 0}/{row.epochs_planned}",
            str(row.attempts),
            *map(three_decimals, (row.accuracy, row.macro_auroc, row.malignant_sensitivity)),
            clock_time(row.training_s),
            escaped(describe_state(row, now)),
        )
    return table
