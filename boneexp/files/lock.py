"""The lock of a ledger's promotions: an empty file beside the ledger, there while a promotion is at work.

Two ledgers in one folder have a lock each. SQLite's own file cannot be the lock: closing it would also end
the locks that SQLite holds on it. The death of its holder frees it.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from boneexp.errors import Busy, LedgerUnusable

LOCK = ".promoting"
MAY_NOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)
POLL_S = 0.05


@contextmanager
def alone(ledger: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock of all promotions of a ledger.

    Raises:
        Busy: somebody else has held it for `wait_s`.
        LedgerUnusable: nothing may be written beside the ledger.
    """
    path = _lock_of(ledger)
    lock = FileLock(path, timeout=wait_s, poll_interval=POLL_S, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise _busy(ledger) from None
    except OSError as error:
        if error.errno not in MAY_NOT_WRITE:
            raise
        raise LedgerUnusable(
            f"{ledger} cannot be opened or written: {error.strerror} ({path}); "
            "check the rights of the file and of its folder"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who waits for it sees that it is gone, and makes a new one
        lock.release()


@contextmanager
def at_rest(ledger: Path, wait_s: float) -> Iterator[bool]:
    """Wait until no promotion is at work; yield whether none can begin: not where there was no lock to hold.

    Nothing is written, so it works where nothing can be; FileLock would open the file to write.

    Raises:
        Busy: one was at work for `wait_s`.
    """
    try:
        descriptor = os.open(_lock_of(ledger), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield False
        return
    until = time.monotonic() + wait_s
    try:
        while not lock_descriptor(descriptor, blocking=False):
            if time.monotonic() >= until:
                raise _busy(ledger)
            time.sleep(POLL_S)
        yield os.fstat(descriptor).st_nlink > 0  # its last holder may have removed it
    finally:
        os.close(descriptor)


def is_at_work(ledger: Path) -> bool:
    """Return True if a promotion has its lock beside the ledger, or was killed with it."""
    return _lock_of(ledger).exists()


def _lock_of(ledger: Path) -> Path:
    place = ledger.resolve()
    return place.with_name(place.name + LOCK)


def _busy(ledger: Path) -> Busy:
    return Busy(f"another promotion is at work on {ledger}; try again")
