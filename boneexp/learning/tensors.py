"""Tensors out of a file from outside: no code in it is run, and no bomb unpacked.

A file of torch is a zip with a pickle in it, and a pickle can hold calls. It is read with `weights_only`, as
tensors, numbers and containers. torch itself compresses nothing, so what claims to unpack to more than it has
on disk is none of its files.
"""

import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict


def tensors_of(source: Path | bytes) -> Any:
    """Return what `torch.save` put into a file, or into its bytes.

    Raises:
        ValueError: it is no such file, or holds more than tensors, numbers and containers.
    """
    try:
        if not is_archive(source):
            raise ValueError("not a file of torch")
        return torch.load(_opened(source), map_location="cpu", weights_only=True)
    except Exception as error:  # torch lets through whatever a broken file makes of it
        raise ValueError(_said(error)) from error


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file by name: safetensors, or of torch in its new or old form.

    Raises:
        ValueError: it is broken, a bomb, or holds more than tensors, or none.
    """
    try:
        is_archive(path)
        state = load_state_dict(str(path), device="cpu", weights_only=True)
    except Exception as error:  # as above, and whatever safetensors and timm add to it
        raise ValueError(_said(error)) from error
    if not state or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ValueError("it holds no weights by name")
    return state


def is_archive(source: Path | bytes) -> bool:
    """Return True if it is a zip.

    Raises:
        ValueError: it is, and a bomb.
    """
    opened = _opened(source)
    if not zipfile.is_zipfile(opened):
        return False
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    with zipfile.ZipFile(opened) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > size:
        raise ValueError(f"its {size:,} bytes claim to unpack to {unpacked:,}, as no file of torch does")
    return True


def _opened(source: Path | bytes) -> Any:
    return BytesIO(source) if isinstance(source, bytes) else source


def _said(error: Exception) -> str:
    """Return an error on one line; timm says `weights_only`, and torch raises UnpicklingError, for code."""
    said = str(error).strip() or type(error).__name__
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in said:
        return "it is broken, or holds more than tensors; nothing in it was run"
    return said.splitlines()[0][:200]
