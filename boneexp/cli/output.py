"""Rows -> rich tables, or JSON, CSV and Markdown.

Data go to stdout, talk goes to stderr; no colours under NO_COLOR or where there is no terminal. Names and
messages come from outside: nothing in them is obeyed, neither by the terminal nor by rich.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boneexp.text.escaping import csv_text, visible
from boneexp.text.numbers import clock_time

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from boneexp.ledger.queries.runs import RunStatus


def with_place(row: "RunStatus", artifacts: Path) -> "RunStatus":
    """Return the row with the checkpoint as a path from here; the ledger keeps it relative to artifacts."""
    return replace(row, checkpoint=str(artifacts / row.checkpoint)) if row.checkpoint else row


def machine_readable(rows: list[dict[str, Any]], json: bool, csv: bool) -> None:
    """Print rows as JSON, CSV or Markdown."""
    if json:
        as_json(rows)
    elif csv:
        as_csv(rows)
    else:
        as_markdown(rows)


Row = dict[str, Any]


WIDE = 150  # columns of a terminal from which status has a column for everything


def talk(text: str) -> None:
    """Say something to the person, on stderr; a terminal that is gone is no reason to stop working."""
    with suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)


def data(text: str) -> None:
    """Give data to whatever reads stdout."""
    shown = visible(text)
    sys.stdout.write(shown if shown.endswith("\n") else f"{shown}\n")
    sys.stdout.flush()


def as_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    data(json.dumps(value, indent=2, allow_nan=False))


def as_csv(rows: Sequence[Row]) -> None:
    """Print rows as CSV on stdout."""
    data(csv_text(list(rows[0]), rows) if rows else "")


def as_markdown(rows: Sequence[Row]) -> None:
    """Print rows as a Markdown table on stdout."""
    from boneexp.text.markdown import escaped as harmless

    body = [["" if value is None else harmless(str(value)) for value in row.values()] for row in rows]
    if body:
        lines = [list(rows[0]), ["---"] * len(rows[0]), *body]
        data("\n".join(f"| {' | '.join(line)} |" for line in lines))


def show(*parts: "RenderableType") -> None:
    """Print tables and text on stdout; where stdout is no terminal, wide enough for all columns."""
    out = console()
    for part in parts:
        out.print(part)


def together(parts: "Sequence[RenderableType]") -> "RenderableType":
    """Return the parts as one, below one another."""
    from rich.console import Group

    return Group(*parts)


def more(shown: int, of: int) -> str | None:
    """Return a line that says how many rows are not shown; None where every one is."""
    return f"and {of - shown:,} more; all of them with --json or --csv" if shown < of else None


def what_happens(row: "RunStatus", now: float) -> str:
    """Return what a run is doing, or what became of it, for its line in a table."""
    if row.state == "failed":
        return f"{row.failure_kind}: {row.failure}"
    if row.state == "cancelled":
        return f"queue it again with: boneexp retry {row.run}"
    if row.state == "running":
        if row.lease_expired:
            return "its worker is gone; goes on with: boneexp run --all"
        stopping = "cancelled, and stopping: " if row.stop_requested else ""
        return f"{stopping}{row.worker}, heard of {clock_time(max(now - (row.renewed_at or now), 0))} ago"
    smaller = row.micro_batch < row.batch_size
    notes = [f"micro-batch {row.micro_batch} of {row.batch_size} (out of memory)"] if smaller else []
    return "; ".join(notes if row.is_current else [*notes, "earlier settings"])


def empty_table(*columns: str, title: str | None = None) -> "Table":
    """Return an empty table in which no cell is cut: a cut figure would mislead."""
    from rich.table import Column, Table

    folded = [Column(name, overflow="fold") for name in columns]
    return Table(*folded, title=title, title_justify="left")


def console(stderr: bool = False) -> "Console":
    """Return a console of the terminal's width; wide enough for every column where there is none."""
    from rich.console import Console

    plain: dict[str, Any] = {"stderr": stderr, "highlight": False, "emoji": False}  # a name may hold :x:
    found = Console(**plain)
    return found if found.is_terminal else Console(**plain, width=200)


def escaped(text: str) -> str:
    """Return text that rich prints as it is, and in which a terminal finds nothing to obey."""
    from rich.markup import escape

    return escape(visible(text))
