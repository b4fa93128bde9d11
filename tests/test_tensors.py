"""Checkpoints and weights files that mean harm: nothing in them is run, and no bomb is unpacked."""

import hashlib
import os
import pickle
import shutil
import sqlite3
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import Study
from sealed_again import seal_again

from boneexp.errors import Damaged, WeightsUnavailable
from boneexp.learning.checkpoint import Progress, load_best, load_last, save_last
from boneexp.learning.models import build, check_weights
from boneexp.learning.tensors import tensors_of
from boneexp.study.settings import ModelSettings

TINY = ModelSettings(backbone="test_efficientnet", pretrained=False)
LITE = Path(__file__).parents[2] / "shared" / "weights" / "tf_efficientnet_lite0_in1k.safetensors"


class Trap:
    """Whoever unpickles it makes a file."""

    def __reduce__(self):
        return (open, ("trapped", "w"))


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "trapped").exists()


def state():
    return build(TINY, 1).state_dict()


def bomb(path, content):
    """Write what torch would, compressed, with a record of 30 MB that has 30 KB on disk."""
    torch.save(content, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (record, *_) = [name for name in parts if name.endswith("data/0")]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inside in parts.items():
            archive.writestr(name, bytes(30_000_000) if name == record else inside)


def trapped_npz(path):
    path.write_bytes(pickle.dumps({"x": Trap()}))


def huge_header(path):
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")


def lying_header(path):
    header = b'{"x":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))


WEIGHTS = {
    "code.pt": lambda path: torch.save({"x": Trap()}, path),
    "code among weights.pth": lambda path: torch.save({**state(), "x": Trap()}, path),
    "code in the old form.pth": lambda path: torch.save(
        {"x": Trap()}, path, _use_new_zipfile_serialization=False
    ),
    "a pickle.bin": lambda path: path.write_bytes(pickle.dumps(Trap())),
    "a pickle.npz": trapped_npz,
    "a bomb.pt": lambda path: bomb(path, state()),
    "a header without end.safetensors": huge_header,
    "a header that lies.safetensors": lying_header,
    "half a file.safetensors": lambda path: path.write_bytes(b"\x10\0\0\0\0\0\0\0{"),
    "nothing.pt": lambda path: path.write_bytes(b""),
    "no weights.pt": lambda path: torch.save({}, path),
    "no names.pt": lambda path: torch.save([torch.ones(2)], path),
    "other names.pt": lambda path: torch.save({"x": torch.ones(2)}, path),
    "numbers.pt": lambda path: torch.save(dict.fromkeys(state(), 1), path),
    "one missing.pt": lambda path: torch.save(dict(list(state().items())[1:]), path),
    "one too many.pt": lambda path: torch.save({**state(), "blocks.9.x": torch.ones(2)}, path),
    "another shape.pt": lambda path: torch.save({**state(), "conv_stem.weight": torch.ones(2)}, path),
}


@pytest.mark.parametrize(("name", "write"), WEIGHTS.items(), ids=WEIGHTS)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_weights_file_that_is_none_is_refused_in_one_sentence(tmp_path, name, write):
    write(tmp_path / name)
    settings = TINY.model_copy(update={"pretrained": str(tmp_path / name)})
    for use in (check_weights, lambda asked: build(asked, 1)):
        with pytest.raises(WeightsUnavailable) as caught:
            use(settings)
        said = str(caught.value)
        assert said.startswith(f"model.pretrained: {tmp_path / name} does not fit test_efficientnet: ")
        assert len(said) < 400 + len(str(tmp_path))
        assert "\n" not in said
        if "code" in name:
            assert "holds more than tensors; nothing in it was run" in said
        if "bomb" in name:
            assert "claim to unpack to" in said


@pytest.mark.parametrize("form", ["new", "old", "safetensors", "wrapped", "other head", "without counters"])
def test_a_weights_file_in_any_honest_form_is_loaded(tmp_path, form):
    from safetensors.torch import save_file

    plain, path = state(), tmp_path / f"weights.{'safetensors' if form == 'safetensors' else 'pth'}"
    content = {
        "wrapped": {"state_dict": {f"module.{name}": tensor for name, tensor in plain.items()}},
        "other head": {**plain, "classifier.weight": torch.ones(7, 3), "classifier.bias": torch.ones(7)},
        "without counters": {name: each for name, each in plain.items() if "num_batches" not in name},
    }.get(form, plain)
    if form == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form != "old")
    settings = TINY.model_copy(update={"pretrained": str(path)})
    check_weights(settings)
    loaded = build(settings, 2).state_dict()
    assert all(torch.equal(loaded[name], plain[name]) for name in plain if "classifier" not in name)


