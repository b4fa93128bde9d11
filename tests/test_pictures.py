"""Image files as people have them: read, called what they are, or refused where they are damaged inside."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from conftest import new_study
from PIL import Image
from tiny_dataset import REAL, row, write_dataset

from boneexp.data.audit import image_facts
from boneexp.data.btxrd import read_dataset
from boneexp.data.pictures import checked_thumbnail, grey_of, opened
from boneexp.data.radiograph import read_grey
from boneexp.errors import DataInvalid
from boneexp.ledger.database import reading
from boneexp.ledger.queries.runs import spec_json
from boneexp.study.settings import RunSpec

NAME = "IMG000002.jpeg"


def saved(kind, image=None, **settings):
    file = io.BytesIO()
    (image or Image.new("L", (40, 48))).save(file, kind, **settings)
    return file.getvalue()


def noise(size=(200, 300), seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (12, 8), dtype=np.uint8)
    return Image.fromarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "set")


def refusal(root, **settings):
    with pytest.raises(DataInvalid) as caught:
        read_dataset(root, **settings)
    return caught.value


# What is no image that is read

DICOM = b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0" + b"\0" * 40
OTHERS = {
    "an empty file; download": b"",
    "nothing but zero bytes; download": bytes(1000),
    "a JPEG damaged at its start; download": b"\xff\xd8\xff",
    "a PNG damaged at its start; download": b"\x89PNG\r\n\x1a\n and no more",
    "a WebP; JPEG and 8-bit grey or RGB PNG are read: convert it": saved("WEBP"),
    "a TIFF; JPEG and 8-bit": saved("TIFF"),
    "a BigTIFF; ": b"II+\0\x08\0\0\0",
    "a GIF; ": saved("GIF"),
    "a BMP; ": saved("BMP"),
    "a JPEG 2000; ": b"\0\0\0\x0cjP  \r\n\x87\n",
    "a HEIC; ": b"\0\0\0\x18ftypheic\0\0\0\0",
    "a DICOM file; export it as JPEG or 8-bit PNG": DICOM,
    "a Git LFS pointer and not the image; fetch the images with: git lfs pull": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    ),
    "a git-annex pointer": b"/annex/objects/SHA256E-s12--4d7a.jpeg\n",
    "an HTML page, as a download that failed leaves; download": b"\n<!DOCTYPE html><html>Sign in",
    "a zip archive; unpack it": b"PK\x03\x04" + bytes(40),
    "a PDF; export": b"%PDF-1.7\n",
    "a JSON text": b'{"error": "quota"}',
    "a text file; download": "Größe unbekannt\n".encode(),
    "no image in a format that is known here": bytes(range(7, 250)),
    "a PNG of 16 bits per channel, grey; ": saved("PNG", Image.new("I;16", (40, 48))),
    "a PNG of 1 bit per channel, with a palette; ": saved("PNG", Image.new("P", (40, 48))),
    "a PNG of 8 bits per channel, RGB with transparency; ": saved("PNG", Image.new("RGBA", (40, 48))),
    "a PNG of 1 bit per channel, grey; ": saved("PNG", Image.new("1", (40, 48))),
}


@pytest.mark.parametrize(("named", "content"), OTHERS.items(), ids=OTHERS)
def test_what_is_no_image_is_called_what_it_is_with_the_advice_that_fits(root, named, content):
    (root / "images" / NAME).write_bytes(content)
    (place,) = refusal(root).places
    assert place.startswith(f"images/{NAME}: {named}")
    with pytest.raises(DataInvalid, match="no image that can be decoded"):
        read_grey(root / "images" / NAME)


@pytest.mark.parametrize("ending", [".dcm", ".tif", ".webp"])
def test_a_file_under_an_ending_of_its_own_kind_is_named_and_not_called_missing(root, ending):
    (root / "images" / NAME).rename(root / "images" / f"IMG000002{ending}")
    (root / "images" / f"IMG000002{ending}").write_bytes(DICOM)
    (place,) = refusal(root).places
    assert place.startswith(f"images/IMG000002{ending}: a DICOM file; ")


# PNG


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("name", [NAME, "IMG000002.png", "IMG000002.PNG"])
def test_an_8_bit_png_is_read_under_any_name(root, mode, name):
    image = noise().convert(mode)
    (root / "images" / NAME).unlink()
    (root / "images" / name).write_bytes(saved("PNG", image))
    two = read_dataset(root).radiographs[1]
    assert (two.height_px, two.width_px) == (300, 200)
    assert two.annotation_path
    grey = read_grey(two.image_path)
    assert np.abs(grey.astype(int) - np.asarray(image.convert("L"))).max() == 0
    assert np.array_equal(grey_of(two.image_path.read_bytes(), 50), grey)


def test_a_table_may_name_png_files(tmp_path):
    rows = [row(number, kind, image_id=f"IMG{number:06d}.png") for number, kind in enumerate("NBM", 1)]
    root = write_dataset(tmp_path / "set", rows=rows)
    assert [one.annotation_path is not None for one in read_dataset(root).radiographs] == [False, True, True]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_png_is_turned_as_its_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a.png").write_bytes(saved("PNG", noise(), exif=exif))
    (tmp_path / "a.jpeg").write_bytes(saved("JPEG", noise(), exif=exif, quality=100))
    png, jpeg = image_facts(tmp_path / "a.png"), image_facts(tmp_path / "a.jpeg")
    assert (png.height_px, png.width_px, png.orientation) == (jpeg.height_px, jpeg.width_px, orientation)
    greys = [read_grey(tmp_path / name).astype(int) for name in ("a.png", "a.jpeg")]
    assert greys[0].shape == (png.height_px, png.width_px)
    assert np.abs(greys[0] - greys[1]).mean() < 2


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_png_is_named(root, kept):
    content = saved("PNG", noise())
    (root / "images" / NAME).write_bytes(content[: int(kept * len(content))])
    (place,) = refusal(root).places
    assert place.startswith(f"images/{NAME}: truncated or damaged PNG (")


def test_a_png_with_a_wrong_checksum_is_damaged_inside(root):
    content = saved("PNG", noise(), compress_level=0)
    at = content.index(b"IDAT") + 2000
    changed = bytearray(content)
    changed[at] ^= 0x40
    (root / "images" / NAME).write_bytes(changed)
    (place,) = refusal(root).places
    assert place.startswith(f"images/{NAME}: ")
    assert "damaged" in place


def test_a_png_that_would_unpack_to_gigabytes_is_not_decoded(root):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    start = b"\x89PNG\r\n\x1a\n" + len(header).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    (root / "images" / NAME).write_bytes(start + saved("PNG")[33:])
    assert refusal(root).places == (f"images/{NAME}: absurd size 60000 x 60000",)


# Damaged inside


def damaged(path):
    """Overwrite a stretch in the middle of a JPEG, as a bad sector does."""
    path.write_bytes(saved("JPEG", noise((400, 600)), quality=90))
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 400] = b"\x5a" * 400
    path.write_bytes(content)


def test_a_jpeg_damaged_inside_is_refused_by_name_or_accepted_by_name(root):
    damaged(root / "images" / NAME)
    error = refusal(root)
    assert len(error.places) == 1
    assert error.places[0].startswith(f"images/{NAME}: damaged inside (Corrupt JPEG data: ")
    assert f'accept = ["damaged:{NAME}"]' in str(error)
    accepted = read_dataset(root, accept=[f"damaged:{NAME}"])
    assert len(accepted.radiographs) == 3
    (note,) = (note for note in accepted.notes if "accept" in note)
    assert note.startswith(f"accepted all the same: images/{NAME}: damaged inside (")
    assert refusal(root, accept=["damaged:IMG000001.jpeg"]).places == error.places


def test_accepting_what_is_not_damaged_is_noted(root):
    assert read_dataset(root, accept=["damaged:IMG000001.jpeg", "damaged:gone.jpeg"]).notes == (
        "data.accept names what is not damaged: damaged:IMG000001.jpeg, damaged:gone.jpeg",
    )


def test_damage_is_remembered_in_the_index(root, tmp_path):
    damaged(root / "images" / NAME)
    index, accept = tmp_path / "index.json", [f"damaged:{NAME}"]
    first = read_dataset(root, accept=accept, index_path=index)
    assert index.is_file()
    assert read_dataset(root, accept=accept, index_path=index) == first
    assert len(refusal(root, index_path=index).places) == 1


def test_what_is_accepted_decides_no_result(tmp_path):
    study = new_study(tmp_path / "study", write_dataset(tmp_path / "set", "NBM" * 6))
    damaged(tmp_path / "set" / "images" / NAME)
    asked = ("queue", "--only", "E1", "--split", "stratified")
    assert "damaged inside" in study(*asked, code=1).output
    assert not study.ledger.exists()
    grid = study.grid.read_text()
    study.grid.write_text(grid.replace("[data]", f'[data]\naccept = ["damaged:{NAME}"]'))
    assert f"accepted all the same: images/{NAME}" in study(*asked).stderr
    with reading(study.ledger) as connection:
        spec = RunSpec.model_validate_json(spec_json(connection, 1))
    data = spec.settings.data.model_copy(update={"accept": ()})
    other = spec.model_copy(update={"settings": spec.settings.model_copy(update={"data": data})})
    assert spec.settings.data.accept == (f"damaged:{NAME}",)
    assert other.config_hash == spec.config_hash


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(100, 90), (255, 401), (1031, 2050)])
@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 2}], ids=str)
def test_a_sound_jpeg_of_any_kind_has_no_damage_and_the_thumbnail_that_pillow_makes(mode, size, settings):
    content = saved("JPEG", noise(size).convert(mode), **settings)
    found = checked_thumbnail(opened(content), content)
    plain = opened(content)
    plain.draft("L", (128, 128))
    assert found.damage == ""
    assert np.array_equal(found.grey, np.asarray(plain.convert("L")))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real radiographs are not beside the project")
def test_no_real_radiograph_is_called_damaged():
    paths = sorted((REAL / "images").iterdir())[::8]
    assert [image_facts(path).damage for path in paths] == [""] * len(paths)
