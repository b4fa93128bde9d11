"""Where the lesion lies: an annotation's shapes on the picture as it is shown, and which of them count.

BTXRD holds every lesion twice, as outline and as bounding box, so the union of all shapes would be the box.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from boneexp.data.drawn_shapes import Ring, bounds
from boneexp.data.labelme import Annotation, Shape, read_labelme
from boneexp.study.settings import Lesion

ASPECT_TOLERANCE = 0.02
SHIFT = 8  # fillPoly takes whole numbers: 1/256 of a pixel
_GRID = 32  # cells along each side of a shape, at whose centres it is asked what the shape lies in


def drawing(content: bytes, picture: "Pictured") -> "Drawing":
    """Return what a LabelMe file's bytes say of a picture.

    Raises:
        ValueError: what `read_labelme` refuses; every shape outside the image, or a point far outside.
    """
    annotation = read_labelme(content)
    is_turned = _is_drawn_before_turning(annotation, picture)
    orientation = picture.orientation if is_turned else 1
    height, width = _frame(annotation) or _stored(picture, orientation)
    shapes = tuple(_on_picture(shape, (width, height), orientation) for shape in annotation.shapes)
    corners = [np.concatenate(shape.rings) for shape in shapes]
    if shapes and not any(map(touches, shapes)):
        raise ValueError("every shape lies outside the image")
    if any(np.abs(each - 0.5).max() > 1.5 for each in corners):
        raise ValueError("a point lies more than a whole image outside the image")
    said = _frame(annotation) is not None
    turning = "" if not shapes else "turned" if is_turned else _doubt(annotation, picture)
    return Drawing(shapes, height, width, said, turning, annotation.left_out)


def lesion_of(shapes: Sequence[Shape], lesion: Lesion) -> list[Shape]:
    """Return the shapes that make up the lesion.

    "outline": every outline, and the boxes in which none lies. "box": every box, and the bounding box of the
    outlines that lie in none. "union": all of them.
    """
    if lesion == "union":
        return list(shapes)
    outlines = [shape for shape in shapes if not shape.is_box]
    boxes = [shape for shape in shapes if shape.is_box]
    inner = [_inner_points(outline) for outline in outlines]
    if lesion == "outline":
        return outlines + [each for each in boxes if not any(_lies_in(points, each) for points in inner)]
    bare = [
        Shape((bounds(np.concatenate(outline.rings)),), is_box=True)
        for outline, points in zip(outlines, inner, strict=True)
        if not any(_lies_in(points, each) for each in boxes)
    ]
    return boxes + bare


def touches(shape: Shape) -> bool:
    """Return True if some of the shape can lie on the image."""
    corners = np.concatenate(shape.rings)
    return bool((corners.max(axis=0) >= 0).all() and (corners.min(axis=0) <= 1).all())


def filled(shape: Shape, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Return (height_px, width_px) bytes: 1 on the shape, whose rings are fractions, and on its rim."""
    plane = np.zeros((height_px, width_px), dtype=np.uint8)
    # A pixel's centre has whole coordinates for OpenCV, and half ones in the annotation's frame.
    rings = [ring * (width_px, height_px) - 0.5 for ring in shape.rings]
    cv2.fillPoly(plane, [np.round(ring * 2**SHIFT).astype(np.int32) for ring in rings], 1, shift=SHIFT)
    return plane


def _frame(annotation: Annotation) -> tuple[float, float] | None:
    height, width = annotation.frame_height, annotation.frame_width
    return None if height is None or width is None else (height, width)


def _stored(picture: "Pictured", orientation: int) -> tuple[int, int]:
    """Return (height, width) of the picture as shown, or as stored where EXIF lays it on its side."""
    size = picture.height_px, picture.width_px
    return size[::-1] if orientation >= 5 else size


