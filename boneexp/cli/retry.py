"""`boneexp retry`: requeue failed or cancelled runs."""

import time
from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    Json,
    LedgerPath,
    chosen_runs,
)
from boneexp.cli.unfinished_promotion import finish_interrupted_promotion
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import writing


def retry(
    run_ids: Annotated[list[int] | None, typer.Argument(metavar="[RUN]...")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed runs.")] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Requeue failed or cancelled runs; they resume from their last checkpoint and keep their history."""
    from boneexp.ledger.queue import retry as requeue
    from boneexp.runs.processes import free_dead_runs_here

    finish_interrupted_promotion(StudyPaths(ledger, artifacts, GRID, DOCS))
    chosen = chosen_runs(ledger, run_ids, failed)
    free_dead_runs_here(ledger, time.time())
    with writing(ledger) as connection:
        for run_id in chosen:
            requeue(connection, run_id, time.time())
    return output.as_json({"queued": chosen}) if json else output.data(f"{len(chosen)} queued again")
