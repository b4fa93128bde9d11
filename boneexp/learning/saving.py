"""Checkpoints on their way to the disk while the next epoch trains.

The state is copied into host memory, and one thread serialises, hashes, writes and flushes the copy. An epoch
counts once its checkpoint is on the disk: only then does its record come back, to whoever asks for it.
"""

import copy
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Any

import torch

from boneexp.files.folders import RunFolder
from boneexp.learning.checkpoint import Progress, State, save_best, save_last
from boneexp.results import EpochRecord


@dataclass(frozen=True)
class Saved:
    """What is on the disk: an epoch, or None for a stop within one, and the digest of the best weights."""

    record: EpochRecord | None
    best_sha256: str


class Saving:
    """Writes one checkpoint at a time, while whoever began it does something else."""

    def __init__(self, folder: RunFolder, config_hash: str, writer: Executor) -> None:
        """Save into `folder`; `writer` is one thread, or a test's stand-in for it."""
        self._folder, self._config_hash, self._writer = folder, config_hash, writer
        self._copies = HostCopies()
        self._record: EpochRecord | None = None
        self._under_way: Future[str] | None = None

    def begin(self, state: State, progress: Progress, record: EpochRecord | None) -> None:
        """Copy where training stands and begin to write it; the outcome of the one before was taken.

        Args:
            state: a part's name to its state dict.
            progress: what goes with it.
            record: the epoch that ends here, or None within one; of the best the weights are kept apart, too.
        """
        moment = replace(progress, history=list(progress.history))
        self._record = record
        is_best = record is not None and record.epoch == progress.best_epoch
        self._under_way = self._writer.submit(self._written, self._copies.of(state), moment, is_best)

    def outcome(self, wait: bool) -> Saved | None:
        """Return what has come to be on the disk since this was last asked; None if nothing has.

        Raises:
            Exception: whatever the writer met, such as a full disk.
        """
        if self._under_way is None or not (wait or self._under_way.done()):
            return None
        ended, self._under_way = self._under_way, None
        return Saved(self._record, ended.result())

    def _written(self, state: State, moment: Progress, is_best: bool) -> str:
        """Write the best weights first: `last.pt` names their digest. This happens in the writer's thread."""
        self._copies.wait()
        if is_best:
            path = self._folder.best_of(moment.best_epoch)
            moment.best_sha256 = save_best(path, state["model"], self._config_hash, moment.best_epoch)
        save_last(self._folder.last, state, self._config_hash, moment)
        self._folder.drop_former_bests(moment.best_epoch)
        return moment.best_sha256


class HostCopies:
    """Copies of nested state dicts in host memory; each copy takes the place of the one before."""

    def __init__(self) -> None:
        """Begin without any memory."""
        self._kept: dict[tuple[Any, ...], torch.Tensor] = {}
        self._gpu: torch.device | None = None
        self._copied: torch.cuda.Event | None = None

    def of(self, state: State) -> State:
        """Return `state` with its tensors copied; on CUDA they are there after `wait`."""
        found: State = self._copy(state, ())
        if self._gpu is not None:  # which need not be the one that is current
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record(torch.cuda.current_stream(self._gpu))
        return found

    def wait(self) -> None:
        """Wait until the GPU has copied all; the steps after that stand behind it in its queue."""
        if self._copied is not None:
            self._copied.synchronize()

    def _copy(self, value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, torch.Tensor):
            self._gpu = value.device if value.is_cuda else self._gpu
            return self._memory(value, place).copy_(value, non_blocking=value.is_cuda)
        if isinstance(value, dict):
            copied = copy.copy(value)  # a module's state dict has the versions of its layout beside its items
            for key, each in value.items():
                copied[key] = self._copy(each, (*place, key))
            return copied
        return copy.deepcopy(value)

    def _memory(self, tensor: torch.Tensor, place: tuple[Any, ...]) -> torch.Tensor:
        """Return memory for a copy; pinned for a GPU, which then copies while the host goes on."""
        kept = self._kept.get(place)
        if kept is None or _layout(kept) != _layout(tensor):
            kept = self._kept[place] = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
        return kept


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype
