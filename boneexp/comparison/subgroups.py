"""Some of the images: metrics by centre, site, sex and so on, and how much is lost at other centres."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.comparison.paired_tests import SEED
from boneexp.comparison.predictions import Evaluated, EvaluatedRun
from boneexp.errors import MetricUnknown
from boneexp.evaluation.differences import Model, unpaired_differences
from boneexp.evaluation.metrics import metric_columns
from boneexp.evaluation.subgroups import FEWEST, Subgroup, subgroups, support
from boneexp.ledger.queries.predictions import AttributeMember, attribute_members
from boneexp.results import CLASS_NAMES, COMPARED, Metric, MetricValue

ATTRIBUTES = ("centre", "site", "region", "view", "subtype", "sex", "age band")


@dataclass(frozen=True)
class SubgroupMetrics:
    """One experiment on the images of one value of an attribute; metrics are None below the minimum."""

    split: str
    part: str
    attribute: str
    value: str
    experiment: str
    run: int
    images: int
    malignant_images: int
    metrics: tuple[MetricValue, ...]  # in the order of the request
    few: tuple[str, ...]  # classes of fewer than 20 images, or patients; "all classes" first


@dataclass(frozen=True)
class GeneralisationGap:
    """A metric on the centre-holdout test part less that on the stratified one.

    None where it is undefined, or rests on too few images of either part.
    """

    experiment: str
    figure: str
    stratified: float | None
    center_holdout: float | None
    gap: float | None
    low: float | None
    high: float | None


def subgroup_metrics(
    connection: sqlite3.Connection,
    evaluated: Evaluated,
    metrics: Sequence[Metric] = COMPARED,
    *,
    part: str = "test",
) -> tuple[SubgroupMetrics, ...]:
    """Return the metrics of every experiment within every subgroup, by split, attribute and value.

    Of several seeds the run with the lowest validation loss is taken, the one that promotion would choose.

    Raises:
        MetricUnknown: a metric rests on thresholds or a temperature; those have no subgroups.
    """
    require_metrics(metrics)
    found = [
        each
        for split in evaluated.splits
        for name in evaluated.experiments
        for run in evaluated.of(name, split)[:1]
        for each in _of_run(connection, run, metrics, part, evaluated)
    ]
    places = {attribute: place for place, attribute in enumerate(ATTRIBUTES)}
    splits = {split: place for place, split in enumerate(evaluated.splits)}
    found.sort(key=lambda each: (splits[each.split], places.get(each.attribute, len(places)), each.value))
    return tuple(found)


def generalisation_gaps(
    evaluated: Evaluated, metrics: Sequence[Metric] = COMPARED
) -> tuple[GeneralisationGap, ...]:
    """Return how much each experiment loses from the stratified to the centre-holdout test part.

    The two test sets are taken as independent; over several seeds metrics are means.

    Raises:
        MetricUnknown: as `subgroup_metrics`.
    """
    require_metrics(metrics)
    return tuple(gap for name in evaluated.experiments for gap in _gaps(evaluated, name, metrics))


def require_metrics(metrics: Sequence[Metric]) -> None:
    """Raise MetricUnknown for a metric that cannot be computed from the predictions of one part alone."""
    for metric in metrics:
        if (metric.name, metric.class_name) not in metric_columns(CLASS_NAMES):
            raise MetricUnknown(f"{metric.key} rests on validation, too; take a metric such as accuracy")


def _of_run(
    connection: sqlite3.Connection,
    run: EvaluatedRun,
    metrics: Sequence[Metric],
    part: str,
    evaluated: Evaluated,
) -> list[SubgroupMetrics]:
    members: dict[str, list[AttributeMember]] = {}
    for row in attribute_members(connection, run.run, part):
        members.setdefault(f"{row.attribute}: {row.value}", []).append(row)
    drawn = subgroups(
        run.parts[part],
        {name: {row.image_id for row in rows} for name, rows in members.items()},
        seed=SEED,
        resamples=evaluated.resamples,
        confidence=evaluated.confidence,
    )
    return [_subgroup_metrics(run, part, members[each.name][0], each, metrics) for each in drawn]


def _subgroup_metrics(
    run: EvaluatedRun, part: str, member: AttributeMember, subgroup: Subgroup, metrics: Sequence[Metric]
) -> SubgroupMetrics:
    values = {Metric(value.metric, value.class_name): value for value in subgroup.values}
    return SubgroupMetrics(
        split=run.split,
        part=part,
        attribute=member.attribute,
        value=member.value,
        experiment=run.experiment,
        run=run.run,
        images=subgroup.images,
        malignant_images=subgroup.class_images[CLASS_NAMES.index("Malignant")],
        metrics=tuple(
            values.get(metric, MetricValue(metric.name, metric.class_name, None, None, None))
            for metric in metrics
        ),
        few=subgroup.few,
    )


def _gaps(evaluated: Evaluated, name: str, metrics: Sequence[Metric]) -> list[GeneralisationGap]:
    parts = [
        [run.parts["test"] for run in evaluated.of(name, split)] for split in ("stratified", "center_holdout")
    ]
    if not all(parts):
        return []
    near, far = (Model(tuple(of)) for of in parts)
    differences = unpaired_differences(near, far, evaluated.confidence)
    supports = [support(of[0]) for of in parts]
    found = []
    for metric in metrics:
        column = metric.name, metric.class_name
        if min(images[column] for images in supports) < FEWEST:
            found.append(GeneralisationGap(name, metric.key, None, None, None, None, None))
            continue
        position, each = near.columns.index(column), differences[column]
        gap = GeneralisationGap(
            experiment=name,
            figure=metric.key,
            stratified=_known(near.values[position]),
            center_holdout=_known(far.values[position]),
            gap=each.value,
            low=each.low,
            high=each.high,
        )
        found.append(gap)
    return found


def _known(value: float) -> float | None:
    return None if value != value else float(value)  # nan is not itself
