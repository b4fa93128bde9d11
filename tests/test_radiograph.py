import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_dataset import SQUARE, write_annotation, write_image

from boneexp.data import drawn_shapes, labelme, pictures, radiograph
from boneexp.data.audit import image_facts
from boneexp.data.labelme import MOST_POINTS
from boneexp.data.lesions import Picture
from boneexp.data.pictures import grey_of
from boneexp.data.radiograph import clahe, drawing_of, lesion_mask, read_grey
from boneexp.errors import DataInvalid


@pytest.fixture
def annotation(tmp_path):
    def write(points=SQUARE, kind="polygon", **changes):
        write_annotation(tmp_path / "IMG1.json", points, kind, **changes)
        return tmp_path / "IMG1.json"

    return write


def shapes_of(path):
    return drawing_of(path, Picture(48, 40)).shapes


def test_grey_levels_come_back_as_height_by_width_bytes(tmp_path):
    write_image(tmp_path / "a.jpeg", height=48, width=40)
    grey = read_grey(tmp_path / "a.jpeg")
    assert (grey.shape, grey.dtype) == ((48, 40), np.uint8)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataInvalid, match="a.jpeg is missing or no image"):
        read_grey(tmp_path / "a.jpeg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_that_is_noted_is_the_size_that_is_read_whatever_the_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 48)).save(tmp_path / "a.jpeg", exif=exif)
    facts = image_facts(tmp_path / "a.jpeg")
    assert read_grey(tmp_path / "a.jpeg").shape == (facts.height_px, facts.width_px)
    assert facts.width_px == (40 if orientation <= 4 else 48)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("mode", "progressive"), [("L", False), ("RGB", True), ("CMYK", False)])
