"""Rows -> rich tables, or JSON, CSV and Markdown.

Data go to stdout, messages to stderr; no colours with NO_COLOR or without a terminal. Names and messages
may come from outside, so control characters and rich markup in them are escaped.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from boneexp.text.escaping import csv_text, visible
from boneexp.text.numbers import clock_time

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from boneexp.ledger.queries.runs import RunStatus


def with_checkpoint_path(row: "RunStatus", artifacts: Path) -> "RunStatus":
    """Return the row with the checkpoint as a path from here; the ledger stores it relative to artifacts."""
    return replace(row, checkpoint=str(artifacts / row.checkpoint)) if row.checkpoint else row


def machine_readable(rows: Sequence[Mapping[str, object]], json: bool, csv: bool) -> None:
    """Print rows as JSON, CSV or Markdown."""
    if json:
        as_json(rows)
    elif csv:
        as_csv(rows)
    else:
        as_markdown(rows)


Row = dict[str, object]


WIDE = 150  # terminal columns that the full table of `status` needs


def talk(text: str) -> None:
    """Print a message to stderr; a closed terminal is no reason to stop working."""
    with suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)


def data(text: str) -> None:
    """Print data to stdout."""
    shown = visible(text)
    sys.stdout.write(shown if shown.endswith("\n") else f"{shown}\n")
    sys.stdout.flush()


def as_json(value: object) -> None:
    """Print a value as JSON to stdout."""
    data(json.dumps(value, indent=2, allow_nan=False))


def as_csv(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as CSV to stdout."""
    data(csv_text(list(rows[0]), rows) if rows else "")


def as_markdown(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a Markdown table to stdout."""
    from boneexp.text.markdown import escaped as markdown_escaped

    body = [["" if value is None else markdown_escaped(str(value)) for value in row.values()] for row in rows]
    if body:
        lines = [list(rows[0]), ["---"] * len(rows[0]), *body]
        data("\n".join(f"| {' | '.join(line)} |" for line in lines))


def show(*parts: "RenderableType") -> None:
    """Print tables and text to stdout; without a terminal, wide enough for all columns."""
    out = console()
    for part in parts:
        out.print(part)


def together(parts: "Sequence[RenderableType]") -> "RenderableType":
    """Return the parts as one renderable, one below the other."""
    from rich.console import Group

    return Group(*parts)


def more(shown: int, of: int) -> str | None:
    """Return a line with the number of rows not shown, or None."""
    return f"and {of - shown:,} more; all of them with --json or --csv" if shown < of else None


def describe_state(row: "RunStatus", now: float) -> str:
    """Return a run's state in words, for its line in a table."""
    if row.state == "failed":
        return f"{row.failure_kind}: {row.failure}"
    if row.state == "cancelled":
        return f"queue it again with: boneexp retry {row.run}"
    if row.state == "running":
        if row.lease_expired:
            return "its lease expired; resume it with: boneexp run --all"
        stopping = "cancelled, stopping: " if row.stop_requested else ""
        heartbeat = clock_time(max(now - (row.renewed_at or now), 0))
        return f"{stopping}{row.worker}, last heartbeat {heartbeat} ago"
    smaller = row.micro_batch < row.batch_size
    notes = [f"micro-batch {row.micro_batch} of {row.batch_size} (out of memory)"] if smaller else []
    return "; ".join(notes if row.is_current else [*notes, "earlier settings"])


def empty_table(*columns: str, title: str | None = None) -> "Table":
    """Return an empty table that folds cells instead of cutting them: a cut number would mislead."""
    from rich.table import Column, Table

    folded = [Column(name, overflow="fold") for name in columns]
    return Table(*folded, title=title, title_justify="left")


def console(stderr: bool = False) -> "Console":
    """Return a console as wide as the terminal; without one, wide enough for every column."""
    from rich.console import Console

    plain = partial(Console, stderr=stderr, highlight=False, emoji=False)  # a name may hold :x:
    found = plain()
    return found if found.is_terminal else plain(width=200)


def escaped(text: str) -> str:
    """Return text with rich markup and terminal control characters escaped."""
    from rich.markup import escape

    return escape(visible(text))
