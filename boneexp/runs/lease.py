"""A lease that a thread renews while the run computes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from boneexp.errors import BoneexpError
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim, renew, stop_requested

LEASE_S = 120.0


@dataclass
class Lease:
    """What the renewing thread has found out; `lost` means that nothing may be written any more."""

    lost: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)


@contextmanager
def kept_lease(
    ledger: Path, claim: Claim, lease_s: float = LEASE_S, is_working: Callable[[], bool] = lambda: True
) -> Iterator[Lease]:
    """Renew the claim's lease until the block ends, as long as `is_working()` returns True."""
    lease, ended = Lease(), threading.Event()
    renewed = partial(_renewed, ledger, claim, lease_s, lease)
    keeper = threading.Thread(target=_keep, args=(renewed, lease_s, lease, ended, is_working), daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        ended.set()
        keeper.join(timeout=lease_s)


def _keep(
    renewed: Callable[[], bool | None],
    lease_s: float,
    lease: Lease,
    ended: threading.Event,
    is_working: Callable[[], bool],
) -> None:
    """Renew four times per lease; if anything else ends this thread, the lease counts as lost."""
    held_until = time.monotonic() + lease_s
    try:
        while not ended.wait(lease_s / 4):
            if not is_working():
                continue  # frozen: another worker may have the run when the lease is over
            began = time.monotonic()
            held = renewed()
            if held:
                held_until = began + lease_s
            elif held is False or time.monotonic() >= held_until:
                break
    finally:
        if not ended.is_set():
            lease.lost.set()


def _renewed(ledger: Path, claim: Claim, lease_s: float, lease: Lease) -> bool | None:
    """Renew once; None where the ledger cannot be written now, and may be again before the lease runs out."""
    try:
        with writing(ledger) as connection:
            held = renew(connection, claim, time.time(), lease_s)
            if held and stop_requested(connection, claim):
                lease.cancelled.set()
            return held
    except BoneexpError:
        return None
