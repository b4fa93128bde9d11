"""Which annotation file belongs to which image, wherever people put them and however they spell them.

In BTXRD's zip they lie in Annotations/Annotations/. Some systems change capitals, some tools write beside the
image, and some converters keep the image's extension in the name.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from boneexp.data.radiograph import LARGEST_ANNOTATION_BYTES
from boneexp.data.rows import one_spelling, stem_of
from boneexp.files.reading import content_of

USUAL = "Annotations"
FOLDERS = ("annotations", "annotation")  # in any capitals


def annotation_files(root: Path, stems: Collection[str]) -> "AnnotationFiles":
    """Return the annotation of each image that has one; `stems` are the images' names without extension.

    Where an image has several, that in Annotations/ counts, then that in a folder within, in a folder of
    almost the same name, beside the images, and beside the table.
    """
    found: dict[str, Path] = {}
    strangers: set[str] = set()
    folded = Counter(stem.casefold() for stem in stems)
    by_folded = {stem.casefold(): stem for stem in stems}
    for folder, is_of_annotations in _folders(root):
        for path in _json_files(folder):
            name = stem_of(one_spelling(path.stem))
            only = by_folded.get(name.casefold(), "") if folded[name.casefold()] == 1 else ""
            stem = name if name in stems else only
            if not stem and is_of_annotations:
                strangers.add(name)
            elif stem and stem not in found and (is_of_annotations or _holds_shapes(path)):
                found[stem] = path
    return AnnotationFiles(found, len(strangers))


def _folders(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield where annotations may lie, the likeliest first, and whether nothing else should lie there."""
    for folder in _named_so(root):
        yield folder, True
        for inner in _named_so(folder):
            yield inner, True
    yield root / "images", False
    yield root, False


def _named_so(parent: Path) -> list[Path]:
    folders = [path for path in parent.iterdir() if path.name.casefold() in FOLDERS and path.is_dir()]
    return sorted(folders, key=lambda path: (path.name != USUAL, path.name))


def _json_files(folder: Path) -> list[Path]:
    # macOS leaves "._IMG000001.json" beside a file.
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.casefold() == ".json" and not path.name.startswith(".")
    )


def _holds_shapes(path: Path) -> bool:
    """Return True if a file beside the images may be an annotation: other tools put other things there."""
    try:
        return b'"shapes"' in content_of(path, LARGEST_ANNOTATION_BYTES).replace(b"\0", b"")
    except OSError:
        return False


@dataclass(frozen=True)
class AnnotationFiles:
    """The annotation of each image by the image's stem, and how many annotations belong to no image."""

    by_stem: Mapping[str, Path]
    strangers: int
