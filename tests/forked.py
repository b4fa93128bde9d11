"""boneexp in a process of its own, forked from the one that runs the tests.

A new process would load torch for the server of its children, which takes ten seconds of the processor; a
forked one asks the server that is there.
"""

import contextlib
import os
import signal
import sys
from multiprocessing import forkserver

from boneexp.cli.app import app
from boneexp.ledger import same_file
from boneexp.ledger.transaction import close_idle


class Forked:
    """A process that runs boneexp in a study, with what it prints to read."""

    def __init__(self, study, *arguments):
        close_idle()  # no connection may be open when a child is born
        forkserver.set_forkserver_preload(["boneexp.runs.children.forkserver_preload"])
        forkserver.ensure_running()
        theirs, ours = os.pipe()
        sys.stdout.flush()
        self.pid, self.returncode = os.fork(), None
        if self.pid == 0:
            _live(study, arguments, ours)
        os.close(ours)
        self.stdout = os.fdopen(theirs)

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self):
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def communicate(self):
        text = self.stdout.read()
        self.wait()
        return text, None


def _live(study, arguments, pipe):
    code = 1
    with contextlib.suppress(BaseException):
        forkserver._forkserver.ensure_running = lambda: None  # it is another's child, and runs
        os.chdir(study.folder)
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
        same_file._written_to.clear()
        try:
            app(list(arguments))
        except SystemExit as ended:
            code = ended.code or 0
        sys.stdout.flush()
    os._exit(code)
