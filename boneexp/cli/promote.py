"""`boneexp promote`: preview, ask, carry out."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    Csv,
    DocsPath,
    DryRun,
    GridPath,
    Json,
    LedgerPath,
    Markdown,
    Yes,
    require_agreement,
)
from boneexp.cli.output import Row, empty_table, escaped, machine_readable
from boneexp.cli.unfinished_promotion import finish_if_cut_short, mention_cut_short
from boneexp.errors import Busy, NothingToDo
from boneexp.ledger.database import reading
from boneexp.ledger.queries.promotions import decision_rows

if TYPE_CHECKING:
    from rich.table import Table


def promote(
    *,
    experiment: Annotated[
        str | None, typer.Argument(help="The experiment that becomes the default: E3.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best by the study's rule.")] = False,
    keep_baseline: Annotated[
        bool, typer.Option("--keep-baseline", help="None of them; the baseline stays.")
    ] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Undo the last promotion.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Finish a promotion that was cut short, and no more.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Show every decision; changes nothing.")] = False,
    reason: Annotated[str, typer.Option(help="Why; stands in both documents.")] = "",
    override: Annotated[
        bool,
        typer.Option("--override", help="Go on although statistical conditions that bind are not met."),
    ] = False,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """Make an experiment the default model: checkpoints, experiments.toml, model card and report."""
    if (experiment is not None) + best + keep_baseline + rollback + finish + history != 1:
        raise typer.BadParameter(
            "say which: an experiment such as E3, --best, --keep-baseline, --rollback, --finish or --history"
        )
    if override and not reason.strip():
        raise typer.BadParameter("--override needs --reason: every document will show it")
    if history:
        return _say_decisions(ledger, json, csv, md)
    if not finish and not dry_run:
        require_agreement(yes, "a promotion")
    from boneexp.files.folders import Place
    from boneexp.promotion.carry_out import finish_cut_short
    from boneexp.promotion.decision import Request

    place = Place(ledger, artifacts, grid, docs)
    if finish:
        return _say_finished(finish_cut_short(place, time.time()), json)
    action = "rollback" if rollback else "keep-baseline" if keep_baseline else "promote"
    request = Request(action, experiment, reason, override)
    return _previewed(place, request, json) if dry_run else _carried_out(place, request, yes, json)


def _previewed(place: Any, request: Any, json: bool) -> None:
    from boneexp.promotion.decision import decide

    decision = decide(place, request)
    if json:
        output.as_json({**decision.as_json(), "diff": decision.diff(place, time.time())})
    else:
        output.data(decision.preview(place, time.time()))
    decision.require()
    decision.require_new()


def _carried_out(place: Any, request: Any, yes: bool, json: bool) -> None:
    from boneexp.promotion.carry_out import carry_out
    from boneexp.promotion.decision import decide

    finish_if_cut_short((place.ledger, place.artifacts, place.grid, place.docs))
    decision = decide(place, request)
    decision.require()
    if decision.stands_already and json:
        output.as_json({**decision.as_json(), "written": []})
    decision.require_new()
    for warning in decision.warnings():
        output.talk(warning)
    if not yes:
        output.talk(decision.sentence())
        typer.confirm("Go on?", abort=True, err=True)
        if decide(place, request) != decision:
            raise Busy("what it was decided by has changed since you were asked; look, and decide again")
    written = carry_out(place, decision, time.time())
    if json:
        return output.as_json({**decision.as_json(), "written": [str(path) for path in written]})
    output.data(decision.sentence())
    return output.talk("\n".join(["Written:", *(f"  {path}" for path in written)]))


def _say_decisions(ledger: Path, json: bool, csv: bool, md: bool) -> None:
    with reading(ledger) as connection:
        rows = decision_rows(connection)
        mention_cut_short(connection)
    if not rows:
        raise NothingToDo("nobody has decided yet; see what there is to decide with: boneexp compare")
    if json or csv or md:
        return machine_readable(rows, json, csv)
    return output.show(decisions_table(rows))


def _say_finished(said: str | None, json: bool) -> None:
    if said is None:
        raise NothingToDo("no promotion was cut short; see what stands with: boneexp compare")
    if json:
        return output.as_json({"finished": said})
    return output.data(said)


def decisions_table(rows: Sequence[Row]) -> "Table":
    """Return the table of all decisions, the oldest first."""
    table = empty_table(*(column.replace("_", " ") for column in rows[0]))
    for row in rows:
        shown = {**row, "experiment": row["experiment"] or "the baseline"}
        shown |= {key: row[key] or "not reported" for key in ("unmet", "overridden")}
        table.add_row(*(escaped("" if value is None else str(value)) for value in shown.values()))
    return table
