"""Facts -> the tables that only the page has."""

from collections.abc import Iterator, Sequence

from boneexp.comparison.references import Target
from boneexp.ledger.queries.runs import RunStatus
from boneexp.reports.facts import Facts
from boneexp.reports.numbers import Number, estimate, part_of, time_span
from boneexp.reports.page.cells import Cell
from boneexp.reports.page.facts import Mistakes, PageFacts
from boneexp.text.labels import data_label, label, split_label
from boneexp.text.markdown import Table, plain, table
from boneexp.text.numbers import format_estimate, moment, signed

MOST_ERRORS = 200  # rows for each run


def runs_overview_table(page: PageFacts) -> Table:
    """Return every run with its progress, results and failure."""
    header = ["Run", "Experiment", "Name", "Split", "Seed", "State", "Epochs", "Attempts", "Training time"]
    figures = ["Accuracy", "Macro AUROC", "Malignant sensitivity"]
    return table([*header, *figures, "Notes"], (_status_row(page, row) for row in page.runs))


def against_table(page: PageFacts) -> Table:
    """Return each experiment's differences to the baseline, and the targets that it meets."""
    comparison = page.facts.comparison
    figures = list(dict.fromkeys([*comparison.baseline, *comparison.targets]))
    header = ["Experiment", *(_held_title(page.facts, figure) for figure in figures)]
    return table(header, (_against_row(page.facts, row.experiment_id, figures) for row in comparison.rows))


def errors_table(mistakes: Mistakes) -> Table:
    """Return the misclassified test images, the most confident errors first; at most MOST_ERRORS."""
    header = ["Image", "Centre", "True class", "Predicted class", "Predicted probability"]
    rows = (
        [each.image_id, each.center, each.label, each.predicted, estimate(each.probability)]
        for each in mistakes.rows[:MOST_ERRORS]
    )
    return table(header, rows)


def datasets_table(page: PageFacts) -> Table:
    """Return the datasets behind the results, with their fingerprints."""
    rows = (
        [data_label(each.name, each.kind), each.images, _digest(each.fingerprint)]
        for each in page.facts.comparison.datasets
    )
    return table(["Dataset", "Images", "Fingerprint"], rows)


def origins_table(page: PageFacts) -> Table:
    """Return the hashes of each finished run of the current grid."""
    header = ["Run", "Experiment", "Split", "Seed", "Config hash", "Split digest"]
    header += ["SHA-256 of the checkpoint"]
    rows = (
        [
            row.run,
            row.experiment,
            split_label(row.split),
            row.seed,
            *map(_digest, (row.config_hash, row.split_digest, row.checkpoint_sha256)),
        ]
        for row in page.origins
    )
    return table(header, rows)


def machines_table(page: PageFacts) -> Table:
    """Return devices and software, and the finished runs of the current grid that used them."""
    made: dict[tuple[str, str], list[str]] = {}
    for row in page.origins:
        versions = row.versions
        software = plain([f"{name} {versions[name]}" for name in sorted(versions)])
        made.setdefault((plain(versions.get("gpu") or row.device), software), []).append(str(row.run))
    return table(["Device", "Software", "Runs"], ([*what, runs] for what, runs in made.items()))


def uses_table(page: PageFacts) -> Table:
    """Return how often each test set was evaluated and used for a decision."""
    header = ["Split", "Finished runs", "Rejected late results", "Experiments", "Seeds", "Decisions"]
    rows = (
        [
            split_label(use.split),
            use.finished_runs,
            use.late_results,
            use.experiments,
            use.seeds,
            use.decisions,
        ]
        for use in page.facts.verdict.uses
    )
    return table(header, rows)


def decisions_table(page: PageFacts) -> Table:
    """Return every decision, oldest first."""
    header = ["Decision", "Action", "Experiment", "Date", "By", "Reason", "Reverts"]
    rows = (
        [
            row.id,
            row.action,
            row.experiment or "the baseline",
            moment(row.decided_at),
            row.decided_by,
            row.reason,
            row.undoes_id or "none",
        ]
        for row in page.decisions
    )
    return table(header, rows)


def _digest(text: str | None) -> Cell | None:
    return Cell(text, is_digest=True) if text else None


def _status_row(page: PageFacts, row: RunStatus) -> Iterator[object]:
    run_id, done = row.run, row.epochs_done or 0
    yield Cell(str(run_id), run_id, anchor=f"run-{run_id}" if run_id in page.charted else "")
    yield from (row.experiment, row.name, split_label(row.split), row.seed)
    yield Cell(row.state, state=row.state)
    yield part_of(done, row.epochs_planned)
    yield row.attempts
    yield time_span(row.training_s)
    yield from map(estimate, (row.accuracy, row.macro_auroc, row.malignant_sensitivity))
    yield _notes(row)


def _notes(row: RunStatus) -> str:
    notes = []
    if row.state == "failed":
        notes.append(f"{row.failure_kind}: {row.failure}")
    if row.state == "running" and row.stop_requested:
        notes.append("cancelled, stopping")
    if row.lease_expired:
        notes.append("its worker is gone; resume with: boneexp run --all")
    if row.micro_batch < row.batch_size:
        notes.append(f"micro-batch {row.micro_batch} of {row.batch_size} (out of memory)")
    if not row.is_current:
        notes.append("earlier settings")
    return "; ".join(notes) or "none"


def _held_title(facts: Facts, figure: str) -> str:
    baseline, target = facts.comparison.baseline.get(figure), facts.comparison.targets.get(figure)
    known = [
        *([] if baseline is None else [f"baseline {format_estimate(baseline.value)}"]),
        *([] if target is None else [f"target above {format_estimate(target.value)}"]),
    ]
    return f"{label(figure)} ({', '.join(known)})"


def _against_row(facts: Facts, experiment: str, figures: Sequence[str]) -> Iterator[object]:
    deltas = facts.comparison.deltas(experiment)
    targets = {target.figure: target for target in facts.comparison.targets_of(experiment)}
    yield experiment
    for figure in figures:
        target = targets.get(figure)
        met = "" if target is None or target.value is None else _met(target)
        delta = deltas.get(figure)
        if delta is None:
            yield met
        else:
            yield Number(signed(delta), delta, f"({met})" if met else "")


def _met(target: Target) -> str:
    if not target.comparable:
        return "target not comparable"
    if not target.met:
        return "target not met"
    return "target met" if target.met_by_interval else "target met by the point estimate only"
