"""Circles, ellipses, boxes and masks as polygons, in the pixels that they were drawn in.

A ring is (n, 2) floats: x, y of its corners, where pixel 0 reaches from 0 to 1.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

Ring = NDArray[np.float64]

MOST_MASK_PIXELS = 25_000_000
MOST_MASK_CORNERS = 100_000
_CORNERS_OF_A_CIRCLE = 180  # off by 1/6,500 of the radius
_RIGHT_ANGLE = 0.1  # cosine that still counts as one


def circle(points: Ring) -> Ring:
    """Return the circle around the first point through the second."""
    if len(points) != 2:
        raise ValueError(f"is a circle with {len(points)} points; its centre and one on its edge are needed")
    radius = float(np.hypot(*(points[1] - points[0])))
    return _oval(points[0], np.array([radius, 0.0]), np.array([0.0, radius]))


def ellipse(points: Ring) -> Ring:
    """Return the ellipse that 2 points (corners of its box), 3, 4 or more points mean.

    Three are its centre and an end of each axis, four the corners of its box or the ends of its axes, more
    lie on its edge.

    Raises:
        ValueError: they mean none.
    """
    if len(points) == 2:
        half = (points[1] - points[0]) / 2
        return _oval(points.mean(axis=0), half * (1, 0), half * (0, 1))
    if len(points) == 3:
        one, other = points[1:] - points[0]
        return _oval(points[0], *_axes(one, other))
    if len(points) == 4:
        return _oval(points.mean(axis=0), *_half_axes(box(points)))
    (x, y), sides, degrees = cv2.fitEllipse(points.astype(np.float32))
    turn = np.deg2rad(degrees)
    along = np.array([np.cos(turn), np.sin(turn)])
    return _oval(np.array([x, y]), along * sides[0] / 2, np.array([-along[1], along[0]]) * sides[1] / 2)


def box(points: Ring) -> Ring:
    """Return the four corners of a box, from two or more of them in any order."""
    if not is_upright(points):
        hull = cv2.convexHull(points.astype(np.float32), returnPoints=False)
        return np.asarray(points[hull[:, 0]])
    return bounds(points)


def bounds(points: Ring) -> Ring:
    """Return the corners of the upright box around the points."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def is_upright(points: Ring) -> bool:
    """Return True if a box with these corners is parallel to its frame: all but four true corners are."""
    hull = cv2.convexHull(points.astype(np.float32), returnPoints=False)
    near = np.minimum(points - points.min(axis=0), points.max(axis=0) - points)
    return len(hull) < 4 or bool((near <= 0.01 * (1 + np.ptp(points, axis=0))).all())


def mask_rings(text: object, points: Ring, frame: Sequence[float | None]) -> tuple[Ring, ...]:
    """Return a mask's edges, holes among them; none where no pixel is set.

    Args:
        text: a PNG in base64, whose pixels other than 0 are the lesion.
        points: two corners of the mask's place, both inside; without them the mask covers the frame.
        frame: (height, width) in pixels, as far as it is known.

    Raises:
        ValueError: no PNG, one that does not fit its place, too large, or too ragged.
    """
    bitmap = _bitmap(text)
    left, top = _corner(bitmap.shape, points, frame)
    # Twice as fine, with each pixel's edge beside it: contours run through pixels, and so along the edges.
    fine = np.zeros((2 * bitmap.shape[0] + 1, 2 * bitmap.shape[1] + 1), dtype=np.uint8)
    fine[1::2, 1::2] = bitmap
    contours, _ = cv2.findContours(
        cv2.dilate(fine, np.ones((3, 3), np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    if (corners := sum(map(len, contours))) > MOST_MASK_CORNERS:
        raise ValueError(f"is a mask with {corners:,} corners, and {MOST_MASK_CORNERS:,} are the most")
    return tuple(contour[:, 0] / 2 + (left, top) for contour in contours)


def _oval(centre: Ring, one: Ring, other: Ring) -> Ring:
    """Return the ellipse with these half axes."""
    turn = np.linspace(0, 2 * np.pi, _CORNERS_OF_A_CIRCLE, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(turn) * one + np.sin(turn) * other)


def _axes(one: Ring, other: Ring) -> tuple[Ring, Ring]:
    """Return the half axes if they stand on each other."""
    if abs(one @ other) > _RIGHT_ANGLE * np.hypot(*one) * np.hypot(*other):
        raise ValueError("is an ellipse whose axes are not at a right angle")
    return one, other


def _half_axes(corners: Ring) -> tuple[Ring, Ring]:
    """Return the half axes from four points in order around: corners of the box, or ends of the axes."""
    if len(corners) != 4:
        raise ValueError("is an ellipse of four points, of which one lies between the others")
    one, other = (corners[2] - corners[0]) / 2, (corners[3] - corners[1]) / 2
    lengths = np.hypot(*one), np.hypot(*other)
    is_cross = abs(one @ other) <= _RIGHT_ANGLE * lengths[0] * lengths[1]
    if abs(lengths[0] - lengths[1]) <= 0.02 * max(lengths) and (not is_cross or is_upright(corners)):
        return (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return _axes(one, other)


def _bitmap(text: object) -> NDArray[np.bool_]:
    if not isinstance(text, str):
        raise ValueError("is a mask without its picture")
    try:
        content = base64.b64decode(text.rpartition("base64,")[2])
        image = PngImageFile(BytesIO(content))
        if image.width * image.height > MOST_MASK_PIXELS:
            raise ValueError(f"absurd size {image.width} x {image.height}")
        values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, binascii.Error) as error:
        raise ValueError(f"is a mask whose picture is no PNG that can be read ({error})") from error
    if image.mode in ("LA", "RGBA"):
        values = values[..., :-1] * (values[..., -1:] > 0)
    return np.asarray(values > 0 if values.ndim == 2 else values.any(axis=-1))


def _corner(shape: Sequence[int], points: Ring, frame: Sequence[float | None]) -> tuple[int, int]:
    """Return where a mask's first pixel lies, (x, y)."""
    if len(points) >= 2:
        first, last = np.round(points.min(axis=0)), np.round(points.max(axis=0))
        if np.abs(last - first + 1 - shape[::-1]).max() <= 1:
            return int(first[0]), int(first[1])
    if len(points) < 2 or tuple(shape) == tuple(frame):
        return 0, 0
    raise ValueError(f"is a mask of {shape[1]} x {shape[0]} pixels, which do not fit between its corners")
