"""`boneexp init`: write the study's grid file."""

from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, GRID, LEDGER, ArtifactsPath, GridPath, LedgerPath


def init(
    grid: GridPath = GRID,
    root: Annotated[
        str, typer.Option("--root", help="Dataset folder, written to the file as data.root.")
    ] = "",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
) -> None:
    """Write the study's commented grid file as a starting point. An existing file is kept."""
    from boneexp.study.grid import write_study_grid

    write_study_grid(grid, root)
    first = "review it" if root else "set data.root in it"
    output.data(f"{grid} written; {first}, then: boneexp queue --grid {grid}")
