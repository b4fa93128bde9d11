"""Some of the images: figures by centre, site, sex and so on, and how much is lost at other centres."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.comparison.figure_names import Figure
from boneexp.comparison.paired_tests import COMPARED, SEED
from boneexp.comparison.predictions import Evaluated, EvaluatedRun
from boneexp.errors import FigureUnknown
from boneexp.evaluation.differences import Model, unpaired_differences
from boneexp.evaluation.metrics import metric_columns
from boneexp.evaluation.subgroups import FEWEST, Subgroup, subgroups, support
from boneexp.ledger.queries.predictions import attribute_members
from boneexp.results import CLASS_NAMES, MetricValue

ATTRIBUTES = ("centre", "site", "region", "view", "subtype", "sex", "age band")


@dataclass(frozen=True)
class SubgroupFigures:
    """One experiment on the images of one value of an attribute; figures are None below the minimum."""

    split: str
    part: str
    attribute: str
    value: str
    experiment: str
    run: int
    images: int
    malignant_images: int
    figures: tuple[MetricValue, ...]  # in the order that was asked for
    few: tuple[str, ...]  # classes of fewer than 20 images, or patients; "all classes" first


@dataclass(frozen=True)
class GeneralisationGap:
    """A figure on the centre-holdout test part less that on the stratified one.

    None where it is undefined, or rests on too few images of either part.
    """

    experiment: str
    figure: str
    stratified: float | None
    center_holdout: float | None
    gap: float | None
    low: float | None
    high: float | None


def subgroup_figures(
    connection: sqlite3.Connection,
    evaluated: Evaluated,
    figures: Sequence[Figure] = COMPARED,
    *,
    part: str = "test",
) -> tuple[SubgroupFigures, ...]:
    """Return the figures of every experiment within every subgroup, by split, attribute and value.

    Of several seeds the run with the lowest validation loss is taken, the one that promotion would choose.

    Raises:
        FigureUnknown: a figure rests on thresholds or a temperature; those have no subgroups.
    """
    require_metrics(figures)
    found = [
        each
        for split in evaluated.splits
        for name in evaluated.experiments
        for run in evaluated.of(name, split)[:1]
        for each in _of_run(connection, run, figures, part, evaluated)
    ]
    places = {attribute: place for place, attribute in enumerate(ATTRIBUTES)}
    splits = {split: place for place, split in enumerate(evaluated.splits)}
    found.sort(key=lambda each: (splits[each.split], places.get(each.attribute, len(places)), each.value))
    return tuple(found)


def generalisation_gaps(
    evaluated: Evaluated, figures: Sequence[Figure] = COMPARED
) -> tuple[GeneralisationGap, ...]:
    """Return how much each experiment loses from the stratified to the centre-holdout test part.

    The two test sets are taken as independent; over several seeds figures are means.

    Raises:
        FigureUnknown: as `subgroup_figures`.
    """
    require_metrics(figures)
    return tuple(gap for name in evaluated.experiments for gap in _gaps(evaluated, name, figures))


def require_metrics(figures: Sequence[Figure]) -> None:
    """Raise FigureUnknown for a figure that cannot be computed from the predictions of one part alone."""
    for figure in figures:
        if (figure.metric, figure.class_name) not in metric_columns(CLASS_NAMES):
            raise FigureUnknown(f"{figure.name} rests on validation, too; take a figure such as accuracy")


def _of_run(
    connection: sqlite3.Connection,
    run: EvaluatedRun,
    figures: Sequence[Figure],
    part: str,
    evaluated: Evaluated,
) -> list[SubgroupFigures]:
    members: dict[tuple[str, str], set[str]] = {}
    for row in attribute_members(connection, run.run, part):
        members.setdefault((row["attribute"], row["value"]), set()).add(row["image_id"])
    keys = {f"{attribute}: {value}": (attribute, value) for attribute, value in members}
    drawn = subgroups(
        run.parts[part],
        {name: members[key] for name, key in keys.items()},
        seed=SEED,
        resamples=evaluated.resamples,
        confidence=evaluated.confidence,
    )
    return [_figures(run, part, keys[each.name], each, figures) for each in drawn]


def _figures(
    run: EvaluatedRun, part: str, key: tuple[str, str], subgroup: Subgroup, figures: Sequence[Figure]
) -> SubgroupFigures:
    values = {Figure(value.metric, value.class_name): value for value in subgroup.values}
    return SubgroupFigures(
        split=run.split,
        part=part,
        attribute=key[0],
        value=key[1],
        experiment=run.experiment,
        run=run.run,
        images=subgroup.images,
        malignant_images=subgroup.class_images[CLASS_NAMES.index("Malignant")],
        figures=tuple(
            values.get(figure, MetricValue(figure.metric, figure.class_name, None, None, None))
            for figure in figures
        ),
        few=subgroup.few,
    )


def _gaps(evaluated: Evaluated, name: str, figures: Sequence[Figure]) -> list[GeneralisationGap]:
    parts = [
        [run.parts["test"] for run in evaluated.of(name, split)] for split in ("stratified", "center_holdout")
    ]
    if not all(parts):
        return []
    near, far = (Model(tuple(of)) for of in parts)
    differences = unpaired_differences(near, far, evaluated.confidence)
    supports = [support(of[0]) for of in parts]
    found = []
    for figure in figures:
        column = figure.metric, figure.class_name
        if min(behind[column] for behind in supports) < FEWEST:
            found.append(GeneralisationGap(name, figure.name, None, None, None, None, None))
            continue
        place = near.columns.index(column)
        ends = (_known(near.values[place]), _known(far.values[place]))
        each = differences[column]
        found.append(GeneralisationGap(name, figure.name, *ends, each.value, each.low, each.high))
    return found


def _known(value: float) -> float | None:
    return None if value != value else float(value)  # nan is not itself
