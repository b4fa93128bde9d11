"""`boneexp show`: show one run in detail."""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, LEDGER, ArtifactsPath, Json, LedgerPath
from boneexp.cli.output import Row, empty_table, escaped, with_checkpoint_path
from boneexp.cli.unfinished_promotion import mention_interrupted_promotion
from boneexp.ledger.database import reading
from boneexp.ledger.queries.runs import RunStatus, run_row, spec_json
from boneexp.ledger.statements import record
from boneexp.text.numbers import clock_time, three_decimals

if TYPE_CHECKING:
    from rich.table import Table

    from boneexp.ledger.queries.attempts import Attempt, Epoch
    from boneexp.ledger.queries.files import RunFile
    from boneexp.results import MetricValue


def show(
    run_id: Annotated[int, typer.Argument(metavar="RUN")],
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Show one run in detail: settings, attempts, epochs, metrics, files, and the traceback of a failure."""
    from json import loads

    from boneexp.ledger.queries.attempts import attempts_of_run, epochs_of_run
    from boneexp.ledger.queries.events import events_of_run
    from boneexp.ledger.queries.figures import late_rows, metric_rows
    from boneexp.ledger.queries.files import files_of_run

    with reading(ledger) as connection:
        row = with_checkpoint_path(run_row(connection, run_id), artifacts)
        attempts = attempts_of_run(connection, run_id)
        metrics, files = metric_rows(connection, run_id), files_of_run(connection, run_id)
        epochs, events = epochs_of_run(connection, run_id), events_of_run(connection, run_id)
        late = late_rows(connection, run_id)
        spec = loads(spec_json(connection, run_id))
        mention_interrupted_promotion(connection)
    if json:
        tables = {
            "attempts": [record(each) for each in attempts],
            "metrics": [record(each) for each in metrics],
            "files": [record(each) for each in files],
            "epochs": [record(each) for each in epochs],
            "events": [{**record(each), "details": each.details} for each in events],
            "late_results": [record(each) for each in late],
        }
        return output.as_json({**record(row), **tables, "spec": spec})
    parts = run_detail(row, spec["settings"], attempts, epochs)
    return output.show(*parts, *outcome_parts(attempts, metrics, files))


MOST_EPOCHS = 300


def run_detail(
    row: RunStatus, settings: Row, attempts: "Sequence[Attempt]", epochs: "Sequence[Epoch]"
) -> "list[Any]":
    """Return a run's facts, settings, attempts and epochs."""
    facts = empty_table("fact", "value", title=f"Run {row.run}")
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
        if (value := getattr(row, key)) not in (None, ""):
            facts.add_row(key, escaped(str(value)))
    parts: list[Any] = [facts, _settings_table(settings), _attempts_table(attempts)]
    return [*parts, _epochs_table(epochs, row.best_epoch)] if epochs else parts


def outcome_parts(
    attempts: "Sequence[Attempt]", metrics: "Sequence[MetricValue]", files: "Sequence[RunFile]"
) -> "list[Any]":
    """Return a run's metrics and files, and the traceback of its last attempt."""
    from boneexp.results import AT_BOUND, is_at_bound

    parts: list[Any] = []
    if metrics:
        table = empty_table("test metric", "class", "value", "interval")
        for each in metrics:
            interval = "" if each.low is None else f"{each.low:.3f}-{each.high:.3f}"
            at_bound = f" {AT_BOUND}" if is_at_bound(each.metric, each.value) else ""
            table.add_row(
                each.metric, each.class_name or "all", f"{three_decimals(each.value)}{at_bound}", interval
            )
        parts.append(table)
    if files:
        listed = empty_table("file", "kind", "SHA-256", "bytes")
        for file in files:
            listed.add_row(escaped(file.path), file.kind, file.sha256[:12], f"{file.size_bytes:,}")
        parts.append(listed)
    parts += [escaped(each.traceback) for each in attempts[-1:] if each.traceback]
    return parts


def _attempts_table(attempts: "Sequence[Attempt]") -> "Table":
    table = empty_table(
        "attempt", "worker", "device", "started (UTC)", "duration", "micro-batch", "outcome", "reason"
    )
    for each in attempts:
        ended = each.ended_at or each.renewed_at
        table.add_row(
            str(each.number),
            escaped(each.worker),
            escaped(each.device),
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.started_at)),
            clock_time(ended - each.started_at),
            f"{each.micro_batch} of {each.batch_size}",
            each.outcome or "running",
            escaped(f"{each.failure_kind or ''} {each.failure or ''}".strip()),
        )
    return table


def _settings_table(settings: Row) -> "Table":
    """Return every setting under its dotted key of the grid file."""
    table = empty_table("setting", "value")
    for key, value in settings.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, each in inner:
            table.add_row(f"{key}.{name}".rstrip("."), escaped(json.dumps(each, ensure_ascii=False)))
    return table


def _epochs_table(epochs: "Sequence[Epoch]", best: int | None) -> "Table":
    """Return the newest MOST_EPOCHS epochs; a star marks the one with the best weights."""
    table = empty_table("epoch", "attempt", "training loss", "validation loss", "accuracy", "macro AUROC")
    for column in ("learning rate", "duration"):
        table.add_column(column)
    if len(epochs) > MOST_EPOCHS:
        table.caption = f"and {len(epochs) - MOST_EPOCHS:,} earlier; all of them with --json"
    for each in epochs[-MOST_EPOCHS:]:
        table.add_row(
            f"{each.epoch}{' *' if each.epoch == best else ''}",
            str(each.attempt),
            *(f"{loss:.4f}" for loss in (each.train_loss, each.val_loss)),
            *map(three_decimals, (each.val_accuracy, each.val_macro_auroc)),
            f"{each.learning_rate:.3g}",
            f"{each.duration_s:.1f} s",
        )
    return table
