"""`boneexp export`: the study as a bundle or as MLflow runs."""

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
    DocsPath,
    GridPath,
    Json,
    LedgerPath,
)
from boneexp.cli.unfinished_promotion import mention_interrupted_promotion
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import reading


def export(
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE",
            help="Write the study as one archive: a BagIt bag that anybody can verify.",
        ),
    ] = None,
    mlflow: Annotated[
        str, typer.Option("--mlflow", metavar="DIR-or-URI", help="Write every settled run to MLflow, once.")
    ] = "",
    with_checkpoints: Annotated[
        bool, typer.Option("--with-checkpoints", help="Include the best weights of each run.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing file.")] = False,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Export the study as one archive that can be verified anywhere, or as MLflow runs."""
    if (bundle is None) == (not mlflow):
        raise typer.BadParameter("choose one: --bundle FILE or --mlflow DIR-or-URI")
    if bundle is None:
        from boneexp.exports.mlflow_runs import write_runs

        written = write_runs(ledger, artifacts, mlflow, with_checkpoints=with_checkpoints)
        if json:
            return output.as_json(written.as_json())
        return output.data(f"{written.sentence()}, in {written.store}")
    from boneexp.exports.bundle import write_bundle

    with reading(ledger) as connection:
        mention_interrupted_promotion(connection)
    paths = StudyPaths(ledger, artifacts, grid, docs)
    done = write_bundle(paths, bundle, with_checkpoints=with_checkpoints, replace=yes)
    if json:
        return output.as_json(done.as_json())
    output.data(f"{done.sha256}  {done.path}")
    return output.talk(done.sentence())
