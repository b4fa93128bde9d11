"""`boneexp run`: work through the queue on this machine."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    Device,
    Json,
    Kernels,
    LedgerPath,
    Root,
    absolute,
    exit_code,
)
from boneexp.cli.queue import warn_of_network
from boneexp.cli.unfinished_promotion import finish_interrupted_promotion
from boneexp.errors import Busy, NothingToDo, RunNotFinished
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import reading
from boneexp.ledger.queries.runs import run_row, unfinished_rows

Lease = Annotated[
    float,
    typer.Option(
        min=1,
        max=1800,  # far below the lease length that the queue blames on a wrong clock
        envvar="BONEEXP_LEASE",
        help="Seconds without a heartbeat after which a worker loses its run.",
    ),
]


def run(
    *,
    run_id: Annotated[int | None, typer.Argument(metavar="[RUN]", help="Only this run.")] = None,
    next_: Annotated[bool, typer.Option("--next", help="The next queued run.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every queued run.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Runs in parallel (with --all).")] = 1,
    device: Device = "auto",
    kernels: Kernels = "deterministic",
    lease: Lease = 120,
    root: Root = "",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Work through the queue on this machine. Ctrl-C saves and requeues the run; twice stops at once."""
    from boneexp.runs.processes import free_dead_runs_here

    if (run_id is not None) + next_ + all_ != 1:
        raise typer.BadParameter("choose one: --next, --all, or a run number (RUN)")
    if workers > 1 and not all_:
        raise typer.BadParameter("--workers needs --all")
    finish_interrupted_promotion(StudyPaths(ledger, artifacts, GRID, DOCS))
    free_dead_runs_here(ledger, time.time())  # so that a cancelled run of a dead worker is settled now
    _require_waiting(ledger, run_id)
    _require_own_folders(ledger, artifacts)
    warn_of_network(ledger)
    from boneexp.cli.progress import run_progress
    from boneexp.results import Computing
    from boneexp.runs.context import WorkerContext
    from boneexp.runs.workers import run_local

    with run_progress() as announce:
        computing = Computing(device, kernels)
        context = WorkerContext(ledger, artifacts, computing, announce, lease_s=lease, root=absolute(root))
        tally = run_local(context, workers=workers, limit=None if all_ else 1, run_id=run_id)
    if json:
        output.as_json(asdict(tally))
    output.talk(f"{tally.sentence()}; list the runs with: boneexp status")
    if not tally.succeeded + tally.failed + tally.cancelled and not tally.stopped_by:
        _require_free(ledger, run_id)
    raise typer.Exit(exit_code(tally.stopped_by, tally.failed, tally.succeeded))


def _require_waiting(ledger: Path, run_id: int | None) -> None:
    """Refuse before torch is loaded if there is nothing to run."""
    with reading(ledger) as connection:
        rows = unfinished_rows(connection) if run_id is None else [run_row(connection, run_id)]
    if run_id is not None and rows[0].state not in ("queued", "running"):
        state = rows[0].state
        more = f"; queue it again with: boneexp retry {run_id}" if state in ("failed", "cancelled") else ""
        raise RunNotFinished(f"run {run_id} is {state}, not queued{more}")
    if not rows:
        raise NothingToDo("no run is queued; list all runs with: boneexp status")


def _require_own_folders(ledger: Path, artifacts: Path) -> None:
    """Refuse to start if a queued run would write outside the artifacts folder through a link."""
    from boneexp.files.atomic import inside

    with reading(ledger) as connection:
        waiting = unfinished_rows(connection)
    for relative in ("cache/prepared", "cache/images.json", *(f"{row.folder}/run.log" for row in waiting)):
        inside(artifacts, relative)


def _require_free(ledger: Path, run_id: int | None) -> None:
    """Refuse runs that other workers are running already."""
    with reading(ledger) as connection:
        rows = unfinished_rows(connection) if run_id is None else [run_row(connection, run_id)]
    active = [f"run {row.run} by {row.worker}" for row in rows if row.state == "running"]
    if active:
        raise Busy(
            f"other workers are already running it ({', '.join(active)}); watch with: boneexp status --watch"
        )
