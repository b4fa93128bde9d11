import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest

from boneexp.data import btxrd
from boneexp.data.phantom import write
from boneexp.data.phantom.anatomy import SCENES
from boneexp.data.phantom.film import LOOKS, develop
from boneexp.data.phantom.lesions import KINDS
from boneexp.data.phantom.write import PhantomSummary, draw, plan, write_phantom
from boneexp.data.rows import COLUMNS
from boneexp.errors import DataInvalid

LABELS = ("Normal", "Benign", "Malignant")


@dataclass(frozen=True)
class Written:
    folder: Path
    summary: PhantomSummary
    rows: list[dict[str, str]]
    annotations: dict[str, dict]

    def image(self, row: dict[str, str]) -> Path:
        (path,) = (self.folder / "images").glob(f"{stem(row)}.*")
        return path

    def shapes(self):
        return [shape for annotation in self.annotations.values() for shape in annotation["shapes"]]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Written:
    folder = tmp_path_factory.mktemp("drawn") / "phantom"
    summary = write_phantom(folder, images=60, seed=7)
    annotations = {
        path.stem: json.loads(path.read_text("utf-8")) for path in (folder / "Annotations").iterdir()
    }
    return Written(folder, summary, rows_of(folder), annotations)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "dataset.csv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def stem(row: dict[str, str]) -> str:
    return row["image_id"].removesuffix(".jpeg")


def label_of(row: dict[str, str]) -> str:
    return LABELS[2 * int(row["malignant"]) + int(row["benign"])]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_columns_are_those_that_the_reader_knows(written):
    assert len(COLUMNS) == 37
    assert tuple(written.rows[0]) == COLUMNS


def test_the_reader_takes_it_as_a_phantom_without_a_complaint(written):
    dataset = btxrd.read_dataset(written.folder)
    assert dataset.kind == "phantom"
    assert len(dataset.radiographs) == 60
    assert len({one.phash for one in dataset.radiographs}) == 58


def test_every_row_has_one_image_and_only_tumours_have_an_annotation(written):
    assert [row["image_id"] for row in written.rows] == [f"IMG{number:06d}.jpeg" for number in range(1, 61)]
    assert {written.image(row) for row in written.rows} == set((written.folder / "images").iterdir())
    assert set(written.annotations) == {stem(row) for row in written.rows if row["tumor"] == "1"}


def test_the_folder_says_that_nobody_is_in_it(written):
    text = (written.folder / "PHANTOM.md").read_text("utf-8")
    assert "synthetic" in text
    assert "not for clinical use" in text


def test_class_subtype_and_site_columns_agree_with_each_other(written):
    for row in written.rows:
        subtypes = [name for name in KINDS if row[name] == "1"]
        is_tumour = int(row["benign"]) + int(row["malignant"])
        assert (int(row["tumor"]), len(subtypes)) == (is_tumour, is_tumour)
        assert all(KINDS[name].label == label_of(row) for name in subtypes)
        (limb,) = (name for name in ("upper limb", "lower limb", "pelvis") if row[name] == "1")
        sites = {site for site in COLUMNS[4:19] if row[site] == "1"}
        assert any(set(scene.sites) == sites and scene.limb == limb for scene in SCENES.values())
        assert any(row[view] == "1" for view in ("frontal", "lateral", "oblique"))


def test_the_summary_counts_what_the_table_says(written):
    assert written.summary.folder == written.folder
    assert written.summary.images == 60
    assert written.summary.by_class == Counter(label_of(row) for row in written.rows)
    assert written.summary.by_center == Counter(int(row["center"]) for row in written.rows)
    assert list(written.summary.by_center) == [1, 2, 3]


@pytest.mark.parametrize("images", [12, 13, 24, 60, 240, 1000])
def test_every_class_is_at_every_center_and_the_shares_are_near_those_of_btxrd(images):
    cells = Counter()
    for patient in plan(images, seed=3):
        cells[patient.label, patient.center] += len(patient.pictures)
    assert sum(cells.values()) == images
    assert len(cells) == 9
    if images >= 240:
        by_class = [sum(cells[label, center] for center in (1, 2, 3)) / images for label in LABELS]
        by_center = [sum(cells[label, center] for label in LABELS) / images for center in (1, 2, 3)]
        assert by_class == pytest.approx([0.42, 0.36, 0.22], abs=0.02)
        assert by_center == pytest.approx([0.6, 0.25, 0.15], abs=0.02)


