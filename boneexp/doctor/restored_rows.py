"""Changed rows of a run brought back: computed again from its sealed predictions, or read from its files.

Only what its seal was made of is kept (`boneexp.ledger.restoring`); so a file that was changed, too, does no
harm.
"""

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from boneexp.errors import Damaged
from boneexp.evaluation.reported import predictions_of_rows, run_metrics
from boneexp.experiment.outputs import MADE
from boneexp.files.atomic import inside
from boneexp.files.folders import Place
from boneexp.ledger import restoring
from boneexp.ledger.database import reading, writing
from boneexp.ledger.queries.predictions import part_predictions
from boneexp.ledger.queries.runs import run_row, spec_json
from boneexp.results import CLASS_NAMES
from boneexp.study.settings import RunSpec

Row = dict[str, Any]
OF_A_METRIC = ("value", "low", "high", "interval_method")
UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, Damaged)


def bring_back(place: Place, run_id: int) -> str:
    """Bring back what was changed of a run's predictions, metrics and summary; say what is there again.

    Raises:
        Damaged: not all of it could be brought back; what could is there.
    """
    told = [
        table
        for table, candidates in (("predictions", _predictions), ("metrics", _metrics))
        if not _holds(place, run_id, table) and _put_back(place, run_id, table, candidates(place, run_id))
    ]
    with writing(place.ledger) as connection:
        if restoring.put_summary_back(connection, run_id):
            told.append("run_summaries")
    left = [table for table in restoring.RESTORABLE if not _holds(place, run_id, table)]
    if left:
        raise Damaged(
            f"neither predictions nor files of run {run_id} give what was sealed in {', '.join(left)}; "
            "put a backup in the ledger's place: docs/start.md, 'Backup and restore'"
        )
    return f"as they were sealed: {', '.join(told)}"


def _holds(place: Place, run_id: int, table: str) -> bool:
    with reading(place.ledger) as connection:
        return restoring.table_holds(connection, run_id, table)


def _put_back(place: Place, run_id: int, table: str, candidates: Iterator[Sequence[Row]]) -> bool:
    for rows in candidates:
        with writing(place.ledger) as connection:
            if restoring.put_rows_back(connection, run_id, table, rows):
                return True
    return False


def _predictions(place: Place, run_id: int) -> Iterator[Sequence[Row]]:
    yield from _of_file(place, run_id, "predictions", _rows_of_predictions)


def _metrics(place: Place, run_id: int) -> Iterator[Sequence[Row]]:
    """Yield a run's metrics as its predictions give them, if those are sealed, and as its file says."""
    if _holds(place, run_id, "predictions"):
        with reading(place.ledger) as connection:
            yield _computed(connection, run_id)
    for rows in _of_file(place, run_id, "metrics summary", _rows_of_summary):
        # The file names no bootstrap's method, nor that of no interval; before schema 0005 all had the first.
        yield [{"interval_method": "percentile", **row} for row in rows]
        yield [{"interval_method": "" if row.get("low") is None else "percentile", **row} for row in rows]


def _computed(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    try:
        spec = RunSpec.model_validate_json(spec_json(connection, run_id))
        validation, test = (
            predictions_of_rows(part_predictions(connection, run_id, part)) for part in ("val", "test")
        )
        settings = spec.settings.evaluation
        found = run_metrics(
            validation, test, seed=spec.seed, resamples=settings.resamples, confidence=settings.confidence
        )
    except UNREADABLE:
        return []
    return [{"part": part, **vars(value)} for part, values in found.items() for value in values]


def _of_file(
    place: Place, run_id: int, kind: str, read: Callable[[str], list[Row]]
) -> Iterator[Sequence[Row]]:
    """Yield the rows that one of the run's files has; none if it is gone or cannot be read."""
    with reading(place.ledger) as connection:
        folder = run_row(connection, run_id).folder
    try:
        path: Path = inside(place.artifacts, f"{folder}/{MADE[kind]}")
        yield read(path.read_text(encoding="utf-8"))
    except UNREADABLE:
        return


def _rows_of_predictions(text: str) -> list[Row]:
    columns = [f"p_{name.lower()}" for name in CLASS_NAMES]
    return [
        {
            "part": row["part"],
            "image_id": _plain(row["image_id"]),
            "group_id": _plain(row["group"]),
            "center": int(row["center"]),
            "label": row["label"],
            **{column: float(row[column]) for column in columns},
        }
        for row in csv.DictReader(text.splitlines())
    ]


def _plain(cell: str) -> str:
    """Return a cell without the apostrophe that keeps a spreadsheet from running it."""
    return cell.removeprefix("'")


def _rows_of_summary(text: str) -> list[Row]:
    rows: list[Row] = []
    for part, figures in json.loads(text)["parts"].items():
        overall = {name: each for name, each in figures.items() if name != "per_class"}
        for class_name, values in {"": overall, **figures["per_class"]}.items():
            for metric, each in values.items():
                kept = {name: each[name] for name in OF_A_METRIC if name in each}
                rows.append({"part": part, "metric": metric, "class_name": class_name, **kept})
    return rows
