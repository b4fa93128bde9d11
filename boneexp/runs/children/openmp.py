"""How long the threads of a training step wait for one another before they sleep.

PyTorch's OpenMP threads spin between two parallel regions. On cores that other work uses as well, a spinning
thread keeps the core from the thread that it waits for: a step takes several times as long. Sleeping at once
costs time on idle cores. benchmarks/busy_machine.py measures both.
"""

from collections.abc import Mapping

SPIN_COUNT = 4000  # turns of the waiting loop; GCC's runtime would take up to 30 billion
CHOSEN_BY_THE_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what to add to the environment before torch is loaded; nothing where the user has chosen.

    Only GCC's OpenMP runtime, which PyTorch brings on Linux, reads it.
    """
    if any(name in environment for name in CHOSEN_BY_THE_USER):
        return {}
    return {"GOMP_SPINCOUNT": str(SPIN_COUNT)}
