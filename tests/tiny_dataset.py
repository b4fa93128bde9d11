"""Small datasets in BTXRD's layout: rows as dictionaries, JPEGs of a few dozen pixels."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from boneexp.data.btxrd import Dataset
from boneexp.data.radiograph import Radiograph
from boneexp.data.rows import COLUMNS

REAL = Path(__file__).parents[2] / "shared" / "radiographs"
KINDS = {
    "N": {},
    "B": {"tumor": "1", "benign": "1", "osteochondroma": "1"},
    "M": {"tumor": "1", "malignant": "1", "osteosarcoma": "1"},
}
SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


def row(number, kind="N", **changes):
    """Return one row of the table; `changes` name columns, with _ for spaces and hyphens."""
    cells = dict.fromkeys(COLUMNS, "0")
    cells |= {"image_id": f"IMG{number:06d}.jpeg", "center": "1", "age": "30", "gender": "F", "femur": "1"}
    cells |= {"lower limb": "1", "frontal": "1", **KINDS[kind]}
    return cells | {
        name if name in cells else name.replace("_", " "): str(value) for name, value in changes.items()
    }


def write_table(root, rows, *, delimiter=",", encoding="utf-8", lineterminator="\n"):
    columns = list(rows[0])
    with (root / "dataset.csv").open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator=lineterminator)
        writer.writeheader()
        writer.writerows(rows)


def write_image(path, seed=0, height=48, width=40):
    """Write a JPEG of smooth random clouds: another seed, another perceptual hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


def write_annotation(path, points=SQUARE, kind="polygon", frame=(48, 40), **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"label": "osteochondroma", "points": points, "shape_type": kind}
    document = {"version": "5.4.1", "shapes": [shape], "imageHeight": frame[0], "imageWidth": frame[1]}
    path.write_text(json.dumps(document | changes), encoding="utf-8")


def write_dataset(root, kinds="NBM", rows=None):
    """Write a sound dataset with one image per letter of `kinds`, tumours annotated; return its folder."""
    rows = rows or [row(number, kind) for number, kind in enumerate(kinds, 1)]
    root.mkdir(parents=True, exist_ok=True)
    write_table(root, rows)
    for number, cells in enumerate(rows, 1):
        write_image(root / "images" / cells["image_id"], seed=number)
        if cells["tumor"] == "1":
            write_annotation(root / "Annotations" / f"{Path(cells['image_id']).stem}.json")
    return root


def dataset_of(entries):
    """Return a Dataset without files from (label, center, phash or None, group) tuples."""
    radiographs = tuple(
        Radiograph(
            image_id=f"IMG{number:06d}.jpeg",
            image_path=Path("absent.jpeg"),
            annotation_path=None,
            center=center,
            label=label,
            age=None,
            gender=None,
            sites=(),
            regions=(),
            views=(),
            subtypes=(),
            group=group,
            sha256=f"{number:064x}",
            phash=phash or f"{number:016x}",
            height_px=48,
            width_px=40,
        )
        for number, (label, center, phash, group) in enumerate(entries, 1)
    )
    return Dataset(Path("nowhere"), "other", radiographs, "0" * 64)
