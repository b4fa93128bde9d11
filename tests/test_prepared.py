import json
import multiprocessing
import shutil
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_dataset import REAL, write_annotation, write_dataset, write_image

from boneexp.data import prepared
from boneexp.data.btxrd import read_dataset
from boneexp.data.pictures import grey_of
from boneexp.data.prepared import Recipe, cache_folder, prepare, prepared_grey, recipe_of
from boneexp.data.radiograph import clahe, lesion_mask, read_grey
from boneexp.data.study import study_images
from boneexp.errors import DataInvalid
from boneexp.study.settings import DataSettings

SETTINGS = {"size_px": 32, "clip_limit": 2.0, "tiles": 4}


@pytest.fixture
def dataset(tmp_path):
    return read_dataset(write_dataset(tmp_path / "set", "NBMBN"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "prepared"


def cache_of(folder):
    (place,) = [path for path in folder.iterdir() if path.is_dir()]
    return place


def test_the_cache_equals_a_plain_loop(dataset, folder):
    result = prepare(dataset, folder, **SETTINGS)
    assert (result.pixels.shape, result.pixels.dtype) == ((5, 32, 32), np.uint8)
    assert (result.lesions.shape, result.lesions.dtype) == ((3, 32, 32), np.bool_)
    assert result.lesion_row.tolist() == [-1, 0, 1, 2, -1]
    for one, pixels, row in zip(dataset.radiographs, result.pixels, result.lesion_row, strict=True):
        grey = clahe(read_grey(one.image_path), 2.0, 4)
        assert (pixels == cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)).all()
        if row >= 0:
            assert (result.lesions[row] == lesion_mask(one.annotation_path, 32, 32)).all()


@pytest.mark.parametrize(
    ("side", "tiles", "decoded"),
    [
        *[(319, 2, 319), (320, 2, 160), (639, 2, 320), (640, 2, 160), (1280, 2, 160), (1336, 2, 167)],
        *[(640, 4, 320), (768, 4, 192), (768, 8, 384)],
    ],
)
def test_a_large_image_is_scaled_while_decoding_as_far_as_size_and_tiles_let_it(
    tmp_path, side, tiles, decoded
):
    """128 px need 160 on both sides, four tiles 192, eight tiles 384; a remainder is rounded up."""
    write_image(tmp_path / "a.jpeg", height=side + 100, width=side)
    recipe = Recipe(128, 2.0, tiles, "scaled")
    assert grey_of((tmp_path / "a.jpeg").read_bytes(), recipe.least_px).shape[1] == decoded


def test_scaled_images_look_as_those_decoded_in_full(tmp_path):
    root = write_dataset(tmp_path / "set", "NNN")
    write_image(root / "images" / "IMG000002.jpeg", seed=2, height=1100, width=800)
    full, scaled = (
        [prepared_grey(one, Recipe(64, 2.0, 8, how)) for one in read_dataset(root).radiographs]
        for how in ("full", "scaled")
    )
    assert np.array_equal(full[0], scaled[0])  # 48 x 40 px are none too many
    assert 0 < np.abs(full[1].astype(int) - scaled[1]).mean() < 2


def test_the_setting_reaches_the_cache(dataset, tmp_path):
    scaled = DataSettings(image_size=32, decoding="scaled")
    made = study_images(dataset, scaled, tmp_path)
    assert made.folder == cache_folder(tmp_path / "cache/prepared", dataset.fingerprint, recipe_of(scaled))
    assert json.loads((made.folder / "prepared.json").read_text())["decoding"] == "scaled"


def test_a_cache_from_before_there_was_a_choice_keeps_its_name():
    before = Recipe(224, 2.0, 8, "full", "union")
    assert cache_folder(Path(), "f" * 64, before).name == "b61fcb74549fc0b6acf74fde"


def test_the_arrays_are_mapped_and_cannot_be_written_to(dataset, folder):
    result = prepare(dataset, folder, **SETTINGS)
    assert isinstance(result.pixels, np.memmap)
    for array in (result.pixels, result.lesions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_narrow_image_shrinks_by_averaging_and_grows_by_interpolation(dataset, tmp_path, folder):
    stripes = np.tile(np.array([[0], [255]], np.uint8), (200, 20))
    cv2.imwrite(str(dataset.radiographs[0].image_path), stripes, [cv2.IMWRITE_JPEG_QUALITY, 100])
    changed = read_dataset(dataset.root)
    grey = prepared_grey(changed.radiographs[0], Recipe(40, 1.0, 1))
    assert grey.shape == (40, 40)
    assert grey.std() < 20  # 400 rows become 40: picked instead of averaged they would be black or white


def test_images_smaller_than_the_size_are_enlarged(dataset, folder):
    assert prepare(dataset, folder, **SETTINGS | {"size_px": 96}).pixels.shape == (5, 96, 96)


def test_the_second_time_nothing_is_decoded(dataset, folder, monkeypatch):
    first = prepare(dataset, folder, **SETTINGS)
    monkeypatch.setattr(prepared, "grey_of", lambda *_: pytest.fail("decoded again"))
    second = prepare(dataset, folder, **SETTINGS)
    assert second.folder == first.folder
    assert (second.pixels == first.pixels).all()


def test_a_cache_in_a_read_only_folder_is_used_without_the_lock(dataset, folder, monkeypatch):
    prepare(dataset, folder, **SETTINGS)
    monkeypatch.setattr(prepared, "FileLock", lambda path: pytest.fail("locked"))
    prepare(dataset, folder, **SETTINGS)


@pytest.mark.parametrize(
    "change", [{"size_px": 33}, {"clip_limit": 3.0}, {"tiles": 5}, {"decoding": "scaled"}, {"lesion": "box"}]
)
def test_other_settings_have_a_cache_of_their_own(dataset, folder, change):
    first = prepare(dataset, folder, **SETTINGS)
    other = prepare(dataset, folder, **SETTINGS | change)
    assert other.folder != first.folder
    assert prepare(dataset, folder, **SETTINGS | {"clip_limit": 2}).folder == first.folder


def test_a_changed_dataset_has_a_cache_of_its_own(dataset, folder):
    first = prepare(dataset, folder, **SETTINGS)
    write_annotation(dataset.root / "Annotations" / "IMG000002.json", [[0, 0], [40, 48]], "rectangle")
    second = prepare(read_dataset(dataset.root), folder, **SETTINGS)
    assert second.folder != first.folder
    assert second.lesions[0].all()


def test_a_dataset_without_lesions_is_prepared(tmp_path, folder):
    plain = read_dataset(write_dataset(tmp_path / "plain", "NN"))
    result = prepare(plain, folder, **SETTINGS)
    assert result.lesions.shape == (0, 32, 32)
    assert result.lesion_row.tolist() == [-1, -1]


DAMAGE = {
    "truncated pixels": lambda place: (place / "pixels.npy").write_bytes(
        (place / "pixels.npy").read_bytes()[:-1]
    ),
    "empty lesions": lambda place: (place / "lesions.npy").write_bytes(b""),
    "a flipped bit": lambda place: (place / "pixels.npy").write_bytes(
        (place / "pixels.npy").read_bytes()[:-1] + b"\x01"
    ),
    "no lesions": lambda place: (place / "lesions.npy").unlink(),
    "corrupt note": lambda place: (place / "prepared.json").write_text("{"),
    "foreign note": lambda place: (place / "prepared.json").write_text("[1]"),
    "empty note": lambda place: (place / "prepared.json").write_text("{}"),
    "no note": lambda place: (place / "prepared.json").unlink(),
    "empty folder": lambda place: [path.unlink() for path in place.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_built_again(dataset, folder, damage):
    expected = np.array(prepare(dataset, folder, **SETTINGS).pixels)
    damage(cache_of(folder))
    assert (prepare(dataset, folder, **SETTINGS).pixels == expected).all()
    assert sorted(path.name for path in cache_of(folder).iterdir()) == [
        "lesions.npy",
        "pixels.npy",
        "prepared.json",
    ]


def test_what_dead_builders_left_is_removed_by_the_next(dataset, folder):
    place = prepare(dataset, folder, **SETTINGS).folder
    shutil.rmtree(place)
    (folder / f"{place.name}.99999.part").mkdir()
    (folder / f"{place.name}.99999.part" / "pixels.npy").write_bytes(b"half")
    prepare(dataset, folder, **SETTINGS)
    assert sorted(path.name for path in folder.iterdir()) == [place.name, f"{place.name}.lock"]


def test_an_image_that_changed_since_it_was_read_is_refused_and_nothing_is_left(dataset, folder):
    write_image(dataset.radiographs[3].image_path, seed=99)
    with pytest.raises(DataInvalid, match="IMG000004.jpeg has changed since the dataset was read"):
        prepare(dataset, folder, **SETTINGS)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]
    dataset.radiographs[3].image_path.unlink()
    with pytest.raises(DataInvalid, match="IMG000004.jpeg has changed"):
        prepare(dataset, folder, **SETTINGS)


def test_a_full_disk_leaves_nothing(dataset, folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepared.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(dataset, folder, **SETTINGS)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def build(root, folder, built):
    def progress(done, total):
        time.sleep(0.02)
        if done == total:
            built.put("built")

    result = prepare(read_dataset(root), folder, **SETTINGS, progress=progress)
    built.put(int(result.pixels.sum()))


def test_of_two_builders_at_once_one_builds_and_both_have_the_same(dataset, folder):
    context = multiprocessing.get_context("spawn")
    built = context.Queue()
    builders = [context.Process(target=build, args=(dataset.root, folder, built)) for _ in range(2)]
    for builder in builders:
        builder.start()
    told = [built.get(timeout=60) for _ in range(3)]
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert told.count("built") == 1
    assert len(set(told)) == 2


def test_progress_counts_images_and_only_while_building(dataset, folder):
    seen = []
    prepare(dataset, folder, **SETTINGS, workers=3, progress=lambda *counts: seen.append(counts))
    assert seen == [(done, 5) for done in range(1, 6)]
    prepare(dataset, folder, **SETTINGS, progress=lambda *counts: pytest.fail("built again"))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real radiographs are not here: {REAL}")
def test_real_radiographs_are_prepared_with_every_lesion_on_some_pixel(folder):
    whole = read_dataset(REAL)
    real = replace(whole, radiographs=whole.radiographs[::4])
    result = prepare(real, folder, size_px=64, clip_limit=2.0, tiles=8)
    assert result.lesions.any(axis=(1, 2)).all()
    assert result.pixels.std(axis=(1, 2)).min() > 5
