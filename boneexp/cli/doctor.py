"""`boneexp doctor`: check that everything is there and as it was recorded."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

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
    Yes,
    require_agreement,
)
from boneexp.cli.output import empty_table, escaped
from boneexp.errors import Damaged
from boneexp.files.folders import Place

if TYPE_CHECKING:
    from rich.table import Table

    from boneexp.doctor.findings import Finding


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what can be fixed; each step is named first.")
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fix: name the steps without taking them.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check only presence and size of files, not digests.")
    ] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    json: Json = False,
) -> None:
    """Check that ledger, history and files are as recorded; changes nothing without --fix."""
    if fix and not dry_run:
        require_agreement(yes, "doctor --fix")
    from boneexp.cli.progress import counting
    from boneexp.doctor.examination import examine
    from boneexp.doctor.findings import Examination, is_damaged
    from boneexp.doctor.mending import after_fix

    with counting("checking the files") as progress:
        visit = Examination(Place(ledger, artifacts, grid, docs), time.time(), quick, progress)
        findings = examine(visit)
    steps: list[dict[str, Any]] = []
    if fix:
        steps = _fixed(visit, findings, yes, dry_run)
        findings = findings if dry_run else after_fix(visit, findings, examine(visit))
    _show_findings(findings, steps, json)
    raise typer.Exit(7 if is_damaged(findings) else 0)


def _fixed(visit: Any, findings: Any, yes: bool, dry_run: bool) -> list[dict[str, Any]]:
    """Name the steps that would fix the findings, and take them once the user agrees."""
    from dataclasses import asdict

    from boneexp.doctor.mending import carry_out, steps

    todo = steps(visit, findings)
    output.talk(
        "\n".join(["Steps:", *(f"  {step.what}" for step in todo)])
        if todo
        else "There is nothing that --fix can fix."
    )
    if dry_run or not todo:
        return [{"what": step.what, "outcome": "not taken", "succeeded": False} for step in todo]
    if not yes:
        typer.confirm("Take them?", abort=True, err=True)
    return [asdict(done) for done in carry_out(visit, todo, output.talk)]


def _show_findings(findings: Any, steps: list[dict[str, Any]], json: bool) -> None:
    from dataclasses import asdict

    from boneexp.doctor.findings import is_damaged, is_unreadable

    sound = not is_damaged(findings)
    if json:
        listed = [asdict(finding) for finding in findings]
        return output.as_json({"sound": sound, "findings": listed, "steps": steps})
    if is_unreadable(findings):
        raise Damaged(f"{findings[0].what}; {findings[0].mend}")
    output.show(findings_table(findings))
    return output.talk("No damage found." if sound else "Damage was found: see the lines in red.")


VERDICT_COLOURS = {"ok": "green", "warning": "yellow", "damage": "bold red"}


def findings_table(findings: "Sequence[Finding]") -> "Table":
    """Return the table of what `doctor` found."""
    table = empty_table("check", "verdict", "where", "what", "what to do")
    for each in findings:
        verdict = f"[{VERDICT_COLOURS[each.severity]}]{each.severity}[/]"
        table.add_row(each.check, verdict, *map(escaped, (each.where, each.what, each.mend)))
    return table
