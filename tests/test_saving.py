"""Checkpoints that are written while the next epoch trains: when an epoch counts, and what goes wrong."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_training import TINY, Watcher, inputs, losses, same, weights_of
from writers import AtOnce, AtTheLastMoment

from boneexp.experiment.failures import failure_of
from boneexp.files.atomic import sha256_of
from boneexp.learning import checkpoint, training
from boneexp.learning.checkpoint import load_last
from boneexp.learning.models import build
from boneexp.learning.saving import HostCopies
from boneexp.learning.training import train

WRITERS = {"thread": lambda: ThreadPoolExecutor(1), "at once": AtOnce, "at the last moment": AtTheLastMoment}
EVERY_WRITER = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


class Listener(Watcher):
    """Writes down what it hears, step by step, and looks at the disk when an epoch is reported."""

    def __init__(self, folder, **stop):
        super().__init__(**stop)
        self.folder, self.heard, self.threads = folder, [], set()

    def step(self, epoch, done, total):
        self.heard.append((epoch, done))
        self.threads.add(threading.get_ident())
        return super().step()

    def epoch(self, record):
        progress, _ = load_last(self.folder.last, "h")
        assert progress.history[record.epoch] == record
        assert sha256_of(self.folder.best_of(progress.best_epoch)) == progress.best_sha256
        self.heard.append(("epoch", record.epoch))
        self.threads.add(threading.get_ident())
        return super().epoch(record)


@EVERY_WRITER
def test_an_epoch_is_reported_once_it_is_on_the_disk_and_by_the_thread_that_trains(tmp_path, writer):
    where = inputs(tmp_path)
    listener = Listener(where.folder)
    assert train(build(TINY, 7), where, listener.callbacks, writer()).done
    assert [what for what in listener.heard if "epoch" in what] == [("epoch", 0), ("epoch", 1), ("epoch", 2)]
    assert listener.threads == {threading.get_ident()}


def test_the_next_epoch_trains_while_a_slow_disk_takes_the_former(tmp_path):
    where = inputs(tmp_path)
    listener = Listener(where.folder)
    train(build(TINY, 7), where, listener.callbacks, AtTheLastMoment())
    steps = max(done for epoch, done in listener.heard if epoch == 0)
    every_epoch = [[(epoch, step + 1) for step in range(steps)] for epoch in range(3)]
    expected = [*every_epoch[0], *every_epoch[1], ("epoch", 0), *every_epoch[2], ("epoch", 1), ("epoch", 2)]
    assert listener.heard == expected


@EVERY_WRITER
@pytest.mark.parametrize("stop", [{"epochs": 1}, {"steps": 7}], ids=str)
def test_whenever_it_is_written_a_run_that_stops_goes_on_to_the_same_weights(tmp_path, writer, stop):
    unbroken, watcher = tmp_path / "unbroken", Watcher()
    done = train(build(TINY, 7), inputs(unbroken), watcher.callbacks, AtOnce())
    broken, first, last = inputs(tmp_path / "broken"), Watcher(**stop), Watcher()
    assert train(build(TINY, 7), broken, first.callbacks, writer()) is None
    assert load_last(broken.folder.last, "h")[0].history == first.records  # nothing is saved and not reported
    resumed = train(build(TINY, 7), broken, last.callbacks, writer())
    assert losses(last) == losses(watcher)
    assert same(weights_of(tmp_path / "broken"), weights_of(unbroken))
    assert resumed.best_sha256 == done.best_sha256


def full_after(count, monkeypatch):
    """Let the disk be full after some files."""
    real, written = checkpoint.write_bytes, []

    def write(path, content):
        written.append(path.name)
        if len(written) > count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, content)

    monkeypatch.setattr(checkpoint, "write_bytes", write)


@EVERY_WRITER
@pytest.mark.parametrize("count", [0, 1, 2], ids=["best", "last", "second epoch"])
def test_a_full_disk_ends_the_run_and_its_epoch_is_not_reported(tmp_path, monkeypatch, writer, count):
    full_after(count, monkeypatch)
    watcher = Watcher()
    with pytest.raises(OSError, match="No space left on device") as caught:
        train(build(TINY, 7), inputs(tmp_path), watcher.callbacks, writer())
    failed = failure_of(caught.value)
    assert failed.kind == "disk"
    assert failed.message == "OSError: [Errno 28] No space left on device"
    assert [record.epoch for record in watcher.records] == [0][: count // 2]
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_that_a_stop_meets_is_not_taken_for_a_stop(tmp_path, monkeypatch):
    full_after(2, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        train(build(TINY, 7), inputs(tmp_path), Watcher(steps=7).callbacks, AtTheLastMoment())


def out_of_memory_in(epoch_wanted, monkeypatch):
    real = training._Loop._step

    def step(loop, positions, epoch):
        if epoch == epoch_wanted:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(loop, positions, epoch)

    monkeypatch.setattr(training._Loop, "_step", step)


@EVERY_WRITER
def test_an_error_in_the_next_epoch_waits_until_the_former_is_saved_and_reported(
    tmp_path, monkeypatch, writer
):
    out_of_memory_in(1, monkeypatch)
    where = inputs(tmp_path)
    listener = Listener(where.folder)
    with pytest.raises(torch.OutOfMemoryError):
        train(build(TINY, 7), where, listener.callbacks, writer())
    assert [record.epoch for record in listener.records] == [0]


def test_a_full_disk_counts_before_an_error_in_the_next_epoch_as_if_written_at_once(tmp_path, monkeypatch):
    out_of_memory_in(1, monkeypatch)
    full_after(1, monkeypatch)
    with pytest.raises(OSError, match="No space left") as caught:
        train(build(TINY, 7), inputs(tmp_path), Watcher().callbacks, AtTheLastMoment())
    assert isinstance(caught.value.__context__, torch.OutOfMemoryError)


def test_a_copy_stays_as_it_is_while_training_goes_on_and_its_memory_is_used_again():
    model = build(TINY, 7).to(memory_format=torch.channels_last)
    copies, state = HostCopies(), model.state_dict()
    first = copies.of({"model": state, "rate": [0.1]})
    copies.wait()
    assert same(first["model"], state)
    assert first["model"]._metadata == state._metadata
    assert all(first["model"][name].stride() == tensor.stride() for name, tensor in state.items())
    with torch.no_grad():
        model.conv_stem.weight.add_(1)
    assert not torch.equal(first["model"]["conv_stem.weight"], state["conv_stem.weight"])
    again = copies.of({"model": model.state_dict(), "rate": [0.2]})
    assert again["rate"] == [0.2]
    assert same(again["model"], model.state_dict())
    pointers = [each["model"]["conv_stem.weight"].data_ptr() for each in (first, again)]
    assert pointers[0] == pointers[1] != state["conv_stem.weight"].data_ptr()
