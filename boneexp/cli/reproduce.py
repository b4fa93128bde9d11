"""`boneexp reproduce`: run a finished run again."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    LEDGER,
    ArtifactsPath,
    Device,
    Json,
    LedgerPath,
    Root,
    absolute,
    exit_code,
)
from boneexp.cli.output import empty_table, escaped
from boneexp.text.labels import RESEARCH_ONLY
from boneexp.text.numbers import three_decimals

if TYPE_CHECKING:
    from boneexp.runs.reproduce import Reproduction


def reproduce(
    *,
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="A run that succeeded.")],
    device: Device = "auto",
    root: Root = "",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Run a finished run again in a separate folder and check whether its metrics lie in their intervals."""
    from boneexp.cli.progress import run_progress
    from boneexp.results import Computing
    from boneexp.runs.context import WorkerContext
    from boneexp.runs.reproduce import reproduce as run_again

    with run_progress() as announce:
        found = run_again(
            WorkerContext(ledger, artifacts, Computing(device), announce), run_id, absolute(root)
        )
    if isinstance(found, str):
        raise typer.Exit(exit_code(found, 0, 0))
    if json:
        output.as_json(found.as_json())
    else:
        output.show(*reproduction_parts(found))
        output.talk(f"Written: {artifacts / found.folder}")
    raise typer.Exit(0 if found.passed else 7)


def reproduction_parts(found: "Reproduction") -> "list[Any]":
    """Return each metric, stored and reproduced, and the verdict."""
    from boneexp.text.labels import label

    table = empty_table(
        "test metric", "stored", "interval", "reproduced", "inside", title=f"Run {found.run}, reproduced"
    )
    for each in found.figures:
        interval = "" if each.low is None else f"{each.low:.3f}-{each.high:.3f}"
        verdict = "[green]yes[/]" if each.inside else "[red]no[/]"
        table.add_row(
            label(each.figure), three_decimals(each.stored), interval, three_decimals(each.again), verdict
        )
    changed = [f"{name} {then} -> {now}" for name, (then, now) in found.software.items()]
    others = [f"Different software or device: {escaped('; '.join(changed))}"] if changed else []
    return [table, escaped(found.sentence()), *others, RESEARCH_ONLY]
