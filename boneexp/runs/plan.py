"""Grid and data -> the list of runs: one spec for each experiment, split and seed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from boneexp.data.btxrd import Dataset
from boneexp.data.splits import Split, write_manifest
from boneexp.data.study import check_annotated, study_dataset, study_split
from boneexp.errors import GridInvalid, WeightsUnavailable
from boneexp.files.atomic import inside, sha256_of
from boneexp.study.grid import Grid
from boneexp.study.settings import ExperimentSettings, RunSpec, SplitSpec
from boneexp.text.nearest import nearest

MOST_RUNS = 100_000
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Plan:
    """The runs of a grid, with the datasets and splits they rest on."""

    specs: tuple[RunSpec, ...]
    datasets: tuple[tuple[str, Dataset], ...]  # (name in the grid file, dataset)
    splits: tuple[tuple[Split, Dataset], ...]


def plan(grid: Grid, artifacts: Path | None, progress: Callable[[int, int], None] | None = None) -> Plan:
    """Read the data, assign images to splits, and span the grid.

    Raises:
        GridInvalid: it spans more runs than a ledger is for.
        DataInvalid: the dataset is wrong somewhere, or lacks the annotations that an experiment trains with.
        WeightsUnavailable: a weights file is not there.
    """
    runs = len(grid.experiments) * len(grid.splits) * len(grid.seeds)
    if runs > MOST_RUNS:
        raise GridInvalid(
            f"{grid.path} spans {runs:,} runs, and {MOST_RUNS:,} are the most that are queued at a time; "
            "narrow it with --only, --split or --seeds"
        )
    read: dict[tuple[object, ...], Dataset] = {}
    assigned: dict[tuple[str, str], Split] = {}
    specs: list[RunSpec] = []
    names: dict[str, str] = {}
    weights_digest = cache(_weights_digest)  # of one file once, however many experiments start from it
    for identifier, settings in grid.experiments.items():
        digest = weights_digest(settings.model.pretrained)
        for split in grid.splits:
            place = (settings.data.root, settings.data.accept, split.group_column)
            if place not in read:
                read[place] = study_dataset(settings.data, split.group_column, artifacts, progress)
            dataset = read[place]
            names.setdefault(dataset.fingerprint, settings.data.name)
            if (dataset.fingerprint, split.name) not in assigned:
                assigned[dataset.fingerprint, split.name] = study_split(dataset, split)
            assignment = assigned[dataset.fingerprint, split.name]
            if settings.training.annotations:
                check_annotated(dataset, assignment, identifier)
            specs += [
                _spec((identifier, settings, digest), split, seed, (dataset, assignment))
                for seed in grid.seeds
            ]
    datasets = {dataset.fingerprint: dataset for dataset in read.values()}
    return Plan(
        specs=tuple(specs),
        datasets=tuple((names[fingerprint], dataset) for fingerprint, dataset in datasets.items()),
        splits=tuple((split, datasets[fingerprint]) for (fingerprint, _), split in assigned.items()),
    )


def write_manifests(made: Plan, artifacts: Path) -> list[Path]:
    """Write each split as a CSV under artifacts/splits/, named by its digest; return the paths."""
    paths = manifest_paths(made, artifacts)
    for path, (split, dataset) in zip(paths, made.splits, strict=True):
        write_manifest(split, dataset, path)
    return paths


def manifest_paths(made: Plan, artifacts: Path) -> list[Path]:
    """Return where `write_manifests` writes.

    Raises:
        Damaged: a symbolic link is in the way.
    """
    return [inside(artifacts, f"splits/{split.name}-{split.digest[:12]}.csv") for split, _ in made.splits]


def narrowed(grid: Grid, only: Sequence[str], splits: Sequence[str], seeds: Sequence[int]) -> Grid:
    """Return the grid with just the named experiments, splits and seeds; an empty list leaves all.

    Raises:
        GridInvalid: a name is not in the grid, or a seed is out of range.
    """
    for seed in seeds:
        if not 0 <= seed <= LARGEST_SEED:
            raise GridInvalid(f"--seeds: {seed} is not from 0 to {LARGEST_SEED:,}")
    chosen = {key: grid.experiments[_known(key, grid.experiments, "experiment")] for key in only}
    known_splits = [split.name for split in grid.splits]
    wanted = {_known(name, known_splits, "split") for name in splits}
    return Grid(
        **{
            **vars(grid),
            "experiments": chosen or grid.experiments,
            "splits": tuple(split for split in grid.splits if not wanted or split.name in wanted),
            "seeds": tuple(dict.fromkeys(seeds)) or grid.seeds,
        }
    )


def _known(name: str, known: Collection[str], what: str) -> str:
    if name not in known:
        raise GridInvalid(f"the grid has no {what} {name!r}; {nearest(name, known)}")
    return name


def _spec(
    experiment: tuple[str, ExperimentSettings, str], split: SplitSpec, seed: int, data: tuple[Dataset, Split]
) -> RunSpec:
    identifier, settings, weights_digest = experiment
    dataset, assignment = data
    return RunSpec(
        experiment=identifier,
        settings=settings,
        split=split,
        seed=seed,
        data_fingerprint=dataset.fingerprint,
        split_digest=assignment.digest,
        weights_sha256=weights_digest,
    )


def _weights_digest(pretrained: bool | str) -> str:
    if not isinstance(pretrained, str):
        return ""
    path = Path(pretrained)
    if path.exists() and not path.is_file():
        raise WeightsUnavailable(f"model.pretrained: {path} cannot be read: it is no plain file")
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsUnavailable(f"model.pretrained: {path} cannot be read: {error.strerror}") from error
