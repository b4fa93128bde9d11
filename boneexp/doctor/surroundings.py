"""Where the study lies: how much room there is, and whether the file system suits an SQLite ledger."""

import shutil
from collections.abc import Iterator

from boneexp.doctor.findings import OK, WARNING, Examination, Finding
from boneexp.ledger.network import NETWORK, kind_of_file_system

LITTLE_ROOM_BYTES = 2_000_000_000  # the checkpoints of one large network while it trains, and some more


def room(examination: Examination) -> Iterator[Finding]:
    """Find where the disk is nearly full."""
    folders = [examination.place.ledger.parent, examination.place.artifacts]
    disks = {path.stat().st_dev: path for path in reversed(folders) if path.is_dir()}
    for path in disks.values():
        free = shutil.disk_usage(path).free
        what = f"{free / 1e9:.1f} GB free"
        little = free < LITTLE_ROOM_BYTES
        mend = "make room; artifacts/cache can be deleted at any time" if little else ""
        yield Finding("disk", WARNING if little else OK, str(path), what, mend)


def file_system(examination: Examination) -> Iterator[Finding]:
    """Check whether the ledger lies on a network file system."""
    where = examination.place.ledger
    kind = kind_of_file_system(where)
    if kind in NETWORK:
        what = f"lies on a network file system ({kind}), where SQLite's locks cannot be relied on"
        yield Finding("file system", WARNING, str(where), what, "keep the ledger on a disk of this machine")
    else:
        yield Finding("file system", OK, str(where), kind or "not known on this system")
