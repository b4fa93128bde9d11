"""Rows -> rich tables, or JSON, CSV and Markdown.

Data go to stdout, talk goes to stderr; no colours under NO_COLOR or where there is no terminal. Names and
messages come from outside: nothing in them is obeyed, neither by the terminal nor by rich.
"""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from boneexp.harmless import csv_text, visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from boneexp.doctor.findings import Finding
    from boneexp.reproducing import Reproduction

Row = dict[str, Any]
WIDE = 150  # columns of a terminal from which status has a column for everything
MOST_RUNS = 300  # rows of status that are shown: two milliseconds each
MOST_EPOCHS = 300
MOST_PLANNED = 1000  # rows of the plan that are shown: rich takes about a millisecond for each
STATE_COLOURS = {
    "queued": "cyan",
    "running": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
}
VERDICT_COLOURS = {"ok": "green", "warning": "yellow", "damage": "bold red"}


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
    from boneexp.documents.wording import escaped as harmless

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


def status_parts(rows: Sequence[Row], now: float, of: int, width: int) -> "list[Any]":
    """Return the runs as a table for a terminal of `width` columns; `of` is how many there are.

    Where the whole table would cut numbers, seeds are left out if they are all the same, and what else is to
    be said of a run stands below on a line of its own.
    """
    if width >= WIDE:
        return [status_table(rows, now, of)]
    remarks = [f"run {row['run']}: {remark}" for row in rows if (remark := _remark(row, now))]
    return [_narrow_status_table(rows, of), *(escaped(remark) for remark in remarks)]


def _narrow_status_table(rows: Sequence[Row], of: int) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    seeds = len({row["seed"] for row in rows}) > 1
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("run", overflow="fold", min_width=3)
    for name in ("experiment", "split", *(["seed"] if seeds else []), "state", "epochs"):
        table.add_column(name, overflow="fold")
    for name in ("accu-\nracy", "macro\nAUROC", "mal.\nsens."):
        table.add_column(name, no_wrap=True, min_width=len("0.000"))
    table.caption = _more(len(rows), of)
    for row in rows:
        table.add_row(
            str(row["run"]),
            escaped(f"{row['experiment']} {row['name']}".strip()),
            row["split"],
            *([str(row["seed"])] if seeds else []),
            f"[{STATE_COLOURS[row['state']]}]{row['state']}[/]",
            f"{row['epochs_done'] or 0}/{row['epochs_planned']}",
            *(share(row[figure]) for figure in ("accuracy", "macro_auroc", "malignant_sensitivity")),
        )
    return table


def _remark(row: Row, now: float) -> str:
    """Return what the narrow table has no column for; "" where there is nothing to say."""
    attempts = f"{row['attempts']} attempts" if row["attempts"] > 1 else ""
    return "; ".join(part for part in (attempts, _what(row, now)) if part)


def _more(shown: int, of: int) -> str | None:
    return f"and {of - shown:,} more; all of them with --json or --csv" if shown < of else None


def status_table(rows: Sequence[Row], now: float, of: int) -> "Table":
    """Return the table of these runs; `of` is how many there are."""
    table = empty_table("run", "experiment", "split", "seed", "state", "epochs", "attempts")
    for column in ("accuracy", "macro AUROC", "mal. sens."):
        table.add_column(column, overflow="fold", min_width=len("0.000"))
    for column in ("time", "what"):
        table.add_column(column, overflow="fold")
    table.caption = _more(len(rows), of)
    for row in rows:
        table.add_row(
            str(row["run"]),
            escaped(f"{row['experiment']} {row['name']}".strip()),
            row["split"],
            str(row["seed"]),
            f"[{STATE_COLOURS[row['state']]}]{row['state']}[/]",
            f"{row['epochs_done'] or 0}/{row['epochs_planned']}",
            str(row["attempts"]),
            *(share(row[figure]) for figure in ("accuracy", "macro_auroc", "malignant_sensitivity")),
            duration(row["training_s"]),
            escaped(_what(row, now)),
        )
    return table


