"""`boneexp queue`: queue every new combination of the grid."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    DryRun,
    GridPath,
    Json,
    LedgerPath,
    names,
)
from boneexp.cli.output import empty_table, escaped
from boneexp.cli.unfinished_promotion import finish_interrupted_promotion
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import open_ledger, reading
from boneexp.ledger.network import network_file_system
from boneexp.ledger.queries.runs import known_hashes

if TYPE_CHECKING:
    from rich.table import Table

    from boneexp.runs.enqueue import PlannedRun


Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key, for example training.batch_size=8. Repeatable."),
]
NewRoot = Annotated[
    str, typer.Option("--root", help="Dataset folder, instead of data.root in the grid file.")
]
MaxAttempts = Annotated[
    int,
    typer.Option(min=1, help="Fail a new run after this many consecutive attempts without a finished epoch."),
]


def queue(
    *,
    grid: GridPath = GRID,
    only: Annotated[str, typer.Option(help="Only these experiments, for example E1,E2.")] = "",
    split: Annotated[str, typer.Option(help="Only this split: stratified or center_holdout.")] = "",
    seeds: Annotated[str, typer.Option(help="These seeds instead of the grid's, for example 42,43.")] = "",
    set_: Overrides = None,
    root: NewRoot = "",
    max_attempts: MaxAttempts = 3,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Queue every new combination of the grid; existing runs are kept."""
    from boneexp.cli.progress import counting
    from boneexp.runs.enqueue import check_networks, planned, put_in_queue, with_root

    chosen = (names(only), names(split), _seeds(seeds))
    _require_given_once(set_ or [], {"seeds": seeds, "data.root": root})
    if not dry_run and ledger.is_file():
        finish_interrupted_promotion(StudyPaths(ledger, artifacts, grid, DOCS))
    with counting("checking the images") as progress:
        made = planned(grid, with_root(set_ or [], root), chosen, None if dry_run else artifacts, progress)
    known = _known_hashes(ledger)
    for note in check_networks(made, known):
        output.talk(f"Note: {note}")
    if notes := made.noted(ledger):
        output.talk(notes)
    if dry_run:
        runs = made.runs(known)
        return output.as_json([vars(run) for run in runs]) if json else output.show(plan_table(runs))
    if not ledger.is_file():
        warn_of_network(ledger)
    done = put_in_queue(made, open_ledger(ledger), artifacts, time.time(), max_attempts)
    if json:
        queued, outdated = list(done.added), list(done.outdated)
        counts = {"queued": queued, "known": done.known, "outdated": outdated, "notes": made.notes()}
        return output.as_json(counts)
    output.data(f"{len(done.added)} queued, {done.known} already in {ledger}")
    if done.outdated:
        numbers = " ".join(map(str, done.outdated))
        output.talk(
            f"Runs with earlier settings are still queued; remove them with: boneexp cancel {numbers}"
        )
    return None


def _require_given_once(overrides: list[str], options: dict[str, str]) -> None:
    """Refuse a key that is given both by its own option and by --set."""
    keys = [each.partition("=")[0].strip() for each in overrides]
    for key, value in options.items():
        if value and key in keys:
            option = f"--{key.split('.')[-1]}"
            raise typer.BadParameter(f"{option} and --set {key} contradict each other; give only one")


def _seeds(text: str) -> list[int]:
    try:
        return [int(name) for name in names(text)]
    except ValueError:
        raise typer.BadParameter(f"--seeds {text}: seeds must be integers, for example 42,43") from None


def _known_hashes(ledger: Path) -> set[str]:
    if not ledger.is_file():
        return set()
    with reading(ledger) as connection:
        return known_hashes(connection)


def warn_of_network(ledger: Path) -> None:
    """Warn if the ledger is on a network file system."""
    found = network_file_system(ledger)
    if found is not None:
        output.talk(
            f"Warning: {ledger} is on a network file system ({found}), where SQLite may corrupt data; "
            "put it on a local disk with --ledger FILE (artifacts may stay there); see docs/scale.md"
        )


MOST_PLANNED = 1000  # rows shown of the plan: rich needs about a millisecond for each


def plan_table(runs: "Sequence[PlannedRun]") -> "Table":
    """Return the table of the runs that a grid would queue, at most MOST_PLANNED."""
    table = empty_table("experiment", "split", "seed", "backbone", "size", "batch", "config hash", "new")
    if len(runs) > MOST_PLANNED:
        table.caption = f"and {len(runs) - MOST_PLANNED:,} more; all of them with --json"
    for run in runs[:MOST_PLANNED]:
        table.add_row(
            escaped(f"{run.experiment} {run.name}".strip()),
            run.split,
            str(run.seed),
            escaped(run.backbone),
            str(run.image_size),
            str(run.batch_size),
            run.config_hash[:12],
            "yes" if run.new else "in the ledger",
        )
    return table
