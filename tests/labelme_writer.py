"""LabelMe files of every kind, each with the lesion that it means: drawn here by formulas, not by OpenCV.

`written(seed)` returns one file. Every lesion has a quarter of the frame to itself, so which box belongs to
which outline is known from the making.
"""

import base64
import io
import json
from dataclasses import dataclass

import numpy as np
from PIL import Image

from boneexp.data.lesions import Picture

FINE = 4
TURNS = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}
LABELS = {
    "utf-8": "Ostéosarcome",
    "utf-8-sig": "骨肉瘤",
    "utf-16": "骨肉瘤",
    "utf-16-le": "osteosarcoma",
    "utf-32": "Ü",
    "gb18030": "骨肉瘤",
    "big5": "功能許蓋",  # with a backslash as second byte
    "shift_jis": "表示ソ",  # likewise
    "cp1252": "Ostéosarcome “1”",
    "latin-1": "Größe",
}


@dataclass(frozen=True)
class Written:
    """A file, its picture, and the masks that it means; `broken` is how it must be refused, or "".

    A mask has FINE x FINE values for each pixel of the picture.
    """

    content: bytes
    picture: Picture
    masks: dict[str, np.ndarray]
    broken: str


@dataclass(frozen=True)
class Sheet:
    """What is drawn on: a frame, and where the values of a mask lie in it."""

    rng: np.random.Generator
    height: float
    width: float
    rows: np.ndarray  # (h, 1), y in the frame
    columns: np.ndarray  # (1, w)

    def nothing(self):
        return np.zeros((self.rows.size, self.columns.size), bool)


def written(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(48, 150, 2))
    orientation = int(rng.choice([1, 1, 1, 2, 3, 4, 5, 6, 7, 8]))
    before = orientation >= 5 and abs(height - width) > 9 and rng.random() < 0.6
    drawn_on = (width, height) if before else (height, width)
    said, scale = _frame(rng, before)
    frame = tuple(side * scale for side in drawn_on)
    sheet = Sheet(
        rng,
        *frame,
        ((np.arange(drawn_on[0] * FINE) + 0.5) / FINE * scale)[:, None],
        ((np.arange(drawn_on[1] * FINE) + 0.5) / FINE * scale)[None],
    )
    shapes, masks = _lesions(sheet)
    broken = ""
    if rng.random() < 0.12:
        shape, broken = BROKEN[int(rng.integers(len(BROKEN)))]
        shapes.insert(int(rng.integers(len(shapes) + 1)), dict(shape))
    document = {"version": "5.4.1", "flags": {}, "imagePath": "IMG1.jpeg", "imageData": None}
    document |= {"imageHeight": said(frame[0]), "imageWidth": said(frame[1]), "shapes": shapes}
    document = {key: value for key, value in document.items() if value is not Ellipsis}
    content = _encoded(rng, document)
    if not broken and rng.random() < 0.03:
        content, broken = content[: int(len(content) * rng.uniform(0.2, 0.9))], "(not valid JSON|is empty)"
    if before:
        masks = {name: TURNS[orientation](mask) for name, mask in masks.items()}
    return Written(content, Picture(height, width, orientation), masks, broken)


def _frame(rng, before):
    """Return how the frame's sides are written, and how many of its pixels a pixel of the picture has."""
    if not before and rng.random() < 0.3:
        unsaid = [None, 0, "", "unknown", ..., -1, float("nan"), True]
        value = unsaid[int(rng.integers(len(unsaid)))]
        return (lambda side: value), 1
    scale = float(rng.choice([1, 1, 1, 2, 3, 0.5]))
    ways = [float, lambda side: int(side) if side == int(side) else side, lambda side: str(side)]
    return ways[int(rng.integers(len(ways)))], scale


def _lesions(sheet):
    rng, half = sheet.rng, np.array([sheet.width, sheet.height]) / 2
    quarters = [(x, y) for x in (0, 1) for y in (0, 1)]
    rng.shuffle(quarters)
    shapes, masks = [], {name: sheet.nothing() for name in ("outline", "box", "union")}
    for quarter in quarters[: int(rng.integers(1, 4))]:
        centre = (np.array(quarter) + rng.uniform(0.42, 0.58, 2)) * half
        radii = rng.uniform(0.15, 0.33, 2) * half.min()
        draw = OUTLINES[int(rng.integers(len(OUTLINES)))]
        outline, inside, reach = draw(sheet, centre, radii)
        kind = rng.choice(["both", "both", "outline", "box"])
        boxed, in_box = _box(sheet, centre, radii * rng.uniform(1.0, 1.25))
        low, high = reach.min(axis=0), reach.max(axis=0)
        bounds = _even_odd(sheet, np.array([low, (high[0], low[1]), high, (low[0], high[1])]))
        if kind != "box":
            shapes.append(outline)
        if kind != "outline":
            shapes.append(boxed)
        masks["outline"] |= in_box if kind == "box" else inside
        masks["box"] |= bounds if kind == "outline" else in_box
        masks["union"] |= {"both": inside | in_box, "outline": inside, "box": in_box}[kind]
    shapes += _decoys(sheet)
    rng.shuffle(shapes)
    return [_varied(rng, shape) for shape in shapes], masks


