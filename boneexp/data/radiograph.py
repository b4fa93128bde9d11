"""One radiograph: its grey levels, what the table says of it, and where its lesion lies."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from boneexp.data.lesions import Drawing, Picture, Pictured, drawing, filled, lesion_of, touches
from boneexp.data.pictures import BROKEN, LARGEST_IMAGE_BYTES, Grey, Image, grey_of, opened
from boneexp.errors import DataInvalid
from boneexp.files.reading import content_of
from boneexp.study.settings import Lesion

LARGEST_ANNOTATION_BYTES = 64_000_000  # LabelMe can put the image into it

_ORIENTATION = 0x0112  # EXIF tag


def read_grey(path: Path) -> Grey:
    """Return the image as (height, width) grey levels, turned as its EXIF orientation says.

    Raises:
        DataInvalid: the file is missing or no image that can be decoded.
    """
    try:
        return grey_of(content_of(path, LARGEST_IMAGE_BYTES))
    except (OSError, ValueError) as error:
        message = getattr(error, "strerror", None) or error
        raise DataInvalid(
            f"{path} is missing or no image that can be decoded: {message}", [str(path)]
        ) from error


def clahe(grey: Grey, clip_limit: float, tiles: int) -> Grey:
    """Return `grey` with its contrast evened out within `tiles` x `tiles` regions.

    Source: Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV, 1994.
    """
    equalizer = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tiles, tiles))
    return np.asarray(equalizer.apply(grey), dtype=np.uint8)


def lesion_mask(
    annotation_path: Path,
    height_px: int,
    width_px: int,
    lesion: Lesion = "outline",
    picture: Pictured | None = None,
) -> NDArray[np.bool_]:
    """Return (height_px, width_px) bools, True on the annotated lesion.

    What lies outside the image is cut off; the tiniest lesion keeps one pixel. A file without shapes gives
    a mask without True.

    Args:
        annotation_path: a LabelMe file.
        height_px: of the mask, whatever the size of the image.
        width_px: likewise.
        lesion: which shapes count, as `lesion_of` says.
        picture: the image's size and EXIF orientation; None for those of the image beside the annotation.

    Raises:
        DataInvalid: the annotation cannot be used.
    """
    drawn = drawing_of(annotation_path, picture or _picture_beside(annotation_path, height_px, width_px))
    inside = [shape for shape in lesion_of(drawn.shapes, lesion) if touches(shape)]
    mask = np.zeros((height_px, width_px), dtype=np.uint8)
    for shape in inside:
        mask |= filled(shape, height_px, width_px)
    if inside and not mask.any():
        x, y = inside[0].rings[0].mean(axis=0).clip(0, 1) * (width_px - 1, height_px - 1)
        mask[round(y), round(x)] = 1
    return mask.astype(np.bool_)


def drawing_of(annotation_path: Path, picture: Pictured) -> Drawing:
    """Return what a LabelMe file says of a picture.

    Raises:
        DataInvalid: the file is missing or not what `drawing` accepts.
    """
    try:
        return drawing(content_of(annotation_path, LARGEST_ANNOTATION_BYTES), picture)
    except (OSError, ValueError) as error:
        raise DataInvalid(f"{annotation_path}: {_said(error)}", [str(annotation_path)]) from error


def _picture_beside(annotation_path: Path, height_px: int, width_px: int) -> Picture:
    """Return the facts of the annotation's image, in BTXRD's layout or beside it; else what is asked for."""
    parent = annotation_path.parent
    for folder in (parent, parent.parent / "images", parent.parent.parent / "images"):
        for name in (f"{annotation_path.stem}{ending}" for ending in (".jpeg", ".jpg", ".png")):
            with suppress(OSError, ValueError):
                return picture_of(opened(content_of(folder / name, LARGEST_IMAGE_BYTES)))
    return Picture(height_px, width_px)


def picture_of(image: Image) -> Picture:
    """Return the size at which an image is shown, and its EXIF orientation."""
    orientation = 1
    with suppress(*BROKEN, TypeError, KeyError):  # a broken one is none
        said = image.getexif().get(_ORIENTATION)
        orientation = said if isinstance(said, int) and 1 <= said <= 8 else 1
    width, height = image.size if orientation < 5 else image.size[::-1]
    return Picture(height, width, orientation)


def _said(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)


@dataclass(frozen=True)
class Radiograph:
    """One image: a row of the table, joined with its files.

    `label` is an index in CLASS_NAMES, `group` is "" without a grouping column, `phash` is 16 hex digits,
    height and width are those of the image as `read_grey` gives it, and `orientation` is its EXIF's.
    """

    image_id: str
    image_path: Path
    annotation_path: Path | None
    center: int
    label: int
    age: int | None
    gender: str | None
    sites: tuple[str, ...]
    regions: tuple[str, ...]
    views: tuple[str, ...]
    subtypes: tuple[str, ...]
    group: str
    sha256: str
    phash: str
    height_px: int
    width_px: int
    orientation: int = 1
