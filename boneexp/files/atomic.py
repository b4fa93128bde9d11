"""Where a run's files lie, and how a file comes to be there: whole or not at all, and nowhere else."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from boneexp.errors import Damaged


def inside(artifacts: Path, relative: str) -> Path:
    """Return a path below the artifacts folder, to write or to remove. The folder itself may be a link.

    Raises:
        Damaged: the path leads out, or a symbolic link lies on the way: what it leads to is not boneexp's.
    """
    parts = PurePosixPath(relative).parts
    if ".." in parts or relative.startswith("/"):
        raise Damaged(f"{relative} leads out of {artifacts}; nothing there was touched")
    path = artifacts
    for part in parts:
        path /= part
        refuse_link(path)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes `path`'s place only if the block succeeds.

    The content is flushed to the disk before the rename, and the rename before the return,
    so that a power cut leaves the old file or the new one. The new file has the old one's rights.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    refuse_link(part)
    try:
        yield part
        keep_rights(path, part)
        flush(part)
        part.replace(path)
        flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with the line ends it has, whole."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content`, whole."""
    with whole_file(path) as part:
        part.write_bytes(content)


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 as 64 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    import hashlib  # loads OpenSSL

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_link(path: Path) -> None:
    """Raise Damaged for a symbolic link: what it leads to is not boneexp's."""
    if path.is_symlink():
        raise Damaged(f"{path} is a symbolic link, and boneexp writes through none; remove it and try again")


def keep_rights(path: Path, part: Path) -> None:
    """Give `part` the rights of the file whose place it is to take, if there is one."""
    with suppress(FileNotFoundError):
        shutil.copymode(path, part)


def flush(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(source: Path, target: Path) -> None:
    """Let `target` be the file `source`: a second name for it, or a copy where the disk has no such names."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        shutil.copyfile(source, target)
        flush(target)
