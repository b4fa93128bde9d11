"""`boneexp promote`: preview a decision, ask for confirmation, carry it out."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from boneexp.cli import output
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
from boneexp.cli.unfinished_promotion import finish_interrupted_promotion
from boneexp.errors import Busy, NothingToDo
from boneexp.files.folders import StudyPaths

if TYPE_CHECKING:
    from boneexp.promotion.decision import Request


def promote(
    *,
    experiment: Annotated[
        str | None, typer.Argument(help="The experiment to promote, for example E3.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Promote the best experiment by the study's rule.")
    ] = False,
    keep_baseline: Annotated[
        bool, typer.Option("--keep-baseline", help="Promote no experiment; keep the baseline as the default.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Finish an interrupted promotion, and do nothing else.")
    ] = False,
    reason: Reason = "",
    override: Annotated[
        bool, typer.Option("--override", help="Promote even if enforced statistical conditions are not met.")
    ] = False,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make an experiment the default model: updates checkpoints, experiments.toml, model card and report."""
    if (experiment is not None) + best + keep_baseline + finish != 1:
        raise typer.BadParameter(
            "choose one: an experiment such as E3, --best, --keep-baseline or --finish; "
            "undo the last decision with: boneexp rollback"
        )
    if override and not reason.strip():
        raise typer.BadParameter("--override needs --reason; both documents will show it")
    if not finish and not dry_run:
        require_confirmation(yes, "a promotion")
    from boneexp.promotion.decision import Request

    paths = StudyPaths(ledger, artifacts, grid, docs)
    if finish:
        return _finish(paths, json)
    request = Request("keep-baseline" if keep_baseline else "promote", experiment, reason, override)
    return (
        preview_decision(paths, request, json) if dry_run else carry_out_decision(paths, request, yes, json)
    )


def preview_decision(paths: StudyPaths, request: "Request", json: bool) -> None:
    """Print what the decision would change; exit with the code that the decision itself would have."""
    from boneexp.promotion.decision import decide

    decision = decide(paths, request)
    if json:
        output.as_json({**decision.as_json(), "diff": decision.diff(paths, time.time())})
    else:
        output.data(decision.preview(paths, time.time()))
    decision.require()
    decision.require_new()


def carry_out_decision(paths: StudyPaths, request: "Request", yes: bool, json: bool) -> None:
    """Ask for confirmation unless `yes`, carry the decision out, and print the files written."""
    from boneexp.promotion.carry_out import carry_out
    from boneexp.promotion.decision import decide

    finish_interrupted_promotion(paths)
    decision = decide(paths, request)
    decision.require()
    if decision.stands_already and json:
        output.as_json({**decision.as_json(), "written": []})
    decision.require_new()
    for warning in decision.warnings():
        output.talk(warning)
    if not yes:
        output.talk(decision.sentence())
        typer.confirm("Continue?", abort=True, err=True)
        if decide(paths, request) != decision:
            raise Busy(
                "the ledger or the files changed in the meantime; review the decision and repeat the command"
            )
    written = carry_out(paths, decision, time.time())
    if json:
        return output.as_json({**decision.as_json(), "written": [str(path) for path in written]})
    output.data(decision.sentence())
    return output.talk("\n".join(["Written:", *(f"  {path}" for path in written)]))


def _finish(paths: StudyPaths, json: bool) -> None:
    from boneexp.promotion.carry_out import finish_cut_short

    message = finish_cut_short(paths, time.time())
    if message is None:
        raise NothingToDo("no promotion was interrupted; see the comparison with: boneexp compare")
    return output.as_json({"finished": message}) if json else output.data(message)
