"""`boneexp compare`: the comparison, its best, and the answers beside it."""

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
from boneexp.cli.unfinished_promotion import mention_cut_short
from boneexp.ledger.database import read_snapshot, reading

if TYPE_CHECKING:
    from boneexp.comparison.answers import Answer, Compared, Request


Prevalence = Annotated[
    float | None, typer.Option(help="With --calibration: malignant images per image in practice.")
]
Metric = Annotated[
    str, typer.Option(help="Compare one metric: log_loss, malignant_auroc, benign_sensitivity and so on.")
]
Intervals = Annotated[
    str, typer.Option(help="stored, or computed from the predictions: analytic, percentile or bca.")
]
Only = Annotated[str, typer.Option(help="With --paired, --subgroups or --calibration: only these, E1,E2.")]


def compare(
    *,
    paired: Annotated[bool, typer.Option("--paired", help="Test each pair on the same images.")] = False,
    subgroups: Annotated[
        bool, typer.Option("--subgroups", help="By centre, site, sex, age band ...")
    ] = False,
    seeds: Annotated[bool, typer.Option("--seeds", help="Spread over seeds and over experiments.")] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Calibration, net benefit, PPV and NPV.")
    ] = False,
    prevalence: Prevalence = None,
    metric: Metric = "",
    part: Part = "test",
    intervals: Intervals = "stored",
    only: Only = "",
    sql: Annotated[bool, typer.Option("--sql", help="Print the queries, not their results.")] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """Compare the experiments, name the best by the study's rule, and write comparison.csv and .json."""
    require_one_of("part", part, ("test", "val"))
    require_one_of("intervals", intervals, ("stored", "analytic", "percentile", "bca"))
    if prevalence is not None and not 0 < prevalence < 1:
        raise typer.BadParameter("--prevalence must lie between 0 and 1")
    from boneexp.comparison import answers
    from boneexp.ledger.quarantine import refuse

    kinds = {"paired": paired, "subgroups": subgroups, "seeds": seeds, "calibration": calibration}
    kind = next((kind for kind, wanted in kinds.items() if wanted), "figure" if metric else "")
    request = answers.Request(kind, metric, part, intervals, tuple(names(only)), prevalence)
    done = _asked(request, ledger, sql)
    if sql:
        return output.data("\n".join(f"{query.strip()};" for query in dict.fromkeys(done.queries)))
    if done.compared.answer is not None:
        _show_answer(done.compared.answer, json, csv, md)
    else:  # the files keep what is stored, and all of it
        as_stored = part == "test" and intervals == "stored" and not done.struck_out
        written = _written_or_why_not(done.compared, artifacts) if as_stored else ""
        _show_comparison(done.compared, written, json, csv, md)
    return refuse(reason for reasons in done.struck_out.values() for reason in reasons)


@dataclass(frozen=True)
class _Asked:
    """What was found in one snapshot of the ledger, by which queries, and what was left out as damaged."""

    compared: "Compared"
    struck_out: dict[str, tuple[str, ...]]
    queries: list[str]


def _asked(request: "Request", ledger: Path, sql: bool) -> _Asked:
    from boneexp.comparison import answers

    queries: list[str] = []
    with reading(ledger) as connection, read_snapshot(connection):
        struck_out = answers.quarantine(connection, request)
        connection.set_trace_callback(queries.append if sql else None)
        compared = answers.compare_as_asked(connection, request, struck_out)
        connection.set_trace_callback(None)
        mention_cut_short(connection)
    return _Asked(compared, struck_out, queries)


def _show_comparison(done: "Compared", written: str, json: bool, csv: bool, md: bool) -> None:
    from boneexp.cli.compared_tables import comparison_parts
    from boneexp.comparison import files as document

    found, verdict = done.comparison, done.verdict
    if json:
        return output.as_json(document.as_json(found, verdict))
    if csv or md:
        return output.data(document.as_csv(found) if csv else document.as_markdown(found))
    output.show(*comparison_parts(found, verdict))
    return output.talk(written) if written else None


def _written_or_why_not(done: "Compared", artifacts: Path) -> str:
    """Write the comparison's files; a place that cannot be written to is no reason to show nothing."""
    from boneexp.comparison.files import write_comparison

    try:
        return "Written: {} and {}".format(*write_comparison(done.comparison, done.verdict, artifacts))
    except OSError as error:
        return f"comparison.csv and .json could not be written under {artifacts}: {error.strerror}"


def _show_answer(answer: "Answer", json: bool, csv: bool, md: bool) -> None:
    if json:
        return output.as_json(answer.as_json())
    if csv or md:
        return machine_readable(answer.rows, json, csv)
    from boneexp.cli.compared_tables import answer_parts

    return output.show(*answer_parts(answer))
