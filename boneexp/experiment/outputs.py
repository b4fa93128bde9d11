"""What a finished run leaves in its folder: tables, figures and the resolved configuration."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from boneexp.evaluation.confusions import classification_report, confusion_matrix
from boneexp.figures import plots
from boneexp.files.atomic import write_text
from boneexp.files.folders import RunFolder
from boneexp.results import CLASS_NAMES, EpochRecord, MetricValue, Prediction, WrittenFile
from boneexp.study.settings import STEERS_ONLY, RunSpec
from boneexp.text.escaping import csv_text
from boneexp.text.labels import RESEARCH_ONLY

Json = dict[str, object]  # ready for json.dumps
CHECKPOINTS = {"best checkpoint": "best.pt", "last checkpoint": "last.pt"}
MADE = {  # from facts that are also rows of the ledger
    "resolved config": "config.json",
    "metrics summary": "metrics_summary.json",
    "classification report": "classification_report.json",
    "predictions": "predictions.csv",
    "history": "history.csv",
    "ROC curves": "roc_curves.png",
    "PR curves": "pr_curves.png",
    "confusion matrix": "confusion_matrix.png",
    "loss curves": "loss_curves.png",
}


@dataclass(frozen=True)
class Evidence:
    """The results of a finished run: metrics by part, predictions, and its epochs, counted from 0."""

    metrics: dict[str, tuple[MetricValue, ...]]
    predictions: tuple[Prediction, ...]
    history: tuple[EpochRecord, ...]
    best_epoch: int


def write_config(folder: RunFolder, spec: RunSpec) -> None:
    """Write the resolved configuration with its hash, without settings that do not change the result."""
    decides = spec.model_dump(mode="json", exclude={"settings": STEERS_ONLY})
    content = {"config_hash": spec.config_hash, **decides}
    write_text(folder.file("config.json"), json.dumps(content, indent=2) + "\n")


def write_run_files(folder: RunFolder, spec: RunSpec, evidence: Evidence) -> tuple[WrittenFile, ...]:
    """Write every table and figure of a finished run; return all files of the run with their digests."""
    write_tables_and_figures(folder, spec, evidence)
    kinds = {**CHECKPOINTS, **MADE}
    return tuple(folder.written(kind, folder.file(name)) for kind, name in kinds.items())


def write_tables_and_figures(folder: RunFolder, spec: RunSpec, evidence: Evidence) -> None:
    """Write all files of MADE but the resolved config."""
    labels, probabilities = _arrays(evidence, "test")
    write_text(folder.file("metrics_summary.json"), _json(_summary(spec, evidence)))
    report = classification_report(labels, probabilities.argmax(axis=1), CLASS_NAMES)
    write_text(folder.file("classification_report.json"), _json(report))
    write_text(folder.file("predictions.csv"), _predictions_csv(evidence.predictions))
    write_text(folder.file("history.csv"), _csv([_counted(record) for record in evidence.history]))
    _draw(folder, spec, evidence, labels, probabilities)


def _counted(record: EpochRecord) -> Json:
    """Return an epoch as people count: the first is 1."""
    return {**asdict(record), "epoch": record.epoch + 1}


def _draw(
    folder: RunFolder, spec: RunSpec, evidence: Evidence, labels: np.ndarray, probabilities: np.ndarray
) -> None:
    named = f" {spec.settings.name}" if spec.settings.name else ""
    about = f"{spec.experiment}{named}, {spec.split.name}, seed {spec.seed}"
    title = f"{about}, test set, n = {len(labels)} ({spec.settings.data.name})"
    plots.draw_roc(folder.file("roc_curves.png"), labels, probabilities, CLASS_NAMES, title)
    plots.draw_precision_recall(folder.file("pr_curves.png"), labels, probabilities, CLASS_NAMES, title)
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(CLASS_NAMES))
    plots.draw_confusion(folder.file("confusion_matrix.png"), matrix, CLASS_NAMES, title)
    title = f"{about} ({spec.settings.data.name})"
    plots.draw_losses(folder.file("loss_curves.png"), evidence.history, evidence.best_epoch, title)


def _arrays(evidence: Evidence, part: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [prediction for prediction in evidence.predictions if prediction.part == part]
    labels = np.array([row.label for row in rows], dtype=int)
    return labels, np.array([row.probabilities for row in rows], dtype=float).reshape(-1, len(CLASS_NAMES))


def _summary(spec: RunSpec, evidence: Evidence) -> Json:
    return {
        "note": RESEARCH_ONLY,
        "experiment": spec.experiment,
        "name": spec.settings.name,
        "data": spec.settings.data.name,
        "split": spec.split.name,
        "seed": spec.seed,
        "config_hash": spec.config_hash,
        "best_epoch": evidence.best_epoch + 1,
        "epochs": len(evidence.history),
        "interval": _intervals(spec, evidence),
        "parts": {part: _by_class(values) for part, values in evidence.metrics.items()},
    }


def _by_class(values: Sequence[MetricValue]) -> Json:
    per_class: dict[str, Json] = {name: {} for name in CLASS_NAMES}
    overall: Json = {}
    for value in values:
        (per_class[value.class_name] if value.class_name else overall)[value.metric] = _interval(value)
    return {**overall, "per_class": per_class}


def _intervals(spec: RunSpec, evidence: Evidence) -> str:
    """Return what the intervals are; for runs from before schema 0005 in the words of then, byte for byte."""
    confidence = f"{spec.settings.evaluation.confidence:.0%}"
    methods = {value.interval_method for values in evidence.metrics.values() for value in values}
    if methods == {"percentile"}:
        resamples = spec.settings.evaluation.resamples
        return f"{confidence} percentile bootstrap, stratified by class, {resamples} resamples"
    return f"{confidence}; interval_method names how each was made"


def _interval(value: MetricValue) -> Json:
    found: Json = {"value": value.value, "low": value.low, "high": value.high}
    if value.interval_method not in ("", "percentile"):
        found["interval_method"] = value.interval_method
    return found


def _predictions_csv(predictions: tuple[Prediction, ...]) -> str:
    return _csv([_cells(each) for each in predictions])


def _cells(each: Prediction) -> Json:
    named = zip(CLASS_NAMES, each.probabilities, strict=True)
    return {
        "part": each.part,
        "image_id": each.image_id,
        "group": each.group,
        "center": each.center,
        "label": CLASS_NAMES[each.label],
        "predicted": CLASS_NAMES[int(np.argmax(each.probabilities))],
        **{f"p_{name.lower()}": probability for name, probability in named},
    }


def _csv(rows: list[Json]) -> str:
    return csv_text(list(rows[0]), rows)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
