import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_dataset import SQUARE, row, write_annotation, write_dataset, write_image, write_table

from boneexp.data.audit import ImageFacts, annotation_facts, image_facts
from boneexp.data.btxrd import read_dataset
from boneexp.data.radiograph import lesion_mask, read_grey
from boneexp.errors import DataInvalid
from boneexp.runs.plan import narrowed, plan
from boneexp.study.grid import load_grid

DIAMOND = [[20, 10], [30, 20], [20, 30], [10, 20]]


def drawn(kind, points, **changes):
    return {"label": "osteosarcoma", "shape_type": kind, "points": points, **changes}


@pytest.fixture
def share_of(tmp_path):
    """Return which fraction of a frame of 40 x 40 pixels is the lesion, to three digits."""

    def read(*shapes, lesion="outline"):
        write_annotation(tmp_path / "a.json", shapes=list(shapes), frame=(40, 40))
        return round(float(lesion_mask(tmp_path / "a.json", 400, 400, lesion).mean()), 2)

    return read


# Which shapes count


@pytest.mark.parametrize("in_which_order", [1, -1])
def test_of_a_lesion_drawn_twice_the_outline_counts(share_of, in_which_order):
    """As all 1,867 files of BTXRD draw it: the union would be the box, here twice as large."""
    both = [drawn("rectangle", [[30, 30], [10, 10]]), drawn("polygon", DIAMOND)][::in_which_order]
    assert share_of(*both) == pytest.approx(0.125, abs=0.01)
    assert share_of(*both, lesion="box") == share_of(*both, lesion="union") == pytest.approx(0.25, abs=0.01)


def test_a_box_without_an_outline_counts_beside_lesions_that_have_one(share_of):
    other = drawn("rectangle", [[32, 32], [38, 38]])
    both = [drawn("rectangle", [[10, 10], [30, 30]]), drawn("polygon", DIAMOND)]
    assert share_of(*both, other) == pytest.approx(0.125 + 36 / 1600, abs=0.01)
    assert share_of(other) == pytest.approx(36 / 1600, abs=0.01)


def test_an_outline_without_a_box_has_its_own_bounds_as_box(share_of):
    assert share_of(drawn("polygon", DIAMOND), lesion="box") == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    "box",
    [
        drawn("rectangle", [[12, 12], [28, 28]]),  # drawn by hand, and too small
        drawn("rectangle", [[5, 5], [39, 39]]),
        drawn("rotation", [[20, 8], [32, 20], [20, 32], [8, 20]]),
        drawn("rectangle", [[10, 10], [30, 10], [30, 30], [10, 30]]),
    ],
    ids=["too small", "too large", "turned", "four corners"],
)
def test_a_box_belongs_to_an_outline_that_mostly_lies_in_it(share_of, box):
    alone = share_of(drawn("polygon", DIAMOND))
    assert share_of(drawn("polygon", DIAMOND), box) == alone


def test_one_box_around_two_outlines_does_not_count(share_of):
    small = [drawn("polygon", [[x, 10], [x + 5, 15], [x, 20]]) for x in (10, 25)]
    assert share_of(drawn("rectangle", [[8, 8], [32, 22]]), *small) == share_of(*small)


def test_an_outline_that_reaches_into_the_box_of_another_lesion_leaves_it_alone(share_of):
    box = drawn("rectangle", [[25, 15], [39, 39]])  # a third of the diamond lies in it
    assert share_of(drawn("polygon", DIAMOND), box) > 0.125 + 14 * 24 / 1600 - 0.06


def test_a_square_outline_in_a_box_is_the_outline(share_of):
    outline, box = drawn("polygon", SQUARE), drawn("rectangle", [[5, 5], [35, 35]])
    assert share_of(outline, box) == share_of(outline)


def test_many_boxes_around_many_outlines_are_told_in_a_moment(share_of):
    """Each box is held against each outline only until one lies in it."""
    outlines = [drawn("polygon", (np.array(DIAMOND) / 4 + place % 20).tolist()) for place in range(500)]
    boxes = [drawn("rectangle", [[0, 0], [39, 39 - place % 3]]) for place in range(500)]
    assert share_of(*outlines, *boxes) == share_of(*outlines)


# Pictures that EXIF turns


def turned_image(path, stored, orientation):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, quality=95, exif=exif)
    return path


def pictured(height, width, orientation):
    return ImageFacts(height_px=height, width_px=width, orientation=orientation)


def overlap(mask, bright):
    return (mask & bright).sum() / (mask | bright).sum()


