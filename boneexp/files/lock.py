"""The lock of a ledger's promotions: an empty file beside the ledger, there while a promotion is at work.

Two ledgers in one folder have a lock each. SQLite's own file cannot be the lock: closing it would also end
the locks that SQLite holds on it. The death of its holder frees it.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from boneexp.errors import Busy, LedgerUnusable

LOCK = ".promoting"
MAY_NOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def alone(ledger: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock of all promotions of a ledger.

    Raises:
        Busy: somebody else has held it for `wait_s`.
        LedgerUnusable: nothing may be written beside the ledger.
    """
    path = _lock_of(ledger)
    try:
        descriptor = _locked_file(path, os.O_CREAT, ledger, wait_s)
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
            path.unlink()  # while it is held: who waits for it looks whether it is still there
        os.close(descriptor)


@contextmanager
def at_rest(ledger: Path, wait_s: float) -> Iterator[bool]:
    """Wait until no promotion is at work; yield whether none can begin: not where there was no lock to hold.

    Nothing is written, so it works where nothing can be.

    Raises:
        Busy: one was at work for `wait_s`.
    """
    try:
        descriptor = _locked_file(_lock_of(ledger), 0, ledger, wait_s)
    except FileNotFoundError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def is_at_work(ledger: Path) -> bool:
    """Return True if a promotion has its lock beside the ledger, or was killed with it."""
    return _lock_of(ledger).exists()


def _lock_of(ledger: Path) -> Path:
    place = ledger.resolve()
    return place.with_name(place.name + LOCK)


def _locked_file(path: Path, flags: int, ledger: Path, wait_s: float) -> int:
    until = time.monotonic() + wait_s
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | flags, 0o666)
        try:
            if _is_locked(descriptor) and _is_still(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= until:
            raise Busy(f"another promotion is at work on {ledger}; try again")
        time.sleep(0.05)


def _is_locked(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file that was locked is the one that lies there: its last holder may have removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
