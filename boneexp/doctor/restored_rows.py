"""Metrics and summaries that were changed, computed again from the run's sealed predictions.

Only what gives the sealed digest is kept (`boneexp.ledger.restoring`); nothing comes from changed rows.
"""

import sqlite3

from boneexp.errors import Damaged
from boneexp.evaluation.reported import predictions_of_part, run_metrics
from boneexp.files.folders import StudyPaths
from boneexp.ledger import restoring
from boneexp.ledger.database import reading, writing
from boneexp.ledger.queries.predictions import part_predictions
from boneexp.ledger.queries.runs import spec_json
from boneexp.results import MetricValue
from boneexp.study.settings import RunSpec


def compute_again(place: StudyPaths, run_id: int) -> str:
    """Compute a run's metrics and summary again where they were changed; say which are there again.

    Raises:
        Damaged: the predictions were changed, too, or do not give what was sealed.
    """
    restored: list[str] = []
    with reading(place.ledger) as connection:
        holds = restoring.table_holds(connection, run_id, "metrics")
        computed = {} if holds else _computed(connection, run_id)
    with writing(place.ledger) as connection:
        if computed and restoring.put_metrics_back(connection, run_id, computed):
            restored.append("metrics")
        if restoring.put_summary_back(connection, run_id):
            restored.append("run_summaries")
        left = [
            table for table in restoring.RESTORABLE if not restoring.table_holds(connection, run_id, table)
        ]
    if left:
        raise Damaged(
            f"the predictions of run {run_id} do not give what was sealed in {', '.join(left)}; "
            "put a backup in the ledger's place: docs/start.md, 'Backup and restore'"
        )
    return f"as they were sealed: {', '.join(restored)}"


def _computed(connection: sqlite3.Connection, run_id: int) -> dict[str, tuple[MetricValue, ...]]:
    """Return the metrics of both sets; none where the predictions were changed."""
    if not restoring.table_holds(connection, run_id, "predictions"):
        return {}
    spec = RunSpec.model_validate_json(spec_json(connection, run_id))
    validation, test = (
        predictions_of_part(part_predictions(connection, run_id, part)) for part in ("val", "test")
    )
    return run_metrics(
        validation,
        test,
        seed=spec.seed,
        resamples=spec.settings.evaluation.resamples,
        confidence=spec.settings.evaluation.confidence,
    )
