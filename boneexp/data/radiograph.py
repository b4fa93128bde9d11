"""One radiograph: what the table says of it, its grey levels, and where its lesion lies.

Outlines are kept as fractions of the frame they were drawn on, so they fit the image at any size. A few bytes
can stand for gigabytes of pixels or hours of drawing: what a file says of its size is looked at first.
"""

import json
import math
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from boneexp.errors import DataInvalid
from boneexp.files import content_of

LARGEST_IMAGE_BYTES = 100_000_000
MOST_PIXELS = 100_000_000
LEAST_SIDE_PX = 16
MOST_SCANS = 32  # of a progressive JPEG, each of which goes over every pixel; about ten are usual
LARGEST_ANNOTATION_BYTES = 64_000_000  # LabelMe can put the image into it
MOST_VALUES = 100_000
MOST_SHAPES = 1_000
MOST_POINTS = 10_000  # filling takes their square: some seconds at worst
LONGEST_FRAME_PX = 100_000

Grey = NDArray[np.uint8]  # (height, width)
Outline = NDArray[np.float64]  # (points, 2): x, y as fractions of width and height
LEAST_POINTS = {"polygon": 3, "rectangle": 2}
_REDUCED = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_SHIFT = 8  # fillPoly takes whole numbers: 1/256 of a pixel


def read_grey(path: Path) -> Grey:
    """Return the image as (height, width) grey levels, turned as its EXIF orientation says.

    Raises:
        DataInvalid: the file is missing or no JPEG that can be decoded.
    """
    try:
        return grey_of(content_of(path, LARGEST_IMAGE_BYTES))
    except (OSError, ValueError) as error:
        said = _said(error)
        raise DataInvalid(
            f"{path} is missing or no image that can be decoded: {said}", [str(path)]
        ) from error


def grey_of(content: bytes, least_px: float = math.inf) -> Grey:
    """Return a JPEG's bytes as `read_grey` does, or smaller where that leaves both sides `least_px`.

    A JPEG is stored as frequencies of blocks of 8 x 8 pixels; without the high ones it comes out at 1/2, 1/4
    or 1/8 of its size and in a fraction of the time. An image too small for that is decoded as it is.

    Raises:
        ValueError: it cannot be decoded, or not within the limits of `jpeg_of`.
    """
    shorter = min(jpeg_of(content).size)
    part = next((part for part in (8, 4, 2) if shorter >= part * least_px), 1)
    try:
        grey = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), _REDUCED[part])
    except cv2.error as error:
        raise ValueError(f"not decoded ({error})") from error
    if grey is None:
        raise ValueError("not decoded")
    return np.asarray(grey, dtype=np.uint8)


def jpeg_of(content: bytes) -> JpegImageFile:
    """Return the picture with its header read and nothing decoded.

    Raises:
        ValueError: no JPEG, or one whose decoding would take absurdly long or much.
    """
    try:
        image = JpegImageFile(BytesIO(content))  # not Image.open: one decoder, whatever the bytes claim to be
    except (SyntaxError, OSError, ValueError, struct.error) as error:
        raise ValueError("not a JPEG") from error
    width, height = image.size
    if width * height > MOST_PIXELS or min(width, height) < LEAST_SIDE_PX:
        raise ValueError(f"absurd size {width} x {height}")
    if (scans := _scans(content)) > MOST_SCANS:
        raise ValueError(f"absurd number of scans: {scans:,}")
    return image


def _scans(content: bytes) -> int:
    """Count the markers that begin a scan, as content.count(b"\xff\xda") does, in a quarter of its time."""
    pairs = (np.frombuffer(content, "<u2", (len(content) - first) // 2, first) for first in (0, 1))
    return sum(int(np.count_nonzero(each == 0xDAFF)) for each in pairs)


def clahe(grey: Grey, clip_limit: float, tiles: int) -> Grey:
    """Return `grey` with its contrast evened out within `tiles` x `tiles` regions.

    Source: Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV, 1994.
    """
    equalizer = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tiles, tiles))
    return np.asarray(equalizer.apply(grey), dtype=np.uint8)


def lesion_shapes(annotation_path: Path) -> list[Outline]:
    """Return the outlines of a LabelMe file; a rectangle comes back as its four corners.

    Points are fractions of the file's own imageWidth and imageHeight and may lie slightly outside 0 to 1.

    Raises:
        DataInvalid: the file is missing or not what `drawing` accepts.
    """
    try:
        return drawing(content_of(annotation_path, LARGEST_ANNOTATION_BYTES)).outlines
    except (OSError, ValueError) as error:
        raise DataInvalid(f"{annotation_path}: {_said(error)}", [str(annotation_path)]) from error


