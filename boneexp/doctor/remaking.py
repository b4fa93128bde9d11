"""The tables and figures of a run, made again from the ledger's rows, as the run itself made them."""

import sqlite3
from pathlib import Path

from boneexp.evaluation.reported import run_metric_columns
from boneexp.experiment.outputs import Evidence, write_config, write_tables_and_figures
from boneexp.files.folders import RunFolder
from boneexp.ledger.queries.attempts import Epoch, epochs_of_run
from boneexp.ledger.queries.figures import metric_rows
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.ledger.queries.runs import run_row, spec_json
from boneexp.results import CLASS_NAMES, EpochRecord, MetricValue
from boneexp.study.settings import RunSpec

PARTS = ("val", "test")  # in the order in which a run evaluates them


def make_again(connection: sqlite3.Connection, run_id: int, folder: Path) -> None:
    """Write all that a run's rows can give into `folder`."""
    spec = RunSpec.model_validate_json(spec_json(connection, run_id))
    made = RunFolder(folder.parent, folder.name)
    write_config(made, spec)
    write_tables_and_figures(made, spec, evidence_of(connection, run_id))


def evidence_of(connection: sqlite3.Connection, run_id: int) -> Evidence:
    """Return what a finished run knew, in the order in which it knew it: digests depend on that."""
    predictions = prediction_rows(connection, run_id)
    predictions.sort(key=lambda each: (PARTS.index(each.part), each.image_id))
    return Evidence(
        metrics={part: _metrics(metric_rows(connection, run_id, part)) for part in PARTS},
        predictions=tuple(predictions),
        history=tuple(_epoch(row) for row in epochs_of_run(connection, run_id)),
        best_epoch=(run_row(connection, run_id).best_epoch or 1) - 1,
    )


def _metrics(values: list[MetricValue]) -> tuple[MetricValue, ...]:
    places = {column: place for place, column in enumerate(run_metric_columns(CLASS_NAMES))}
    return tuple(sorted(values, key=lambda value: places[value.metric, value.class_name]))


def _epoch(row: Epoch) -> EpochRecord:
    """Return an epoch as the run itself counts it, from 0; the view counts from 1."""
    kept = {name: getattr(row, name) for name in EpochRecord.__dataclass_fields__}
    return EpochRecord(**{**kept, "epoch": row.epoch - 1})
