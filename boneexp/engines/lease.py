"""A lease that is kept by a thread while the run works."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from boneexp.errors import BoneexpError
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim, renew, stop_requested

LEASE_S = 120.0


@dataclass
class Lease:
    """What the keeper thread has found out; `lost` means that nothing may be written any more."""

    lost: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)


@contextmanager
def kept_lease(ledger: Path, claim: Claim, lease_s: float = LEASE_S) -> Iterator[Lease]:
    """Renew the claim's lease until the block ends."""
    lease, ended = Lease(), threading.Event()
    keeper = threading.Thread(target=_keep, args=(ledger, claim, lease_s, lease, ended), daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        ended.set()
        keeper.join(timeout=lease_s)


def _keep(ledger: Path, claim: Claim, lease_s: float, lease: Lease, ended: threading.Event) -> None:
    """Renew four times per lease; try a ledger that cannot be written again until the lease runs out."""
    held_until = time.monotonic() + lease_s
    while not ended.wait(lease_s / 4):
        began = time.monotonic()
        try:
            with writing(ledger) as connection:
                held = renew(connection, claim, time.time(), lease_s)
                if held and stop_requested(connection, claim):
                    lease.cancelled.set()
        except BoneexpError:
            if time.monotonic() < held_until:
                continue
            held = False
        if not held:
            lease.lost.set()
            return
        held_until = began + lease_s
