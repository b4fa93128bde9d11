"""`boneexp data phantom`: a synthetic dataset."""

from pathlib import Path
from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, LEDGER, ArtifactsPath, Json, LedgerPath, require_confirmation


def phantom(
    *,
    out: Annotated[Path, typer.Option("--out", help="Output folder; new or empty, or see --yes.")],
    images: Annotated[int, typer.Option(help="Number of radiographs.")] = 240,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 42,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Write to a folder that is not empty; replaces a phantom in it."),
    ] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Write synthetic radiographs in BTXRD's layout for trying things out; no evidence about tumours."""
    from boneexp.data.phantom.write import write_phantom

    taken = out.is_dir() and any(out.iterdir())
    if taken:
        require_confirmation(yes, f"{out} is not empty; writing to it")
    if taken and not yes:
        typer.confirm(
            f"{out} is not empty; a phantom in it will be replaced. Continue?", abort=True, err=True
        )
    summary = write_phantom(out, images=images, seed=seed, replace=taken)
    if json:
        return output.as_json({"folder": str(out), "images": summary.images, "patients": summary.patients})
    return output.data(
        f"{summary.images} synthetic radiographs of {summary.patients} phantom patients in {out}"
    )