@pytest.fixture
def lit(tmp_path):
    """Return an image of 120 x 80 stored pixels with a bright box in it, as EXIF turns it, and the box."""

    def write(orientation, height=80, width=120):
        stored = np.full((height, width), 40, np.uint8)
        stored[10:25, 60:75] = 250
        return turned_image(tmp_path / "images" / "IMG1.jpeg", stored, orientation), [[60, 10], [75, 25]]

    return write


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_outline_drawn_before_the_turning_is_turned_with_the_picture(tmp_path, lit, orientation):
    path, box = lit(orientation)
    annotation = tmp_path / "Annotations" / "IMG1.json"
    write_annotation(annotation, box, "rectangle", frame=(80, 120))
    grey, facts = read_grey(path), image_facts(path)
    mask = lesion_mask(annotation, *grey.shape, picture=facts)
    assert (mask == lesion_mask(annotation, *grey.shape)).all()  # the image beside is found
    told = {1: "", 2: "either", 3: "either", 4: "either"}
    assert annotation_facts(annotation, facts).drawn.turning == told.get(orientation, "turned")
    if told.get(orientation) != "either":  # LabelMe shows the turned picture, so that is where it lies
        assert overlap(mask, grey > 150) > 0.8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", [1, 2, 0.5])
def test_an_outline_drawn_on_the_turned_picture_stays(tmp_path, lit, orientation, scale):
    path, _ = lit(orientation)
    grey = read_grey(path)
    rows, columns = (np.flatnonzero((grey > 150).any(axis=axis)) for axis in (1, 0))
    box = [[columns[0] * scale, rows[0] * scale], [(columns[-1] + 1) * scale, (rows[-1] + 1) * scale]]
    write_annotation(
        tmp_path / "a.json",
        np.array(box, float).tolist(),
        "rectangle",
        frame=(grey.shape[0] * scale, grey.shape[1] * scale),
    )
    mask = lesion_mask(tmp_path / "a.json", *grey.shape, picture=image_facts(path))
    assert overlap(mask, grey > 150) > 0.8


@pytest.mark.parametrize("sides", [{}, {"imageHeight": None, "imageWidth": 0}])
def test_a_frame_of_the_stored_size_in_another_scale_or_none_is_told_by_what_fits(tmp_path, lit, sides):
    path, box = lit(6)
    scale = 1 if sides else 2
    write_annotation(
        tmp_path / "a.json",
        (np.array(box) * scale + (40 * bool(sides), 0)).tolist(),
        "rectangle",
        frame=(80 * scale, 120 * scale),
        **sides,
    )
    facts = annotation_facts(tmp_path / "a.json", image_facts(path))
    assert facts.drawn.turning == "turned"


@pytest.mark.parametrize(("orientation", "said"), [(1, ""), (3, "either"), (6, "either")])
def test_where_the_frame_fits_before_and_after_the_turning_it_is_said(tmp_path, orientation, said):
    write_annotation(tmp_path / "a.json", frame=(60, 60))
    facts = annotation_facts(tmp_path / "a.json", pictured(60, 60, orientation))
    assert facts.drawn.turning == said


def test_an_image_that_is_nearly_square_is_told_by_its_exact_size(tmp_path):
    write_annotation(tmp_path / "a.json", frame=(100, 101))
    for height, width, said in ((101, 100, "turned"), (100, 101, "")):
        assert annotation_facts(tmp_path / "a.json", pictured(height, width, 6)).drawn.turning == said


# Whole datasets


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "set")


