"""Checkpoints: one literal dict in one whole file, read back without running any code in it.

`last.pt` holds all that changes as training goes on; `best.pt` only the weights. Both name the run they
belong to by its config hash.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from boneexp.errors import Damaged, WeightsUnavailable
from boneexp.files.atomic import link, sha256_of, write_bytes
from boneexp.files.folders import RunFolder
from boneexp.learning.tensors import is_archive, tensors_of
from boneexp.results import EpochRecord

State = dict[str, Any]  # what torch keeps of a training, by names of its own


@dataclass
class Progress:
    """Where training stands: the next step of the current epoch, and what early stopping remembers."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_epoch: int = -1
    best_val_loss: float = float("inf")
    best_sha256: str = ""
    done: bool = False
    history: list[EpochRecord] = field(default_factory=list)


def save_best(path: Path, weights: Mapping[str, torch.Tensor], config_hash: str, epoch: int) -> str:
    """Write the weights; return the file's SHA-256."""
    content = _serialised({"config_hash": config_hash, "epoch": epoch, "model": weights})
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def save_last(path: Path, state: State, config_hash: str, progress: Progress) -> None:
    """Write everything that training goes on from; `state` maps a part's name to its state dict."""
    write_bytes(path, _serialised({"config_hash": config_hash, "progress": asdict(progress), **state}))


def load_last(path: Path, config_hash: str) -> tuple[Progress, State] | None:
    """Return where the run of that hash stands and its state dicts; None if there is nothing to go on from.

    A file that is broken or of another run is no reason to fail: the run then starts again. The ledger has no
    digest of it, since it changes with every epoch; the checksums inside it are looked at instead.
    """
    if not path.is_file():
        return None
    try:
        _check_sums(path)
        content = _load(path)
        if content["config_hash"] != config_hash:
            return None
        return _progress(content["progress"]), content
    except (Damaged, KeyError, TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor where none fits
        return None


def take_over(folder: RunFolder, config_hash: str) -> bool:
    """Make the newest usable checkpoint of the run's earlier attempts this attempt's own.

    Returns whether there is one to go on from. An earlier attempt that was only frozen may write on in its
    own folder meanwhile: what was linked stays what it was, and its folder goes once its work was taken over.
    """
    if load_last(folder.last, config_hash) is not None:
        return True
    folder.path.mkdir(parents=True, exist_ok=True)
    sources = [*folder.earlier(), replace(folder, attempt=None)]
    for source in [*sources, *sources]:  # twice: its writer may have replaced a file while it was linked
        if _linked(source, folder, config_hash):
            for earlier in folder.earlier():
                earlier.drop()
            return True
    return False


def _linked(source: RunFolder, folder: RunFolder, config_hash: str) -> bool:
    """Link `last.pt` and the best weights that it names; False, and no file, unless both are sound."""
    with suppress(FileNotFoundError):
        link(source.last, folder.last)
        found = load_last(folder.last, config_hash)
        if found is not None and _best_linked(source, folder, found[0]):
            return True
    folder.last.unlink(missing_ok=True)
    return False


def _best_linked(source: RunFolder, folder: RunFolder, progress: Progress) -> bool:
    if progress.best_epoch < 0:
        return True
    target = folder.best_of(progress.best_epoch)
    for candidate in (source.best_of(progress.best_epoch), source.best):
        if candidate.is_file():
            link(candidate, target)
            if sha256_of(target) == progress.best_sha256:
                return True
            target.unlink()
    return False


def load_best(path: Path, sha256: str, model: nn.Module) -> int:
    """Load the weights into `model` after checking the file's digest; return the epoch they are from.

    Raises:
        Damaged: the file is missing, not the one that was recorded, or not a checkpoint.
        WeightsUnavailable: the weights do not fit the model.
    """
    if not path.is_file():
        raise Damaged(f"the checkpoint {path} is gone")
    payload = path.read_bytes()
    found = hashlib.sha256(payload).hexdigest()
    if found != sha256:
        raise Damaged(
            f"the checkpoint {path} has SHA-256 {found[:12]}…, and the ledger recorded {sha256[:12]}…"
        )
    content = _load(path, payload)
    try:
        model.load_state_dict(content["model"])
        return int(content["epoch"])
    except (KeyError, RuntimeError) as error:
        raise WeightsUnavailable(f"the checkpoint {path} does not fit the model: {error}") from error


def _serialised(content: State) -> memoryview:
    """Return the bytes of a file; torch itself would not say that a disk is full, but only that it failed."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def _progress(kept: State) -> Progress:
    """Return what `asdict` made of a progress; ValueError or TypeError where a value is not of its kind."""
    kept = dict(kept)
    kinds = {each.name: type(getattr(Progress(), each.name)) for each in fields(Progress)}
    if {name: type(value) for name, value in kept.items()} != kinds:
        raise ValueError("not the progress of a run")
    history = [EpochRecord(**record) for record in kept["history"]]
    if not all(isinstance(value, int | float | None) for each in history for value in vars(each).values()):
        raise ValueError("not the epochs of a run")
    return Progress(**{**kept, "history": history})


def _check_sums(path: Path) -> None:
    """Compare every record with its CRC-32; torch writes them and does not look at them when it loads."""
    try:
        is_archive(path)  # a bomb is refused before it is unpacked
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise Damaged(f"{path} is not a checkpoint of boneexp: {error}") from error
    if broken is not None:
        raise Damaged(f"{path} is damaged: {broken} in it does not match its checksum")


def _load(path: Path, payload: bytes | None = None) -> State:
    try:
        content = tensors_of(path if payload is None else payload)
    except ValueError as error:
        raise Damaged(f"{path} is not a checkpoint of boneexp: {error}") from error
    if not isinstance(content, dict):
        raise Damaged(f"{path} is not a checkpoint of boneexp")
    return content
