"""One run, from its spec to its outcome: data, training, prediction, metrics, files. Knows no ledger.

Every failure is returned as a value, so that the worker continues with the next run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import nn

from boneexp.data.btxrd import Dataset
from boneexp.data.prepared import Prepared
from boneexp.data.splits import Split
from boneexp.data.study import check_annotated, dataset_of, study_images
from boneexp.errors import WeightsUnavailable
from boneexp.evaluation.inputs import Predictions, predictions_of
from boneexp.evaluation.reported import drawn_groups, run_metrics
from boneexp.experiment.failures import failure_of
from boneexp.experiment.outputs import Evidence, write_config, write_run_files
from boneexp.files.atomic import link, sha256_of
from boneexp.files.folders import RunFolder
from boneexp.learning.batches import samples_of
from boneexp.learning.checkpoint import Progress, load_best, take_over
from boneexp.learning.devices import resolved_device, use_kernels
from boneexp.learning.models import build, on_device
from boneexp.learning.predicting import predict
from boneexp.learning.training import Callbacks, TrainingInputs, evaluation_batch, train
from boneexp.learning.trial import check_one_at_a_time
from boneexp.results import CLASS_NAMES, Computing, EpochRecord, Finished, Outcome, Prediction, Stopped
from boneexp.study.settings import RunSpec

EVALUATED = ("val", "test")


@dataclass(frozen=True)
class StudyData:
    """The images of a run, and how they are split."""

    dataset: Dataset
    split: Split
    prepared: Prepared


class Report(Protocol):
    """Receives the progress of a run; each answer is whether to continue."""

    def stage(self, text: str) -> None:
        """Take the name of the next stage."""

    def counted(self, done: int, total: int) -> None:
        """Take how many images are read or prepared."""

    def restored(self, records: list[EpochRecord]) -> bool:
        """Take the epochs of an earlier attempt; return whether to continue."""

    def step(self, epoch: int, done: int, total: int) -> bool:
        """Take one training step; return whether to continue."""

    def epoch(self, record: EpochRecord) -> bool:
        """Take one finished epoch; return whether to continue."""

    def why_stopped(self) -> str:
        """Return why the run is to stop."""


def run(spec: RunSpec, folder: RunFolder, computing: Computing, micro_batch: int, report: Report) -> Outcome:
    """Do the run, or resume it from its last checkpoint; every failure is returned as `Failed`."""
    try:
        finished = _run(spec, folder, computing, micro_batch, report)
    except Exception as error:  # noqa: BLE001 - one run's failure is a fact, not the worker's end
        return failure_of(error)
    return finished or Stopped(report.why_stopped())


def _run(
    spec: RunSpec, folder: RunFolder, computing: Computing, micro_batch: int, report: Report
) -> Finished | None:
    settings = spec.settings
    device = resolved_device(computing.device)
    use_kernels(device, computing.kernels)
    folder.path.mkdir(parents=True, exist_ok=True)
    report.stage("reading the data")
    dataset, split = dataset_of(spec, folder.artifacts, report.counted)
    report.stage("preparing the images")
    prepared = study_images(dataset, settings.data, folder.artifacts, report.counted)
    data = StudyData(dataset, split, prepared)
    write_config(folder, spec)
    report.stage(f"building {settings.model.backbone}")
    resumed = take_over(folder, spec.config_hash)
    if micro_batch == 1 < settings.training.batch_size:
        check_one_at_a_time(settings.model, settings.data.image_size)
    model = on_device(_built(spec, resumed), device)
    progress = train(model, _inputs(spec, folder, micro_batch, data), _callbacks(report))
    if progress is None:
        return None
    report.stage("evaluating")
    load_best(_named_best(folder, progress), progress.best_sha256, model)
    batch_size = evaluation_batch(settings.training.batch_size, micro_batch, device)
    evidence = _evaluated(spec, model, data, progress, batch_size)
    files = write_run_files(folder, spec, evidence)
    return Finished(
        best_epoch=progress.best_epoch,
        metrics=evidence.metrics,
        predictions=evidence.predictions,
        files=files,
    )


def _built(spec: RunSpec, resumed: bool) -> nn.Module:
    """Build the network; a resumed run has its weights already and reads no model hub or file for them.

    Raises:
        WeightsUnavailable: the weights file is gone, or not the one that the run was queued with.
    """
    settings = spec.settings.model
    if resumed:
        settings = settings.model_copy(update={"pretrained": False})
    elif isinstance(settings.pretrained, str):
        _check_weights(Path(settings.pretrained), spec.weights_sha256)
    return build(settings, spec.seed, spec.settings.data.image_size)


def _check_weights(path: Path, sha256: str) -> None:
    found = sha256_of(path) if path.is_file() else ""
    if found != sha256:
        state = f"has SHA-256 {found[:12]}… now" if found else "is gone"
        raise WeightsUnavailable(
            f"model.pretrained: {path} {state}, and the run was queued with {sha256[:12]}…; bring the file "
            "back and boneexp retry, or queue the grid again"
        )


def _inputs(spec: RunSpec, folder: RunFolder, micro_batch: int, data: StudyData) -> TrainingInputs:
    settings, split = spec.settings, data.split
    if settings.training.annotations:
        check_annotated(data.dataset, split, spec.experiment)
    labels = data.dataset.labels
    val_rows = split.indices("val")
    return TrainingInputs(
        prepared=data.prepared,
        samples=samples_of(split.indices("train"), labels, data.prepared, settings.training.annotations),
        val_rows=val_rows,
        val_labels=labels[val_rows],
        data=settings.data,
        training=settings.training,
        seed=spec.seed,
        micro_batch=micro_batch,
        config_hash=spec.config_hash,
        folder=folder,
    )


def _callbacks(report: Report) -> Callbacks:
    return Callbacks(restored=report.restored, step=report.step, epoch=report.epoch)


def _named_best(folder: RunFolder, progress: Progress) -> Path:
    """Give the best weights their final name beside the one that `last.pt` knows them by."""
    link(folder.best_of(progress.best_epoch), folder.best)
    return folder.best


def _evaluated(
    spec: RunSpec, model: nn.Module, data: StudyData, progress: Progress, batch_size: int
) -> Evidence:
    found: dict[str, Predictions] = {}
    rows: list[Prediction] = []
    for part in EVALUATED:
        images = data.split.indices(part)
        probabilities = predict(model, data.prepared, images, spec.settings.data, batch_size)
        found[part] = _predictions(data.dataset, images, probabilities)
        rows += _rows(part, data.dataset, images, probabilities)
    resamples, confidence = spec.settings.evaluation.resamples, spec.settings.evaluation.confidence
    metrics = run_metrics(
        found["val"], found["test"], seed=spec.seed, resamples=resamples, confidence=confidence
    )
    return Evidence(metrics, tuple(rows), tuple(progress.history), progress.best_epoch)


def _predictions(dataset: Dataset, images: np.ndarray, probabilities: np.ndarray) -> Predictions:
    ids = [dataset.radiographs[image].image_id for image in images]
    groups = drawn_groups([dataset.radiographs[image].group for image in images], ids)
    return predictions_of(dataset.labels[images], probabilities, CLASS_NAMES, ids, groups)


def _rows(part: str, dataset: Dataset, rows: np.ndarray, probabilities: np.ndarray) -> list[Prediction]:
    found = []
    for row, (normal, benign, malignant) in zip(rows, probabilities.tolist(), strict=True):
        radiograph = dataset.radiographs[row]
        about = (part, radiograph.image_id, radiograph.group, radiograph.center, radiograph.label)
        found.append(Prediction(*about, (normal, benign, malignant)))
    return found
