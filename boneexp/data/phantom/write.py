"""A phantom dataset: drawn radiographs in BTXRD's layout, to try the program without patients.

Whoever learns on it learns to see drawn lesions, and nothing about bone tumours. It has BTXRD's quirks, too.
Every picture comes from a stream of random numbers keyed by the seed, the patient and the picture: the same
seed gives the same bytes.
"""

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from boneexp.data.phantom.anatomy import SCENES
from boneexp.data.phantom.drawing import Exposure, Outline, Pose, expose
from boneexp.data.phantom.film import LOOKS, Film, develop
from boneexp.data.phantom.patients import Patient, plan
from boneexp.data.rows import COLUMNS
from boneexp.errors import DataInvalid
from boneexp.files.atomic import write_text

MARKER = "PHANTOM.md"
DATASET = ("images", "Annotations", "dataset.csv", "dataset.xlsx")
NOTICE = """# Phantom dataset: synthetic, no patients

These images were drawn by a program (`boneexp`, {images} images, seed {seed}). They are not radiographs, show
nobody, and say nothing about bone tumours: a model that does well here has learned to see drawings.
The folder has the layout of BTXRD so that every part of the program can be tried on it.

Research use only, not for clinical use.
"""
VIEWS_RAD = {"frontal": 0.0, "oblique": np.pi / 4, "lateral": np.pi / 2}


