"""`boneexp decisions`: the history of promotions, rollbacks and kept baselines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, LEDGER, ArtifactsPath, Csv, Json, LedgerPath, Markdown
from boneexp.cli.output import empty_table, escaped, machine_readable
from boneexp.cli.unfinished_promotion import mention_interrupted_promotion
from boneexp.errors import NothingToDo
from boneexp.ledger.database import reading
from boneexp.ledger.statements import record

if TYPE_CHECKING:
    from rich.table import Table

    from boneexp.ledger.queries.promotions import DecisionRow


def decisions(
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """List every decision: when, what, by whom, why, and the conditions not met."""
    from boneexp.ledger.queries.promotions import decision_rows

    with reading(ledger) as connection:
        rows = decision_rows(connection)
        mention_interrupted_promotion(connection)
    if not rows:
        raise NothingToDo("no decision has been made yet; see the candidates with: boneexp compare")
    if json or csv or md:
        return machine_readable([record(row) for row in rows], json, csv)
    return output.show(decisions_table(rows))


def decisions_table(rows: "Sequence[DecisionRow]") -> "Table":
    """Return the table of all decisions, oldest first."""
    table = empty_table(*(name.replace("_", " ") for name in record(rows[0])))
    for row in rows:
        shown = {**record(row), "experiment": row.experiment or "the baseline"}
        shown |= {key: shown[key] or "not reported" for key in ("unmet", "overridden")}
        table.add_row(*(escaped("" if value is None else str(value)) for value in shown.values()))
    return table
