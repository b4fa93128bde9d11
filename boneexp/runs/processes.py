"""Who this process is, and whether another one still lives: by pid, start time and boot together.

Each child of an attempt imports this module and needs no ledger: what does is imported where it is used.
"""

import os
import platform
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boneexp.ledger.queue import Worker


def this_worker(device: str, versions: dict[str, str]) -> "Worker":
    """Return the identity under which this process claims runs."""
    from boneexp.ledger.queue import Worker

    host = socket.gethostname()
    return Worker(
        name=f"{host}:{os.getpid()}",
        host=host,
        pid=os.getpid(),
        boot_id=_boot_id(),
        process_started=_started(os.getpid()),
        device=device,
        versions=versions,
    )


def free_dead_runs_here(ledger: Path, now: float) -> list[int]:
    """Release runs whose worker was a process of this machine and is gone; return their ids."""
    from boneexp.ledger.database import writing
    from boneexp.ledger.queue import free_runs_of_dead_processes

    with writing(ledger) as connection:
        return free_runs_of_dead_processes(connection, socket.gethostname(), is_alive, now)


def is_alive(pid: int, process_started: str, boot_id: str) -> bool:
    """Return True if that very process of this host still runs; in doubt, too."""
    boot, _, namespace = boot_id.partition("/")
    own_boot, _, own_namespace = _boot_id().partition("/")
    if boot != own_boot:
        return False  # the machine has been started again since
    if namespace != own_namespace:
        return True  # another container: its pids mean nothing here, so the lease decides
    return _started(pid) == process_started and _status(pid) not in ("", "zombie")


def is_frozen(pid: int) -> bool:
    """Return True if the process is stopped by SIGSTOP, Ctrl-Z or a debugger."""
    return _status(pid) in ("stopped", "tracing-stop")


def oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory since boot; 0 if it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _boot_id() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return f"{platform.system()}/"


def _started(pid: int) -> str:
    """Return the start time in clock ticks since boot; "" where the system does not tell.

    psutil has it as a time of day, which changes when somebody sets the clock.
    """
    try:  # the second field, the name in brackets, may hold spaces
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _status(pid: int) -> str:
    """Return what the process does, such as "running" or "zombie"; "" if there is none."""
    import psutil

    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return ""
    except psutil.AccessDenied:
        return "unknown"
