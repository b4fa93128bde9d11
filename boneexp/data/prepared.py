"""Decode once: every image as CLAHE leaves it, at one size, in one file that is mapped into memory.

A cache is named after all that decides its content and is complete or not there. Who builds holds a lock; who
comes second waits and finds it made. What does not match its digests is built again.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from boneexp.data.btxrd import Dataset
from boneexp.data.pictures import LARGEST_IMAGE_BYTES, Grey, grey_of
from boneexp.data.radiograph import Radiograph, clahe, lesion_mask
from boneexp.data.threads import Progress, in_order
from boneexp.errors import DataInvalid
from boneexp.files.atomic import inside, sha256_of, write_text
from boneexp.files.reading import content_of
from boneexp.study.settings import DataSettings, Decoding, Lesion, digest_of

PREPARED_VERSION = "boneexp-prepared-1"
PIXELS, LESIONS, NOTE = "pixels.npy", "lesions.npy", "prepared.json"
# How far "scaled" goes down: by measurement within 2.2 grey levels of "full" on average. It is what the word
# means in hashes and names of caches, so other values would need another word.
SCALED_AT_LEAST = 1.25  # sides, in sizes of the result
TILE_AT_LEAST_PX = 48  # sides of CLAHE's regions, or their histograms are too thin


def prepare(
    dataset: Dataset,
    folder: Path,
    *,
    size_px: int,
    clip_limit: float,
    tiles: int,
    decoding: Decoding = "full",
    lesion: Lesion = "outline",
    workers: int | None = None,
    progress: Progress | None = None,
) -> "Prepared":
    """Return all images of `dataset` at `size_px`, from the cache under `folder` or built into it.

    Args:
        dataset: its fingerprint names the cache, together with the settings.
        folder: where caches lie, one folder each.
        size_px: height and width; the aspect ratio is not kept.
        clip_limit: of CLAHE, which runs at the size that was decoded.
        tiles: CLAHE's regions along each side.
        decoding: at full size, or scaled down as far as `Recipe.least_px` lets it.
        lesion: which of the annotated shapes make up a lesion.
        workers: threads; None for one per core.
        progress: called with (images done, images in all), and only while building.

    Raises:
        DataInvalid: a file has changed since the dataset was read and cannot be used any more.
        Damaged: the cache's place is a symbolic link.
        OSError: the disk is full or refuses.
    """
    recipe = Recipe(size_px, float(clip_limit), tiles, decoding, lesion)
    place = cache_folder(folder, dataset.fingerprint, recipe)
    if (found := _opened(inside(folder, place.name), dataset)) is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(inside(folder, f"{place.name}.lock")):
        if (found := _opened(place, dataset)) is None:
            _build(place, dataset, recipe, workers, progress)
            found = _opened(place, dataset)
    if found is None:
        raise OSError(f"the cache {place} does not read back as it was written; is the disk sound?")
    return found


def cache_folder(folder: Path, fingerprint: str, recipe: "Recipe") -> Path:
    """Return where the cache of a dataset lies, or will lie, under `folder`."""
    return folder / digest_of([PREPARED_VERSION, fingerprint, recipe.identity()])[:24]


def recipe_of(settings: DataSettings) -> "Recipe":
    """Return what an experiment's data settings ask for."""
    return Recipe(
        settings.image_size,
        settings.clahe_clip_limit,
        settings.clahe_tiles,
        settings.decoding,
        settings.lesion,
    )


