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
    folder: Path, images: int, sides: Sequence[tuple[int, int]] = BTXRD_SIDES, seed: int = 1
) -> Path:
    """Write a dataset of `images` films whose sizes go through `sides`, tumours annotated; return it."""
    from tiny_dataset import row, write_table

    folder.mkdir(parents=True, exist_ok=True)
    kinds = [KINDS[number % len(KINDS)] for number in range(images)]
    rows = [row(number, kind, center=1 + number % 7 // 5) for number, kind in enumerate(kinds, 1)]
    (folder / "images").mkdir(exist_ok=True)
    (folder / "Annotations").mkdir(exist_ok=True)
    for (number, film), cells in zip(enumerate(_films(images, sides, seed)), rows, strict=True):
        (folder / "images" / cells["image_id"]).write_bytes(film)
        if cells["tumor"] == "1":
            height, width = sides[number % len(sides)]
            (folder / "Annotations" / f"IMG{number + 1:06d}.json").write_text(_lesion(height, width))
    write_table(folder, rows)
    return folder


def _films(images: int, sides: Sequence[tuple[int, int]], seed: int) -> Iterator[bytes]:
    """Yield JPEGs: smooth clouds, as different as the seeds, with the grain that makes a file large."""
    grain = np.random.default_rng(seed).normal(0, 4, max(height * width for height, width in sides))
    for number in range(images):
        height, width = sides[number % len(sides)]
        clouds = np.random.default_rng([seed, number]).uniform(0, 255, (9, 7)).astype(np.float32)
        film = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
        film += grain[: height * width].reshape(height, width).astype(np.float32)
        done, encoded = cv2.imencode(
            ".jpeg", np.clip(film, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90]
        )
        assert done
        yield encoded.tobytes()


def _lesion(height: int, width: int) -> str:
    points = [[0.4 * width, 0.3 * height], [0.6 * width, 0.35 * height], [0.5 * width, 0.6 * height]]
    shape = {"label": "osteochondroma", "points": points, "shape_type": "polygon"}
    return json.dumps({"version": "5.4.1", "shapes": [shape], "imageHeight": height, "imageWidth": width})
