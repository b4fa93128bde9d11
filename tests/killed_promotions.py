"""Shows what a command of boneexp leaves that is killed just before anything it does to files or the ledger.

    python killed_promotions.py STUDY COMMANDS [really]

COMMANDS is a JSON list: what leads up to it, each a list of [words, where to kill it or null], then the words
of the command to be killed. STUDY is copied and stays as it is. Nothing that changes a file is missed: Python
itself announces every opening, rename, link, removal and change of rights (audit events), and SQLite the
begin and the commit of every transaction. A file that is written can also be cut off while it is empty, and
half-way.

A killed process leaves the files as they are at that moment; so the command runs once, and its folder is
copied at each point. Prints JSON: the points, what there was before, what the unbroken command leaves, and
for each point what a kill leaves and what the next command makes of that. With `really` it is killed, too, at
one point of each kind, and what that left is printed as well; it must be the same.
"""

import builtins
import contextlib
import errno
import gc
import io
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import typer
from settled_ledger import NOW

from boneexp.cli.app import app
from boneexp.ledger import same_file
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import reading
from boneexp.ledger.queries.promotions import decision_rows, promotion_cut_short, promotion_rows
from boneexp.ledger.transaction import close_idle

BONEEXP = typer.main.get_command(app)
QUICK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where a flush costs nothing
LOOK, FINISH = ["status", "--json"], ["promote", "--finish"]
CHANGES = ("rename", "remove", "mkdir", "rmdir", "link", "symlink", "chmod", "truncate")
TRANSACTION = ("BEGIN IMMEDIATE", "COMMIT")


class Points:
    """Counts what is about to be changed; kills the process at the `last` point (a number or a name).

    With `copies` the folder is copied there at each point, as number 1, 2, 3 …
    """

    def __init__(self, home, last, copies=None):
        self.home, self.last, self.copies, self.names = str(home.resolve()), last, copies, []
        self.unheard = 0  # connections to the ledger whose statements are not seen

    def reached(self, name):
        self.names.append(name.replace(f"{self.home}/", "").replace(self.home, "."))
        if self.last in (len(self.names), self.names[-1]):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.copies:
            self.copy()

    def copy(self):
        """Copy the folder in a child: closing a file of the ledger here would drop SQLite's locks."""
        child = os.fork()
        if child == 0:
            self.reached = lambda name: None
            shutil.copytree(self.home, self.copies / str(len(self.names)))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    def listen(self):
        synced, opened, connected = os.fsync, io.open, sqlite3.connect
        os.fsync = lambda descriptor: (self.reached(f"flush {name_of(descriptor)}"), synced(descriptor))[1]
        os.sendfile = refused  # so that what is copied goes through write(), and can be cut off
        builtins.open = io.open = lambda *given, **options: self.writable(opened(*given, **options))
        sqlite3.connect = sqlite3.dbapi2.connect = lambda *given, **options: self.heard(
            connected(*given, **options)
        )
        sys.addaudithook(self.audited)

    def audited(self, event, given):
        if event == "sqlite3.connect":
            self.unheard += 1
        elif event == "open" and isinstance(given[0], str | os.PathLike) and writes(*given[1:]):
            self.reached(f"open {Path(given[0]).absolute()}")
        elif event.startswith("os.") and event[3:] in CHANGES:
            paths = [str(Path(each).absolute()) for each in given if isinstance(each, str | os.PathLike)]
            self.reached(f"{event[3:]} {' -> '.join(paths)}")

    def heard(self, connection):
        self.unheard -= 1
        connection.set_trace_callback(self.stated)
        return connection

    def stated(self, statement):
        if statement in TRANSACTION:
            self.reached(statement)

    def writable(self, file):
        if not file.writable():
            return file
        self.reached(f"write {name_of(file.fileno())}")
        return HalfWritten(file, self)


class HalfWritten:
    """A file each of whose writes can be cut off in its middle."""

    def __init__(self, file, points):
        self._file, self._points = file, points

    def write(self, content):
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        self._points.reached(f"write the rest of {name_of(self._file.fileno())}")
        return half + self._file.write(content[half:])

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self._file.close()


