"""`boneexp doctor`: check that all files and rows match what was recorded."""

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
    require_confirmation,
)
from boneexp.cli.output import empty_table, escaped
from boneexp.errors import Damaged
from boneexp.files.folders import StudyPaths

if TYPE_CHECKING:
    from rich.table import Table

    from boneexp.doctor.findings import Finding


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what can be fixed, after listing the steps.")
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fix: list the steps without carrying them out.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check only presence and size of files, not checksums.")
    ] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    json: Json = False,
) -> None:
    """Check that ledger, history and files match what was recorded. Changes nothing without --fix."""
    if fix and not dry_run:
        require_confirmation(yes, "doctor --fix")
    from boneexp.cli.progress import counting
    from boneexp.doctor.examination import examine
    from boneexp.doctor.findings import Examination, is_damaged
    from boneexp.doctor.mending import after_fix

    with counting("checking the files") as progress:
        visit = Examination(StudyPaths(ledger, artifacts, grid, docs), time.time(), quick, progress)
        findings = examine(visit)
    steps: list[dict[str, object]] = []
    if fix:
        steps = _fixed(visit, findings, yes, dry_run)
        findings = findings if dry_run else after_fix(visit, findings, examine(visit))
    _show_findings(findings, steps, json)
    raise typer.Exit(7 if is_damaged(findings) else 0)


def _fixed(visit: Any, findings: Any, yes: bool, dry_run: bool) -> list[dict[str, object]]:
    """List the steps that would fix the findings, and carry them out once the user agrees."""
    from dataclasses import asdict

    from boneexp.doctor.mending import carry_out, steps

    todo = steps(visit, findings)
    output.talk(
        "\n".join(["Steps:", *(f"  {step.what}" for step in todo)])
        if todo
        else "--fix cannot fix anything here."
    )
    if dry_run or not todo:
        return [{"what": step.what, "outcome": "not taken", "succeeded": False} for step in todo]
    if not yes:
        typer.confirm("Carry out these steps?", abort=True, err=True)
    return [asdict(done) for done in carry_out(visit, todo, output.talk)]


def _show_findings(findings: Any, steps: list[dict[str, object]], json: bool) -> None:
    from dataclasses import asdict

    from boneexp.doctor.findings import is_damaged, is_unreadable

    sound = not is_damaged(findings)
    if json:
        listed = [asdict(finding) for finding in findings]
        return output.as_json({"sound": sound, "findings": listed, "steps": steps})
    if is_unreadable(findings):
        raise Damaged(f"{findings[0].what}; {findings[0].mend}")
    output.show(findings_table(findings))
    return output.talk("No damage found." if sound else "Damage found: see the red lines.")


VERDICT_COLOURS = {"ok": "green", "warning": "yellow", "damage": "bold red"}


def findings_table(findings: "Sequence[Finding]") -> "Table":
    """Return the table of findings."""
    table = empty_table("check", "verdict", "where", "what", "what to do")
    for each in findings:
        verdict = f"[{VERDICT_COLOURS[each.severity]}]{each.severity}[/]"
        table.add_row(each.check, verdict, *map(escaped, (each.where, each.what, each.mend)))
    return table