def test_tumours_come_first_and_a_patient_has_one_to_three_pictures_in_a_row(written):
    tumours = [row["tumor"] for row in written.rows]
    assert tumours == sorted(tumours, reverse=True)
    seen_once = {"image_id", "frontal", "lateral", "oblique"}
    runs = groupby(written.rows, key=lambda row: tuple(row[c] for c in COLUMNS if c not in seen_once))
    sizes = [len(list(run)) for _, run in runs]
    assert set(sizes) == {1, 2, 3}
    assert written.summary.patients == len(sizes) - 2  # two runs are exact duplicates of others


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_phantom(tmp_path / name, images=12, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_a_picture_does_not_depend_on_what_was_drawn_before():
    patient = plan(24, seed=1)[5]
    alone = draw(patient, 0, seed=1)
    draw(plan(24, seed=1)[6], 0, seed=1)
    assert np.array_equal(alone.film, draw(patient, 0, seed=1).film)


def test_annotations_are_labelme_files_that_fit_their_image(written):
    for name, annotation in written.annotations.items():
        (row,) = (row for row in written.rows if stem(row) == name)
        height, width = cv2.imread(str(written.image(row)), cv2.IMREAD_GRAYSCALE).shape
        assert (annotation["imageHeight"], annotation["imageWidth"]) == (height, width)
        assert annotation["imagePath"] == written.image(row).name
        assert annotation["imageData"] is None
        for shape in annotation["shapes"]:
            assert row[shape["label"]] == "1"
            points = np.array(shape["points"])
            assert len(points) == 2 if shape["shape_type"] == "rectangle" else len(points) >= 3
            assert (points >= -6).all()
            assert (points <= (width + 6, height + 6)).all()


def test_some_lesions_reach_over_the_edge_and_some_images_have_several(written):
    over = [np.array(shape["points"]).min() < 0 for shape in written.shapes()]
    beyond = [
        np.array(shape["points"])[:, 1].max() > annotation["imageHeight"]
        for annotation in written.annotations.values()
        for shape in annotation["shapes"]
    ]
    assert any(over) or any(beyond)
    assert any(len(annotation["shapes"]) > 2 for annotation in written.annotations.values())


def test_each_lesion_is_drawn_twice_as_in_btxrd(written):
    for annotation in written.annotations.values():
        shapes = annotation["shapes"]
        for box, outline in zip(shapes[::2], shapes[1::2], strict=True):
            assert (box["shape_type"], outline["shape_type"]) == ("rectangle", "polygon")
            assert box["label"] == outline["label"]
            corners, points = np.sort(box["points"], axis=0), np.array(outline["points"])
            assert corners == pytest.approx(np.array([points.min(axis=0), points.max(axis=0)]))


def test_rectangles_have_their_corners_in_any_order(written):
    corners = [np.array(shape["points"]) for shape in written.shapes() if shape["shape_type"] == "rectangle"]
    assert len({tuple(np.sign(second - first)) for first, second in corners}) > 1


def test_the_outlines_cover_what_the_lesion_changed():
    tumours = [patient for patient in plan(60, seed=2) if patient.findings]
    shares = []
    for patient in tumours[:20]:
        ill, healthy = draw(patient, 0, seed=2), draw(replace(patient, findings=()), 0, seed=2)
        if ill.film.shape != healthy.film.shape:  # cut at the lesion
            continue
        changed = np.abs(
            cv2.GaussianBlur(ill.film, (0, 0), 2) * 1.0 - cv2.GaussianBlur(healthy.film, (0, 0), 2)
        )
        changed = np.where(changed > 0.5 * changed.max(), changed, 0)
        mask = np.zeros(ill.film.shape, np.uint8)
        for outline in ill.outlines:
            cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
        assert not healthy.outlines
        assert 0.005 < mask.mean() < 0.6
        shares.append(changed[mask > 0].sum() / changed.sum())
    assert np.mean(shares) > 0.95
    assert min(shares) > 0.7


def test_two_images_come_twice_under_the_same_class_and_not_side_by_side(written):
    by_digest = {}
    for place, row in enumerate(written.rows):
        digest = hashlib.sha256(written.image(row).read_bytes()).hexdigest()
        by_digest.setdefault(digest, []).append(place)
    pairs = [places for places in by_digest.values() if len(places) > 1]
    assert sorted(label_of(written.rows[first]) for first, _ in pairs) == ["Benign", "Normal"]
    for first, second in pairs:
        assert second - first > 3
        assert label_of(written.rows[first]) == label_of(written.rows[second])


def test_small_sets_have_no_duplicates(tmp_path):
    write_phantom(tmp_path / "small", images=24, seed=1)
    images = [path.read_bytes() for path in (tmp_path / "small" / "images").iterdir()]
    assert len(set(images)) == 24


def test_the_quirks_of_btxrd_are_there(written):
    endings = [written.image(row).suffix for row in written.rows]
    channels = {cv2.imread(str(written.image(row)), cv2.IMREAD_UNCHANGED).ndim for row in written.rows}
    views = [sum(int(row[view]) for view in ("frontal", "lateral", "oblique")) for row in written.rows]
    assert endings == [".jpeg"] * 58 + [".jpg"] * 2
    assert channels == {2, 3}
    assert set(views) == {1, 2}
    assert any(row["age"] == "" for row in written.rows)
    assert any(row["gender"] == "" for row in written.rows)


def test_the_centers_look_different(written):
    heights, brightness, grain = ({1: [], 2: [], 3: []} for _ in range(3))
    for row in written.rows:
        film, center = cv2.imread(str(written.image(row)), cv2.IMREAD_GRAYSCALE), int(row["center"])
        heights[center].append(film.shape[0])
        brightness[center].append(film.mean())
        grain[center].append(np.abs(cv2.Laplacian(film, cv2.CV_32F)).mean())
    assert np.mean(heights[1]) > np.mean(heights[2]) > np.mean(heights[3])
    assert np.mean(brightness[3]) > np.mean(brightness[2]) > np.mean(brightness[1]) + 15
    assert np.mean(grain[2]) > 1.5 * np.mean(grain[1])


@pytest.mark.parametrize("center, fewest, most", [(1, 0, 0), (2, 1, 12), (3, 12, 30)])
def test_the_first_center_inverts_no_image_and_the_third_inverts_half(center, fewest, most):
    attenuation = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (100, 1))
    films = [develop(attenuation, LOOKS[center], np.random.default_rng(seed)) for seed in range(40)]
    inverted = [np.median(film[20:80, 15:25]) > np.median(film[20:80, 55:65]) for film in films]
    assert fewest <= sum(inverted) <= most


