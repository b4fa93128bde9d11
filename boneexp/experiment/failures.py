"""Which kind of failure an exception is: out of memory, a full disk, unusable data, or an error.

By type and message alone, so that no torch is needed.
"""

import errno
import traceback

from boneexp.errors import BoneexpError, DataInvalid, TooLittleMemory
from boneexp.results import Failed

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")


def failure_of(error: BaseException) -> Failed:
    """Return what an exception means for the run: its kind, one line, and the traceback."""
    text = "".join(traceback.format_exception(error))
    message = str(error).strip() or type(error).__name__
    if not isinstance(error, BoneexpError):
        message = f"{type(error).__name__}: {message.splitlines()[0]}"
    return Failed(_kind_of(error), message, text)


def is_full_disk(error: BaseException) -> bool:
    """Whether the system refused to write for want of space or quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _kind_of(error: BaseException) -> str:
    if isinstance(error, DataInvalid):
        return "data"
    if is_full_disk(error):
        return "disk"
    if isinstance(error, MemoryError | TooLittleMemory):
        return "oom"
    message = str(error).lower()  # torch.OutOfMemoryError is a RuntimeError with these words
    memory = isinstance(error, RuntimeError | OSError) and any(words in message for words in OUT_OF_MEMORY)
    return "oom" if memory else "error"
