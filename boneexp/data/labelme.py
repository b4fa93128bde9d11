"""LabelMe files as its versions, its relatives and converters write them: bytes in, drawn shapes out.

What has no area, and what LabelMe's convention says to leave out, is left out and counted. A shape whose
meaning is not clear is refused with its place. Labels decide nothing else, so any text encoding will do.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

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
    try:
        file = LabelmeFile.model_validate(document)
    except ValidationError as error:
        raise ValueError(_first_sentence(error)) from None
    frame = file.height_px, file.width_px
    drawn = [(shape, _drawn(shape, f"shape {place}", frame)) for place, shape in enumerate(file.shapes, 1)]
    left_out = Counter(shape.kind for shape, area in drawn if area is None)
    return Annotation(*frame, tuple(area for _, area in drawn if area is not None), left_out)


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


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice in one object, so which counts is not said")
    return found


def _first_sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    where = first["loc"]
    return f"shape {where[1] + 1} {message}" if len(where) > 1 and isinstance(where[1], int) else message


def _drawn(shape: "LabelmeShape", where: str, frame: tuple[float | None, float | None]) -> "Shape | None":
    """Return one shape in pixels of the frame; None for what has no area."""
    points = np.array(shape.points, dtype=np.float64).reshape(-1, 2)
    try:
        if shape.kind in _LEFT_OUT:
            return None
        if shape.kind == "mask":
            rings = mask_rings(shape.mask, points, frame)
            return Shape(rings) if rings else None
        if shape.kind in BOXES:
            return Shape((box(points),), is_box=True, is_turned=not is_upright(points))
        return Shape(({"circle": circle, "ellipse": ellipse}.get(shape.kind, np.asarray)(points),))
    except ValueError as error:
        raise ValueError(f"{where} {error}") from error


def _side(value: object) -> float | None:
    """Return a side of the frame in pixels; None where the file does not say it."""
    side = _number(value)
    return side if side is not None and 1 <= side <= LONGEST_FRAME_PX else None


def _shapes(found: object) -> list[Any]:
    shapes = [found] if isinstance(found, dict) else found  # a converter that knows of one shape
    if not isinstance(shapes, list):
        raise ValueError("no list of shapes in it, so it is no LabelMe annotation")
    if len(shapes) > MOST_SHAPES:
        raise ValueError(f"{len(shapes):,} shapes, and {MOST_SHAPES:,} are the most that is read")
    listed = [shape.get("points") for shape in shapes if isinstance(shape, dict)]
    points = sum(len(each) for each in listed if isinstance(each, list))
    if points > MOST_POINTS:
        raise ValueError(f"{points:,} points, and {MOST_POINTS:,} are the most that is read")
    return shapes


def _kind(shape: dict[str, object]) -> str:
    """Return what a shape is: a shape_type by its usual name, or the label that leaves it out."""
    label, named = shape.get("label"), shape.get("shape_type") or "polygon"  # LabelMe's own default
    if isinstance(label, str) and label.strip().casefold() in LEFT_OUT_LABELS:
        return label.strip().casefold()
    name = named.strip().casefold().replace("-", "_").replace(" ", "_") if isinstance(named, str) else ""
    kind = ALSO_CALLED.get(name, name)
    if kind not in LEAST_POINTS and kind not in WITHOUT_AREA:
        raise ValueError(f"has the unknown shape_type {_short(named)}; known are {', '.join(LEAST_POINTS)}")
    return kind


def _points(points: object) -> list[Any]:
    """Return a list of points, of which x and y may come one after the other."""
    listed = points if isinstance(points, list) else []
    if listed and len(listed) % 2 == 0 and not any(isinstance(each, list | dict) for each in listed):
        return [list(pair) for pair in zip(listed[::2], listed[1::2], strict=True)]
    return listed


def _point(point: object) -> tuple[float, float]:
    """Return x and y, which may be numbers, texts, or named."""
    pair = [point.get("x"), point.get("y")] if isinstance(point, dict) else point
    numbers = [_number(number) for number in pair] if isinstance(pair, list) else []
    if len(numbers) not in (2, 3) or numbers[0] is None or numbers[1] is None:  # a third would be depth
        raise ValueError(f"has a point that is not two finite numbers: {_short(point)}")
    if max(abs(numbers[0]), abs(numbers[1])) > FARTHEST_PX:
        raise ValueError(f"has a point more than a whole image outside the image: {_short(point)}")
    return numbers[0], numbers[1]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return number if math.isfinite(number := float(value)) else None
    except (ValueError, OverflowError):  # no number, or a whole one beyond the range of floats
        return None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


_LEFT_OUT = (*WITHOUT_AREA, *LEFT_OUT_LABELS)
Side = Annotated[float | None, BeforeValidator(_side)]
Point = Annotated[tuple[float, float], BeforeValidator(_point)]


class LabelmeShape(BaseModel):
    """One shape as the file has it; one that is left out has its kind alone."""

    kind: str
    points: Annotated[list[Point], BeforeValidator(_points)] = []
    mask: Any = None

    @model_validator(mode="before")
    @classmethod
    def _kind_first(cls, shape: object) -> dict[str, object]:
        if not isinstance(shape, dict):
            raise ValueError(f"is {_short(shape)}, which is no shape")
        kind = _kind(shape)
        return {"kind": kind} if kind in _LEFT_OUT else {**shape, "kind": kind}

    @model_validator(mode="after")
    def _has_enough_points(self) -> Self:
        if len(self.points) < (least := LEAST_POINTS.get(self.kind, 0)):
            raise ValueError(f"is a {self.kind} with {len(self.points)} points, and needs {least}")
        return self


class LabelmeFile(BaseModel):
    """What is used of a LabelMe file."""

    height_px: Side = Field(None, alias="imageHeight")
    width_px: Side = Field(None, alias="imageWidth")
    shapes: Annotated[list[LabelmeShape], BeforeValidator(_shapes)] = Field(None, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _is_an_object(cls, document: object) -> object:
        return document if isinstance(document, dict) else {}


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
