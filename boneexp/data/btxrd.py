"""The reader: a folder in BTXRD's layout becomes one checked, ordered Dataset.

Everything that is wrong anywhere is collected first and raised once. Radiographs come in the order of their
image_id whatever the order of the rows, so that the fingerprint decides everything made from them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boneexp.data.annotation_files import annotation_files
from boneexp.data.annotation_notes import Annotated, annotation_notes
from boneexp.data.audit import AnnotationFacts, ImageFacts, Pair, examine, remember
from boneexp.data.dataset_notes import acceptance_notes, images_without_row, same_pictures
from boneexp.data.radiograph import Radiograph
from boneexp.data.rows import NORMAL, Row, one_spelling, stem_of
from boneexp.data.table import read_table, table_path
from boneexp.data.threads import Progress
from boneexp.errors import DataInvalid
from boneexp.results import CLASS_NAMES
from boneexp.study.settings import digest_of

READER_VERSION = "boneexp-data-1"
BTXRD_COUNTS = {1: (1593, 1110, 235), 2: (259, 214, 76), 3: (27, 201, 31)}
OF_THE_TABLE = "Correct the table where it is wrong."
OF_IMAGES = "For missing or damaged files unpack the download again."
OF_ANNOTATIONS = (
    "Open a wrong annotation in LabelMe and save it again, or move it away: its image then has no lesion."
)
IMAGE_ENDINGS = (
    *(".jpeg", ".jpg", ".png", ".tif", ".tiff", ".dcm", ".dicom", ".webp", ".bmp", ".gif", ".jp2", ".heic"),
    *(".avif", ".jxl", ".pgm", ".npy"),
)
_SHOWN = 10
_ACCEPTED_SHOWN = 50


def read_dataset(
    root: Path,
    *,
    group_column: str | None = None,
    accept: Collection[str] = (),
    index_path: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> "Dataset":
    """Return the dataset under `root`, each image decoded once to see that it is whole.

    Args:
        root: the folder with images/, Annotations/ and dataset.csv or dataset.xlsx (csv wins).
        group_column: a column of the table whose equal values tie images together; None or "" for none.
        accept: what is taken all the same: "damaged:IMG000004.jpeg" for an image whose decoder complains.
        index_path: where facts about the images of a sound dataset are kept for the next time, if anywhere.
        workers: threads; None for one per core.
        progress: called with (images done, images in all).

    Raises:
        DataInvalid: with every place that is wrong.
    """
    _check_root(root)
    path = table_path(root)
    read = read_table(path, group_column)
    rows, problems = sorted(read.rows, key=lambda row: row.image_id), read.problems
    images = _images(root)
    annotations = annotation_files(root, {stem_of(row.image_id) for row in rows})
    found = [
        (row, Pair(image, annotations.by_stem.get(stem_of(row.image_id))))
        for row in rows
        if (image := _image_of(row, images))
    ]
    examined = examine(root, [pair for _, pair in found], index_path, workers, progress)
    entries = [_Entry(row, pair, *known) for (row, pair), known in zip(found, examined.facts, strict=True)]
    damaged = {f"damaged:{entry.row.image_id}": entry for entry in entries if entry.image.damage}
    refused = [entry for name, entry in damaged.items() if name not in accept]
    by_advice = _problems(root, entries, refused)
    by_advice[OF_THE_TABLE] = problems
    by_advice[OF_IMAGES][:0] = _missing(path.name, rows, images)
    if everything := [problem for each in by_advice.values() for problem in each]:
        raise DataInvalid(_message(root, by_advice), everything)
    if index_path and examined.news:
        remember(root, index_path, examined.news)
    without_row = sorted({path.name for path in images.values()} - {pair.image.name for _, pair in found})
    accepted = [_damage(root, entry) for name, entry in damaged.items() if name in accept]
    needless = sorted(set(accept) - damaged.keys())
    notes = (*read.notes, *images_without_row(without_row), *acceptance_notes(accepted, needless))
    return _dataset(root, entries, annotations.strangers, notes)


def _missing(table: str, rows: Sequence[Row], images: Mapping[str, Path]) -> list[str]:
    absent = [row for row in rows if _image_of(row, images) is None]
    return [f"images/{row.image_id}: missing ({table} row {row.line})" for row in absent]


def _problems(root: Path, entries: Sequence["_Entry"], refused: Sequence["_Entry"]) -> dict[str, list[str]]:
    """Return what is wrong by what to do about it, in the order in which it is shown."""
    return {
        OF_THE_TABLE: [],
        OF_IMAGES: [problem for entry in entries for problem in _image_problems(root, entry)],
        OF_ANNOTATIONS: [problem for entry in entries for problem in _annotation_problems(root, entry)],
        _advice_for(refused): [_damage(root, entry) for entry in refused],
    }


def _check_root(root: Path) -> None:
    if root.is_dir() and (root / "images").is_dir():
        return
    inner = sorted(root.glob("*/images")) if root.is_dir() else []
    if inner:
        raise DataInvalid(f"{root} has no folder images/; did you mean {inner[0].parent}?", [str(root)])
    missing = "has no folder images/" if root.is_dir() else "does not exist"
    raise DataInvalid(
        f"the dataset folder {root} {missing}; name the folder with --root DIR or as data.root in "
        f"experiments.toml, or try a synthetic one: boneexp data phantom --out DIR",
        [str(root)],
    )


def _images(root: Path) -> Mapping[str, Path]:
    """Return the images under images/ by full name and, for those stored with another extension, by stem.

    Of one stem a JPEG comes first, then a PNG. Other kinds are found as well, so that they can be called what
    they are.
    """
    paths = [
        path
        for path in sorted((root / "images").iterdir(), key=lambda path: (_preference(path), path))
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
    ]
    by_stem = {one_spelling(path.stem): path for path in reversed(paths)}
    return by_stem | {one_spelling(path.name): path for path in paths}


def _preference(path: Path) -> int:
    ending = path.suffix.lower()
    return IMAGE_ENDINGS.index(ending) if ending in IMAGE_ENDINGS else len(IMAGE_ENDINGS)


def _image_of(row: Row, images: Mapping[str, Path]) -> Path | None:
    return images.get(row.image_id) or images.get(stem_of(row.image_id))


def _image_problems(root: Path, entry: "_Entry") -> Iterator[str]:
    if entry.image.problem:
        yield f"{entry.files.image.relative_to(root).as_posix()}: {entry.image.problem}"


def _damage(root: Path, entry: "_Entry") -> str:
    return f"{entry.files.image.relative_to(root).as_posix()}: damaged inside ({entry.image.damage})"


def _advice_for(damaged: Sequence["_Entry"]) -> str:
    """Say how images that are damaged inside are accepted by name."""
    names = ", ".join(f'"damaged:{entry.row.image_id}"' for entry in damaged[:_ACCEPTED_SHOWN])
    more = ", …" if len(damaged) > _ACCEPTED_SHOWN else ""
    return (
        "A damaged image holds rubbish from some row on: download it again, or, having looked at it, accept "
        f"it under [data]: accept = [{names}{more}]."
    )


def _annotation_problems(root: Path, entry: "_Entry") -> Iterator[str]:
    if not entry.files.annotation:
        return
    annotation = entry.files.annotation.relative_to(root).as_posix()
    if entry.annotation.problem:
        yield f"{annotation}: {entry.annotation.problem}"
    if entry.row.label == NORMAL and entry.annotation.has_lesion:
        yield f"{annotation}: label conflict: a lesion is drawn, and row {entry.row.line} says Normal"


def _message(root: Path, by_advice: Mapping[str, Sequence[str]]) -> str:
    problems = [problem for each in by_advice.values() for problem in each]
    count = "1 problem makes" if len(problems) == 1 else f"{len(problems)} problems make"
    shown = [f"  {problem}" for problem in problems[:_SHOWN]]
    rest = [f"  and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    advice = " ".join(words for words, found in by_advice.items() if found)
    return "\n".join([f"{count} the dataset in {root} unusable:", *shown, *rest, advice])


def _dataset(
    root: Path, entries: Sequence["_Entry"], strangers: int, table_notes: tuple[str, ...]
) -> "Dataset":
    radiographs = tuple(_radiograph(entry) for entry in entries)
    content = [
        [
            one.image_id,
            one.label,
            one.center,
            one.group,
            one.sha256,
            entry.annotation.identity,
        ]
        for one, entry in zip(radiographs, entries, strict=True)
    ]
    counts = _counts(radiographs)
    kind = "BTXRD" if counts == BTXRD_COUNTS else "other"
    if (root / "PHANTOM.md").is_file():
        kind = "phantom"
    annotated = [
        Annotated(one, entry.files.annotation, entry.annotation)
        for one, entry in zip(radiographs, entries, strict=True)
    ]
    notes = (*table_notes, *same_pictures(radiographs), *annotation_notes(root, annotated, strangers))
    return Dataset(root, kind, radiographs, digest_of([READER_VERSION, content]), notes)


def _radiograph(entry: "_Entry") -> Radiograph:
    row, facts = entry.row, entry.image
    return Radiograph(
        image_id=row.image_id,
        image_path=entry.files.image,
        annotation_path=entry.files.annotation if entry.annotation.has_lesion else None,
        center=row.center,
        label=row.label,
        age=row.age,
        gender=row.gender,
        sites=row.sites,
        regions=row.regions,
        views=row.views,
        subtypes=row.subtypes,
        group=row.group,
        sha256=facts.sha256,
        phash=facts.phash,
        height_px=facts.height_px,
        width_px=facts.width_px,
        orientation=facts.orientation,
    )


def _counts(radiographs: Sequence[Radiograph]) -> dict[int, tuple[int, ...]]:
    counts = {center: [0] * len(CLASS_NAMES) for center in sorted({one.center for one in radiographs})}
    for one in radiographs:
        counts[one.center][one.label] += 1
    return {center: tuple(by_class) for center, by_class in counts.items()}


@dataclass(frozen=True)
class _Entry:
    row: Row
    files: Pair
    image: ImageFacts
    annotation: AnnotationFacts


@dataclass(frozen=True)
class Dataset:
    """The radiographs in the order of their image_id.

    `kind` is BTXRD (its exact counts by class and center), phantom, or other. `fingerprint` (64 hex digits)
    stays the same when the folder moves, rows change places or a csv becomes an xlsx. `notes` are oddities
    worth a line in a report; none of them is an error.
    """

    root: Path
    kind: str
    radiographs: tuple[Radiograph, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) indices in CLASS_NAMES."""
        return np.array([one.label for one in self.radiographs], dtype=np.int64)

    @property
    def centers(self) -> NDArray[np.int64]:
        """(n,) centers."""
        return np.array([one.center for one in self.radiographs], dtype=np.int64)

    @property
    def counts(self) -> dict[int, tuple[int, ...]]:
        """By center: how many images of each class, in the order of CLASS_NAMES."""
        return _counts(self.radiographs)