# Outlines: a shape, the values of the mask that lie in it, and points as far out as it reaches


def _polygon(sheet, centre, radii):
    rng = sheet.rng
    count = int(rng.integers(5, 20))
    turns = (np.arange(count) + rng.uniform(0, 0.6, count)) / count * 2 * np.pi
    reach = rng.uniform(0.7, 1.0, count)[:, None]  # no spikes, which are thinner than any value
    corners = centre + np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii * reach
    kinds = ["polygon", "Polygon", "POLYGON", None, ..., "", "ai_polygon", "quadrilateral"]
    shape = {"points": corners.tolist(), "shape_type": kinds[int(rng.integers(len(kinds)))]}
    shape = {key: value for key, value in shape.items() if value is not Ellipsis}
    return shape, _even_odd(sheet, corners), corners


def _even_odd(sheet, corners):
    """Return the values that a ray leaves an odd number of times."""
    inside = sheet.nothing()
    for (x, y), (u, v) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y == v:
            continue
        crossed = (sheet.rows < y) != (sheet.rows < v)
        inside ^= crossed & (sheet.columns < x + (sheet.rows - y) / (v - y) * (u - x))
    return inside


def _circle(sheet, centre, radii):
    radius, turn = radii.min(), sheet.rng.uniform(0, 2 * np.pi)
    edge = centre + radius * np.array([np.cos(turn), np.sin(turn)])
    shape = {"points": [centre.tolist(), edge.tolist()], "shape_type": sheet.rng.choice(["circle", "Circle"])}
    return (
        shape,
        _in_ellipse(sheet, centre, (radius, radius), 0),
        np.array([centre - radius, centre + radius]),
    )


def _ellipse(sheet, centre, radii):
    rng, turn = sheet.rng, sheet.rng.uniform(0, np.pi)
    radii = radii * (1, 0.8) if abs(radii[0] - radii[1]) < 0.1 * radii[0] else radii
    points = int(rng.choice([2, 3, 4, 40, 8]))
    if points in (2, 40):  # 40: four corners of its box
        turn = 0
    one, other = (
        radii[0] * np.array([np.cos(turn), np.sin(turn)]),
        radii[1] * np.array([-np.sin(turn), np.cos(turn)]),
    )
    around = np.linspace(0, 2 * np.pi, 8, endpoint=False)[:, None]
    drawn = {
        2: [centre - radii, centre + radii],
        3: [centre, centre + one, centre + other],
        4: [centre + one, centre - one, centre + other, centre - other],
        40: [centre + radii, centre - radii, centre + radii * (1, -1), centre - radii * (1, -1)],
        8: list(centre + np.cos(around) * one + np.sin(around) * other),
    }[points]
    shape = {"points": [point.tolist() for point in drawn], "shape_type": "ellipse"}
    reach = np.hypot(one, other)
    return shape, _in_ellipse(sheet, centre, radii, turn), np.array([centre - reach, centre + reach])


def _in_ellipse(sheet, centre, radii, turn):
    x, y = sheet.columns - centre[0], sheet.rows - centre[1]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def _mask(sheet, centre, radii):
    rng = sheet.rng
    left, top = np.floor(centre - radii).astype(int)
    width, height = (int(side) for side in np.ceil(2 * radii))
    y, x = np.mgrid[:height, :width]
    away = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5)
    bitmap = (away < 0.5) & (away > rng.choice([0, 0.2]))
    last = [left + width - 1, top + height - 1]
    if rng.random() < 0.2:  # the whole frame
        whole = np.zeros((round(sheet.height), round(sheet.width)), bool)
        whole[top : top + height, left : left + width] = bitmap
        bitmap, left, top = whole, 0, 0
        last = [whole.shape[1] - 1, whole.shape[0] - 1]
    file = io.BytesIO()
    levels = Image.fromarray(bitmap.astype(np.uint8) * int(rng.choice([1, 255])))
    levels.convert(str(rng.choice(["L", "RGB", "P"]))).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    shape = {
        "points": [[int(left), int(top)], [int(side) for side in last]],
        "shape_type": "mask",
        "mask": str(rng.choice(["", "data:image/png;base64,"])) + text,
    }
    row, column = np.floor(sheet.rows).astype(int) - top, np.floor(sheet.columns).astype(int) - left
    inside = (row >= 0) & (row < bitmap.shape[0]) & (column >= 0) & (column < bitmap.shape[1])
    row, column = row.clip(0, bitmap.shape[0] - 1), column.clip(0, bitmap.shape[1] - 1)
    lines = np.argwhere(bitmap)[:, ::-1] + (left, top)
    return shape, inside & bitmap[row, column], np.concatenate([lines, lines + 1])


