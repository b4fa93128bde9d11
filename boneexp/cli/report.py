"""`boneexp report`: write the documents and the page, or check them."""

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
from boneexp.cli.unfinished_promotion import finish_if_cut_short, mention_cut_short
from boneexp.files.folders import Place
from boneexp.ledger.database import reading


def report(
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; fail where a file does not say what the ledger says."),
    ] = False,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Write model card, report, comparison and artifacts/report.html from the ledger; your own words stay."""
    from boneexp.reports import write

    place = Place(ledger, artifacts, GRID, docs)
    if check:
        with reading(ledger) as connection:
            mention_cut_short(connection)
        return _say_differences(write.check_report(place), json)
    finish_if_cut_short(Place(ledger, artifacts, GRID, docs), required=True)
    written = write.write_report(place, time.time(), with_page=True)
    if json:
        return output.as_json({"written": [str(path) for path in written]})
    return output.data("\n".join(map(str, written)))


def _say_differences(found: Any, json: bool) -> None:
    if json:
        output.as_json({"agrees": not found, "differences": [each.as_json() for each in found]})
    elif found:
        output.data("\n".join(each.shown() for each in found))
    output.talk(
        "Files and ledger differ; write them anew with: boneexp report"
        if found
        else "Every document says what the ledger says."
    )
    raise typer.Exit(7 if found else 0)
