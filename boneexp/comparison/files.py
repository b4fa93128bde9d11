"""artifacts/comparison.csv and comparison.json: one row per experiment, the numbers of the ledger's view."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from boneexp.comparison.ranking import MARKS, Comparison, Row
from boneexp.comparison.references import Target
from boneexp.comparison.verdict import Verdict
from boneexp.files.atomic import inside, write_text
from boneexp.results import SPLITS
from boneexp.text.escaping import csv_text
from boneexp.text.labels import RESEARCH_ONLY, split_of
from boneexp.text.markdown import escaped

COLUMNS = {
    "Experiment ID": "experiment_id",
    "Backbone": "backbone",
    "Image Size": "image_size",
    "Annotations": "annotations",
    "Stratified Accuracy": "stratified_accuracy",
    "Stratified Macro AUC": "stratified_macro_auroc",
    "Stratified Malignant Sensitivity": "stratified_malignant_sensitivity",
    "Center-Holdout Accuracy": "center_holdout_accuracy",
    "Center-Holdout Macro AUC": "center_holdout_macro_auroc",
    "Center-Holdout Malignant Sensitivity": "center_holdout_malignant_sensitivity",
}

QUARANTINED = "Quarantined"


def titled(row: Row) -> dict[str, Any]:
    """Return a comparison row under the column names of comparison.csv."""
    return {title: row[column] for title, column in COLUMNS.items()}


def as_json(comparison: Comparison, verdict: Verdict | None = None) -> dict[str, Any]:
    """Return all that `compare` says, ready for json.dumps."""
    return {
        "note": RESEARCH_ONLY,
        "best": comparison.best,
        "equal_to": list(comparison.equal_to),
        "why": comparison.why,
        "selection": list(comparison.order),
        "experiments": [_full(comparison, row) for row in comparison.rows],
        "baseline": {figure: each.value for figure, each in comparison.baseline.items()},
        "targets": {figure: each.value for figure, each in comparison.targets.items()},
        "comparable_to": {
            kind: sorted({each.comparable_to for each in references.values()})
            for kind, references in (("baseline", comparison.baseline), ("targets", comparison.targets))
        },
        "candidates": comparison.candidates,
        "warnings": list(comparison.warnings),
        **({"quarantined": _quarantined(comparison)} if comparison.struck_out else {}),
        "interval_methods": list(comparison.interval_methods),
        **({} if verdict is None else {"part": comparison.part, "verdict": verdict.as_json()}),
    }


def as_csv(comparison: Comparison) -> str:
    """Return comparison.csv's text."""
    rows = [titled(row) for row in comparison.rows]
    if not comparison.struck_out:
        return csv_text(list(COLUMNS), rows)
    why = _quarantined(comparison)
    told = [{**row, QUARANTINED: "; ".join(why.get(row["Experiment ID"], ()))} for row in rows]
    return csv_text([*COLUMNS, QUARANTINED], told)


def as_markdown(comparison: Comparison) -> str:
    """Return the comparison as a Markdown table, figures with their intervals."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in comparison.rows:
        cells = [escaped(shown(comparison, row, column)) for column in COLUMNS.values()]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *map(escaped, comparison.struck_out_notes())] if comparison.struck_out else []
    return "\n".join(lines) + "\n"


def shown(comparison: Comparison, row: Row, column: str, between: str = " ") -> str:
    """Return one cell as text: "0.812 (0.781-0.842)"; with † where the run differs from plan.

    Of several seeds it is the mean with their number and spread: "0.812 (3 seeds: 0.800-0.820)".
    """
    value = row[column]
    if row["experiment_id"] in comparison.struck_out and column != "experiment_id":
        return QUARANTINED.lower()
    if not isinstance(value, float):
        return "not reported" if value is None else str(value)
    experiment = row["experiment_id"]
    low, high = comparison.interval(experiment, column)
    interval = "" if low is None or high is None else f"{between}({low:.3f}-{high:.3f})"
    if spread := comparison.spread(experiment, column):
        seeds, lowest, highest = spread
        interval = f"{between}({seeds} seeds: {lowest:.3f}-{highest:.3f})"
    marks = comparison.marks(experiment, split_of(column)[0])
    return f"{value:.3f}{marks}{interval}"


def write_comparison(comparison: Comparison, verdict: Verdict | None, artifacts: Path) -> tuple[Path, Path]:
    """Write comparison.csv and comparison.json; return their paths."""
    texts = comparison_texts(comparison, verdict, artifacts)
    for path, text in texts.items():
        write_text(path, text)
    table, full = texts
    return table, full


def comparison_texts(comparison: Comparison, verdict: Verdict | None, artifacts: Path) -> dict[Path, str]:
    """Return the texts that comparison.csv and comparison.json are to have, by path."""
    full = json.dumps(as_json(comparison, verdict), indent=2, allow_nan=False) + "\n"
    return {
        inside(artifacts, "comparison.csv"): as_csv(comparison),
        inside(artifacts, "comparison.json"): full,
    }


def _quarantined(comparison: Comparison) -> dict[str, list[str]]:
    return {name: list(why) for name, why in comparison.struck_out.items()}


def _full(comparison: Comparison, row: Row) -> dict[str, Any]:
    experiment = row["experiment_id"]
    figures = [column for column in COLUMNS.values() if column.startswith(("stratified_", "center_holdout_"))]
    return {
        **titled(row),
        "intervals": {figure: list(comparison.interval(experiment, figure)) for figure in figures},
        "seeds": {
            figure: {"n": spread[0], "lowest": spread[1], "highest": spread[2]}
            for figure in figures
            if (spread := comparison.spread(experiment, figure)) is not None
        },
        "single_class": {
            split: count for split in SPLITS if (count := comparison.single_class(experiment, split))
        },
        "differs_from_plan": {
            split: [MARKS[mark] for mark in marks]
            for split in SPLITS
            if (marks := comparison.marks(experiment, split))
        },
        "delta_to_baseline": comparison.deltas(experiment),
        "difference_to_baseline": {
            figure: asdict(difference)
            for figure in comparison.baseline
            if (difference := comparison.difference(experiment, figure)) is not None
        },
        "targets": [_target(target) for target in comparison.targets_of(experiment)],
    }


def _target(target: Target) -> dict[str, Any]:
    about = {"figure": target.figure, "target": target.target, "value": target.value}
    held = {"comparable": target.comparable, "met": target.met, "met_by_interval": target.met_by_interval}
    return {**about, "low": target.low, **held}