def plan_table(rows: Sequence[Row]) -> "Table":
    """Return the table of the runs that a grid would queue, or of as many as anybody reads."""
    table = empty_table("experiment", "split", "seed", "backbone", "size", "batch", "config hash", "new")
    if len(rows) > MOST_PLANNED:
        table.caption = f"and {len(rows) - MOST_PLANNED:,} more; all of them with --json"
    for row in rows[:MOST_PLANNED]:
        table.add_row(
            escaped(f"{row['experiment']} {row['name']}".strip()),
            row["split"],
            str(row["seed"]),
            escaped(row["backbone"]),
            str(row["image_size"]),
            str(row["batch_size"]),
            row["config_hash"][:12],
            "yes" if row["new"] else "in the ledger",
        )
    return table


def run_detail(row: Row, settings: Row, attempts: Sequence[Row], epochs: Sequence[Row]) -> "list[Any]":
    """Return one run in detail: its facts, settings, attempts, and the epochs as they count."""
    facts = empty_table("fact", "value", title=f"Run {row['run']}")
    for key in (
        "experiment",
        "name",
        "split",
        "seed",
        "state",
        "failure_kind",
        "failure",
        "config_hash",
        "folder",
        "checkpoint",
        "best_epoch",
        "epochs_done",
        "epochs_planned",
        "batch_size",
        "micro_batch",
    ):
        if row[key] not in (None, ""):
            facts.add_row(key, escaped(str(row[key])))
    parts: list[Any] = [facts, _settings_table(settings), _attempts_table(attempts)]
    return [*parts, _epochs_table(epochs, row["best_epoch"])] if epochs else parts


def outcome_parts(attempts: Sequence[Row], metrics: Sequence[Row], files: Sequence[Row]) -> "list[Any]":
    """Return what a run came to: its metrics and files, and the traceback of the last attempt."""
    from boneexp.results import AT_BOUND, is_at_bound

    parts: list[Any] = []
    if metrics:
        figures = empty_table("test metric", "class", "value", "interval")
        for each in metrics:
            interval = "" if each["low"] is None else f"{each['low']:.3f}-{each['high']:.3f}"
            value = (
                f"{share(each['value'])} {AT_BOUND}" if is_at_bound(each["metric"], each["value"]) else None
            )
            figures.add_row(
                each["metric"], each["class_name"] or "all", value or share(each["value"]), interval
            )
        parts.append(figures)
    if files:
        listed = empty_table("file", "kind", "SHA-256", "bytes")
        for file in files:
            listed.add_row(
                escaped(file["path"]), file["kind"], file["sha256"][:12], f"{file['size_bytes']:,}"
            )
        parts.append(listed)
    parts += [escaped(each["traceback"]) for each in attempts[-1:] if each["traceback"]]
    return parts


def overlap_parts(done: Row) -> "list[Any]":
    """Return what Grad-CAM found: the overlap with the annotated lesions, and each drawn image."""
    overlap = done["overlap"]
    table = empty_table("image", "class", "outcome", "is", "said", "IoU at 0.5", "overlay")
    for each in done["explanations"]:
        if each["overlay"]:
            iou = "" if each["iou"] is None else share(each["iou"]["0.5"])
            words = [each[key] for key in ("image_id", "explained_class", "outcome", "label", "predicted")]
            table.add_row(*map(escaped, words), iou, escaped(each["overlay"]))
    levels = ", ".join(f"{value:.3f} at {level}" for level, value in overlap["iou"].items())
    mean = (
        f"Mean IoU with the lesion ({done['lesion']}) over {overlap['images']} annotated test images: "
        f"{levels or 'not reported'}"
    )
    if done["purpose"] != "measured":
        mean = "Images that were asked for enter no mean; measure over the test part with: boneexp gradcam"
    return [table, mean, "Research use only, not for clinical use."]


def decisions_table(rows: Sequence[Row]) -> "Table":
    """Return the table of all decisions, the oldest first."""
    table = empty_table(*(column.replace("_", " ") for column in rows[0]))
    for row in rows:
        shown = {**row, "experiment": row["experiment"] or "the baseline"}
        shown |= {key: row[key] or "not reported" for key in ("unmet", "overridden")}
        table.add_row(*(escaped("" if value is None else str(value)) for value in shown.values()))
    return table


