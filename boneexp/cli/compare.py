"""`boneexp compare`: the comparison, the best experiment, and further analyses."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    LEDGER,
    ArtifactsPath,
    Csv,
    Json,
    LedgerPath,
    Markdown,
    Part,
    names,
    require_one_of,
)
from boneexp.cli.output import machine_readable
from boneexp.cli.unfinished_promotion import mention_interrupted_promotion
from boneexp.ledger.database import read_snapshot, reading

if TYPE_CHECKING:
    from boneexp.comparison.requests import Answer, Compared, Request


Prevalence = Annotated[
    float | None,
    typer.Option(help="With --calibration: prevalence of malignancy in practice, between 0 and 1."),
]
Metric = Annotated[
    str, typer.Option(help="Compare one metric, for example log_loss, malignant_auroc or benign_sensitivity.")
]
Intervals = Annotated[
    str, typer.Option(help="stored; or computed again from the predictions: analytic, percentile or bca.")
]
Only = Annotated[
    str,
    typer.Option(
        help="With --paired, --subgroups or --calibration: only these experiments, for example E1,E2."
    ),
]


def compare(
    *,
    paired: Annotated[
        bool, typer.Option("--paired", help="Paired tests of each two experiments on the same images.")
    ] = False,
    subgroups: Annotated[
        bool, typer.Option("--subgroups", help="Metrics by centre, site, sex, age band and so on.")
    ] = False,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Variation over seeds and between experiments.")
    ] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Calibration, net benefit, PPV and NPV.")
    ] = False,
    prevalence: Prevalence = None,
    metric: Metric = "",
    part: Part = "test",
    intervals: Intervals = "stored",
    only: Only = "",
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL queries instead of their results.")
    ] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """Compare all experiments, name the best one, and write comparison.csv and comparison.json."""
    require_one_of("part", part, ("test", "val"))
    require_one_of("intervals", intervals, ("stored", "analytic", "percentile", "bca"))
    if prevalence is not None and not 0 < prevalence < 1:
        raise typer.BadParameter("--prevalence must lie between 0 and 1")
    from boneexp.comparison.requests import Request
    from boneexp.ledger.quarantine import refuse

    kinds = {"paired": paired, "subgroups": subgroups, "seeds": seeds, "calibration": calibration}
    kind = next((kind for kind, requested in kinds.items() if requested), "figure" if metric else "")
    request = Request(kind, metric, part, intervals, tuple(names(only)), prevalence)
    found = _compared(request, ledger, sql)
    if sql:
        return output.data("\n".join(f"{query.strip()};" for query in dict.fromkeys(found.queries)))
    if found.compared.answer is not None:
        _show_answer(found.compared.answer, json, csv, md)
    else:  # the files hold the stored intervals of all experiments
        as_stored = part == "test" and intervals == "stored" and not found.struck_out
        message = _write_files(found.compared, artifacts) if as_stored else ""
        _show_comparison(found.compared, message, json, csv, md)
    return refuse(reason for reasons in found.struck_out.values() for reason in reasons)


@dataclass(frozen=True)
class _Found:
    """The comparison from one snapshot of the ledger, its queries, and the experiments struck out."""

    compared: "Compared"
    struck_out: dict[str, tuple[str, ...]]
    queries: list[str]


def _compared(request: "Request", ledger: Path, sql: bool) -> _Found:
    from boneexp.comparison.compare import compare_as_asked, quarantine

    queries: list[str] = []
    with reading(ledger) as connection, read_snapshot(connection):
        struck_out = quarantine(connection, request)
        connection.set_trace_callback(queries.append if sql else None)
        compared = compare_as_asked(connection, request, struck_out)
        connection.set_trace_callback(None)
        mention_interrupted_promotion(connection)
    return _Found(compared, struck_out, queries)


def _show_comparison(done: "Compared", message: str, json: bool, csv: bool, md: bool) -> None:
    from boneexp.cli.compared_tables import comparison_parts
    from boneexp.comparison import files as document

    found, verdict = done.comparison, done.verdict
    if json:
        return output.as_json(document.as_json(found, verdict))
    if csv or md:
        return output.data(document.as_csv(found) if csv else document.as_markdown(found))
    output.show(*comparison_parts(found, verdict))
    return output.talk(message) if message else None


def _write_files(done: "Compared", artifacts: Path) -> str:
    """Write the comparison's files and return a message; a write error does not end the command."""
    from boneexp.comparison.files import write_comparison

    try:
        return "Written: {} and {}".format(*write_comparison(done.comparison, done.verdict, artifacts))
    except OSError as error:
        return f"comparison.csv and .json could not be written to {artifacts}: {error.strerror}"


def _show_answer(answer: "Answer", json: bool, csv: bool, md: bool) -> None:
    if json:
        return output.as_json(answer.as_json())
    if csv or md:
        return machine_readable(answer.rows, json, csv)
    from boneexp.cli.compared_tables import answer_parts

    return output.show(*answer_parts(answer))
