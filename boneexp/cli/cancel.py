"""`boneexp cancel`: take runs out of the queue, or stop them."""

import time
from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, DOCS, GRID, LEDGER, ArtifactsPath, Json, LedgerPath
from boneexp.cli.unfinished_promotion import finish_if_cut_short
from boneexp.files.folders import Place
from boneexp.ledger.database import writing


def cancel(
    run_ids: Annotated[list[int], typer.Argument(metavar="RUN...")],
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Take runs out of the queue; a run that is running is stopped by its worker."""
    from boneexp.ledger.queue import cancel as take_out
    from boneexp.runs.processes import free_dead_runs_here

    finish_if_cut_short(Place(ledger, artifacts, GRID, DOCS))
    free_dead_runs_here(ledger, time.time())
    with writing(ledger) as connection:
        done = {run_id: take_out(connection, run_id, time.time()) for run_id in dict.fromkeys(run_ids)}
    if json:
        return output.as_json([{"run": run_id, "state": state} for run_id, state in done.items()])
    return output.data("\n".join(f"run {run_id}: {state}" for run_id, state in done.items()))
