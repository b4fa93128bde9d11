"""What is in each file: decoded to the end, measured, hashed, and remembered so that the next look is quick.

The index under artifacts/cache holds the facts of a sound dataset's images by name, size and time of change.
Lose it and it is made again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from boneexp.data.labelme import LEFT_OUT_LABELS, LONGEST_FRAME_PX
from boneexp.data.lesions import Drawing, Picture, drawing
from boneexp.data.pictures import LARGEST_IMAGE_BYTES, Grey, checked_thumbnail, opened
from boneexp.data.radiograph import LARGEST_ANNOTATION_BYTES, picture_of
from boneexp.data.threads import Progress, in_order
from boneexp.files.atomic import write_text
from boneexp.files.reading import content_of

INDEX_VERSION = "boneexp-index-2"
LARGEST_INDEX_BYTES = 100_000_000
_ANY_PICTURE = Picture(LONGEST_FRAME_PX, LONGEST_FRAME_PX)  # for an annotation whose image is damaged


def examine(
    root: Path,
    pairs: Sequence["Pair"],
    index_path: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> "Examined":
    """Return the facts of each image and its annotation, in order; what is wrong stands in `problem`."""
    known = _read_index(root, index_path)
    keys = [_key(root, pair.image) for pair in pairs]

    def look(place: int) -> tuple["ImageFacts", "AnnotationFacts"]:
        image = known.get(keys[place]) or image_facts(pairs[place].image)
        return image, annotation_facts(pairs[place].annotation, image)

    facts = list(in_order(look, range(len(pairs)), workers, progress))
    found = {key: image for key, (image, _) in zip(keys, facts, strict=True) if key and not image.problem}
    return Examined(tuple(facts), {} if found == known else found)


def remember(root: Path, index_path: Path, images: Mapping[str, "ImageFacts"]) -> None:
    """Write the index; a full or read-only disk costs time at the next look, no more."""
    index = {
        "version": INDEX_VERSION,
        "root": str(root.resolve()),
        "images": {key: asdict(facts) for key, facts in images.items()},
    }
    with suppress(OSError):
        write_text(index_path, json.dumps(index))


def image_facts(path: Path) -> "ImageFacts":
    """Return what the image is, decoded to its last byte, or the problem that it has."""
    try:
        content = content_of(path, LARGEST_IMAGE_BYTES)
    except OSError as error:
        return ImageFacts(problem=f"cannot be read ({error.strerror})")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        image = opened(content)
        picture = picture_of(image)
        thumbnail = checked_thumbnail(image, content)
    except ValueError as error:
        return ImageFacts(sha256, problem=str(error))
    grey = thumbnail.grey
    if picture.orientation >= 5:  # lies on its side
        grey = grey.T
    size = (picture.height_px, picture.width_px, picture.orientation)
    return ImageFacts(sha256, phash(grey), *size, damage=thumbnail.damage)


def annotation_facts(path: Path | None, image: "ImageFacts") -> "AnnotationFacts":
    """Return what the LabelMe file says of an image, or its problem; the facts of nothing for None."""
    if path is None:
        return AnnotationFacts()
    try:
        content = content_of(path, LARGEST_ANNOTATION_BYTES)
        drawn = drawing(content, image if not image.problem else _ANY_PICTURE)
    except OSError as error:
        return AnnotationFacts(problem=f"cannot be read ({error.strerror})")
    except ValueError as error:
        return AnnotationFacts(problem=str(error))
    return AnnotationFacts(hashlib.sha256(content).hexdigest(), drawn)


def phash(grey: Grey) -> str:
    """Return the 64-bit perceptual hash of (height, width) grey levels as 16 hex digits.

    Bits say which of the 8 x 8 lowest frequencies of a 32 x 32 thumbnail exceed their median (taken without
    the mean grey).

    Source: Zauner, Implementation and benchmarking of perceptual image hash functions, 2010.
    """
    thumbnail = cv2.resize(np.ascontiguousarray(grey), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(thumbnail.astype(np.float32))[:8, :8].flatten()
    return np.packbits(low > np.median(low[1:])).tobytes().hex()


def _key(root: Path, path: Path) -> str:
    """Return what the image is remembered by, or "" where it cannot be reached."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{path.relative_to(root).as_posix()}|{state.st_size}|{state.st_mtime_ns}"


def _read_index(root: Path, index_path: Path | None) -> Mapping[str, "ImageFacts"]:
    """Return the remembered facts; none where the index is missing, damaged, or another dataset's."""
    if not index_path:
        return {}
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        index = json.loads(content_of(index_path, LARGEST_INDEX_BYTES))
        if index["version"] == INDEX_VERSION and index["root"] == str(root.resolve()):
            return {key: ImageFacts(**_typed(facts)) for key, facts in index["images"].items()}
    return {}


def _typed(facts: Any) -> Any:
    kinds = {name: type(value) for name, value in facts.items()}
    if kinds != {
        "sha256": str,
        "phash": str,
        "height_px": int,
        "width_px": int,
        "orientation": int,
        "damage": str,
        "problem": str,
    }:
        raise ValueError("not facts of an image")
    return facts


@dataclass(frozen=True)
class Pair:
    """The files of one image."""

    image: Path
    annotation: Path | None


@dataclass(frozen=True)
class Examined:
    """Facts of images and annotations, and those of images to `remember`: none where the index has them."""

    facts: tuple[tuple["ImageFacts", "AnnotationFacts"], ...]
    news: Mapping[str, "ImageFacts"]


@dataclass(frozen=True)
class ImageFacts:
    """What an image is: height and width as `read_grey` gives them; `problem` is "" where it can be used.

    `damage` is what its decoder complained of and decoded all the same; "" for nothing.
    """

    sha256: str = ""
    phash: str = ""
    height_px: int = 0
    width_px: int = 0
    orientation: int = 1
    damage: str = ""
    problem: str = ""


@dataclass(frozen=True)
class AnnotationFacts:
    """What an annotation is; `sha256` is "" and `drawn` None where there is none, or none that is sound."""

    sha256: str = ""
    drawn: Drawing | None = None
    problem: str = ""

    @property
    def has_lesion(self) -> bool:
        """Whether a lesion is drawn."""
        return self.drawn is not None and bool(self.drawn.shapes)

    @property
    def identity(self) -> str:
        """The digest of the file, and how it is read where that was otherwise before; "" without a lesion."""
        if self.drawn is None or not self.drawn.shapes:
            return ""
        others = {
            "turned": self.drawn.turning == "turned",
            "turned boxes": any(shape.is_turned for shape in self.drawn.shapes),
            "labels left out": any(label in self.drawn.left_out for label in LEFT_OUT_LABELS),
        }
        return ", ".join([self.sha256, *(how for how, is_so in others.items() if is_so)])
