"""Which device a run uses, and what software made its numbers."""

import os
import platform
import warnings
from importlib.metadata import version

import torch

import boneexp
from boneexp.errors import DeviceUnavailable
from boneexp.results import Kernels


def resolved_device(name: str) -> torch.device:
    """Return the device of that name; "auto" takes a GPU where there is one.

    Raises:
        DeviceUnavailable: this machine has no such device.
    """
    if name == "auto":
        return torch.device(_best_here())
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise DeviceUnavailable(
            f"--device {name}: this machine has no such device ({said}); here: {_best_here()}"
        ) from error
    return device


def use_kernels(device: torch.device, kernels: Kernels) -> None:
    """Ask CUDA for kernels that add in one order, as exact resuming needs, or for the fastest.

    An operation that has none of the first is used all the same. The fastest are tried out at each new shape,
    and another process may find others. The CPU needs nothing of this.
    """
    if device.type != "cuda":
        return
    exact = kernels == "deterministic"
    if exact:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
    # Else every new tensor would be filled before a kernel fills it; nothing here reads what was not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not exact
    torch.use_deterministic_algorithms(exact, warn_only=True)


def software(device: torch.device, kernels: Kernels) -> dict[str, str]:
    """Return names and versions of all that has a say in the numbers, device and threads included."""
    found = {package: version(package) for package in ("torch", "torchvision", "timm", "numpy")}
    found |= {"opencv": version("opencv-python-headless"), "boneexp": boneexp.__version__}
    found |= {"python": platform.python_version(), "platform": platform.platform()}
    found |= {"threads": str(torch.get_num_threads()), "kernels": kernels}
    if device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
    return found


def _best_here() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
