"""How long a run may take: past its limit it is asked to stop, and after a grace period it is killed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from boneexp.results import Failed

GRACE_S = 600.0  # for the current step and the checkpoint, or for an evaluation that is nearly done


@dataclass(frozen=True)
class TimeLimit:
    """The limit of a run whose attempt begins now.

    `hours` is for all attempts since the run was queued, or queued again; 0 is no limit. Earlier ones took
    `worked_s` seconds.
    """

    hours: float = 0.0
    worked_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        object.__setattr__(self, "_began_s", self.clock())

    def is_over(self) -> bool:
        """Whether the run has exceeded its limit."""
        return self._is_past(0.0)

    def is_overdue(self) -> bool:
        """Whether it has exceeded the grace period as well."""
        return self._is_past(GRACE_S)

    def reason(self) -> str:
        """Return why the run must stop."""
        return f"it has worked for longer than its training.time_limit_hours = {self.hours:g}"

    def failure(self, run_id: int) -> Failed:
        """Return how a run over its limit ends."""
        again = f"boneexp retry {run_id} resumes it from its last checkpoint, for as long again"
        return Failed("timeout", f"{self.reason()}; {again}", "")

    def _is_past(self, grace_s: float) -> bool:
        worked_s = self.worked_s + self.clock() - self._began_s
        return self.hours > 0 and worked_s > self.hours * 3600 + grace_s
