"""The tables and figures of a run, made again from the ledger's rows, as the run itself made them."""

import sqlite3
from pathlib import Path
from typing import Any

from boneexp.artifacts import RunFolder
from boneexp.config import RunSpec
from boneexp.evaluation.reported import figure_columns
from boneexp.ledger import views
from boneexp.results import CLASS_NAMES, EpochRecord, MetricValue, Prediction
from boneexp.run_files import Evidence, write_config, write_tables_and_figures

PARTS = ("val", "test")  # in the order in which a run evaluates them


def make_again(connection: sqlite3.Connection, run_id: int, folder: Path) -> None:
    """Write all that a run's rows can give into `folder`."""
    spec = RunSpec.model_validate_json(views.spec_json(connection, run_id))
    made = RunFolder(folder.parent, folder.name)
    write_config(made, spec)
    write_tables_and_figures(made, spec, evidence_of(connection, run_id))


def evidence_of(connection: sqlite3.Connection, run_id: int) -> Evidence:
    """Return what a finished run knew, in the order in which it knew it: digests depend on that."""
    predictions = [_prediction(row) for row in views.prediction_rows(connection, run_id)]
    predictions.sort(key=lambda each: (PARTS.index(each.part), each.image_id))
    return Evidence(
        metrics={part: _metrics(views.metric_rows(connection, run_id, part)) for part in PARTS},
        predictions=tuple(predictions),
        history=tuple(_epoch(row) for row in views.epoch_rows(connection, run_id)),
        best_epoch=int(views.run_row(connection, run_id)["best_epoch"]) - 1,
    )


def _metrics(rows: list[views.Row]) -> tuple[MetricValue, ...]:
    places = {column: place for place, column in enumerate(figure_columns(CLASS_NAMES))}
    values = [MetricValue(**row) for row in rows]
    return tuple(sorted(values, key=lambda value: places[value.metric, value.class_name]))


def _prediction(row: views.Row) -> Prediction:
    shares = (row["p_normal"], row["p_benign"], row["p_malignant"])
    about = (row["part"], row["image_id"], row["group_id"], row["center"])
    return Prediction(*about, CLASS_NAMES.index(row["label"]), shares)


def _epoch(row: dict[str, Any]) -> EpochRecord:
    """Return an epoch as the run itself counts it, from 0; the view counts from 1."""
    kept = {name: row[name] for name in EpochRecord.__dataclass_fields__}
    return EpochRecord(**{**kept, "epoch": row["epoch"] - 1})
