"""LabelMe files as its versions, its relatives and converters write them: bytes in, drawn shapes out.

What has no area, and what LabelMe's convention says to leave out, is left out and counted. A shape whose
meaning is not clear is refused with its place. Labels decide nothing else, so any text encoding will do.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boneexp.data.drawn_shapes import Ring, box, circle, ellipse, is_upright, mask_rings

MOST_VALUES = 100_000
MOST_SHAPES = 1_000
MOST_POINTS = 10_000  # filling takes their square: some seconds at worst
LONGEST_FRAME_PX = 100_000
FARTHEST_PX = 10 * LONGEST_FRAME_PX  # of a point; what lies far outside its own picture is told later

LEAST_POINTS = {  # LabelMe's own kinds, and those of X-AnyLabeling and other relatives
    **{"polygon": 3, "quadrilateral": 3, "circle": 2, "ellipse": 2, "mask": 0},
    **{"rectangle": 2, "oriented_rectangle": 4},
}
BOXES = ("rectangle", "oriented_rectangle")
WITHOUT_AREA = ("point", "points", "line", "linestrip", "linestring", "polyline")
ALSO_CALLED = {
    **dict.fromkeys(("rotation", "rotated_rectangle", "rotated_box", "oriented_box"), "oriented_rectangle"),
    **dict.fromkeys(("rect", "box", "bbox", "bounding_box"), "rectangle"),
    **{"ai_polygon": "polygon", "ai_mask": "mask"},
}
LEFT_OUT_LABELS = ("__ignore__", "_background_")
_OTHER_ENCODINGS = ("gb18030", "big5", "shift_jis", "latin-1")  # the last takes any bytes


def read_labelme(content: bytes) -> "Annotation":
    """Return what a LabelMe file's bytes say.

    Raises:
        ValueError: saying what is wrong and where: not JSON, no list of shapes, an unknown shape_type, too
            few points, a point that is no two finite numbers or lies far outside, a mask that is no PNG; too
            much of all.
    """
    document = _document(content)
    shapes = document.get("shapes") if isinstance(document, dict) else None
    shapes = [shapes] if isinstance(shapes, dict) else shapes  # a converter that knows of one shape
    if not isinstance(shapes, list):
        raise ValueError("no list of shapes in it, so it is no LabelMe annotation")
    if len(shapes) > MOST_SHAPES:
        raise ValueError(f"{len(shapes):,} shapes, and {MOST_SHAPES:,} are the most that is read")
    frame = _side(document.get("imageHeight")), _side(document.get("imageWidth"))
    kept: list[Shape] = []
    left_out: Counter[str] = Counter()
    for place, shape in enumerate(shapes, 1):
        kind = _kind(shape, f"shape {place}")
        drawn = None if kind in _LEFT_OUT else _shape(shape, kind, f"shape {place}", frame)
        if drawn is None:
            left_out[kind] += 1
        else:
            kept.append(drawn)
    _check_points(shapes)
    return Annotation(*frame, tuple(kept), left_out)


def _document(content: bytes) -> Any:
    if not content.strip():
        raise ValueError("the file is empty")
    if content.startswith(b"version https://git-lfs"):
        raise ValueError("a Git LFS pointer, not the annotation itself; fetch it with: git lfs pull")
    values = sum(map(content.count, (b",", b"[", b"{")))  # before any of them takes memory
    if values > MOST_VALUES:
        raise ValueError(f"about {values:,} values, and {MOST_VALUES:,} are the most that is read")
    try:
        return json.loads(_text(content), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from error


def _text(content: bytes) -> str:
    """Return the text: UTF-8, 16 or 32, or else the first encoding in which it is JSON."""
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        return next(text for name in _OTHER_ENCODINGS if (text := _decoded(content, name)) is not None)


def _decoded(content: bytes, encoding: str) -> str | None:
    """Return the text if it is JSON in this encoding; latin-1 stands for whatever is left."""
    try:
        text = content.decode(encoding)
        json.loads(text)
    except (ValueError, RecursionError):
        return content.decode("latin-1") if encoding == "latin-1" else None
    return text


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice in one object, so which counts is not said")
    return found


def _side(value: object) -> float | None:
    """Return a side of the frame in pixels; None where the file does not say it."""
    side = _number(value)
    return side if side is not None and 1 <= side <= LONGEST_FRAME_PX else None


def _kind(shape: Any, where: str) -> str:
    """Return what a shape is: a shape_type by its usual name, or the label that leaves it out."""
    if not isinstance(shape, dict):
        raise ValueError(f"{where} is {_short(shape)}, which is no shape")
    label = shape.get("label")
    if isinstance(label, str) and label.strip().casefold() in LEFT_OUT_LABELS:
        return label.strip().casefold()
    said = shape.get("shape_type") or "polygon"  # LabelMe's own default
    name = said.strip().casefold().replace("-", "_").replace(" ", "_") if isinstance(said, str) else ""
    kind = ALSO_CALLED.get(name, name)
    if kind not in LEAST_POINTS and kind not in WITHOUT_AREA:
        raise ValueError(
            f"{where} has the unknown shape_type {_short(said)}; known are {', '.join(LEAST_POINTS)}"
        )
    return kind


def _shape(shape: dict[str, Any], kind: str, where: str, frame: tuple[float | None, ...]) -> "Shape | None":
    """Return one shape in pixels of the frame; None for a mask without a pixel."""
    points = _points(shape.get("points"), where)
    if len(points) < LEAST_POINTS[kind]:
        raise ValueError(f"{where} is a {kind} with {len(points)} points, and needs {LEAST_POINTS[kind]}")
    try:
        if kind == "mask":
            rings = mask_rings(shape.get("mask"), points, frame)
            return Shape(rings) if rings else None
        if kind in BOXES:
            return Shape((box(points),), is_box=True, is_turned=not is_upright(points))
        return Shape(({"circle": circle, "ellipse": ellipse}.get(kind, np.asarray)(points),))
    except ValueError as error:
        raise ValueError(f"{where} {error}") from error


def _points(points: Any, where: str) -> Ring:
    """Return (n, 2) pixels of the frame; x and y may be numbers, texts, named, or one after the other."""
    listed = points if isinstance(points, list) else []
    if listed and len(listed) % 2 == 0 and not any(isinstance(each, list | dict) for each in listed):
        listed = [list(pair) for pair in zip(listed[::2], listed[1::2], strict=True)]
    return np.array([_point(point, where) for point in listed], dtype=np.float64).reshape(-1, 2)


def _point(point: Any, where: str) -> tuple[float, float]:
    pair = [point.get("x"), point.get("y")] if isinstance(point, dict) else point
    numbers = [_number(number) for number in pair] if isinstance(pair, list) else []
    if len(numbers) not in (2, 3) or numbers[0] is None or numbers[1] is None:  # a third would be depth
        raise ValueError(f"{where} has a point that is not two finite numbers: {_short(point)}")
    if max(abs(numbers[0]), abs(numbers[1])) > FARTHEST_PX:
        raise ValueError(f"{where} has a point more than a whole image outside the image: {_short(point)}")
    return numbers[0], numbers[1]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return number if math.isfinite(number := float(value)) else None
    except (ValueError, OverflowError):  # no number, or a whole one beyond the range of floats
        return None


def _check_points(shapes: list[dict[str, Any]]) -> None:
    listed = (shape.get("points") for shape in shapes)
    points = sum(len(each) for each in listed if isinstance(each, list))
    if points > MOST_POINTS:
        raise ValueError(f"{points:,} points, and {MOST_POINTS:,} are the most that is read")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


_LEFT_OUT = (*WITHOUT_AREA, *LEFT_OUT_LABELS)


@dataclass(frozen=True)
class Shape:
    """One drawn area: `rings` are (n, 2) polygons, of which inner ones are holes; a box is no outline.

    `is_turned` says that a box is not parallel to the sides of its frame.
    """

    rings: tuple[Ring, ...]
    is_box: bool = False
    is_turned: bool = False


@dataclass(frozen=True)
class Annotation:
    """A LabelMe file: its frame in pixels (None where it does not say), its shapes, and what was left out.

    `left_out` counts by shape_type, or by the label that leaves a shape out; a mask is one without a pixel.
    """

    frame_height: float | None
    frame_width: float | None
    shapes: tuple[Shape, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
