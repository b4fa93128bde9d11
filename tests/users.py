"""Doing something as another user, in a child process that gives up root's rights."""

import os
import pickle
import shutil
import tempfile
import traceback
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUP, ANNA, BERT, CARL = 54_000, 54_001, 54_002, 54_003


def as_user(user, function, *given, group=GROUP, umask=0o022):
    """Return what `function(*given)` returns when `user` of `group` calls it; an exception fails the test."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            os.umask(umask)
            os.write(tell, pickle.dumps((True, function(*given))))
        except BaseException:  # noqa: BLE001
            os.write(tell, pickle.dumps((False, traceback.format_exc())))
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        worked, answer = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    assert worked, answer
    return answer


@pytest.fixture
def everybodys_folder():
    """A folder outside of pytest's own, which only their owner may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as other users")
    folder = Path(tempfile.mkdtemp(prefix="boneexp-users-"))
    folder.chmod(0o755)
    if not as_user(ANNA, os.access, ROOT / "migrations" / "env.py", os.R_OK):
        pytest.skip("other users cannot read this checkout")
    yield folder
    shutil.rmtree(folder)
