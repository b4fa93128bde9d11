"""Whether a path lies on a network file system, where an SQLite ledger in WAL mode must not lie.

All users of a WAL share memory (-shm), which two machines cannot; and many such systems do not keep locks.
"""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "glusterfs", "beegfs", "gpfs")
NETWORK_FUSE = ("sshfs", "glusterfs", "s3fs", "rclone", "ceph-fuse", "gcsfuse", "goofys", "smbnetfs", "davfs")


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the kind of the network file system that `path` lies on, such as "nfs4".

    None if it is a local one, or where the system does not tell (no `/proc`). `path` need not be there yet.
    """
    try:
        table = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    place = path.resolve()
    deepest, found = "", ""
    for line in table.splitlines():
        _, where, kind, *_ = line.split(" ")
        folder = _unescaped(where)
        if place.is_relative_to(folder) and len(folder) >= len(deepest):  # of two on one folder the last
            deepest, found = folder, kind
    return found if found in NETWORK or found.removeprefix("fuse.") in NETWORK_FUSE else None


def _unescaped(where: str) -> str:
    """Return a folder as it is: the table has \\040 for a space, and so on."""
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        where = where.replace(code, letter)
    return where
