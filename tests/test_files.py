"""What lies in a dataset's folder and is no plain file: named, never waited for, never read without end."""

import os
import signal

import pytest
from tiny_dataset import write_dataset

from boneexp.data.audit import ImageFacts, annotation_facts, image_facts
from boneexp.data.btxrd import read_dataset
from boneexp.data.radiograph import lesion_mask, read_grey
from boneexp.errors import DataInvalid
from boneexp.files.reading import content_of

IMAGE, ANNOTATION = "images/IMG000002.jpeg", "Annotations/IMG000002.json"


@pytest.fixture(autouse=True)
def _nobody_waits_for_ever():
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "set")


def places(root):
    with pytest.raises(DataInvalid) as caught:
        read_dataset(root)
    return caught.value.places


def put(path, kind):
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path)
    else:
        path.touch()
        os.truncate(path, 900_000_000_000)  # a hole: it takes no room


SAID = {
    "pipe": "not a plain file",
    "device": "not a plain file",
    "folder": "Is a directory",
    "link to itself": "Too many levels of symbolic links",
    "file without end": "900,000,000,000 bytes, and",
}


@pytest.mark.parametrize(("kind", "said"), SAID.items(), ids=SAID)
@pytest.mark.parametrize("name", [IMAGE, ANNOTATION])
def test_what_is_no_plain_file_is_a_problem_of_the_dataset(root, name, kind, said):
    put(root / name, kind)
    (place,) = places(root)
    assert place.startswith(f"{name}: cannot be read ({said}")


@pytest.mark.parametrize("kind", SAID)
def test_what_is_no_plain_file_is_not_read_later_either(root, kind):
    for name, read in ((IMAGE, read_grey), (ANNOTATION, lambda path: lesion_mask(path, 48, 40))):
        put(root / name, kind)
        with pytest.raises(DataInvalid, match="IMG000002"):
            read(root / name)


def test_a_file_of_just_the_largest_size_is_read_and_one_byte_more_is_not(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    assert content_of(tmp_path / "file", 4) == b"1234"
    with pytest.raises(OSError, match="4 bytes, and 3 are the most that is read"):
        content_of(tmp_path / "file", 3)


def test_images_and_annotations_may_be_links_to_another_disk(root, tmp_path):
    before = read_dataset(root).fingerprint
    for name in ("images", "Annotations"):
        (root / name).rename(tmp_path / name)
        (root / name).mkdir()
        for path in (tmp_path / name).iterdir():
            (root / name / path.name).symlink_to(path)
    assert read_dataset(root).fingerprint == before


def test_nothing_is_kept_of_a_dataset_that_is_refused(root, tmp_path):
    put(root / IMAGE, "pipe")
    with pytest.raises(DataInvalid):
        read_dataset(root, index_path=tmp_path / "artifacts" / "cache" / "images.json")
    assert not (tmp_path / "artifacts").exists()


def test_an_index_that_is_a_pipe_is_not_waited_for(root, tmp_path):
    os.mkfifo(tmp_path / "images.json")
    assert read_dataset(root, index_path=tmp_path / "images.json") == read_dataset(root)


def test_facts_of_a_pipe_come_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert image_facts(tmp_path / "pipe").problem == "cannot be read (not a plain file)"
    assert annotation_facts(tmp_path / "pipe", ImageFacts()).problem == "cannot be read (not a plain file)"