@pytest.mark.parametrize("images, seed", [(11, 42), (0, 42), (-5, 42), (24, -1)])
def test_too_few_images_or_a_negative_seed_are_refused_before_anything_is_written(tmp_path, images, seed):
    with pytest.raises(DataInvalid, match="phantom dataset"):
        write_phantom(tmp_path / "new", images=images, seed=seed)
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "IMG000001.jpeg").write_bytes(b"real")
    with pytest.raises(DataInvalid, match=f"{tmp_path.name}.*choose an empty folder with --out"):
        write_phantom(tmp_path, images=12)
    assert contents(tmp_path) == {"images/IMG000001.jpeg": b"real"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(DataInvalid, match="is a file"):
        write_phantom(tmp_path / "taken", images=12)


def test_a_former_phantom_is_replaced_whole(tmp_path):
    write_phantom(tmp_path, images=16, seed=1)
    with pytest.raises(DataInvalid, match="is not empty: choose an empty folder with --out, or add --yes"):
        write_phantom(tmp_path, images=12, seed=2)
    write_phantom(tmp_path, images=12, seed=2, replace=True)
    write_phantom(tmp_path / "fresh", images=12, seed=2)
    fresh = contents(tmp_path / "fresh")
    assert {name: seen for name, seen in contents(tmp_path).items() if "fresh" not in name} == fresh


def test_an_interrupted_write_is_no_dataset_yet_and_can_be_repeated(tmp_path, monkeypatch):
    def interrupted(patient, number, seed):
        if patient.index == 3:
            raise KeyboardInterrupt
        return draw(patient, number, seed)

    monkeypatch.setattr(write, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "half", images=12)
    assert not (tmp_path / "half" / "dataset.csv").exists()
    monkeypatch.undo()
    assert write_phantom(tmp_path / "half", images=12, replace=True).images == 12
    assert len(rows_of(tmp_path / "half")) == 12


@pytest.mark.slow
def test_a_small_network_learns_it_and_loses_at_the_other_centers(tmp_path):
    write_phantom(tmp_path / "phantom", images=160, seed=42)
    images, labels, centers = pictures_64px(tmp_path / "phantom")
    in_class = np.zeros(len(labels), int)
    for label in range(3):
        in_class[labels == label] = np.arange((labels == label).sum())
    accuracy, auroc = learned(images, labels, tested=in_class % 4 == 0)
    other_accuracy, other_auroc = learned(images, labels, tested=centers != 1)
    assert accuracy > 0.6
    assert auroc > 0.75
    assert other_accuracy < accuracy - 0.08
    assert other_auroc > 0.55


def pictures_64px(folder):
    rows, enhance = rows_of(folder), cv2.createCLAHE(2.0, (8, 8))
    images = []
    for row in rows:
        (path,) = (folder / "images").glob(f"{stem(row)}.*")
        film = enhance.apply(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        images.append(cv2.resize(film, (64, 64), interpolation=cv2.INTER_AREA))
    labels = np.array([LABELS.index(label_of(row)) for row in rows])
    return np.stack(images), labels, np.array([int(row["center"]) for row in rows])


def learned(images, labels, tested, epochs=15):
    """Return the accuracy and the macro AUROC on `tested` of a small network trained on the rest."""
    import torch
    from sklearn.metrics import roc_auc_score

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, targets = torch.tensor(images)[:, None] / 255 - 0.45, torch.tensor(labels)
    model, trained = small_network(), torch.tensor(np.flatnonzero(~tested))
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * -(-len(trained) // 16))
    for _ in range(epochs):
        for batch in trained[torch.randperm(len(trained))].split(16):
            turned = inputs[batch].flip(-1) if torch.rand(()) < 0.5 else inputs[batch]
            loss = torch.nn.functional.cross_entropy(model(turned), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        probabilities = model.eval()(inputs[tested]).softmax(1).numpy()
    torch.set_num_threads(threads)
    accuracy = float((probabilities.argmax(1) == labels[tested]).mean())
    return accuracy, float(roc_auc_score(labels[tested], probabilities, multi_class="ovr"))


def small_network():
    from torch import nn

    layers, channels = [], 1
    for wider in (16, 32, 64, 96):
        layers += [
            nn.Conv2d(channels, wider, 3, padding=1),
            nn.BatchNorm2d(wider),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))