def writes(mode, flags):
    return any(letter in (mode or "") for letter in "wax+") or bool(
        (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    )


def name_of(descriptor):
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def refused(*_):
    raise OSError(errno.ENOTSOCK, "not here")


def killed(home, command, last=None, copies=None):
    """Call boneexp in a child process that dies at a point; return how it ended, and the points it passed."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        points = Points(home, last, copies)
        points.listen()
        code, _ = called(home, command)
        points.reached("the end")
        os.write(tell, json.dumps(points.names).encode())
        os._exit(points.unheard or code)
    os.close(tell)
    with open(told) as pipe:  # noqa: PTH123
        points = json.loads(pipe.read() or "[]")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), points


def called(home, command):
    """Call boneexp in this process; return its exit code and what it said."""
    said = io.StringIO()
    with contextlib.chdir(home), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = BONEEXP(command, standalone_mode=False) or 0
    close_idle()  # no connection may be open when a child is born
    same_file._written_to.clear()
    return code, said.getvalue()


def seen(home):
    """Return what files and ledger say."""
    paths = [
        path for path in sorted(home.rglob("*")) if path.is_file() and not path.name.startswith("ledger.db")
    ]
    with reading(home / "ledger.db") as connection:
        rows = promotion_rows(connection)
        files = connection.execute("SELECT path, sha256 FROM files WHERE kind = 'promoted checkpoint'")
        return {
            "files": {path.relative_to(home).as_posix(): path.read_text() for path in paths},
            "promotions": [[row.id, row.action, row.experiment] for row in rows],
            "overridden": [row.overridden for row in decision_rows(connection)],
            "promoted": dict(map(tuple, files)),
            "broken": first_broken_event(connection),
            "cut_short": vars(cut_short) if (cut_short := promotion_cut_short(connection)) else None,
        }


def main(study, leading, command, really):
    time.time = lambda: NOW + 10
    with tempfile.TemporaryDirectory(dir=QUICK) as folder:
        start, home, copies = (Path(folder) / name for name in ("start", "study", "copies"))
        shutil.copytree(study, start)
        for words, last in leading:
            ended, _ = killed(start, words, last)
            assert ended == (0 if last is None else -signal.SIGKILL), words
        shutil.copytree(start, home)
        before = seen(home)
        code, said = called(home, command)  # here, so that every child has all that it needs at hand
        told = {"code": code, "said": said, "before": before, "after": seen(home)}
        gc.freeze()
        put_in_place(home, start)
        ended, told["points"] = killed(home, command, copies=copies)
        assert ended == 0
        told["survived"] = seen(home)
        told["kills"] = [
            after_a_kill(home, copies / str(number + 1)) for number in range(len(told["points"]))
        ]
        told["really"] = [
            [number, really_killed(home, start, command, number + 1)] for number in of_each_kind(told, really)
        ]
    json.dump(told, sys.stdout)


def put_in_place(home, folder):
    shutil.rmtree(home)
    shutil.copytree(folder, home)


def after_a_kill(home, folder):
    """Return what a kill left in `folder`, and what the next commands make of it."""
    put_in_place(home, folder)
    left, (_, mentioned), (code, _) = seen(home), called(home, LOOK), called(home, FINISH)
    return {"left": left, "mentioned": mentioned, "code": code, "finished": seen(home)}


def of_each_kind(told, really):
    """Return the number of the last point of each kind, or none at all."""
    kinds = {point.split(" ")[0]: number for number, point in enumerate(told["points"])}
    return kinds.values() if really else ()


def really_killed(home, start, command, last):
    put_in_place(home, start)
    ended, _ = killed(home, command, last)
    assert ended == -signal.SIGKILL
    return seen(home)


if __name__ == "__main__":
    *leading, command = json.loads(sys.argv[2])
    main(Path(sys.argv[1]).resolve(), leading, command, sys.argv[3:] == ["really"])
