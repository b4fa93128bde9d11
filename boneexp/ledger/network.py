"""Whether a path lies on a network file system, where an SQLite ledger in WAL mode must not lie.

All users of a WAL share memory (-shm), which two machines cannot; and such systems do not keep locks and the
order of writes as SQLite needs them, so that two machines, or a lost connection, may damage the file.
"""

import re
from pathlib import Path

NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "sshfs", "fuse.sshfs", "fuse.rclone"),
    *("lustre", "gpfs", "beegfs", "panfs", "ceph", "fuse.ceph-fuse", "glusterfs", "fuse.glusterfs"),
    *("gfs2", "ocfs2", "fuse.s3fs", "fuse.gcsfuse", "fuse.davfs"),
)
MOUNTS = Path("/proc/self/mounts")


def network_file_system(path: Path) -> str | None:
    """Return the kind of the network file system that `path` lies on, such as "nfs4"; None if on none."""
    kind = kind_of_file_system(path)
    return kind if kind in NETWORK else None


def kind_of_file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the kind of the file system under `path`, which need not be there yet; "" where unknown."""
    place, kinds = path.resolve(), {}
    table = mounts.read_text(errors="surrogateescape") if mounts.is_file() else ""
    for line in table.splitlines():
        _, point, kind, *_ = line.split(" ")
        kinds[Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point))] = kind
    return next((kinds[folder] for folder in (place, *place.parents) if folder in kinds), "")
