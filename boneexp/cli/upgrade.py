"""`boneexp upgrade`: upgrade the ledger to the newest schema."""

import time

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, LEDGER, ArtifactsPath, Json, LedgerPath
from boneexp.ledger.upgrading import upgrade


def upgrade_ledger(
    ledger: LedgerPath = LEDGER, artifacts: ArtifactsPath = ARTIFACTS, json: Json = False
) -> None:
    """Upgrade an old ledger to this version's schema, after making a backup."""
    backup = upgrade(ledger, time.time())
    if json:
        return output.as_json({"upgraded": backup is not None, "backup": str(backup) if backup else None})
    return output.data(f"upgraded; the backup is {backup}" if backup else f"{ledger} is up to date")
