"""Terminal tables of the comparison and of the further analyses."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from boneexp.cli import output
from boneexp.comparison.compared import Comparison, best_sentence
from boneexp.comparison.files import COLUMNS, cells
from boneexp.comparison.references import Target
from boneexp.comparison.requests import Answer, TableRow
from boneexp.comparison.verdict import Verdict
from boneexp.ledger.queries.comparison import ComparedExperiment
from boneexp.text.labels import RESEARCH_ONLY, label
from boneexp.text.numbers import listed, three_decimals

if TYPE_CHECKING:
    from rich.table import Table


NOT_COMPARABLE = "not comparable"


MOST_COMPARED = 50  # experiments in the table of compare


def comparison_parts(comparison: Comparison, verdict: Verdict | None = None) -> list[Any]:
    """Return the comparison: the table with intervals, baseline and targets, the best experiment, notes."""
    part = "validation" if comparison.part == "val" else "test"
    table = output.empty_table(*COLUMNS, title=f"Comparison on the {part} sets, with intervals")
    rows = _best_ranked(comparison)
    if len(rows) < len(comparison.rows):
        table.caption = f"and {len(comparison.rows) - len(rows):,} more; all of them with --csv or --json"
    for row in rows:
        first = row.experiment_id in (comparison.best, *comparison.equal_to)
        style = "bold green" if first else None
        style = "strike red" if row.experiment_id in comparison.struck_out else style
        table.add_row(*map(output.escaped, cells(comparison, row, "\n")), style=style)
    parts: list[Any] = [table]
    if (comparison.baseline or comparison.targets) and comparison.part == "test":
        parts.append(_baseline_table(comparison, rows))
    parts.append(f"[bold]{output.escaped(best_sentence(comparison))}[/]")
    parts += [output.escaped(sentence) for sentence in (verdict.sentences() if verdict else ())]
    parts += [f"[yellow]Note:[/] {output.escaped(warning)}" for warning in comparison.warnings]
    parts += [f"[red]{output.escaped(why)}[/]" for why in comparison.struck_out_notes()]
    parts += [output.escaped(sentence)] if (sentence := comparison.intervals_sentence()) else []
    parts.append(RESEARCH_ONLY)
    return parts


def answer_parts(answer: Answer) -> list[Any]:
    """Return the tables, each metric with its interval in one cell, and the notes."""
    parts: list[Any] = []
    for title, rows in answer.tables.items():
        joined = [_with_intervals(row) for row in rows]
        table = output.empty_table(*(joined[0] if joined else ["no results"]), title=output.escaped(title))
        for row in joined:
            table.add_row(*(output.escaped(cell) for cell in row.values()))
        parts.append(table)
    parts += [f"[yellow]Note:[/] {output.escaped(note)}" for note in answer.notes]
    return [*parts, RESEARCH_ONLY]


def _best_ranked(comparison: Comparison) -> list[ComparedExperiment]:
    """Return the MOST_COMPARED best-ranked rows, in their original order."""
    if len(comparison.rows) <= MOST_COMPARED:
        return list(comparison.rows)
    ranks = {row.experiment_id: rank for rank, row in enumerate(comparison.leaderboard)}
    best = sorted(comparison.rows, key=lambda row: ranks.get(row.experiment_id, len(ranks)))
    kept = {row.experiment_id for row in best[:MOST_COMPARED]}
    return [row for row in comparison.rows if row.experiment_id in kept]


def _baseline_table(comparison: Comparison, rows: Sequence[ComparedExperiment]) -> "Table":
    table = output.empty_table("Experiment", "Metric", "Value", "Baseline", "Delta", "Target", "Met")
    table.caption = "; ".join(_about_intervals(comparison, rows)) or None
    for row in rows:
        experiment = row.experiment_id
        deltas = comparison.deltas(experiment)
        targets = {target.figure: target for target in comparison.targets_of(experiment)}
        for figure in dict.fromkeys([*targets, *deltas]):
            target = targets.get(figure)
            table.add_row(
                output.escaped(experiment),
                label(figure),
                three_decimals(comparison.mean(experiment, figure).value),
                three_decimals(baseline.value) if (baseline := comparison.baseline.get(figure)) else "",
                _delta(comparison, experiment, figure),
                "" if target is None else f"> {target.target:.3f}",
                "" if target is None else _met(target),
            )
    return table


def _about_intervals(comparison: Comparison, rows: Sequence[ComparedExperiment]) -> Iterator[str]:
    """Yield what the intervals of the differences account for, and what they do not."""
    if comparison.candidates > 1:
        yield f"intervals adjusted for selecting the best of {comparison.candidates}: each bound 1 - 0.025/K"
    found = {
        figure: difference.with_reference
        for row in rows
        for figure in comparison.baseline
        if (difference := comparison.difference(row.experiment_id, figure)) is not None
    }
    fixed = [label(figure) for figure, with_reference in found.items() if not with_reference]
    if fixed and len(fixed) == len(found):
        yield "the baseline's own uncertainty is unknown, so it is treated as a fixed number"
    elif fixed:
        missing = listed(fixed)
        yield f"the baseline's own uncertainty is unknown for {missing}, so it is treated as a fixed number"


def _delta(comparison: Comparison, experiment: str, figure: str) -> str:
    """Return the difference from the baseline with its interval, or why there is none."""
    reference = comparison.baseline.get(figure)
    if reference is None:
        return ""
    if not comparison.is_held_against(experiment, reference):
        return NOT_COMPARABLE
    found, delta = comparison.difference(experiment, figure), comparison.deltas(experiment)[figure]
    if found is not None:
        return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    return "" if delta is None else f"{delta:+.3f}"


def _with_intervals(row: TableRow) -> dict[str, str]:
    """Return a row's cells as text; "low" and "high" go into the cell of their metric."""
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


def _met(target: Target) -> str:
    if not target.comparable:
        return NOT_COMPARABLE
    if target.met is None:
        return "unknown"
    if not target.met:
        return "[red]no[/]"
    return "[green]yes[/]" if target.met_by_interval else "[yellow]point estimate only[/]"