def write_phantom(
    folder: Path, images: int = 240, seed: int = 42, *, replace: bool = False
) -> "PhantomSummary":
    """Write a phantom dataset of `images` drawn radiographs; with `replace` over an earlier phantom.

    The marker comes first and the table last: an interrupted write can be repeated, and is no dataset yet.

    Raises:
        DataInvalid: fewer than 12 images; or `folder` is not empty and not to be written into, or holds a
            dataset that is no phantom.
    """
    patients = plan(images, seed)
    _clear(folder, replace)
    write_text(folder / MARKER, NOTICE.format(images=images, seed=seed))
    (folder / "images").mkdir(exist_ok=True)
    (folder / "Annotations").mkdir(exist_ok=True)
    pictures = [(patient, number) for patient in patients for number in range(len(patient.pictures))]
    # BTXRD's last 27 of 3,746 files end in .jpg, while the table calls them .jpeg.
    last_jpeg = images - max(2, images // 140)
    rows = []
    for number, (patient, picture) in enumerate(pictures, start=1):
        stem = f"IMG{number:06d}"
        file_name = f"{stem}.jpeg" if number <= last_jpeg else f"{stem}.jpg"
        _write_picture(folder, file_name, patient, draw(patient, picture, seed))
        rows.append(_row(f"{stem}.jpeg", patient, patient.pictures[picture]))
    write_text(folder / "dataset.csv", _table(rows))
    return PhantomSummary(
        folder=folder,
        images=images,
        patients=len({patient.index for patient in patients}),
        by_class=dict(Counter(patient.label for patient, _ in pictures)),
        by_center=dict(sorted(Counter(patient.center for patient, _ in pictures).items())),
    )


def draw(patient: Patient, number: int, seed: int) -> "Drawing":
    """Draw one picture of a patient: its film, and the outlines of the lesions on it."""
    rng = np.random.default_rng([seed, patient.index + 1, 2, number + 1])
    look = LOOKS[patient.center]
    views = patient.pictures[number]
    height = int(rng.integers(*look.height_px))
    width = int(height * rng.uniform(*SCENES[patient.scene].aspect) * (0.8 if len(views) > 1 else 1))
    scene = SCENES[patient.scene]
    exposures = []
    for view in views:
        pose = Pose(
            shape_px=(height, width),
            view_rad=VIEWS_RAD[view] + rng.uniform(-0.15, 0.15),
            tilt_deg=rng.uniform(-look.tilt_deg, look.tilt_deg),
            zoom=patient.zoom * rng.uniform(0.93, 1.07),
            focus=scene.spot(patient.focus.host, patient.focus.distance),
            shift=(rng.uniform(-0.06, 0.06), rng.uniform(-0.1, 0.1)),
            mirrored=patient.mirrored,
        )
        exposures.append(expose(scene, patient.findings, pose, rng))
    whole = _side_by_side(exposures)
    if patient.is_cut and len(views) == 1:
        whole = _cut(whole, int(rng.integers(2, 6)))
    return Drawing(develop(whole.attenuation, look, rng), whole.outlines)


def _side_by_side(exposures: Sequence[Exposure]) -> Exposure:
    """Return one exposure of several, as two views on one film."""
    outlines: list[Outline] = []
    left_px = 0
    for exposure in exposures:
        outlines += [outline + (left_px, 0) for outline in exposure.outlines]
        left_px += exposure.attenuation.shape[1]
    return Exposure(np.hstack([exposure.attenuation for exposure in exposures]), tuple(outlines))


def _cut(exposure: Exposure, beyond_px: int) -> Exposure:
    """Cut the image at its nearer end so that a lesion's outline reaches `beyond_px` over the edge."""
    if not exposure.outlines:
        return exposure
    height = exposure.attenuation.shape[0]
    points = np.concatenate(exposure.outlines)
    top, bottom = int(points[:, 1].min()), height - 1 - int(points[:, 1].max())
    if top < bottom:
        first_row = top + beyond_px
        outlines = tuple(outline - (0, first_row) for outline in exposure.outlines)
        return Exposure(exposure.attenuation[first_row:], outlines)
    return Exposure(exposure.attenuation[: height - bottom - beyond_px], exposure.outlines)


def _write_picture(folder: Path, file_name: str, patient: Patient, drawing: "Drawing") -> None:
    """Write one JPEG, grey or RGB, and its annotation if it shows a lesion."""
    film = cv2.cvtColor(drawing.film, cv2.COLOR_GRAY2BGR) if patient.is_rgb else drawing.film
    _, encoded = cv2.imencode(".jpg", film, (cv2.IMWRITE_JPEG_QUALITY, LOOKS[patient.center].jpeg_quality))
    image = folder / "images" / file_name
    image.write_bytes(encoded.tobytes())
    if drawing.outlines:
        text = json.dumps(_annotation(file_name, patient, drawing), indent=1)
        (folder / "Annotations" / f"{image.stem}.json").write_text(text, encoding="utf-8")


def _annotation(file_name: str, patient: Patient, drawing: "Drawing") -> dict[str, object]:
    """Return the annotation as LabelMe 5 writes it, with each lesion twice as BTXRD has it."""
    height, width = drawing.film.shape
    shapes = [
        shape
        for place, outline in enumerate(drawing.outlines)
        for shape in (
            _shape(patient, "rectangle", _clicked(outline, patient.index + place)),
            _shape(patient, "polygon", outline),
        )
    ]
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": file_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _clicked(outline: Outline, number: int) -> Outline:
    """Return two opposite corners of the outline's box, as LabelMe keeps them: in the order of the clicks."""
    x, y = np.sort(outline[:, 0])[[0, -1]], np.sort(outline[:, 1])[[0, -1]]
    clicks = number % 4
    return np.stack([x[:: 1 - 2 * (clicks % 2)], y[:: 1 - 2 * (clicks // 2)]], axis=1)


def _shape(patient: Patient, shape_type: str, points: Outline) -> dict[str, object]:
    return {
        "label": patient.subtype,
        "points": points.tolist(),
        "group_id": None,
        "description": "",
        "shape_type": shape_type,
        "flags": {},
    }


def _row(image_id: str, patient: Patient, views: tuple[str, ...]) -> dict[str, object]:
    """Return an image's line of the table, by column."""
    scene = SCENES[patient.scene]
    true = {*scene.sites, scene.limb, *views, patient.subtype, patient.label.lower()}
    facts: dict[str, object] = {column: int(column in true) for column in COLUMNS}
    age = "" if patient.age is None else patient.age
    known = {"image_id": image_id, "center": patient.center, "age": age, "gender": patient.gender}
    return facts | known | {"tumor": int(bool(patient.subtype))}


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _clear(folder: Path, replace: bool) -> None:
    """Make `folder`, or take an earlier phantom out of it; what else lies there stays.

    Raises:
        DataInvalid: it is a file, or not empty without `replace`, or holds a dataset without the marker of a
            phantom.
    """
    if folder.exists() and not folder.is_dir():
        raise DataInvalid(f"{folder} is a file: choose an empty folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MARKER).exists() and any((folder / name).exists() for name in DATASET):
        raise DataInvalid(
            f"{folder} holds a dataset that is no phantom, which is never replaced: "
            "choose an empty folder with --out"
        )
    if any(folder.iterdir()) and not replace:
        raise DataInvalid(f"{folder} is not empty: choose an empty folder with --out, or add --yes")
    (folder / "dataset.csv").unlink(missing_ok=True)
    for former in (folder / "images", folder / "Annotations"):
        if former.exists():
            shutil.rmtree(former)


@dataclass(frozen=True)
class Drawing:
    """A drawn picture: (height, width) grey levels, and the lesions' outlines in its pixels."""

    film: Film
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class PhantomSummary:
    """What was written where, counted."""

    folder: Path
    images: int
    patients: int
    by_class: Mapping[str, int]
    by_center: Mapping[int, int]
