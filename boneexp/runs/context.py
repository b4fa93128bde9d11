"""What every worker of one `boneexp run` shares: paths, device, lease, and the wish to stop."""

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


LOST, CANCELLED = COUNTS_NO_MORE = ("the lease was lost", "cancelled")  # why an attempt's work is for nothing


class StopFlag:
    """Set by a signal, and looked at by every worker; a second Ctrl-C means at once."""

    def __init__(self) -> None:
        """Begin unset."""
        self._set, self._at_once = threading.Event(), threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask for the end; the first reason stays. Ctrl-C after that asks for it at once."""
        if self.is_set() and reason == signal.SIGINT.name:
            self._at_once.set()
        self.reason = self.reason or reason
        self._set.set()

    def is_set(self) -> bool:
        """Tell whether the end was asked for."""
        return self._set.is_set()

    def is_at_once(self) -> bool:
        """Tell whether nothing shall be waited for any more."""
        return self._at_once.is_set()


@dataclass(frozen=True)
class Workplace:
    """What every attempt of a worker shares."""

    ledger: Path
    artifacts: Path
    computing: Computing
    announce: Announce
    stop: StopFlag = field(default_factory=StopFlag)
    lease_s: float = LEASE_S
    root: str = ""  # where the data lie now; "" for where each run was queued with
    threads: int = 0  # of each attempt; 0 leaves it to torch
    work: Callable[..., Outcome] = work  # what a child does


@dataclass(frozen=True)
class Settled:
    """How an attempt ended, and the state that its run is in since."""

    outcome: Outcome
    state: str
