"""More than one user on one study: what one of them makes, the others may write.

The folder decides, as in git's shared repositories: where its group may write, it may write to what is made
there. The group itself comes from the folder's setgid bit.
"""

import os
import stat
from pathlib import Path

GROUPS_BITS = 0o070


def share_with_group(path: Path) -> None:
    """Let the group write what this process makes, if it may write to the folder of `path`.

    A umask, other than rights given to single files, holds for whatever writes: torch, logs, child processes.
    A sticky folder such as /tmp belongs to everybody, and is not meant.
    """
    folder = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    mode = folder.stat().st_mode
    if mode & stat.S_IWGRP and not mode & stat.S_ISVTX:
        os.umask(os.umask(0o077) & ~GROUPS_BITS)
