"""Facts -> the tables about the grid: its experiments, their results, the baseline and the targets."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from boneexp.comparison.files import COLUMNS, METRIC_COLUMNS, shown_metric
from boneexp.comparison.references import Target
from boneexp.ledger.queries.comparison import ComparedExperiment, SplitResult
from boneexp.ledger.queries.experiments import GridExperiment
from boneexp.reports.facts import Facts, Held
from boneexp.reports.numbers import Number, difference, estimate, part_of
from boneexp.reports.prose.sentences import selection_rule
from boneexp.reports.subject import setting_of
from boneexp.results import COMPARED
from boneexp.text.labels import data_label, label, split_label
from boneexp.text.markdown import Table, table
from boneexp.text.numbers import listed, moment

NOT_COMPARABLE = "not comparable"
IN_THE_GRID = {
    "model.backbone": "Backbone",
    "data.image_size": "Input, px",
    "training.batch_size": "Batch",
    "model.dropout": "Dropout",
    "model.attn_layer": "Attention",
    "training.annotations": "Lesion annotations in training",
}
RECIPE = {
    "model.pretrained": "Initial weights",
    "training.learning_rate": "Learning rate (AdamW)",
    "training.weight_decay": "Weight decay",
    "training.warmup_epochs": "Warm-up epochs (linear, then cosine decay to 0)",
    "training.epochs": "Maximum epochs",
    "training.patience": "Early stopping: epochs without a lower validation loss",
    "training.label_smoothing": "Label smoothing",
    "training.class_weights": "Cross-entropy weighted by inverse class frequency",
    "training.flip_probability": "Horizontal flip (probability)",
    "training.rotation_degrees": "Maximum rotation (degrees, either direction)",
    "training.dim_factor": "Brightness factor outside the lesion, in annotated copies",
    "data.decoding": "Decoding",
    "data.lesion": "Lesion",
    "data.accept": "Accepted images with damaged data",
    "data.clahe_clip_limit": "CLAHE clip limit",
    "data.clahe_tiles": "CLAHE tiles per side",
    "data.mean": "Channel means subtracted",
    "data.std": "Channel standard deviations divided by",
    "evaluation.resamples": "Bootstrap resamples and permutations",
    "evaluation.confidence": "Confidence level of the intervals",
}
DECODING = {
    "full": "at full size, then CLAHE",
    "scaled": "large JPEGs at 1/2, 1/4 or 1/8 of their size, then CLAHE",
}
LESIONS = {
    "outline": "outline; a bounding box only if it contains no outline",
    "box": "bounding box",
    "union": "union of all annotated shapes, bounding boxes included",
}
_NAMES_AND_PLACES = ("data.root", "data.name")


def grid_table(facts: Facts) -> Table:
    """Return the experiments with their design; any other setting that differs gets a column."""
    apart = [key for key in _keys(facts) if key not in IN_THE_GRID and len(_values(facts, key)) > 1]
    titles = [*IN_THE_GRID.values(), *(RECIPE.get(key, key) for key in apart)]
    header = ["Experiment", "Name", "Images", *titles, "Splits", "Seeds", "Finished runs"]
    return table(header, (_grid_row(row, [*IN_THE_GRID, *apart]) for row in facts.grid))


def recipe_table(facts: Facts) -> Table:
    """Return every setting that all experiments share, with its value."""
    shared = [key for key in _keys(facts) if key not in IN_THE_GRID and len(_values(facts, key)) == 1]
    first = facts.grid[0].settings if facts.grid else {}
    return table(["Setting", "Value"], ([RECIPE.get(key, key), setting_shown(first, key)] for key in shared))


def results_table(facts: Facts) -> Table:
    """Return the ten columns of the comparison, with intervals; and the images, where they differ."""
    images = {row.experiment: data_label(row.data_name, row.data_kind) for row in facts.grid}
    mixed = len(facts.comparison.datasets) > 1
    rows = (
        [
            *_results(facts, row),
            *([images.get(row.experiment_id)] if mixed else []),
        ]
        for row in facts.comparison.rows
    )
    return table([*COLUMNS, *(["Images"] if mixed else [])], rows)


def seeds_table(facts: Facts) -> Table:
    """Return the spread over seeds of every experiment that has several."""
    rows = (
        [each.experiment, split_label(each.split), each.finished_runs, *_spreads(each)]
        for each in facts.comparison.results.values()
        if each.finished_runs > 1
    )
    header = ["Experiment", "Split", "Seeds", "Accuracy", "Macro AUROC", "Malignant sensitivity"]
    return table(header, rows)


def against_baseline_table(facts: Facts) -> Table:
    """Return each metric's difference to the baseline; "not comparable" if that is of other images.

    The intervals of the differences are adjusted for selecting the best of the candidates.
    """
    header = ["Metric", "Baseline", _subject_name(facts), "Difference", "Whole interval above 0"]
    rows = (
        [
            label(held.figure),
            estimate(held.baseline),
            held.estimate.number,
            _difference(held) if facts.comparable else NOT_COMPARABLE,
            held.clears if facts.comparable else NOT_COMPARABLE,
        ]
        for held in facts.held
        if held.baseline is not None
    )
    return table(header, rows)


def targets_table(facts: Facts) -> Table:
    """Return which targets are met, by the point estimate and by the lower bound of its interval."""
    header = [
        "Metric",
        "Target",
        _subject_name(facts),
        "Met by point estimate",
        "Met by lower bound",
    ]
    rows = (
        [
            label(held.figure),
            f"above {held.target.target:.3f}",
            held.estimate.number,
            held.target.met if held.target.comparable else NOT_COMPARABLE,
            _met_by_interval(held.target),
        ]
        for held in facts.held
        if held.target is not None
    )
    return table(header, rows)


def decision_table(facts: Facts) -> Table:
    """Return who decided what, and why."""
    promotion = facts.promotion
    what = {"promote": "promote", "keep-baseline": "keep the baseline", "rollback": "roll back a promotion"}
    rows: list[list[object]] = [
        ["Decision", what.get(promotion.action, promotion.action) if promotion else "none taken"],
        ["Experiment", (promotion and promotion.experiment) or "none"],
        ["Decided by", promotion and promotion.decided_by],
        ["Decided on", moment(promotion.decided_at if promotion else None)],
        ["Reason", promotion and promotion.reason],
        ["Selection rule", selection_rule(facts)],
        ["Ranked first by the rule", _first_by_rule(facts)],
    ]
    return table(["Fact", "Value"], rows)


def _first_by_rule(facts: Facts) -> str:
    best, equals = facts.comparison.best, facts.comparison.equal_to
    return f"{best} (equal to {listed(equals)})" if equals else best or "none"


def attempts_table(facts: Facts) -> Table:
    """Return how the attempts of all runs ended."""
    header = ["Attempts", "Ended", "Kind of failure"]
    return table(header, ([row.attempts, row.outcome, row.failure_kind or "none"] for row in facts.attempts))


def setting_shown(settings: Mapping[str, object], dotted: str) -> object:
    """Return a setting in words; of a weights file only the name."""
    value = setting_of(settings, dotted)
    if dotted == "model.pretrained" and isinstance(value, bool):
        return "ImageNet (timm)" if value else "random"
    if dotted == "model.pretrained" and isinstance(value, str):
        return f"the file {PurePath(value).name}"
    if dotted == "data.decoding":
        return DECODING.get(str(value), value)
    if dotted == "data.lesion":
        return LESIONS.get(str(value), value)
    return "none" if value in ("", []) else value


def _results(facts: Facts, row: ComparedExperiment) -> Iterator[object]:
    """Yield the ten cells of the comparison; a metric with its interval or spread."""
    yield from (row.experiment_id, row.backbone, row.image_size, row.annotations)
    for figure in METRIC_COLUMNS:
        found = shown_metric(facts.comparison, row.experiment_id, figure)
        yield Number(found.number, row.means.get(figure), found.beside)


def _subject_name(facts: Facts) -> str:
    return facts.subject.experiment if facts.subject else "Value"


def _keys(facts: Facts) -> list[str]:
    """Return the settings of the grid by dotted name, the known ones first."""
    present = dict.fromkeys(
        f"{section}.{key}"
        for row in facts.grid
        for section, values in row.settings.items()
        if isinstance(values, Mapping)
        for key in values
    )
    ordered = [*(key for key in (*IN_THE_GRID, *RECIPE) if key in present), *present]
    return [key for key in dict.fromkeys(ordered) if key not in _NAMES_AND_PLACES]


def _values(facts: Facts, key: str) -> set[str]:
    return {repr(setting_of(row.settings, key)) for row in facts.grid}


def _grid_row(row: GridExperiment, keys: Sequence[str]) -> list[object]:
    settings = [setting_shown(row.settings, key) for key in keys]
    data = data_label(row.data_name, row.data_kind)
    finished = part_of(row.finished_runs, row.runs)
    return [row.experiment, row.name, data, *settings, row.splits, row.seeds, finished]


def _difference(held: Held) -> Number:
    found = held.difference
    return difference(held.delta) if found is None else difference(found.value, found.low, found.high)


def _met_by_interval(target: Target) -> bool | str | None:
    if not target.comparable:
        return NOT_COMPARABLE
    return None if target.low is None else target.met_by_interval


def _spreads(result: SplitResult) -> Iterator[Number]:
    for metric in COMPARED:
        mean = result.metrics[metric.key]
        if mean.has_spread:
            yield Number(f"{mean.value:.3f}", mean.value, f"(range {mean.lowest:.3f}-{mean.highest:.3f})")
        else:
            yield estimate(None)
