"""A file of the same name need not be the same: a ledger can be moved or replaced while it is in use.

A connection goes on writing to the file that it opened, where nobody will look for it. A file that was put in
its place is not written either: the -wal beside it may belong to the former one.
"""

from pathlib import Path

from boneexp.errors import LedgerUnusable

Identity = tuple[int, int]  # device and inode
_WHERE_FILES_ARE = "Checkpoints and logs lie where they were, under the artifacts folder."
_written_to: dict[Path, Identity] = {}  # by this process


def is_known(path: Path) -> bool:
    """Return True if this process has written to a ledger at `path`."""
    return path.resolve() in _written_to


def forget(path: Path) -> None:
    """Accept whatever file is at `path` from now on."""
    _written_to.pop(path.resolve(), None)


def require_same_file(path: Path, place: Path) -> None:
    """Raise unless the file at `path` is the one that this process has written to from the beginning.

    To be called inside the transaction: a ledger may vanish while its lock is waited for. `place` is the path
    resolved, which takes a tenth of the time of a claim.

    Raises:
        LedgerUnusable: it is gone, or another one.
    """
    try:
        found = place.stat()
    except FileNotFoundError:
        raise gone(path) from None
    identity = (found.st_dev, found.st_ino)
    if _written_to.setdefault(place, identity) != identity:
        raise LedgerUnusable(
            f"{path} is another file than before: it was replaced while it was in use, and nothing was "
            f"written to the new one. {_WHERE_FILES_ARE} If the new file is right, and {path.name}-wal and "
            f"{path.name}-shm beside it are its own or gone, go on with: boneexp run --all"
        )


def gone(path: Path) -> LedgerUnusable:
    """Return the error for a ledger that is not there any more."""
    return LedgerUnusable(
        f"{path} is gone: it was deleted or moved while it was in use, and nothing more was written. "
        f"{_WHERE_FILES_ARE} Bring the ledger back, with {path.name}-wal if there is one, and go on with: "
        "boneexp run --all"
    )