def reproduction_parts(found: "Reproduction") -> "list[Any]":
    """Return what came out again: each figure then and now, and the verdict."""
    from boneexp.figure_words import label

    table = empty_table(
        "test figure", "stored", "interval", "again", "inside", title=f"Run {found.run} once more"
    )
    for each in found.figures:
        interval = "" if each.low is None else f"{each.low:.3f}-{each.high:.3f}"
        verdict = "[green]yes[/]" if each.inside else "[red]no[/]"
        table.add_row(label(each.figure), share(each.stored), interval, share(each.again), verdict)
    changed = [f"{name} {then} -> {now}" for name, (then, now) in found.software.items()]
    others = [f"Other software or device: {escaped('; '.join(changed))}"] if changed else []
    return [table, escaped(found.sentence()), *others, "Research use only, not for clinical use."]


def findings_table(findings: "Sequence[Finding]") -> "Table":
    """Return the table of what `doctor` found."""
    table = empty_table("check", "verdict", "where", "what", "what to do")
    for each in findings:
        verdict = f"[{VERDICT_COLOURS[each.severity]}]{each.severity}[/]"
        table.add_row(each.check, verdict, *map(escaped, (each.where, each.what, each.mend)))
    return table


def duration(seconds: float | None) -> str:
    """Return a time as h:mm:ss or m:ss; "" for None. It is negative where the clock was put back."""
    if seconds is None:
        return ""
    sign = "-" if round(seconds) < 0 else ""
    minutes, rest = divmod(abs(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{rest:02}" if hours else f"{sign}{minutes}:{rest:02}"


def _attempts_table(attempts: Sequence[Row]) -> "Table":
    table = empty_table(
        "attempt", "worker", "device", "started (UTC)", "took", "micro-batch", "outcome", "why"
    )
    for each in attempts:
        ended = each["ended_at"] or each["renewed_at"]
        table.add_row(
            str(each["number"]),
            escaped(each["worker"]),
            escaped(each["device"]),
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each["started_at"])),
            duration(ended - each["started_at"]),
            f"{each['micro_batch']} of {each['batch_size']}",
            each["outcome"] or "running",
            escaped(f"{each['failure_kind'] or ''} {each['failure'] or ''}".strip()),
        )
    return table


def _settings_table(settings: Row) -> "Table":
    """Return every setting with its value, by its dotted key in the grid file."""
    table = empty_table("setting", "value")
    for key, value in settings.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, each in inner:
            table.add_row(f"{key}.{name}".rstrip("."), escaped(json.dumps(each, ensure_ascii=False)))
    return table


def _epochs_table(epochs: Sequence[Row], best: int | None) -> "Table":
    """Return the epochs as they count, of very many the newest; a star marks whose weights were kept."""
    table = empty_table("epoch", "attempt", "training loss", "validation loss", "accuracy", "macro AUROC")
    for column in ("learning rate", "took"):
        table.add_column(column)
    if len(epochs) > MOST_EPOCHS:
        table.caption = f"and {len(epochs) - MOST_EPOCHS:,} before; all of them with --json"
    for each in epochs[-MOST_EPOCHS:]:
        table.add_row(
            f"{each['epoch']}{' *' if each['epoch'] == best else ''}",
            str(each["attempt"]),
            *(f"{each[loss]:.4f}" for loss in ("train_loss", "val_loss")),
            *(share(each[figure]) for figure in ("val_accuracy", "val_macro_auroc")),
            f"{each['learning_rate']:.3g}",
            f"{each['duration_s']:.1f} s",
        )
    return table


def _what(row: Row, now: float) -> str:
    if row["state"] == "failed":
        return f"{row['failure_kind']}: {row['failure']}"
    if row["state"] == "cancelled":
        return f"queue it again with: boneexp retry {row['run']}"
    if row["state"] == "running":
        if row["lease_expired"]:
            return "its worker is gone; goes on with: boneexp run --all"
        stopping = "cancelled, and stopping: " if row["stop_requested"] else ""
        return f"{stopping}{row['worker']}, heard of {duration(max(now - row['renewed_at'], 0))} ago"
    smaller = row["micro_batch"] < row["batch_size"]
    notes = [f"micro-batch {row['micro_batch']} of {row['batch_size']} (out of memory)"] if smaller else []
    return "; ".join(notes if row["is_current"] else [*notes, "earlier settings"])


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


def share(value: float | None) -> str:
    """Return a figure with three decimals; "" for None."""
    return "" if value is None else f"{value:.3f}"