def moved(root, place):
    """Move the two annotations to where `place` says: a folder, and what becomes of a name."""
    folder, rename = place
    for path in sorted((root / "Annotations").iterdir()):
        target = root / folder / rename(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    if not any((root / "Annotations").iterdir()):
        (root / "Annotations").rmdir()


PLACES = {
    "annotations": ("annotations", str),
    "ANNOTATIONS": ("ANNOTATIONS", str),
    "annotation": ("annotation", str),
    "nested": ("Annotations/annotations", str),
    "beside the images": ("images", str),
    "beside the table": (".", str),
    "capital ending": ("Annotations", lambda name: name.replace(".json", ".JSON")),
    "ending of the image": ("Annotations", lambda name: name.replace(".json", ".jpeg.json")),
    "small letters": ("Annotations", str.lower),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_annotations_are_found_wherever_they_lie_and_it_is_said_where(root, place):
    before = read_dataset(root)
    moved(root, place)
    after = read_dataset(root)
    assert after.fingerprint == before.fingerprint
    assert [one.annotation_path is not None for one in after.radiographs] == [False, True, True]
    if place[0].startswith("Annotations"):
        assert after.notes == ()
    else:
        assert after.notes == (f"annotations of 2 images lie in {place[0]}/ and not in Annotations/",)


def test_annotations_in_their_own_folder_come_first_and_other_files_beside_the_images_are_none(root):
    write_annotation(root / "images" / "IMG000002.json", SQUARE[:3])
    (root / "images" / "IMG000001.json").write_text('{"Modality": "CR"}')
    (root / "images" / "IMG000003.json").write_text("{")
    assert read_dataset(root).notes == ()


def test_notes_say_what_was_left_out_and_taken_otherwise(root):
    shapes = [
        {"points": SQUARE, "shape_type": "polygon"},
        {"points": SQUARE[:1], "shape_type": "point"},
        {"points": SQUARE[:2], "shape_type": "rectangle", "label": "__ignore__"},
    ]
    write_annotation(root / "Annotations" / "IMG000002.json", shapes=shapes, imageHeight=None)
    turned_image(root / "images" / "IMG000003.jpeg", np.zeros((40, 48), np.uint8), 6)
    write_annotation(root / "Annotations" / "IMG000003.json", frame=(40, 48))
    assert read_dataset(root).notes == (
        "shapes without an area are no part of a lesion (1 point), the first in the annotation of "
        "IMG000002.jpeg",
        "shapes with a label that leaves them out are no part of a lesion (1 __ignore__), the first in the "
        "annotation of IMG000002.jpeg",
        "annotations of 1 image have no usable imageHeight and imageWidth: the image's own are taken, "
        "IMG000002.jpeg the first",
        "annotations of 1 image have a frame of the size before EXIF turned the image: outlines are turned "
        "with it, IMG000003.jpeg the first",
    )


def test_what_is_read_otherwise_than_before_has_another_fingerprint(root):
    """So that no run of before is taken for one of now, and no cache for another's."""
    path = root / "Annotations" / "IMG000002.json"
    shapes = [
        {"points": SQUARE, "shape_type": "polygon"},
        {"points": [[1, 1], [9, 9]], "shape_type": "rectangle"},
    ]
    write_annotation(path, shapes=shapes)
    facts = image_facts(root / "images" / "IMG000002.jpeg")
    assert annotation_facts(path, facts).identity == annotation_facts(path, facts).sha256
    write_annotation(path, shapes=[shapes[0], {**shapes[1], "label": "__ignore__"}])
    assert annotation_facts(path, facts).identity.endswith(", labels left out")


def test_a_normal_image_with_nothing_but_left_out_shapes_is_no_conflict(root):
    write_annotation(root / "Annotations" / "IMG000001.json", SQUARE[:1], "point")
    write_table(root, [row(1), row(2, "B"), row(3, "M")])
    assert read_dataset(root).radiographs[0].annotation_path is None


def test_an_annotation_is_examined_although_its_image_is_damaged(root):
    write_image(root / "images" / "IMG000002.jpeg")
    (root / "images" / "IMG000002.jpeg").write_bytes(b"")
    write_annotation(root / "Annotations" / "IMG000002.json", SQUARE[:2])
    facts = annotation_facts(
        root / "Annotations" / "IMG000002.json", image_facts(root / "images" / "IMG000002.jpeg")
    )
    assert facts.problem == "shape 1 is a polygon with 2 points, and needs 3"


# Experiments that train with annotations

GRID = """
[data]
root = "{root}"
[experiments.E1]
[experiments.E2]
training.annotations = true
[splits.stratified]
ratios = [0.5, 0.25, 0.25]
"""


@pytest.fixture
def grid(tmp_path):
    """Return the plan of two experiments, the second with annotations, on a dataset of 12 images."""
    root = write_dataset(tmp_path / "set", "NBM" * 4)
    path = tmp_path / "experiments.toml"
    path.write_text(GRID.format(root=root))
    return root, path


def test_training_with_annotations_is_refused_where_none_is_found(grid):
    root, path = grid
    assert len(plan(load_grid(path), None).specs) == 2
    shutil.rmtree(root / "Annotations")
    with pytest.raises(DataInvalid, match="E2 trains with lesion annotations .* no image of the stratified"):
        plan(load_grid(path), None)
    assert len(plan(narrowed(load_grid(path), ["E1"], [], []), None).specs) == 1


def test_annotations_that_are_all_in_validation_and_test_are_none(grid):
    root, path = grid
    ((split, dataset),) = plan(load_grid(path), None).splits
    for image in split.indices("train"):
        if dataset.radiographs[image].annotation_path:
            dataset.radiographs[image].annotation_path.unlink()
    assert any((root / "Annotations").iterdir())
    with pytest.raises(DataInvalid, match="training part has one"):
        plan(load_grid(path), None)
