"""The bytes of a file from outside: a plain file, no larger than one of its kind can be."""

import errno
import os
import stat
from pathlib import Path


def content_of(path: Path, largest_bytes: int) -> bytes:
    """Return what is in a plain file; a link to one is followed.

    A named pipe could keep whoever opens it waiting for ever, and a device never ends: neither is read.

    Raises:
        OSError: the file is missing, no plain file, too large, or cannot be read; its strerror says which.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        if state.st_size > largest_bytes:
            said = f"{state.st_size:,} bytes, and {largest_bytes:,} are the most that is read"
            raise OSError(errno.EFBIG, said, str(path))
        return file.read()


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)
