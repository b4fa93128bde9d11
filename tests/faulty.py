"""Work for children that goes wrong on purpose: the real run, with one fault laid into it.

A child imports this module by name, so every function stands at the top level. Faults of the first attempts
only are told by the number of the attempt.
"""

import errno
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path

import torch

from boneexp.experiment import outputs, run
from boneexp.learning import checkpoint, saving, training

FILLER = "filler"
SMALL_GROUP = Path("/sys/fs/cgroup/memory/boneexp-test")


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def broken_on_stratified(spec, *rest):
    if spec.split.name == "stratified":
        training.class_weights = _raising(ZeroDivisionError("a bug in the code"))
    return run.run(spec, *rest)


def hungry_when_annotated(spec, *rest):
    """Out of memory with more than two images at a time."""
    real = training._Loop._step

    def step(loop, positions, epoch):
        if loop.inputs.micro_batch > 2 and loop.inputs.training.annotations:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(loop, positions, epoch)

    training._Loop._step = step
    return run.run(spec, *rest)


def on_a_full_disk(spec, folder, *rest):
    """In the first attempt the disk is full when the second epoch is to be saved."""
    real = checkpoint.write_bytes

    def full(path, content):
        if folder.attempt == 1 and path.name == "last.pt" and path.exists():
            path.with_name("last.pt.0.part").write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, content)

    checkpoint.write_bytes = full
    return run.run(spec, folder, *rest)


def filling_the_disk(spec, folder, *rest):
    """In the first attempts the disk fills up to its last byte when the first epoch is saved."""
    real = saving.Saving.outcome

    def outcome(self, wait):
        found = real(self, wait)
        if found is not None:
            with (folder.artifacts / FILLER).open("ab", buffering=0) as file:
                for size in (1 << 20, 1 << 12, 1):
                    with suppress(OSError):
                        while file.write(bytes(size)):
                            pass
        return found

    saving.Saving.outcome = outcome
    return run.run(spec, folder, *rest)


def segfaulting(spec, folder, *rest):
    """The first attempt dies in native code."""
    if folder.attempt == 1:
        import ctypes

        ctypes.string_at(0)
    return run.run(spec, folder, *rest)


def always_killed(*_):
    die()


def killed_by_the_kernel(spec, folder, computing, micro_batch, report):
    """The kernel kills whatever takes more than two images at a time (the test counts for it)."""
    if micro_batch > 2:
        die()
    return run.run(spec, folder, computing, micro_batch, report)


def in_a_small_group(spec, folder, computing, micro_batch, report):
    """Fill the memory of a control group that allows 300 MB, with more than two images at a time."""
    SMALL_GROUP.joinpath("cgroup.procs").write_text(str(os.getpid()))
    if micro_batch > 2:
        hoard = [bytearray(os.urandom(1 << 20)) for _ in range(2000)]
        raise AssertionError(f"{len(hoard)} MB fitted into 300")
    return run.run(spec, folder, computing, micro_batch, report)


def killed_at_every_stage(spec, folder, *rest):
    """Attempts 1 to 7 die at one moment each; never three in a row without an epoch that is kept."""
    stage = _STAGES.get(folder.attempt)
    if stage:
        stage()
    return run.run(spec, folder, *rest)


def hub_that_answers_once(spec, folder, *rest):
    """The first attempt asks for weights, and dies when it evaluates; after that the hub is gone."""
    real = run.build

    def watched(settings, seed, *rest):
        if settings.pretrained and folder.attempt > 1:
            raise ConnectionError("there is no network")
        return real(settings.model_copy(update={"pretrained": False}), seed, *rest)

    run.build = watched
    if folder.attempt == 1:
        _while_evaluating()
    return run.run(spec, folder, *rest)


def deaf(*_):
    """Ask the worker to stop, twice, and hear nothing oneself."""
    worker = int(multiprocessing.parent_process().pid)
    os.kill(worker, signal.SIGINT)
    threading.Event().wait(1)
    os.kill(worker, signal.SIGINT)
    threading.Event().wait()


def threads_and_pid(_report):
    return torch.get_num_threads(), os.getpid() != multiprocessing.parent_process().pid


def loaded(_report):
    return {name.split(".")[0] for name in sys.modules}


def waiting(report):
    """Say which process this is, and do nothing."""
    report.stage(os.getpid())
    threading.Event().wait()


def asked_to_end(spec, folder, *rest):
    if folder.attempt == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return run.run(spec, folder, *rest)


def on_a_small_gpu(spec, *rest):
    """As much memory as four images at a time take, and hardly more."""
    torch.cuda.set_per_process_memory_fraction(1.2e9 / torch.cuda.get_device_properties(0).total_memory)
    return run.run(spec, *rest)


def _while_the_first_epoch_is_saved():
    """The checkpoint is half written, and the next epoch trains."""
    _while_saving(threading.Event().wait)
    _at_a_later_step(lambda loop: True)


def _within_the_second_epoch():
    """The first one is saved and reported."""

    def is_reported(loop):
        under_way = loop.saving._under_way
        wait([under_way] if under_way else [])
        return under_way is None

    _at_a_later_step(is_reported)


def _at_a_later_step(is_time):
    real = training._Loop._step

    def step(loop, positions, epoch):
        if epoch > 0 and is_time(loop):
            die()
        return real(loop, positions, epoch)

    training._Loop._step = step


def _while_saving(then=die):
    real = checkpoint.write_bytes

    def half(path, content):
        if path.name == "last.pt":
            path.with_name(f"last.pt.{os.getpid()}.part").write_bytes(content[: len(content) // 2])
            then()
        real(path, content)

    checkpoint.write_bytes = half


def _between_best_and_last():
    saving.save_last = die


def _between_saving_and_saying_so():
    real = saving.Saving.outcome

    def outcome(self, wait):
        if real(self, wait) is not None:
            die()

    saving.Saving.outcome = outcome


def _while_evaluating():
    run._evaluated = die


def _while_drawing():
    outputs.plots.draw_confusion = die


_STAGES = {
    1: _while_the_first_epoch_is_saved,
    2: _within_the_second_epoch,
    3: _between_saving_and_saying_so,
    4: _while_saving,
    5: _between_best_and_last,
    6: _while_evaluating,
    7: _while_drawing,
}


def _raising(error):
    def raising(*_, **__):
        raise error

    return raising
