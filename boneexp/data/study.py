"""The dataset and the split that a run's spec asks for, read the same way by `queue` and by every attempt."""

from collections.abc import Callable
from pathlib import Path

from boneexp.data.btxrd import Dataset, read_dataset
from boneexp.data.prepared import Prepared, prepare
from boneexp.data.splits import Split, center_holdout, stratified
from boneexp.errors import DataInvalid
from boneexp.files.atomic import inside
from boneexp.study.settings import DataSettings, RunSpec, SplitSpec, StratifiedSettings

Progress = Callable[[int, int], None]


def study_dataset(
    settings: DataSettings, group_column: str, artifacts: Path | None, progress: Progress | None = None
) -> Dataset:
    """Read and check the dataset of the settings; what was checked is remembered under `artifacts`/cache."""
    return read_dataset(
        Path(settings.root),
        group_column=group_column or None,
        accept=settings.accept,
        index_path=inside(artifacts, "cache/images.json") if artifacts else None,
        progress=progress,
    )


def study_split(dataset: Dataset, spec: SplitSpec) -> Split:
    """Deal the images out as `spec` says."""
    settings = spec.settings
    if isinstance(settings, StratifiedSettings):
        return stratified(dataset, ratios=settings.ratios, seed=spec.seed)
    return center_holdout(
        dataset,
        train_centers=settings.train_centers,
        test_centers=settings.test_centers,
        ratios=settings.ratios,
        seed=spec.seed,
    )


def dataset_of(spec: RunSpec, artifacts: Path, progress: Progress | None = None) -> tuple[Dataset, Split]:
    """Read the run's data and split it again, and see that both are what was queued.

    Raises:
        DataInvalid: the data or the split are not those of the spec any more.
    """
    root = Path(spec.settings.data.root)
    dataset = study_dataset(spec.settings.data, spec.split.group_column, artifacts, progress)
    if dataset.fingerprint != spec.data_fingerprint:
        raise DataInvalid(
            f"the data in {root} have changed since this run was queued (fingerprint "
            f"{dataset.fingerprint[:12]}, queued with {spec.data_fingerprint[:12]}); "
            "bring the old data back, name the folder that has them with --root DIR, or queue the grid again"
        )
    split = study_split(dataset, spec.split)
    if split.digest != spec.split_digest:
        raise DataInvalid(f"the {split.name} split comes out differently now; queue the grid again")
    return dataset, split


def check_annotated(dataset: Dataset, split: Split, experiment: str) -> None:
    """Check that training with lesion annotations has some to train with.

    Raises:
        DataInvalid: no image of the training part has an annotated lesion.
    """
    if any(dataset.radiographs[row].annotation_path for row in split.indices("train")):
        return
    raise DataInvalid(
        f"{experiment} trains with lesion annotations (training.annotations = true), and no image of the "
        f"{split.name} split's training part has one: it would be an experiment without them. LabelMe files "
        f"named like the images are looked for in {dataset.root}/Annotations/, in any capitals, beside the "
        "images and beside the table; put them there, or set training.annotations = false for "
        f"experiments.{experiment}",
        [str(dataset.root)],
    )


def study_images(
    dataset: Dataset, settings: DataSettings, artifacts: Path, progress: Progress | None = None
) -> Prepared:
    """Decode, equalise and resize every image once; later calls map the result into memory."""
    return prepare(
        dataset,
        inside(artifacts, "cache/prepared"),
        size_px=settings.image_size,
        clip_limit=settings.clahe_clip_limit,
        tiles=settings.clahe_tiles,
        decoding=settings.decoding,
        lesion=settings.lesion,
        progress=progress,
    )