def prepared_grey(radiograph: Radiograph, recipe: "Recipe") -> Grey:
    """Return one image as the cache holds it: (size_px, size_px) grey levels.

    Raises:
        DataInvalid: the file is not the one that was read into the dataset, or cannot be decoded.
    """
    path = radiograph.image_path
    content = b""
    with suppress(OSError):
        content = content_of(path, LARGEST_IMAGE_BYTES)
    if hashlib.sha256(content).hexdigest() != radiograph.sha256:
        raise DataInvalid(
            f"{path} has changed since the dataset was read; touch it and run again", [str(path)]
        )
    grey = clahe(_decoded(path, content, recipe), recipe.clip_limit, recipe.tiles)
    height, width = grey.shape
    size = recipe.size_px
    # Averaging is for shrinking; a narrow image may shrink in height and grow in width.
    shrunk = cv2.resize(grey, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _decoded(path: Path, content: bytes, recipe: "Recipe") -> Grey:
    try:
        return grey_of(content, recipe.least_px)
    except ValueError as error:
        raise DataInvalid(f"{path}: {error}", [str(path)]) from error


def _opened(place: Path, dataset: Dataset) -> "Prepared | None":
    """Return the cache at `place`, or None unless every byte is as it was written."""
    annotated = np.array([one.annotation_path is not None for one in dataset.radiographs], dtype=np.bool_)
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        noted = json.loads((place / NOTE).read_bytes())
        if any(sha256_of(place / name) != noted[name] for name in (PIXELS, LESIONS)):
            return None
        pixels = np.load(place / PIXELS, mmap_mode="r")
        lesions = np.load(place / LESIONS, mmap_mode="r")
        if (len(pixels), len(lesions)) == (len(annotated), annotated.sum()):
            lesion_row = np.where(annotated, np.cumsum(annotated) - 1, -1).astype(np.int64)
            return Prepared(pixels, lesions, lesion_row, place)
    return None


def _build(
    place: Path, dataset: Dataset, recipe: "Recipe", workers: int | None, progress: Progress | None
) -> None:
    """Write the cache into a folder beside, which takes its place when it is complete."""
    for abandoned in place.parent.glob(f"{place.name}.*.part"):
        shutil.rmtree(inside(place.parent, abandoned.name))  # its builder is dead, or it would hold the lock
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    part.mkdir()
    size = (recipe.size_px, recipe.size_px)
    annotations = [(one.annotation_path, one) for one in dataset.radiographs if one.annotation_path]
    greys = in_order(lambda one: prepared_grey(one, recipe), dataset.radiographs, workers, progress)
    masks = in_order(
        lambda annotated: lesion_mask(annotated[0], *size, recipe.lesion, annotated[1]), annotations, workers
    )
    try:
        digests = {
            PIXELS: _write_array(part / PIXELS, "|u1", (len(dataset.radiographs), *size), greys),
            LESIONS: _write_array(part / LESIONS, "|b1", (len(annotations), *size), masks),
        }
        write_text(part / NOTE, json.dumps({**digests, "fingerprint": dataset.fingerprint, **asdict(recipe)}))
        shutil.rmtree(place, ignore_errors=True)
        part.replace(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_array(path: Path, kind: str, shape: tuple[int, ...], planes: Iterable[NDArray[Any]]) -> str:
    """Write `planes` one after the other as an .npy file and return its SHA-256.

    Plain writes and no memory map: on a full disk a map kills the process, a write raises OSError.
    """
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in chain([header.getvalue()], (plane.tobytes() for plane in planes)):
            file.write(block)
            digest.update(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


@dataclass(frozen=True)
class Recipe:
    """What is done to each image: CLAHE at the size decoded, then resizing to size_px x size_px.

    `lesion` says which annotated shapes make up its mask.
    """

    size_px: int
    clip_limit: float
    tiles: int
    decoding: Decoding = "full"
    lesion: Lesion = "outline"

    @property
    def least_px(self) -> float:
        """How long both sides must be after decoding, unless the file has no more."""
        if self.decoding == "full":
            return math.inf
        return max(SCALED_AT_LEAST * self.size_px, TILE_AT_LEAST_PX * self.tiles)

    def identity(self) -> dict[str, object]:
        """Return what names a cache, without what was the only way once: older caches keep their name."""
        once = {"decoding": "full", "lesion": "union"}
        return {key: value for key, value in asdict(self).items() if once.get(key) != value}


@dataclass(frozen=True)
class Prepared:
    """The images of a dataset, in its order, mapped read-only.

    `pixels` is (n, size, size) uint8 and `lesions` (m, size, size) bool for the m annotated images;
    `lesion_row` (n,) gives an image's row in `lesions`, or -1.
    """

    pixels: NDArray[np.uint8]
    lesions: NDArray[np.bool_]
    lesion_row: NDArray[np.int64]
    folder: Path
