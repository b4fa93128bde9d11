import base64
import io
import json
import os

import cv2
import numpy as np
import pytest
from labelme_writer import FINE, written
from PIL import Image
from tiny_dataset import SQUARE, write_annotation

from boneexp.data.labelme import LEAST_POINTS, WITHOUT_AREA, read_labelme
from boneexp.data.radiograph import lesion_mask
from boneexp.errors import DataInvalid

FILES = int(os.environ.get("BONEEXP_FUZZ", "") or 100)
NEIGHBOURS = np.ones((3, 3), np.uint8)


@pytest.fixture
def mask_of(tmp_path):
    """Return the mask, as wanted, of an annotation of 40 x 48 pixels with these shapes."""

    def read(*shapes, lesion="outline", size=(48, 40), **changes):
        write_annotation(tmp_path / "IMG1.json", shapes=list(shapes), **changes)
        return lesion_mask(tmp_path / "IMG1.json", *size, lesion)

    return read


def shape(kind, points, **changes):
    return {"label": "x", "shape_type": kind, "points": points, **changes}


def is_within_a_pixel(mask, meant, fine=1):
    """Whether a mask differs from what is meant, `fine` x `fine` values a pixel, only beside its edge."""
    parts = meant.reshape(mask.shape[0], fine, mask.shape[1], fine)
    least = cv2.erode(parts.all(axis=(1, 3)).astype(np.uint8), NEIGHBOURS).astype(bool)
    most = cv2.dilate(parts.any(axis=(1, 3)).astype(np.uint8), NEIGHBOURS).astype(bool)
    return bool((mask | ~least).all() and (most | ~mask).all())


def test_made_files_of_every_kind_are_read_rightly_or_refused_with_their_place(tmp_path):
    path = tmp_path / "IMG1.json"
    read = refused = 0
    seen = set()
    for seed in range(FILES):
        made = written(seed)
        path.write_bytes(made.content)
        size = made.picture.height_px, made.picture.width_px
        for lesion, meant in made.masks.items():
            if made.broken:
                with pytest.raises(DataInvalid, match=f"IMG1.json: .*{made.broken}"):
                    lesion_mask(path, *size, lesion, made.picture)
                continue
            mask = lesion_mask(path, *size, lesion, made.picture)
            assert is_within_a_pixel(mask, meant, FINE), (seed, lesion)
        read, refused = read + (not made.broken), refused + bool(made.broken)
        content = "" if made.broken else made.content.replace(b"\0", b"").decode("latin-1")
        seen |= {kind for kind in LEAST_POINTS if f'"{kind}"' in content}
    assert read > 4 * refused > 0
    assert seen == set(LEAST_POINTS)
    print(f"{FILES} files: {read} read rightly, {refused} refused with their place, none wrongly")


def test_a_circle_is_its_centre_and_a_point_on_its_edge(mask_of):
    mask = mask_of(shape("circle", [[20, 24], [20, 34]]))
    rows, columns = np.mgrid[:48, :40] + 0.5
    assert is_within_a_pixel(mask, np.hypot(rows - 24, columns - 20) <= 10)


def png(bitmap, mode="L"):
    file = io.BytesIO()
    Image.fromarray(bitmap).convert(mode).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_mask_covers_its_pixels_exactly_holes_included(mask_of, mode):
    bitmap = np.full((20, 16), 255, np.uint8)
    bitmap[8:14, 6:10] = 0
    mask = mask_of(shape("mask", [[12, 10], [27, 29]], mask=png(bitmap, mode)))
    meant = np.zeros((48, 40), bool)
    meant[10:30, 12:28] = bitmap > 0
    assert is_within_a_pixel(mask, meant)
    assert not mask[20:22, 20].any()  # the middle of the hole, whose rim may count


@pytest.mark.parametrize(
    ("points", "reason"),
    [([[12, 10], [27, 20]], "16 x 20 pixels, which do not fit"), ([[0, 0], [3, 3]], "do not fit")],
)
def test_a_mask_that_does_not_fit_between_its_corners_is_refused(mask_of, points, reason):
    with pytest.raises(DataInvalid, match=f"shape 1 is a mask of .*{reason}"):
        mask_of(shape("mask", points, mask=png(np.full((20, 16), 255, np.uint8))))


def test_an_empty_mask_is_no_lesion_and_a_bomb_is_not_unpacked(mask_of):
    empty = png(np.zeros((3, 3), np.uint8))
    assert not mask_of(shape("mask", [[0, 0], [2, 2]], mask=empty)).any()
    content = bytearray(base64.b64decode(empty))
    content[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)
    with pytest.raises(DataInvalid, match="shape 1 is a mask whose picture is no PNG"):
        mask_of(shape("mask", [[0, 0], [2, 2]], mask=base64.b64encode(content).decode()))


@pytest.mark.parametrize("kind", WITHOUT_AREA)
def test_what_has_no_area_is_left_out_beside_a_good_shape_and_alone(mask_of, kind):
    good, other = shape("polygon", SQUARE), shape(kind, [[1, 1], [39, 47]])
    assert (mask_of(good, other) == mask_of(good)).all()
    assert not mask_of(other).any()


@pytest.mark.parametrize("label", ["__ignore__", "_background_", "__IGNORE__ "])
def test_labels_that_mean_leave_out_are_left_out(mask_of, label):
    good = shape("rectangle", [[10, 10], [14, 14]])
    other = shape("rectangle", [[0, 30], [40, 48]], label=label)
    assert (mask_of(good, other) == mask_of(good)).all()


NO_SIDES = [None, 0, "", "40 px", -40, 1e-308, 1e308, float("inf"), float("nan"), True, [40], 10**400]


@pytest.mark.parametrize("side", NO_SIDES, ids=repr)
def test_a_frame_that_is_not_said_is_that_of_the_image(mask_of, side):
    assert (mask_of(shape("polygon", SQUARE), imageWidth=side) == mask_of(shape("polygon", SQUARE))).all()


def test_a_side_in_words_is_a_number_too(mask_of):
    mask = mask_of(shape("polygon", SQUARE), imageWidth=" 40 ", imageHeight="48.0", size=(24, 20))
    assert (mask == mask_of(shape("polygon", SQUARE), size=(24, 20))).all()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "gb18030", "cp1252"])
def test_any_text_encoding_will_do(tmp_path, encoding):
    text = json.dumps({"shapes": [shape("polygon", SQUARE, label="é")]}, ensure_ascii=False)
    assert len(read_labelme(text.encode(encoding)).shapes) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        (b'{"shapes": [{"points": [[1, 2', "not valid JSON .*line 1 column"),
        (b"\xff\xfe{\x00", "not valid JSON"),
        (b"\x80\x81", "not valid JSON"),
    ],
)
def test_a_file_that_is_broken_says_what_it_is(tmp_path, content, reason):
    (tmp_path / "IMG1.json").write_bytes(content)
    with pytest.raises(DataInvalid, match=f"IMG1.json: {reason}"):
        lesion_mask(tmp_path / "IMG1.json", 48, 40)
