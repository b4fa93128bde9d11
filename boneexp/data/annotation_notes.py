"""What is odd about a dataset's annotations and no error: one line for each kind, with the first image."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boneexp.data.annotation_files import USUAL
from boneexp.data.audit import AnnotationFacts
from boneexp.data.labelme import LEFT_OUT_LABELS, WITHOUT_AREA
from boneexp.data.lesions import ASPECT_TOLERANCE, Drawing
from boneexp.data.radiograph import Radiograph
from boneexp.results import CLASS_NAMES

NORMAL = CLASS_NAMES.index("Normal")


def annotation_notes(root: Path, images: Sequence["Annotated"], strangers: int) -> Iterator[str]:
    """Yield the notes; `strangers` counts annotation files that belong to no image."""
    tumours = [one for one in images if one.radiograph.label != NORMAL]
    bare = [one for one in tumours if not one.facts.has_lesion]
    if bare:
        count = f"{len(bare)} of {len(tumours)}"
        yield f"{count} tumour images have no annotated lesion, {bare[0].name} the first"
    if strangers:
        yield f"{strangers} annotation files belong to no row of the table"
    yield from _places(root, images)
    yield from _left_out(images, WITHOUT_AREA, "without an area")
    yield from _left_out(images, LEFT_OUT_LABELS, "with a label that leaves them out")
    yield from _frames([one for one in images if one.facts.has_lesion])


def _places(root: Path, images: Sequence["Annotated"]) -> Iterator[str]:
    """Say which annotations are read from elsewhere than Annotations/."""
    folders = Counter(one.path.parent.relative_to(root) for one in images if one.path)
    for folder, count in sorted(folders.items()):
        if folder.parts[:1] != (USUAL,):
            yield f"annotations of {_images(count)} lie in {folder.as_posix()}/ and not in {USUAL}/"


def _left_out(images: Sequence["Annotated"], kinds: Collection[str], which: str) -> Iterator[str]:
    """Say how many shapes are no part of a lesion."""
    counts: Counter[str] = Counter()
    first = ""
    for one in images:
        found = {kind: count for kind, count in one.drawn.left_out.items() if kind in kinds}
        counts.update(found)
        first = first or (one.name if found else "")
    if counts:
        named = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        yield f"shapes {which} are no part of a lesion ({named}), the first in the annotation of {first}"


def _frames(images: Sequence["Annotated"]) -> Iterator[str]:
    """Say where the frame that an outline was drawn on is missing, or not that of the image as shown."""
    yield from _counted(
        [one for one in images if not one.drawn.is_frame_said],
        "no usable imageHeight and imageWidth: the image's own are taken",
    )
    yield from _counted(
        [one for one in images if one.drawn.turning == "turned"],
        "a frame of the size before EXIF turned the image: outlines are turned with it",
    )
    yield from _counted(
        [one for one in images if one.drawn.turning == "either"],
        "a frame that fits before and after EXIF turned the image: taken as drawn on the turned one",
    )
    for one in images:
        if one.drawn.turning != "turned" and not _same_aspect(one):
            frame = f"{one.drawn.frame_width:g} x {one.drawn.frame_height:g}"
            size = f"{one.radiograph.width_px} x {one.radiograph.height_px}"
            yield f"{one.name} is {size}, and its annotation's frame {frame}"


def _counted(images: Sequence["Annotated"], what: str) -> Iterator[str]:
    if images:
        yield f"annotations of {_images(len(images))} have {what}, {images[0].name} the first"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _same_aspect(one: "Annotated") -> bool:
    expected = one.drawn.frame_height * one.radiograph.width_px
    return abs(one.drawn.frame_width * one.radiograph.height_px - expected) <= ASPECT_TOLERANCE * expected


@dataclass(frozen=True)
class Annotated:
    """An image, its annotation file, and what that says."""

    radiograph: Radiograph
    path: Path | None
    facts: AnnotationFacts

    @property
    def name(self) -> str:
        """The image's id."""
        return self.radiograph.image_id

    @property
    def drawn(self) -> Drawing:
        """What is drawn: nothing where there is no annotation."""
        return self.facts.drawn or Drawing((), 0, 0)
