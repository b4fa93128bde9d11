"""`boneexp retry`: failed or cancelled runs into the queue again."""

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
from boneexp.cli.unfinished_promotion import finish_if_cut_short
from boneexp.files.folders import Place
from boneexp.ledger.database import writing


def retry(
    run_ids: Annotated[list[int] | None, typer.Argument(metavar="[RUN]...")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed run.")] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Queue failed or cancelled runs again; they go on from their last checkpoint, and history stays."""
    from boneexp.ledger.queue import retry as queue_again
    from boneexp.runs.processes import free_dead_runs_here

    finish_if_cut_short(Place(ledger, artifacts, GRID, DOCS))
    chosen = chosen_runs(ledger, run_ids, failed)
    free_dead_runs_here(ledger, time.time())
    with writing(ledger) as connection:
        for run_id in chosen:
            queue_again(connection, run_id, time.time())
    return output.as_json({"queued": chosen}) if json else output.data(f"{len(chosen)} queued again")
