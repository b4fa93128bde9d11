"""Grid and data -> the list of runs: one spec for each experiment, split and seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from boneexp.artifacts import inside, sha256_of
from boneexp.config import ExperimentSettings, RunSpec, SplitSpec
from boneexp.data.btxrd import Dataset
from boneexp.data.splits import Split, write_manifest
from boneexp.data.study import study_dataset, study_split
from boneexp.errors import GridInvalid, WeightsUnavailable
from boneexp.gridfile import Grid, nearest


@dataclass(frozen=True)
class Plan:
    """The runs of a grid, with the datasets and splits they rest on."""

    specs: tuple[RunSpec, ...]
    datasets: tuple[tuple[str, Dataset], ...]  # (name in the grid file, dataset)
    splits: tuple[tuple[Split, Dataset], ...]


def plan(grid: Grid, artifacts: Path | None, progress: Callable[[int, int], None] | None = None) -> Plan:
    """Read the data, deal out the splits, and span the grid.

    Raises:
        DataInvalid: the dataset is wrong somewhere; nothing is planned.
        WeightsUnavailable: a weights file is not there.
    """
    read: dict[tuple[str, str], Dataset] = {}
    dealt: dict[tuple[str, str], Split] = {}
    specs: list[RunSpec] = []
    names: dict[str, str] = {}
    for identifier, settings in grid.experiments.items():
        for split in grid.splits:
            place = (settings.data.root, split.group_column)
            if place not in read:
                read[place] = study_dataset(Path(place[0]), place[1], artifacts, progress)
            dataset = read[place]
            names.setdefault(dataset.fingerprint, settings.data.name)
            deal = dealt.setdefault((dataset.fingerprint, split.name), study_split(dataset, split))
            specs += [_spec(identifier, settings, split, seed, (dataset, deal)) for seed in grid.seeds]
    datasets = {dataset.fingerprint: dataset for dataset in read.values()}
    return Plan(
        specs=tuple(specs),
        datasets=tuple((names[fingerprint], dataset) for fingerprint, dataset in datasets.items()),
        splits=tuple((deal, datasets[fingerprint]) for (fingerprint, _), deal in dealt.items()),
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
        GridInvalid: a name is not in the grid.
    """
    chosen = {key: grid.experiments[_known(key, list(grid.experiments), "experiment")] for key in only}
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


def _known(name: str, known: Sequence[str], what: str) -> str:
    if name not in known:
        raise GridInvalid(f"the grid has no {what} {name!r}; {nearest(name, known)}")
    return name


def _spec(
    identifier: str, settings: ExperimentSettings, split: SplitSpec, seed: int, data: tuple[Dataset, Split]
) -> RunSpec:
    dataset, deal = data
    return RunSpec(
        experiment=identifier,
        settings=settings,
        split=split,
        seed=seed,
        data_fingerprint=dataset.fingerprint,
        split_digest=deal.digest,
        weights_sha256=_weights_digest(settings.model.pretrained),
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