OUTLINES = (_polygon, _polygon, _circle, _ellipse, _mask)


def _box(sheet, centre, radii):
    rng = sheet.rng
    low, high = centre - radii, centre + radii
    corners = [low, np.array([high[0], low[1]]), high, np.array([low[0], high[1]])]
    kind = int(rng.integers(3))
    if kind == 2:
        turn = rng.uniform(0.2, 0.6)
        around = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        corners = [centre + around @ (corner - centre) for corner in corners]
        name = str(rng.choice(["rotation", "oriented_rectangle", "rectangle", "Oriented Rectangle"]))
        shape = {"points": [corner.tolist() for corner in corners], "shape_type": name, "direction": turn}
        return shape, _even_odd(sheet, np.array(corners))
    first = int(rng.integers(4))
    points = [corners[first], corners[first - 2]] if kind == 0 else corners
    shape = {"points": [point.tolist() for point in points], "shape_type": "rectangle"}
    return shape, _even_odd(sheet, np.array(corners))


def _decoys(sheet):
    """Return what is no part of a lesion."""
    rng, size = sheet.rng, np.array([sheet.width, sheet.height])
    points = (rng.uniform(0.1, 0.9, (4, 2)) * size).tolist()
    found = [
        {"points": points[:1], "shape_type": "point"},
        {"points": points[:2], "shape_type": "line"},
        {"points": points, "shape_type": "linestrip"},
        {"points": points[:2], "shape_type": "rectangle", "label": "__ignore__"},
        {"points": points[:3], "shape_type": "polygon", "label": "_background_"},
    ]
    return [shape for shape in found if rng.random() < 0.15]


def _varied(rng, shape):
    """Return the shape with its points as some converter writes them."""
    way = int(rng.integers(8))
    points = shape["points"]
    if way == 0:
        points = [[str(x), str(y)] for x, y in points]
    elif way == 1:
        points = [[x, y, 0] for x, y in points]
    elif way == 2:
        points = [{"x": x, "y": y} for x, y in points]
    elif way == 3:
        points = [number for point in points for number in point]
    return {"label": "label", "group_id": None, **shape, "points": points}


def _encoded(rng, document):
    encoding = list(LABELS)[int(rng.integers(len(LABELS)))]
    for shape in document["shapes"]:
        shape["label"] = LABELS[encoding] if shape.get("label") == "label" else shape.get("label")
        shape["shape_type"] = shape.get("shape_type") and str(shape["shape_type"])
    keys = list(document)
    rng.shuffle(keys)
    text = json.dumps(
        {key: document[key] for key in keys}, ensure_ascii=False, indent=[None, 2][int(rng.integers(2))]
    )
    return text.encode(encoding)


SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]
BROKEN = [
    ({"points": SQUARE, "shape_type": "cuboid"}, "shape .* has the unknown shape_type 'cuboid'"),
    ({"points": SQUARE[:2], "shape_type": "polygon"}, "shape .* is a polygon with 2 points, and needs 3"),
    ({"points": SQUARE[:2], "shape_type": None}, "shape .* is a polygon with 2 points, and needs 3"),
    ({"points": SQUARE[:1], "shape_type": "circle"}, "shape .* is a circle with 1 points, and needs 2"),
    ({"points": SQUARE[:3], "shape_type": "circle"}, "shape .* is a circle with 3 points"),
    ({"points": SQUARE[:3], "shape_type": "rotation"}, "shape .* with 3 points, and needs 4"),
    ({"points": [[1, float("nan")], *SQUARE]}, "shape .* has a point that is not two finite numbers"),
    ({"points": [[1], *SQUARE]}, "shape .* has a point that is not two finite numbers"),
    ({"points": [["a", "b"], *SQUARE]}, "shape .* has a point that is not two finite numbers"),
    ({"points": SQUARE[:2], "shape_type": "mask"}, "shape .* is a mask without its picture"),
    ({"points": SQUARE[:2], "shape_type": "mask", "mask": "AAAA"}, "shape .* no PNG"),
    ({"points": None, "shape_type": "rectangle"}, "shape .* is a rectangle with 0 points"),
    ({"points": [[1e5, 1], *SQUARE]}, "a point lies more than a whole image outside"),
    ({"points": [[1e9, 1], *SQUARE]}, "shape .* has a point more than a whole image outside"),
    ({"points": [[0, 0], [0, 1e308]], "shape_type": "rectangle"}, "more than a whole image outside"),
    ({"points": [*SQUARE, [-1e200, 1]], "shape_type": "ellipse"}, "more than a whole image outside"),
]