def test_a_picture_decoded_at_a_fraction_lies_as_the_whole_one_does(tmp_path, mode, progressive, orientation):
    write_image(tmp_path / "a.jpeg", height=480, width=400)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.open(tmp_path / "a.jpeg").convert(mode)
    path = saved(tmp_path / "b.jpeg", picture, exif=exif, progressive=progressive)
    whole, half = read_grey(path), grey_of(path.read_bytes(), 200)
    assert half.shape == (whole.shape[0] // 2, whole.shape[1] // 2)
    averaged = cv2.resize(whole, half.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(averaged.astype(int) - half).mean() < 2


def test_clahe_widens_the_contrast_and_bears_more_tiles_than_pixels(tmp_path):
    ramp = np.tile(np.linspace(100, 120, 64).astype(np.uint8), (64, 1))
    assert clahe(ramp, 4.0, 1).std() > 1.5 * ramp.std()
    assert clahe(ramp[:16, :16].copy(), 2.0, 64).shape == (16, 16)


def test_the_mask_of_a_square_covers_its_area_to_a_pixel(annotation):
    mask = lesion_mask(annotation(SQUARE), 48, 40)
    assert mask.dtype == np.bool_
    assert mask[10:30, 10:30].all()
    assert mask.sum() <= 21 * 21


def test_the_annotation_is_scaled_where_its_frame_differs_from_the_image(annotation):
    half = lesion_mask(annotation(SQUARE, frame=(48, 40)), 24, 20)
    assert half[5:15, 5:15].all()
    assert half.sum() <= 11 * 11
    (square,) = shapes_of(annotation(SQUARE, frame=(48, 40)))
    assert np.allclose(square.rings[0][2], (30 / 40, 30 / 48))


@pytest.mark.parametrize("corners", [[[10, 10], [30, 30]], [[30, 30], [10, 10]], [[30, 10], [10, 30]]])
def test_a_rectangle_is_the_same_from_any_two_opposite_corners(annotation, corners):
    assert (
        lesion_mask(annotation(corners, "rectangle"), 48, 40) == lesion_mask(annotation(SQUARE), 48, 40)
    ).all()


def test_the_mask_is_the_union_of_overlapping_shapes(annotation):
    shapes = [
        {"label": "x", "points": [[5, 5], [25, 25]], "shape_type": "rectangle"},
        {"label": "x", "points": [[15, 15], [35, 35]], "shape_type": "rectangle"},
    ]
    mask = lesion_mask(annotation(shapes=shapes), 48, 40)
    assert mask[20, 20]
    assert mask[7, 7]
    assert mask[33, 33]
    assert not mask[7, 33]


def test_points_outside_the_image_are_cut_off_and_not_bent_in(annotation):
    mask = lesion_mask(annotation([[-20, 24], [20, -24], [60, 24], [20, 72]]), 48, 40)
    assert mask.all(where=np.hypot(*np.indices((48, 40)) - np.array([[[23.5]], [[19.5]]])) < 18)
    corner = lesion_mask(annotation([[-10, -10], [5, -10], [5, 5], [-10, 5]]), 48, 40)
    assert corner[:5, :5].all()
    assert not corner[6:].any()


@pytest.mark.parametrize("x", [0, 0.01, 12.34, 39.99, 40])
def test_the_tiniest_lesion_keeps_a_pixel_even_on_the_rim(annotation, x):
    tiny = annotation([[x, 47.99], [x, 48], [max(x - 0.01, 0), 48]])
    for size in (8, 48, 64):
        assert 1 <= lesion_mask(tiny, size, size).sum() <= 2


def test_two_lesions_one_of_them_outside_leave_the_one_inside(annotation):
    shapes = [
        {"points": [[50, 50], [55, 55]], "shape_type": "rectangle"},
        {"points": SQUARE, "shape_type": "polygon"},
    ]
    assert (lesion_mask(annotation(shapes=shapes), 48, 40) == lesion_mask(annotation(SQUARE), 48, 40)).all()


def test_an_annotation_without_shapes_has_an_empty_mask(annotation):
    assert not lesion_mask(annotation(shapes=[]), 48, 40).any()


def test_embedded_image_data_and_a_byte_order_mark_do_no_harm(annotation):
    path = annotation(SQUARE, imageData="A" * 100_000)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(shapes_of(path)) == 1


SHAPE = {"points": SQUARE, "shape_type": "polygon"}
WRONG = {
    "no list of shapes": {"shapes": None},
    "10,001 points, and 10,000 are the most": {"shapes": [{**SHAPE, "points": SQUARE * 2500 + [[1, 1]]}]},
    "1,001 shapes, and 1,000 are the most": {"shapes": [SHAPE] * 1_001},
    "about 3,000,0.. values, and 100,000 are the most": {"shapes": [{"points": [[1, 2]] * 1_000_000}]},
    "shape 2 has the unknown shape_type 'cuboid'; known are polygon, quadrilateral, circle, ellipse, mask": {
        "shapes": [SHAPE, {**SHAPE, "shape_type": "cuboid"}]
    },
    r"unknown shape_type 'x{36}\.\.\.; known are": {"shapes": [{**SHAPE, "shape_type": "x" * 100_000}]},
    "shape 1 is 'polygon', which is no shape": {"shapes": ["polygon"]},
    r"unknown shape_type \['polygon'\]": {"shapes": [{**SHAPE, "shape_type": ["polygon"]}]},
    "shape 1 is a polygon with 2 points, and needs 3": {"shapes": [{**SHAPE, "points": SQUARE[:2]}]},
    "shape 1 is a rectangle with 1 points, and needs 2": {
        "shapes": [{"points": SQUARE[:1], "shape_type": "rectangle"}]
    },
    "shape 1 is a polygon with 0 points": {"shapes": [{**SHAPE, "points": None}]},
    r"not two finite numbers: \[nan, 1\]": {"shapes": [{**SHAPE, "points": [[float("nan"), 1], *SQUARE]}]},
    r"not two finite numbers: \[inf, 1\]": {"shapes": [{**SHAPE, "points": [[float("inf"), 1], *SQUARE]}]},
    r"not two finite numbers: \[1, 2, 3, 4\]": {"shapes": [{**SHAPE, "points": [[1, 2, 3, 4], *SQUARE]}]},
    r"not two finite numbers: \['1,5', 2\]": {"shapes": [{**SHAPE, "points": [["1,5", 2], *SQUARE]}]},
    "not two finite numbers: 7": {"shapes": [{**SHAPE, "points": [7, *SQUARE]}]},
    "not two finite numbers: .1000": {"shapes": [{**SHAPE, "points": [[10**400, 1], *SQUARE]}]},
    "every shape lies outside the image": {
        "shapes": [{"points": [[50, 50], [55, 55]], "shape_type": "rectangle"}]
    },
    "more than a whole image outside": {"shapes": [{**SHAPE, "points": [[1e9, 1], *SQUARE]}]},
}


@pytest.mark.parametrize(("reason", "changes"), WRONG.items(), ids=WRONG)
def test_an_annotation_that_cannot_be_used_says_why(annotation, reason, changes):
    path = annotation(SQUARE, **changes)
    with pytest.raises(DataInvalid, match=f"IMG1.json: .*{reason}"):
        shapes_of(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[]", json.dumps("x").encode()])
def test_a_file_that_is_no_annotation_says_so(tmp_path, content):
    (tmp_path / "IMG1.json").write_bytes(content)
    with pytest.raises(DataInvalid, match="IMG1.json: (not valid JSON|no list of shapes)"):
        shapes_of(tmp_path / "IMG1.json")


TWICE = '{"imageWidth": 40, "imageWidth": 4000, "imageHeight": 48, "shapes": []}'
NESTED = f'{{"imageWidth": 40, "imageHeight": 48, "shapes": [], "flags": {"[" * 40_000}{"]" * 40_000}}}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TWICE, "not valid JSON .a key is there twice"),
        (NESTED, "not valid JSON"),
        (TWICE.replace("4000", "9" * 5_000), "not valid JSON"),
        ("{}" * 60_000, "not valid JSON"),
        (",[{" * 40_000, "about 120,000 values"),
    ],
    ids=["a key twice", "nested", "digits", "documents", "brackets"],
)
def test_json_that_means_harm_is_refused_in_one_sentence(tmp_path, content, reason):
    (tmp_path / "IMG1.json").write_text(content)
    with pytest.raises(DataInvalid, match=f"IMG1.json: {reason}") as caught:
        shapes_of(tmp_path / "IMG1.json")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_as_many_points_as_are_read_are_drawn_in_seconds(tmp_path):
    """Filling takes the square of the points where they zigzag: 30,000 of them would take minutes."""
    zigzag = np.random.default_rng(0).integers(0, 40, (MOST_POINTS // 4, 2)).tolist()
    write_annotation(tmp_path / "IMG1.json", zigzag)
    assert lesion_mask(tmp_path / "IMG1.json", 48, 40).any()


def test_a_missing_annotation_is_named(tmp_path):
    with pytest.raises(DataInvalid, match="IMG1.json"):
        lesion_mask(tmp_path / "IMG1.json", 8, 8)


def test_colour_is_read_as_luminance(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpeg"), np.full((48, 40, 3), (0, 0, 255), np.uint8))
    assert abs(int(read_grey(tmp_path / "a.jpeg")[20, 20]) - 76) <= 2


# Images that mean harm


def saved(path, image, **settings):
    image.save(path, "JPEG", **settings)
    return path


def with_size(path, marker, width, height):
    """Let the frame header of a JPEG claim another size."""
    content = bytearray(path.read_bytes())
    start = content.index(marker) + 5
    content[start : start + 4] = height.to_bytes(2) + width.to_bytes(2)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("marker", "progressive"), [(b"\xff\xc0", False), (b"\xff\xc2", True)])
def test_a_picture_that_would_take_gigabytes_is_decoded_by_nobody(tmp_path, monkeypatch, marker, progressive):
    path = saved(tmp_path / "a.jpeg", Image.new("L", (40, 48)), progressive=progressive)
    with_size(path, marker, 65_535, 65_535)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    assert image_facts(path).problem == "absurd size 65535 x 65535"
    with pytest.raises(DataInvalid, match="a.jpeg .*absurd size 65535 x 65535"):
        read_grey(path)


def test_a_picture_in_thousands_of_scans_is_not_decoded(tmp_path):
    path = saved(tmp_path / "a.jpeg", Image.new("RGB", (40, 48)), progressive=True)
    content = path.read_bytes()
    at = content.index(b"\xff\xda")
    path.write_bytes(content[:at] + content[at:-2] * 20 + content[-2:])
    assert image_facts(path).problem == "absurd number of scans: 200"
    with pytest.raises(DataInvalid, match="scans"):
        read_grey(path)


@pytest.mark.parametrize(
    "content", [b"\xff\xda", b"x\xff\xda", b"\xff\xda\xff\xff\xda", b"\xda\xff", b"\xff"]
)
def test_scans_are_counted_wherever_their_markers_begin(content):
    for more in (b"", b"x", b"\xff"):
        assert pictures._scans(content + more) == (content + more).count(b"\xff\xda")


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg_is_read_as_grey(tmp_path, mode, progressive):
    noise = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    path = saved(tmp_path / "a.jpeg", Image.fromarray(noise).convert(mode), progressive=progressive)
    facts = image_facts(path)
    assert (facts.problem, facts.height_px, facts.width_px) == ("", 48, 40)
    assert read_grey(path).shape == (48, 40)


def test_the_limits_are_those_of_the_documents():
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    for limit in (
        f"{pictures.LARGEST_IMAGE_BYTES // 10**6} MB",
        f"{radiograph.LARGEST_ANNOTATION_BYTES // 10**6} MB",
        f"{pictures.MOST_PIXELS // 10**6} megapixels",
        f"{pictures.LEAST_SIDE_PX} px",
        f"{pictures.MOST_SCANS} scans",
        f"{labelme.MOST_VALUES:,} values",
        f"{labelme.MOST_SHAPES:,} shapes",
        f"{labelme.MOST_POINTS:,} points",
        f"from 1 to {labelme.LONGEST_FRAME_PX:,}",
        f"{drawn_shapes.MOST_MASK_PIXELS // 10**6} megapixels",
        f"{drawn_shapes.MOST_MASK_CORNERS:,} corners",
    ):
        assert limit in page, limit