def _is_drawn_before_turning(annotation: Annotation, picture: "Pictured") -> bool:
    """Return True if the frame is that of the stored picture and not that of the picture as EXIF turns it.

    LabelMe shows and measures the turned one, so what fits both was drawn there.
    """
    if picture.orientation < 5:
        return False
    shown, stored = _stored(picture, 1), _stored(picture, picture.orientation)
    frame = _frame(annotation)
    if frame is None:
        return not _holds(shown, annotation) and _holds(stored, annotation)
    if frame in (shown, stored):
        return frame != shown
    return _aspect_gap(frame, stored) < min(_aspect_gap(frame, shown), ASPECT_TOLERANCE)


def _doubt(annotation: Annotation, picture: "Pictured") -> str:
    """Return "either" where the frame would fit before and after the turning."""
    if picture.orientation < 2:
        return ""
    frame, stored = _frame(annotation), _stored(picture, picture.orientation)
    if frame is None:
        return "either" if _holds(stored, annotation) else ""
    is_exact = stored != _stored(picture, 1) and frame == _stored(picture, 1)
    return "either" if not is_exact and _aspect_gap(frame, stored) <= ASPECT_TOLERANCE else ""


def _holds(size: tuple[int, int], annotation: Annotation) -> bool:
    corners = [ring for shape in annotation.shapes for ring in shape.rings]
    return all((ring <= (size[1] + 1, size[0] + 1)).all() for ring in corners)


def _aspect_gap(frame: tuple[float, float], size: tuple[int, int]) -> float:
    """Return by which fraction of a side two sizes differ in aspect."""
    return abs(math.log(frame[0] * size[1] / (frame[1] * size[0])))


def _on_picture(shape: Shape, frame: tuple[float, float], orientation: int) -> Shape:
    """Return the shape in fractions of the picture as shown."""
    return replace(shape, rings=tuple(_turned(ring / frame, orientation) for ring in shape.rings))


def _turned(ring: Ring, orientation: int) -> Ring:
    """Return fractions of the stored picture as fractions of the picture that EXIF says to show."""
    x, y = ring[:, 0], ring[:, 1]
    shown = {5: (y, x), 6: (1 - y, x), 7: (1 - y, 1 - x), 8: (y, 1 - x)}
    return np.stack(shown.get(orientation, (x, y)), axis=1)


def _inner_points(shape: Shape) -> Ring:
    """Return (n, 2) points evenly spread over the shape."""
    corners = np.concatenate(shape.rings)
    low = corners.min(axis=0)
    span = np.maximum(np.ptp(corners, axis=0), 1e-9)
    fitted = replace(shape, rings=tuple((ring - low) / span for ring in shape.rings))
    rows, columns = np.nonzero(filled(fitted, _GRID, _GRID))
    return np.asarray(low + (np.stack([columns, rows], axis=1) + 0.5) / _GRID * span)


def _lies_in(points: Ring, container: Shape) -> bool:
    """Return True if more than half of the points lie in a box: few boxes are drawn to the pixel."""
    corners = container.rings[0]
    sides = np.roll(corners, -1, axis=0) - corners
    away = points[:, None] - corners
    turn = sides[:, 0] * away[..., 1] - sides[:, 1] * away[..., 0]
    inside = (turn >= 0).all(axis=1) | (turn <= 0).all(axis=1)
    return bool(inside.mean() > 0.5)


class Pictured(Protocol):
    """What must be known of an image to place an annotation: its size as shown, and its EXIF orientation."""

    @property
    def height_px(self) -> int:
        """Height as shown."""

    @property
    def width_px(self) -> int:
        """Width as shown."""

    @property
    def orientation(self) -> int:
        """1 to 8; from 5 on the picture is stored lying on its side."""


@dataclass(frozen=True)
class Picture:
    """A picture's size as shown, and its EXIF orientation."""

    height_px: int
    width_px: int
    orientation: int = 1


@dataclass(frozen=True)
class Drawing:
    """A LabelMe file on its picture: shapes as fractions of it, which may lie slightly outside 0 to 1.

    `turning` is "turned" where the shapes were drawn before EXIF turned the picture, and "either" where the
    frame does not tell; `left_out` counts what was left out, by shape_type or label.
    """

    shapes: tuple[Shape, ...]
    frame_height: float
    frame_width: float
    is_frame_said: bool = True
    turning: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
