"""How a run is computed: recorded with the attempt, and no part of what makes a run the same run."""

from dataclasses import dataclass
from typing import Literal

Kernels = Literal["deterministic", "autotune"]


@dataclass(frozen=True)
class Computing:
    """On which device; and on CUDA by kernels that add in one order, or by the fastest as tried out."""

    device: str = "auto"
    kernels: Kernels = "deterministic"
