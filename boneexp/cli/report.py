"""`boneexp report`: write or check the documents and the HTML report."""

import time
from typing import Annotated, Any

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    DocsPath,
    Json,
    LedgerPath,
)
from boneexp.cli.unfinished_promotion import finish_interrupted_promotion, mention_interrupted_promotion
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import reading


def report(
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit with 7 if a file does not match the ledger."),
    ] = False,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Write model card, report, comparison and artifacts/report.html from the ledger; keeps your own text."""
    from boneexp.reports import write

    paths = StudyPaths(ledger, artifacts, GRID, docs)
    if check:
        with reading(ledger) as connection:
            mention_interrupted_promotion(connection)
        return _show_differences(write.check_report(paths), json)
    finish_interrupted_promotion(StudyPaths(ledger, artifacts, GRID, docs), required=True)
    written = write.write_report(paths, time.time(), with_page=True)
    if json:
        return output.as_json({"written": [str(path) for path in written]})
    return output.data("\n".join(map(str, written)))


def _show_differences(found: Any, json: bool) -> None:
    if json:
        output.as_json({"agrees": not found, "differences": [each.as_json() for each in found]})
    elif found:
        output.data("\n".join(each.shown() for each in found))
    output.talk(
        "Some files do not match the ledger; write them again with: boneexp report"
        if found
        else "All documents match the ledger."
    )
    raise typer.Exit(7 if found else 0)