def lesion_mask(annotation_path: Path, height_px: int, width_px: int) -> NDArray[np.bool_]:
    """Return (height_px, width_px) bools, True on the union of the annotated polygons and rectangles.

    What lies outside the image is cut off; the tiniest lesion keeps one pixel. A file without shapes gives
    a mask without True.

    Raises:
        DataInvalid: the annotation cannot be used.
    """
    mask = np.zeros((height_px, width_px), dtype=np.uint8)
    inside = [outline for outline in lesion_shapes(annotation_path) if _touches_image(outline)]
    for outline in inside:
        # A pixel's centre has whole coordinates for OpenCV, and half ones in the annotation's frame.
        points = outline * (width_px, height_px) - 0.5
        cv2.fillPoly(mask, [np.round(points * 2**_SHIFT).astype(np.int32)], 1, shift=_SHIFT)
    if inside and not mask.any():
        x, y = inside[0].mean(axis=0).clip(0, 1) * (width_px - 1, height_px - 1)
        mask[round(y), round(x)] = 1
    return mask.astype(np.bool_)


def drawing(content: bytes) -> "Drawing":
    """Return what a LabelMe file's bytes say.

    Raises:
        ValueError: saying what is wrong: not JSON, no list of shapes, a frame without size, an unknown
            shape_type, too few points, a point that is no finite number or lies far outside; too much of all.
    """
    document = _document(content)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise ValueError("no list of shapes in it, so it is no LabelMe annotation")
    height, width = _side(document, "imageHeight"), _side(document, "imageWidth")
    if len(document["shapes"]) > MOST_SHAPES:
        raise ValueError(f"{len(document['shapes']):,} shapes, and {MOST_SHAPES:,} are the most that is read")
    outlines = [
        _outline(shape, f"shape {place}") / (width, height)
        for place, shape in enumerate(document["shapes"], 1)
    ]
    if (points := sum(map(len, outlines))) > MOST_POINTS:
        raise ValueError(f"{points:,} points, and {MOST_POINTS:,} are the most that is read")
    if outlines and not any(_touches_image(outline) for outline in outlines):
        raise ValueError("every shape lies outside the image")
    if any(np.abs(outline - 0.5).max() > 1.5 for outline in outlines):
        raise ValueError("a point lies more than a whole image outside the image")
    return Drawing(height, width, outlines)


def _document(content: bytes) -> Any:
    values = sum(map(content.count, (b",", b"[", b"{")))  # before any of them takes memory
    if values > MOST_VALUES:
        raise ValueError(f"about {values:,} values, and {MOST_VALUES:,} are the most that is read")
    try:
        return json.loads(content, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice in one object, so which counts is not said")
    return found


def _side(document: dict[str, Any], key: str) -> float:
    side = _finite(document.get(key))
    if side is None or not 1 <= side <= LONGEST_FRAME_PX:
        said = _short(document.get(key))
        raise ValueError(f"{key} is {said}, not a number of pixels from 1 to {LONGEST_FRAME_PX:,}")
    return side


def _outline(shape: Any, where: str) -> Outline:
    """Return the corners of one shape, in pixels of the annotation's frame."""
    kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else None  # LabelMe's own default
    if not isinstance(kind, str) or kind not in LEAST_POINTS:
        raise ValueError(
            f"{where} has the unknown shape_type {_short(kind)}; polygon and rectangle are known"
        )
    points = shape.get("points")
    if not isinstance(points, list) or len(points) < LEAST_POINTS[kind]:
        found = len(points) if isinstance(points, list) else 0
        raise ValueError(f"{where} is a {kind} with {found} points, and needs {LEAST_POINTS[kind]}")
    corners = np.array([_point(point, where) for point in points])
    return _rectangle(corners) if kind == "rectangle" else corners


def _point(point: Any, where: str) -> tuple[float, float]:
    pair = [_finite(number) for number in point] if isinstance(point, list) else []
    if len(pair) != 2 or pair[0] is None or pair[1] is None:
        raise ValueError(f"{where} has a point that is not two finite numbers: {_short(point)}")
    return pair[0], pair[1]


def _finite(number: object) -> float | None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    try:
        return float(number) if math.isfinite(number) else None
    except OverflowError:  # a whole number beyond the range of floats
        return None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _said(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)


def _rectangle(corners: Outline) -> Outline:
    """Return the four corners of the box around `corners`, which may come in any order."""
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _touches_image(outline: Outline) -> bool:
    return bool((outline.max(axis=0) >= 0).all() and (outline.min(axis=0) <= 1).all())


@dataclass(frozen=True)
class Drawing:
    """A LabelMe file: the frame it was drawn on, and its outlines as fractions of that frame."""

    frame_height: float
    frame_width: float
    outlines: list[Outline]


@dataclass(frozen=True)
class Radiograph:
    """One image: a row of the table, joined with its files.

    `label` is an index in CLASS_NAMES, `group` is "" without a grouping column, `phash` is 16 hex digits,
    height and width are those of the image as `read_grey` gives it.
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
