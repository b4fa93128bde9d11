"""`queue`, from the grid file to rows in the ledger: read, check, plan; then write once."""

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boneexp.data.attributes import attributes_of
from boneexp.data.btxrd import Dataset
from boneexp.data.overlaps import contradicting_images, overlaps
from boneexp.data.splits import Split
from boneexp.errors import GridInvalid, WeightsUnavailable
from boneexp.ledger.database import writing
from boneexp.ledger.datasets import ALL_NOTES, DatasetFacts, SplitOverlap, record_dataset
from boneexp.ledger.enqueue import MAX_ATTEMPTS, Enqueued, enqueue
from boneexp.ledger.study import record_study
from boneexp.results import CLASS_NAMES
from boneexp.runs.plan import Plan, manifest_paths, narrowed, plan, write_manifests
from boneexp.study.grid import Grid, load_grid
from boneexp.study.settings import RunSpec, settings_digest

NOTES_SHOWN = 10


@dataclass(frozen=True)
class PlannedRun:
    """One run that a grid would queue; `new` is whether the ledger does not have it yet."""

    experiment: str
    name: str
    split: str
    seed: int
    backbone: str
    image_size: int
    batch_size: int
    config_hash: str
    new: bool


@dataclass(frozen=True)
class Planned:
    """A grid that was read and checked, with its runs.

    `as_written` has the digest of the file's own settings of each experiment that `--set` gave other ones.
    """

    grid: Grid
    plan: Plan
    as_written: Mapping[str, str] = field(default_factory=dict)

    def runs(self, known: Container[str]) -> list[PlannedRun]:
        """Return the runs, for `--dry-run`; `known` are the hashes of those that the ledger has."""
        return [
            PlannedRun(
                experiment=spec.experiment,
                name=spec.settings.name,
                split=spec.split.name,
                seed=spec.seed,
                backbone=spec.settings.model.backbone,
                image_size=spec.settings.data.image_size,
                batch_size=spec.settings.training.batch_size,
                config_hash=spec.config_hash,
                new=spec.config_hash not in known,
            )
            for spec in self.plan.specs
        ]

    def notes(self) -> list[str]:
        """Return oddities of the data that are no errors, with the name of the dataset or split."""
        of_data = [f"{name}: {note}" for name, dataset in self.plan.datasets for note in dataset.notes]
        of_splits = [f"{split.name}: {note}" for split, _ in self.plan.splits for note in split.notes]
        return [*of_splits, *of_data]

    def noted(self, ledger: Path) -> str:
        """Return how many notes there are, the first ten, and where all are; "" where there is none."""
        notes = self.notes()
        lines = [f"  {note}" for note in notes[:NOTES_SHOWN]]
        if len(notes) > NOTES_SHOWN:
            rest = len(notes) - NOTES_SHOWN
            lines.append(f'  and {rest} more, once queued: sqlite3 {ledger} "{ALL_NOTES}"')
        return "\n".join([f"Notes on the data: {len(notes)}", *lines]) if notes else ""


def with_root(overrides: Sequence[str], root: str) -> list[str]:
    """Return the overrides of a grid file with its data at `root`; unchanged for ""."""
    return [*overrides, *([f"data.root={json.dumps(root, ensure_ascii=False)}"] if root else [])]


def planned(
    path: Path,
    overrides: Sequence[str],
    chosen: tuple[Sequence[str], Sequence[str], Sequence[int]],
    artifacts: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> Planned:
    """Read the grid file and the data.

    `chosen` narrows the grid: experiments, splits, seeds. Which images were checked is cached under
    `artifacts`; with None nothing is written.
    """
    grid = narrowed(load_grid(path, overrides), *chosen)
    made = plan(grid, artifacts, progress)
    if artifacts is not None:
        manifest_paths(made, artifacts)  # refuse what will be refused before a ledger is made
    return Planned(grid, made, settings_as_written(grid, path) if overrides else {})


def check_networks(made: Planned, known: Container[str]) -> list[str]:
    """Check that the networks of new runs can be trained; runs in the ledger (`known` hashes) have been.

    Returns:
        A sentence for each network that `gradcam` will refuse.

    Raises:
        GridInvalid: one cannot; the message names the experiment.
        WeightsUnavailable: a weights file is none, or does not fit.
    """
    new: dict[tuple[object, ...], RunSpec] = {}  # each network once, under the first experiment that has it
    for spec in made.plan.specs:
        model, one = spec.settings.model, spec.settings.training.batch_size == 1
        network = (model.backbone, model.attn_layer, model.pretrained, spec.settings.data.image_size, one)
        if network not in new and spec.config_hash not in known:
            new[network] = spec
    return [note for spec in new.values() if (note := _checked(spec, made.grid.path))]


def _checked(spec: RunSpec, grid: Path) -> str:
    from boneexp.learning.trial import check_network  # loads torch and timm, some seconds

    settings = spec.settings
    try:
        reason = check_network(settings.model, settings.data.image_size, settings.training.batch_size)
    except (GridInvalid, WeightsUnavailable) as error:
        raise type(error)(f"{grid}, experiments.{spec.experiment}: {error}") from error
    if not reason:
        return ""
    backbone = settings.model.backbone
    return f"experiments.{spec.experiment}: boneexp gradcam will refuse {backbone}: {reason}"


def put_in_queue(
    made: Planned, ledger: Path, artifacts: Path, now: float, max_attempts: int = MAX_ATTEMPTS
) -> Enqueued:
    """Write the split manifests, then everything else in one transaction."""
    write_manifests(made.plan, artifacts)
    grid = made.grid
    with writing(ledger) as connection:
        for name, dataset in made.plan.datasets:
            splits = [split for split, of in made.plan.splits if of is dataset]
            record_dataset(connection, _facts(name, dataset, splits), now)
        record_study(connection, grid.selection, grid.targets, grid.baseline, now)
        return enqueue(connection, made.plan.specs, now, max_attempts, made.as_written)


def settings_as_written(grid: Grid, path: Path) -> dict[str, str]:
    """Return digests of the file's own settings of the experiments that have others in `grid`."""
    try:
        written = load_grid(path).experiments
    except GridInvalid:  # it says nothing without its overrides
        return {}
    alike = {key: settings_digest(written[key]) for key in grid.experiments if key in written}
    return {key: each for key, each in alike.items() if each != settings_digest(grid.experiments[key])}


def _facts(name: str, dataset: Dataset, splits: Sequence[Split]) -> DatasetFacts:
    counts: dict[str, dict[str, int]] = {}
    for radiograph in dataset.radiographs:
        of_center = counts.setdefault(str(radiograph.center), dict.fromkeys(CLASS_NAMES, 0))
        of_center[CLASS_NAMES[radiograph.label]] += 1
    return DatasetFacts(
        fingerprint=dataset.fingerprint,
        name=name,
        kind=dataset.kind,
        images=len(dataset.radiographs),
        counts=counts,
        notes=dataset.notes,
        attributes=tuple(
            (radiograph.image_id, *named)
            for radiograph in dataset.radiographs
            for named in attributes_of(radiograph)
        ),
        contradicting_images=contradicting_images(dataset),
        overlaps=tuple(
            SplitOverlap(split.digest, **vars(shared))
            for split in splits
            for shared in overlaps(split, dataset)
        ),
    )
