"""`boneexp init`: the study's grid file."""

from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, GRID, LEDGER, ArtifactsPath, GridPath, LedgerPath


def init(
    grid: GridPath = GRID,
    root: Annotated[
        str, typer.Option("--root", help="Folder of the dataset, written into the file as data.root.")
    ] = "",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
) -> None:
    """Write the study's commented grid file, to begin with; a file that is there stays as it is."""
    from boneexp.study.grid import write_study_grid

    write_study_grid(grid, root)
    first = "look through it" if root else "set data.root in it"
    output.data(f"{grid} written; {first}, then: boneexp queue --grid {grid}")
