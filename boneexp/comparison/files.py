"""artifacts/comparison.csv and comparison.json: one row per experiment, the numbers of the ledger's view."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from boneexp.comparison.compared import MARKS, Comparison
from boneexp.comparison.references import Target
from boneexp.comparison.requests import Cell, TableRow
from boneexp.comparison.verdict import Verdict
from boneexp.files.atomic import inside, write_text
from boneexp.ledger.queries.comparison import ComparedExperiment
from boneexp.results import SPLITS
from boneexp.text.escaping import csv_text
from boneexp.text.labels import RESEARCH_ONLY, UNKNOWN, split_of
from boneexp.text.markdown import escaped

METRIC_COLUMNS = {
    "stratified_accuracy": "Stratified Accuracy",
    "stratified_macro_auroc": "Stratified Macro AUC",
    "stratified_malignant_sensitivity": "Stratified Malignant Sensitivity",
    "center_holdout_accuracy": "Center-Holdout Accuracy",
    "center_holdout_macro_auroc": "Center-Holdout Macro AUC",
    "center_holdout_malignant_sensitivity": "Center-Holdout Malignant Sensitivity",
}
COLUMNS = ("Experiment ID", "Backbone", "Image Size", "Annotations", *METRIC_COLUMNS.values())
QUARANTINED = "Quarantined"


def titled(row: ComparedExperiment) -> dict[str, Cell]:
    """Return a comparison row under the column names of comparison.csv."""
    return {
        "Experiment ID": row.experiment_id,
        "Backbone": row.backbone,
        "Image Size": row.image_size,
        "Annotations": row.annotations,
        **{title: row.means.get(figure) for figure, title in METRIC_COLUMNS.items()},
    }


def as_json(comparison: Comparison, verdict: Verdict | None = None) -> dict[str, object]:
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
        "interval_methods": [asdict(each) for each in comparison.interval_methods],
        **({} if verdict is None else {"part": comparison.part, "verdict": verdict.as_json()}),
    }


def as_csv(comparison: Comparison) -> str:
    """Return comparison.csv's text."""
    if not comparison.struck_out:
        return csv_text(list(COLUMNS), [titled(row) for row in comparison.rows])
    rows: list[TableRow] = [
        {**titled(row), QUARANTINED: "; ".join(comparison.struck_out.get(row.experiment_id, ()))}
        for row in comparison.rows
    ]
    return csv_text([*COLUMNS, QUARANTINED], rows)


def as_markdown(comparison: Comparison) -> str:
    """Return the comparison as a Markdown table, metrics with their intervals."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in comparison.rows:
        lines.append(f"| {' | '.join(map(escaped, cells(comparison, row)))} |")
    lines += ["", *map(escaped, comparison.struck_out_notes())] if comparison.struck_out else []
    return "\n".join(lines) + "\n"


def cells(comparison: Comparison, row: ComparedExperiment, between: str = " ") -> list[str]:
    """Return the ten cells of a row as text; what is `between` a metric and its interval."""
    return list(_cells(comparison, row, between))


def _cells(comparison: Comparison, row: ComparedExperiment, between: str) -> Iterator[str]:
    yield row.experiment_id
    if row.experiment_id in comparison.struck_out:
        yield from [QUARANTINED.lower()] * (len(COLUMNS) - 1)
        return
    yield from (str(cell) for cell in (row.backbone, row.image_size, row.annotations))
    for figure in METRIC_COLUMNS:
        yield shown(comparison, row.experiment_id, figure, between)


@dataclass(frozen=True)
class ShownMetric:
    """A metric as text: the number with its marks, and in brackets what belongs beside it."""

    number: str
    beside: str  # the interval, or of several seeds their number and spread; "" for neither


def shown_metric(comparison: Comparison, experiment: str, figure: str) -> ShownMetric:
    """Return a metric as text, with † where the run differs from plan."""
    mean = comparison.mean(experiment, figure)
    if mean.value is None:
        return ShownMetric(UNKNOWN, "")
    beside = "" if mean.low is None or mean.high is None else f"({mean.low:.3f}-{mean.high:.3f})"
    if mean.has_spread:
        beside = f"({mean.seeds} seeds: {mean.lowest:.3f}-{mean.highest:.3f})"
    marks = comparison.marks(experiment, split_of(figure)[0])
    return ShownMetric(f"{mean.value:.3f}{marks}", beside)


def shown(comparison: Comparison, experiment: str, figure: str, between: str = " ") -> str:
    """Return a metric in one cell: "0.812 (0.781-0.842)", or "0.812 (3 seeds: 0.800-0.820)"."""
    found = shown_metric(comparison, experiment, figure)
    return f"{found.number}{between}{found.beside}" if found.beside else found.number


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


def _full(comparison: Comparison, row: ComparedExperiment) -> dict[str, object]:
    experiment = row.experiment_id
    means = {figure: comparison.mean(experiment, figure) for figure in METRIC_COLUMNS}
    return {
        **titled(row),
        "intervals": {figure: [mean.low, mean.high] for figure, mean in means.items()},
        "seeds": {
            figure: {"n": mean.seeds, "lowest": mean.lowest, "highest": mean.highest}
            for figure, mean in means.items()
            if mean.has_spread
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


def _target(target: Target) -> dict[str, object]:
    return {
        "figure": target.figure,
        "target": target.target,
        "value": target.value,
        "low": target.low,
        "comparable": target.comparable,
        "met": target.met,
        "met_by_interval": target.met_by_interval,
    }
