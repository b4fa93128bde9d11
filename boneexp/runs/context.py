"""What the workers of one `boneexp run` share: paths, device, lease, and the flag to stop."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from boneexp.results import Computing, News, Outcome
from boneexp.runs.children.work import work
from boneexp.runs.lease import LEASE_S

Announce = Callable[[News], None]
TICK_S = 0.2
LOST, CANCELLED = COUNTS_NO_MORE = ("the lease was lost", "cancelled")  # why an attempt's work counts no more


class StopFlag:
    """Set by a signal and checked by every worker; a second Ctrl-C means at once."""

    def __init__(self) -> None:
        """Begin unset."""
        self._set, self._at_once = threading.Event(), threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Request a stop; the first reason stays. A later Ctrl-C requests it at once."""
        if self.is_set() and reason == signal.SIGINT.name:
            self._at_once.set()
        self.reason = self.reason or reason
        self._set.set()

    def is_set(self) -> bool:
        """Return True if a stop was requested."""
        return self._set.is_set()

    def is_at_once(self) -> bool:
        """Return True if nothing is to be waited for."""
        return self._at_once.is_set()


@dataclass(frozen=True)
class WorkerContext:
    """What every attempt of a worker needs."""

    ledger: Path
    artifacts: Path
    computing: Computing
    announce: Announce
    stop: StopFlag = field(default_factory=StopFlag)
    lease_s: float = LEASE_S
    root: str = ""  # the folder of the dataset now; "" for the one that each run was queued with
    threads: int = 0  # of each attempt; 0 leaves it to torch
    work: Callable[..., Outcome] = work  # what a child does


@dataclass(frozen=True)
class Settled:
    """How an attempt ended, and the state of its run since."""

    outcome: Outcome
    state: str
