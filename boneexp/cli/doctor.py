"""`boneexp doctor`: check that everything is there and as it was recorded."""

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
    Device,
    DocsPath,
    GridPath,
    Json,
    Kernels,
    LedgerPath,
    Yes,
    require_agreement,
)
from boneexp.cli.output import empty_table, escaped
from boneexp.errors import Damaged

if TYPE_CHECKING:
    from rich.table import Table

    from boneexp.doctor.findings import Finding


def doctor(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended, each step named.")] = False,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fix: name the steps, and take none.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Of files, check presence and size alone.")] = False,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", metavar="FILE", help="Copy the ledger to this new file instead."),
    ] = None,
    verify_resume: Annotated[
        bool,
        typer.Option(
            "--verify-resume", help="Train a small network twice instead, once killed, and compare the two."
        ),
    ] = False,
    device: Device = "auto",
    kernels: Kernels = "deterministic",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    json: Json = False,
) -> None:
    """Check that ledger, history and files are as they were recorded; changes nothing without --fix."""
    if fix and not dry_run:
        require_agreement(yes, "doctor --fix")
    if backup is not None:
        return _backed_up(ledger, backup, json)
    if verify_resume:
        return _resume_verified(device, kernels, json)
    from boneexp.cli.progress import counting
    from boneexp.doctor.examination import examine
    from boneexp.doctor.findings import Examination, is_damaged
    from boneexp.doctor.mending import after_fix
    from boneexp.files.folders import Place

    with counting("checking the files") as progress:
        visit = Examination(Place(ledger, artifacts, grid, docs), time.time(), quick, progress)
        findings = examine(visit)
    steps: list[dict[str, Any]] = []
    if fix:
        steps = _mended(visit, findings, yes, dry_run)
        findings = findings if dry_run else after_fix(visit, findings, examine(visit))
    _say_findings(findings, steps, json)
    raise typer.Exit(7 if is_damaged(findings) else 0)


def _backed_up(ledger: Path, backup: Path, json: bool) -> None:
    from boneexp.ledger.backup import back_up
    from boneexp.ledger.database import examining

    with examining(ledger) as connection:
        sha256 = back_up(connection, backup)
    if json:
        return output.as_json({"backup": str(backup), "sha256": sha256})
    return output.data(f"{sha256}  {backup}")


def _resume_verified(device: str, kernels: Kernels, json: bool) -> None:
    from boneexp.cli.progress import run_progress
    from boneexp.results import Computing
    from boneexp.runs.resume_check import resume_check

    with run_progress() as announce:
        found = resume_check(Computing(device, kernels), announce)
    if json:
        output.as_json(found.as_json())
    else:
        output.data(found.sentence())
    raise typer.Exit(0 if found.passed else 7)


def _mended(visit: Any, findings: Any, yes: bool, dry_run: bool) -> list[dict[str, Any]]:
    """Name the steps that would mend what was found, and take them once the person has said yes."""
    from dataclasses import asdict

    from boneexp.doctor.mending import carry_out, steps

    todo = steps(visit, findings)
    output.talk(
        "\n".join(["Steps:", *(f"  {step.what}" for step in todo)])
        if todo
        else "There is nothing that --fix can mend."
    )
    if dry_run or not todo:
        return [{"what": step.what, "outcome": "not taken", "succeeded": False} for step in todo]
    if not yes:
        typer.confirm("Take them?", abort=True, err=True)
    return [asdict(done) for done in carry_out(visit, todo, output.talk)]


def _say_findings(findings: Any, steps: list[dict[str, Any]], json: bool) -> None:
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
