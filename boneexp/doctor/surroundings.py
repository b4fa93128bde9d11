"""Where the study lies: how much room there is, and whether the file system suits an SQLite ledger."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from boneexp.doctor.findings import OK, WARNING, Examination, Finding

LITTLE_ROOM_BYTES = 2_000_000_000  # the checkpoints of one large network while it trains, and some more
# SQLite counts on locks that these do not keep: two machines, or a lost connection, may damage the file.
NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "sshfs", "fuse.sshfs"),
    *("lustre", "gpfs", "beegfs", "panfs", "ceph", "fuse.ceph-fuse", "glusterfs", "fuse.glusterfs"),
    *("gfs2", "ocfs2"),
)
MOUNTS = Path("/proc/self/mounts")


def room(examination: Examination) -> Iterator[Finding]:
    """Tell where the disk is nearly full."""
    folders = [examination.place.ledger.parent, examination.place.artifacts]
    disks = {path.stat().st_dev: path for path in reversed(folders) if path.is_dir()}
    for path in disks.values():
        free = shutil.disk_usage(path).free
        what = f"{free / 1e9:.1f} GB free"
        little = free < LITTLE_ROOM_BYTES
        mend = "make room; artifacts/cache can be deleted at any time" if little else ""
        yield Finding("disk", WARNING if little else OK, str(path), what, mend)


def file_system(examination: Examination, mounts: Path = MOUNTS) -> Iterator[Finding]:
    """Tell whether the ledger lies on a network file system."""
    where = examination.place.ledger
    kind = kind_of_file_system(where.resolve(), mounts.read_text() if mounts.is_file() else "")
    if kind in NETWORK:
        what = f"lies on a network file system ({kind}), where SQLite's locks cannot be relied on"
        yield Finding("file system", WARNING, str(where), what, "keep the ledger on a disk of this machine")
    else:
        yield Finding("file system", OK, str(where), kind or "not known on this system")


def kind_of_file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system under `path` by the text of /proc/self/mounts; "" if unknown."""
    kinds = {}
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        kinds[Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point))] = kind
    return next((kinds[folder] for folder in (path, *path.parents) if folder in kinds), "")
