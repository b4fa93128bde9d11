"""The comparison and its answers -> rich tables, and what is said beside them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from boneexp import screen
from boneexp.analysis.choice import Verdict
from boneexp.comparing import Answer
from boneexp.documents.comparison import COLUMNS, shown
from boneexp.selection import Comparison, Row, label

if TYPE_CHECKING:
    from rich.table import Table

MOST_COMPARED = 50  # experiments in the table of compare


def comparison_parts(comparison: Comparison, verdict: Verdict | None = None) -> list[Any]:
    """Return the comparison: table with intervals, deltas and targets, the winner and why, warnings."""
    parts_shown = "validation" if comparison.part == "val" else "test"
    table = screen.empty_table(*COLUMNS, title=f"Comparison on the {parts_shown} parts, with their intervals")
    rows = _best_ranked(comparison)
    if len(rows) < len(comparison.rows):
        table.caption = f"and {len(comparison.rows) - len(rows):,} more; all of them with --csv or --json"
    for row in rows:
        style = "bold green" if row["experiment_id"] == comparison.best else None
        table.add_row(
            *(screen.escaped(shown(comparison, row, column, "\n")) for column in COLUMNS.values()),
            style=style,
        )
    parts: list[Any] = [table]
    if (comparison.baseline or comparison.targets) and comparison.part == "test":
        parts.append(_baseline_table(comparison, rows))
    best = f"Best: [bold green]{screen.escaped(comparison.best)}[/]" if comparison.best else "Best: none"
    parts.append(f"{best} ({screen.escaped(comparison.why)})")
    parts += [screen.escaped(sentence) for sentence in (verdict.sentences() if verdict else ())]
    parts += [f"[yellow]Note:[/] {screen.escaped(warning)}" for warning in comparison.warnings]
    parts.append("Research use only, not for clinical use.")
    return parts


def answer_parts(answer: Answer) -> list[Any]:
    """Return tables of plain rows, figure and interval in one cell, and what is said beside them."""
    parts: list[Any] = []
    for title, rows in answer.tables.items():
        joined = [_with_intervals(row) for row in rows]
        table = screen.empty_table(
            *(joined[0] if joined else ["nothing to show"]), title=screen.escaped(title)
        )
        for row in joined:
            table.add_row(*(screen.escaped(cell) for cell in row.values()))
        parts.append(table)
    parts += [f"[yellow]Note:[/] {screen.escaped(note)}" for note in answer.notes]
    return [*parts, "Research use only, not for clinical use."]


def _best_ranked(comparison: Comparison) -> list[Row]:
    """Return at most MOST_COMPARED rows in their order, the best ranked of them."""
    if len(comparison.rows) <= MOST_COMPARED:
        return list(comparison.rows)
    places = {row["experiment_id"]: place for place, row in enumerate(comparison.leaderboard)}
    best = sorted(comparison.rows, key=lambda row: places.get(row["experiment_id"], len(places)))
    wanted = {row["experiment_id"] for row in best[:MOST_COMPARED]}
    return [row for row in comparison.rows if row["experiment_id"] in wanted]


def _baseline_table(comparison: Comparison, rows: Sequence[Row]) -> "Table":
    others = any(dataset["kind"] != "BTXRD" for dataset in comparison.datasets)
    title = (
        "Not comparable: baseline and targets are for BTXRD, and these are other images" if others else None
    )
    table = screen.empty_table(
        "Experiment", "Figure", "Value", "Baseline", "Delta", "Target", "Met", title=title
    )
    for row in rows:
        experiment = row["experiment_id"]
        deltas = comparison.deltas(experiment)
        targets = {target.figure: target for target in comparison.targets_of(experiment)}
        for figure in dict.fromkeys([*targets, *deltas]):
            delta, target = deltas.get(figure), targets.get(figure)
            table.add_row(
                screen.escaped(experiment),
                label(figure),
                screen.share(comparison.value(experiment, figure)),
                screen.share(comparison.baseline.get(figure)),
                "" if delta is None else f"{delta:+.3f}",
                "" if target is None else f"> {target.target:.3f}",
                "" if target is None else _met(target),
            )
    return table


def _with_intervals(row: Row) -> dict[str, str]:
    """Return a row's cells as text; "low" and "high" go into the cell of the figure that they belong to."""
    ends = {
        key: key.removesuffix(end).rstrip("_") for end in ("low", "high") for key in row if key.endswith(end)
    }
    cells = {}
    for key, value in row.items():
        if key in ends and (ends[key] in row or not ends[key]):
            continue
        cells[key] = _cell(value)
    for key, figure in ends.items():
        if key.endswith("low") and row[key] is not None:
            owner = figure or next(name for name in ("difference", "gap", "value") if name in row)
            if owner in cells:
                high = row[f"{key.removesuffix('low')}high"]
                cells[owner] = f"{cells[owner]} ({row[key]:.3f} to {high:.3f})"
    return cells


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"
    return "not reported" if value is None else str(value)


def _met(target: Any) -> str:
    if target.met is None:
        return "not known"
    if not target.met:
        return "[red]no[/]"
    return "[green]yes[/]" if target.met_by_interval else "[yellow]point estimate only[/]"
