"""`boneexp backup`: a verified copy of the ledger."""

from pathlib import Path
from typing import Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, LEDGER, ArtifactsPath, Json, LedgerPath


def backup(
    copy: Annotated[Path, typer.Argument(metavar="FILE", help="Path of the copy; must not exist yet.")],
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Copy the ledger to a new file and verify the copy. Safe while workers are writing."""
    from boneexp.ledger.backup import back_up
    from boneexp.ledger.database import examining

    with examining(ledger) as connection:
        sha256 = back_up(connection, copy)
    if json:
        return output.as_json({"backup": str(copy), "sha256": sha256})
    return output.data(f"{sha256}  {copy}")
