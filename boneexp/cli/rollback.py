"""`boneexp rollback`: undo the last decision."""

from boneexp.cli.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    DocsPath,
    DryRun,
    GridPath,
    Json,
    LedgerPath,
    Reason,
    Yes,
    require_confirmation,
)
from boneexp.cli.promote import carry_out_decision, preview_decision
from boneexp.files.folders import StudyPaths


def rollback(
    *,
    reason: Reason = "",
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Undo the last decision: restore the previous checkpoints, grid table and documents."""
    if not dry_run:
        require_confirmation(yes, "a rollback")
    from boneexp.promotion.decision import Request

    paths, request = StudyPaths(ledger, artifacts, grid, docs), Request("rollback", None, reason, False)
    return (
        preview_decision(paths, request, json) if dry_run else carry_out_decision(paths, request, yes, json)
    )
