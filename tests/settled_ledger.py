"""A ledger with finished runs whose figures come from made-up predictions, for tests of what reads one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boneexp.evaluation.inputs import Predictions, predictions_of
from boneexp.evaluation.reported import drawn_groups, run_metrics
from boneexp.ledger.database import open_ledger, writing
from boneexp.ledger.datasets import DatasetFacts, SplitOverlap, record_dataset
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queue import Claim, Worker, claim_next
from boneexp.ledger.settling import finish, keep_epoch
from boneexp.ledger.study import record_study
from boneexp.results import CLASS_NAMES, SPLITS, EpochRecord, Finished, MetricValue, Prediction, WrittenFile
from boneexp.study.decision_settings import BaselineSettings, ReferenceSettings, SelectionSettings
from boneexp.study.settings import (
    CenterHoldoutSettings,
    ExperimentSettings,
    RunSpec,
    SplitSpec,
    StratifiedSettings,
    digest_of,
)

NOW = 1_760_000_000.0
EPOCHS = 4
BTXRD_COUNTS = {
    "1": {"Normal": 1593, "Benign": 1110, "Malignant": 235},
    "2": {"Normal": 259, "Benign": 214, "Malignant": 76},
    "3": {"Normal": 27, "Benign": 201, "Malignant": 31},
}
TARGETS = {"stratified_accuracy": 0.75, "center_holdout_accuracy": 0.55, "gradcam_iou": 0.15}
BASELINE = {
    "stratified_accuracy": 0.679,
    "stratified_macro_auroc": 0.846,
    "stratified_malignant_sensitivity": 0.608,
    "stratified_malignant_specificity": 0.957,
    "center_holdout_accuracy": 0.472,
    "center_holdout_macro_auroc": 0.627,
    "center_holdout_malignant_sensitivity": 0.364,
    "gradcam_iou": 0.070,
}
IMAGES = {"val": (15, 10, 5), "test": (30, 20, 10)}  # of each class
Design = Mapping[str, Any]
DESIGNS: dict[str, Design] = {
    "E1": {"name": "b0_baseline"},
    "E2": {"name": "b0_annotated", "training": {"annotations": True}},
    "E3": {
        "name": "b3_annotated",
        "data": {"image_size": 300},
        "model": {"backbone": "efficientnet_b3", "dropout": 0.3},
        "training": {"annotations": True, "batch_size": 16},
    },
    "E4": {
        "name": "resnet50_cbam",
        "model": {"backbone": "resnet50", "dropout": 0.3, "attn_layer": "cbam"},
        "training": {"annotations": True, "batch_size": 16},
    },
}


def settled_ledger(
    path: Path,
    experiments: Sequence[str] = ("E1", "E2"),
    seeds: Sequence[int] = (42,),
    *,
    splits: Sequence[str] = SPLITS,
    kind: str = "BTXRD",
    data_name: str = "BTXRD",
    names: Mapping[str, str] | None = None,
    designs: Mapping[str, Design] | None = None,
    baseline: Mapping[str, float] = BASELINE,
    skill: float = 1.0,
    settle: bool = True,
) -> Path:
    """Make a ledger (or go on with one) in which every run of `experiments` has finished; return its path.

    Later experiments guess better than earlier ones, and all of them the better, the higher `skill`; at 0
    they know nothing. `kind` and `data_name` are the dataset's; `names` and `designs` (settings, laid over
    the study's own) belong to experiments. With `settle` False the runs are queued and none is run.
    """
    notes = ("two images are the same picture",)
    fingerprint = digest_of(kind)
    about = (fingerprint, data_name, kind, 3746, BTXRD_COUNTS, notes, _attributes())
    facts = DatasetFacts(*about, contradicting_images=2, overlaps=_overlaps(fingerprint, splits))
    laid_over = {key: _merged(DESIGNS[key], (designs or {}).get(key, {})) for key in experiments}
    named = {
        key: {**design, "name": (names or {}).get(key, design["name"])} for key, design in laid_over.items()
    }
    wanted = specs(named, seeds, splits, facts.fingerprint)
    with writing(open_ledger(path)) as connection:
        record_dataset(connection, facts, NOW)
        references = ReferenceSettings(**TARGETS), BaselineSettings(**baseline)
        record_study(connection, SelectionSettings(), *references, NOW)
        added = enqueue(connection, wanted, NOW).added
    if settle:
        for number in range(len(added)):
            settle_next(path, NOW + 3600 * (number + 1), skill)
    return path


def specs(
    designs: Mapping[str, Design], seeds: Sequence[int], splits: Sequence[str], fingerprint: str
) -> list[RunSpec]:
    """Return a spec per experiment, split and seed."""
    settings = {"stratified": StratifiedSettings(), "center_holdout": CenterHoldoutSettings()}
    return [
        RunSpec(
            experiment=identifier,
            settings=ExperimentSettings.model_validate({**design, "evaluation": {"resamples": 200}}),
            split=SplitSpec(name=split, seed=42, group_column="", settings=settings[split]),
            seed=seed,
            data_fingerprint=fingerprint,
            split_digest=digest_of([split, fingerprint]),
        )
        for identifier, design in designs.items()
        for split in splits
        for seed in seeds
    ]


def settle_next(path: Path, now: float, skill: float = 1.0) -> Claim:
    """Claim the next run and finish it with made-up predictions."""
    versions = {"torch": "2.14.0", "timm": "1.0.20", "boneexp": "0.1.0"}
    worker = Worker("tester", "host", 1, "boot", "0", "cpu", versions)
    with writing(path) as connection:
        claim = claim_next(connection, worker, now, lease_s=60)
        assert claim is not None
        for epoch in range(EPOCHS):
            record = EpochRecord(epoch, 1.1 - epoch / 10, 1.0 - epoch / 20, 0.5, 0.7, 3e-4, 61.5)
            assert keep_epoch(connection, claim, record, now)
        assert finish(connection, claim, outcome_of(claim, skill), now + 1)
    return claim


def outcome_of(claim: Claim, skill: float) -> Finished:
    """Return what a run could have come out as; its metrics are those of its predictions."""
    rows = [row for part in IMAGES for row in _predictions(claim, part, skill)]
    files = (
        WrittenFile("best checkpoint", f"{claim.folder}/best.pt", digest_of(claim.folder), 16_000_000),
        WrittenFile("last checkpoint", f"{claim.folder}/last.pt", digest_of([claim.folder]), 48_000_000),
    )
    return Finished(
        best_epoch=EPOCHS - 2, metrics=_figures(claim, rows), predictions=tuple(rows), files=files
    )


def _merged(design: Design, over: Design) -> Design:
    tables = {
        key: {**design.get(key, {}), **value} if isinstance(value, Mapping) else value
        for key, value in over.items()
    }
    return {**design, **tables}


def _predictions(claim: Claim, part: str, skill: float) -> list[Prediction]:
    holdout = claim.spec.split.name == "center_holdout"
    better = skill * (0.7 if holdout else 1.0) * (1 + 0.3 * int(claim.spec.experiment[-1]))
    seed = [claim.spec.seed, *claim.spec.experiment.encode(), holdout, part == "test"]
    generator = np.random.default_rng(seed)
    rows = []
    for label, count in enumerate(IMAGES[part]):
        for number in range(count):
            scores = generator.normal(size=len(CLASS_NAMES))
            scores[label] += better
            shares = np.exp(scores) / np.exp(scores).sum()
            center = (2, 3)[number % 2] if holdout and part == "test" else 1 + number % 3 * (not holdout)
            image_id = _image_id(label, number, part)
            rows.append(Prediction(part, image_id, "", center, label, tuple(map(float, shares))))
    return rows


def _figures(claim: Claim, rows: Sequence[Prediction]) -> dict[str, tuple[MetricValue, ...]]:
    parts = {part: _part([row for row in rows if row.part == part]) for part in IMAGES}
    settings = claim.spec.settings.evaluation
    return run_metrics(
        parts["val"],
        parts["test"],
        seed=claim.spec.seed,
        resamples=settings.resamples,
        confidence=settings.confidence,
    )


def _part(rows: Sequence[Prediction]) -> Predictions:
    ids = [row.image_id for row in rows]
    shares = np.array([row.probabilities for row in rows])
    groups = drawn_groups([row.group for row in rows], ids)
    return predictions_of(np.array([row.label for row in rows]), shares, CLASS_NAMES, ids, groups)


def _image_id(label: int, number: int, part: str) -> str:
    return f"IMG{label}{number:05d}-{part}.jpeg"


def _overlaps(fingerprint: str, splits: Sequence[str]) -> tuple[SplitOverlap, ...]:
    """Return that no two parts share anything, and that no image has a group."""
    sizes = {"train": 2600, **{part: sum(counts) for part, counts in IMAGES.items()}}
    return tuple(
        SplitOverlap(
            split_digest=digest_of([split, fingerprint]),
            first_part=first,
            second_part=second,
            images=sizes[second],
            images_of_shared_groups=0,
            images_of_shared_pictures=0,
            images_without_group=sizes[first] + sizes[second],
        )
        for split in splits
        for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
    )


def _attributes() -> tuple[tuple[str, str, str], ...]:
    """Return what the table could say of every image."""
    found = []
    for part, counts in IMAGES.items():
        for label, count in enumerate(counts):
            for number in range(count):
                image_id = _image_id(label, number, part)
                found.append((image_id, "sex", ("female", "male")[number % 2]))
                found.append((image_id, "age band", ("10-19", "20-39", "not known")[number % 3]))
                found.append((image_id, "site", "femur"))
                if number % 4 == 0:
                    found.append((image_id, "site", "knee-joint"))
    return tuple(found)
