"""Datasets in BTXRD's layout for speed alone: clouds as JPEGs of a given size, lesions drawn at random.

They look like nothing, cost about as much to decode and to equalise as films do, and are the same for the
same seed. Nothing that is trained on them means anything.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

KINDS = "NNNBBM"  # enough of each for a split of few
# Height x width of films: BTXRD has many of about the first size, and many of the sizes of the others.
BTXRD_SIDES = ((800, 500), (800, 500), (2400, 2000), (3000, 2500))


def write_films(
    folder: Path,
    images: int,
    sides: Sequence[tuple[int, int]] = BTXRD_SIDES,
    *,
    seed: int = 1,
    grain: float = 4,
    colour: bool = False,
) -> Path:
    """Write a dataset of `images` films whose sizes go through `sides`, tumours annotated; return it.

    `grain` is its spread in grey levels and decides how large the files are; with `colour` every second round
    of sizes is stored in three channels.
    """
    from tiny_dataset import row, write_table

    folder.mkdir(parents=True, exist_ok=True)
    kinds = [KINDS[number % len(KINDS)] for number in range(images)]
    rows = [row(number, kind, center=1 + number % 7 // 5) for number, kind in enumerate(kinds, 1)]
    (folder / "images").mkdir(exist_ok=True)
    (folder / "Annotations").mkdir(exist_ok=True)
    for (number, film), cells in zip(enumerate(_films(images, sides, seed, grain)), rows, strict=True):
        in_colour = colour and number // len(sides) % 2 == 1
        (folder / "images" / cells["image_id"]).write_bytes(_encoded(film, in_colour))
        if cells["tumor"] == "1":
            height, width = sides[number % len(sides)]
            (folder / "Annotations" / f"IMG{number + 1:06d}.json").write_text(_lesion(height, width))
    write_table(folder, rows)
    return folder


def _films(images: int, sides: Sequence[tuple[int, int]], seed: int, grain: float) -> Iterator[np.ndarray]:
    """Yield grey levels: smooth clouds, as different as the seeds, with grain over them."""
    most = max(height * width for height, width in sides)
    grains = np.random.default_rng(seed).normal(0, grain, most).astype(np.float32)
    for number in range(images):
        height, width = sides[number % len(sides)]
        clouds = np.random.default_rng([seed, number]).uniform(0, 255, (9, 7)).astype(np.float32)
        film = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
        film += grains[: height * width].reshape(height, width)
        yield np.clip(film, 0, 255).astype(np.uint8)


def _encoded(film: np.ndarray, in_colour: bool) -> bytes:
    stored = cv2.cvtColor(film, cv2.COLOR_GRAY2BGR) if in_colour else film
    done, encoded = cv2.imencode(".jpeg", stored, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return encoded.tobytes()


def _lesion(height: int, width: int) -> str:
    points = [[0.4 * width, 0.3 * height], [0.6 * width, 0.35 * height], [0.5 * width, 0.6 * height]]
    shape = {"label": "osteochondroma", "points": points, "shape_type": "polygon"}
    return json.dumps({"version": "5.4.1", "shapes": [shape], "imageHeight": height, "imageWidth": width})
