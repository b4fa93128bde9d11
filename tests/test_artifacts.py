import hashlib

import pytest

from boneexp.files.atomic import sha256_of, whole_file, write_text
from boneexp.files.folders import RunFolder


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    with whole_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file.txt"]


def test_the_digest_is_that_of_hashlib(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_leftovers_and_former_bests_go_and_the_rest_stays(tmp_path):
    folder = RunFolder(tmp_path, "experiments/E1/stratified")
    folder.path.mkdir(parents=True)
    for name in ("best-epoch00001.pt", "best-epoch00002.pt", "last.pt", "last.pt.77.part", "run.log"):
        folder.file(name).touch()
    folder.drop_leftovers()
    folder.drop_former_bests(2)
    assert sorted(path.name for path in folder.path.iterdir()) == ["best-epoch00002.pt", "last.pt", "run.log"]
    assert folder.written("log", folder.log).path == "experiments/E1/stratified/run.log"
