"""`boneexp cancel`: remove runs from the queue, or stop them."""

import time
from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, DOCS, GRID, LEDGER, ArtifactsPath, Json, LedgerPath
from boneexp.cli.unfinished_promotion import finish_interrupted_promotion
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import writing


def cancel(
    run_ids: Annotated[list[int], typer.Argument(metavar="RUN...")],
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Cancel runs: queued runs leave the queue, running runs are stopped by their worker."""
    from boneexp.ledger.queue import cancel as cancel_run
    from boneexp.runs.processes import free_dead_runs_here

    finish_interrupted_promotion(StudyPaths(ledger, artifacts, GRID, DOCS))
    free_dead_runs_here(ledger, time.time())
    with writing(ledger) as connection:
        states = {run_id: cancel_run(connection, run_id, time.time()) for run_id in dict.fromkeys(run_ids)}
    if json:
        return output.as_json([{"run": run_id, "state": state} for run_id, state in states.items()])
    return output.data("\n".join(f"run {run_id}: {state}" for run_id, state in states.items()))