@pytest.mark.skipif(not LITE.is_file(), reason=f"the ImageNet weights are not here: {LITE}")
def test_real_imagenet_weights_fit():
    settings = ModelSettings(backbone="tf_efficientnet_lite0", pretrained=str(LITE))
    check_weights(settings)
    assert not torch.equal(
        build(settings, 1).conv_stem.weight,
        build(settings.model_copy(update={"pretrained": False}), 1).conv_stem.weight,
    )


@pytest.mark.parametrize("name", ["code.pt", "a bomb.pt", "pipe", "folder"])
def test_queueing_with_such_a_file_makes_no_ledger(study, tmp_path, name):
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()
    else:
        WEIGHTS[name](path)
    result = study("queue", "--only", "E1", "--set", f"model.pretrained={path}", code=1)
    assert f"model.pretrained: {path}" in result.output
    assert "Traceback" not in result.output
    assert not study.ledger.exists()


# Checkpoints


CHECKPOINTS = {
    "code": lambda path: torch.save({"model": Trap(), "config_hash": "h"}, path),
    "bomb": lambda path: bomb(path, {"model": state(), "epoch": 1}),
    "old form": lambda path: torch.save({"model": 1}, path, _use_new_zipfile_serialization=False),
    "no zip": lambda path: path.write_bytes(b"no zip"),
    "empty zip": lambda path: zipfile.ZipFile(path, "w").close(),
    "a tensor": lambda path: torch.save(torch.ones(2), path),
}


@pytest.mark.parametrize("write", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_best_checkpoint_that_is_none_is_refused_even_under_its_digest(tmp_path, write):
    write(tmp_path / "best.pt")
    digest = hashlib.sha256((tmp_path / "best.pt").read_bytes()).hexdigest()
    with pytest.raises(Damaged, match=r"best\.pt is not a checkpoint of boneexp"):
        load_best(tmp_path / "best.pt", digest, build(TINY, 1))


@pytest.mark.parametrize("write", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_last_checkpoint_that_is_none_is_passed_over(tmp_path, write):
    write(tmp_path / "last.pt")
    assert load_last(tmp_path / "last.pt", "h") is None


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    bomb(tmp_path / "last.pt", state())
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpacked"))
    for source in (tmp_path / "last.pt", (tmp_path / "last.pt").read_bytes()):
        with pytest.raises(ValueError, match="claim to unpack to 30,"):
            tensors_of(source)


PROGRESS = {
    "no dict": {"progress": 1},
    "a tensor for a hash": {"config_hash": torch.ones(2)},
    "nothing": {"progress": None},
    "text for numbers": {"progress": {"epoch": "1"}},
    "an epoch that is text": {"progress": {"history": [{"epoch": "x"}]}},
    "an unknown field": {"progress": {"x": 1}},
    "history that is none": {"progress": {"history": [1]}},
    "a tensor for a loss": {"progress": {"best_val_loss": torch.ones(2)}},
}


@pytest.mark.parametrize("changes", PROGRESS.values(), ids=PROGRESS)
def test_a_last_checkpoint_with_another_progress_is_passed_over(tmp_path, changes):
    path = tmp_path / "last.pt"
    save_last(path, {"model": {}}, "h", Progress())
    assert load_last(path, "h") is not None
    content = tensors_of(path)
    for key, value in changes.items():
        mixed = isinstance(value, dict) and isinstance(content[key], dict)
        content[key] = {**content[key], **value} if mixed else value
    torch.save(content, path)
    assert load_last(path, "h") is None


@pytest.fixture
def copy(tmp_path, finished_study):
    return Study(shutil.copytree(finished_study.folder, tmp_path / "study"))


def forge(study, write):
    """Put another file in the checkpoint's place, and its digest into the ledger, seals and all."""
    path = study.artifacts / "experiments" / "E1" / "stratified" / "best.pt"
    write(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with sqlite3.connect(study.ledger) as connection:
        connection.execute("UPDATE runs SET checkpoint_sha256 = ? WHERE id = 1", (digest,))
    connection.close()
    seal_again(study.ledger)


@pytest.mark.parametrize("kind", ["code", "bomb"])
def test_gradcam_runs_no_code_of_a_checkpoint_and_changes_nothing(copy, kind):
    forge(copy, CHECKPOINTS[kind])
    before = copy.ledger.read_bytes()
    result = copy("gradcam", "--experiment", "E1", code=7)
    assert "best.pt is not a checkpoint of boneexp" in result.output
    assert "Traceback" not in result.output
    assert copy.ledger.read_bytes() == before
    assert not list(copy.folder.rglob("trapped"))


def test_this_trap_works(tmp_path):
    """What the other tests rely on: unpickled without care, the trap makes its file."""
    torch.save({"x": Trap()}, tmp_path / "code.pt")
    torch.load(tmp_path / "code.pt", weights_only=False)["x"].close()
    assert (tmp_path / "trapped").exists()
    (tmp_path / "trapped").unlink()
