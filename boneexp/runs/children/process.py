"""A process for each attempt, so that a crash, a leak or a broken GPU context ends with it.

Children are forked from a server that has loaded torch once and never used it: a fresh process costs
milliseconds and inherits no GPU. A pipe carries messages one way and the request to stop the other; its end
shows each side that the other is gone.
"""

import faulthandler
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from boneexp.errors import BoneexpError
from boneexp.results import EpochRecord, Failed, Killed
from boneexp.runs.processes import is_frozen, oom_kills

PATIENCE_S = 10.0  # for a process whose pipe has closed to be gone
STEPS_APART_S = 0.05  # a GPU takes hundreds of steps a second, and a person sees a few


class Child:
    """A process that does one piece of work, seen from the one that waits for it."""

    def __init__(
        self,
        work: Callable[..., Any],
        arguments: tuple[Any, ...],
        threads: int = 0,
        traces: Path | None = None,
    ) -> None:
        """Start `work(*arguments, report)` in a process of its own.

        Args:
            work: a function of a module; it and its arguments are pickled.
            arguments: all but the last argument, the report, which talks to this side.
            threads: how many torch may use; 0 leaves that to torch.
            traces: a file for the stack of a crash in native code.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["boneexp.runs.children.forkserver_preload"])
        self._traces = traces
        self._oom_kills = [(time.monotonic(), oom_kills())]  # lately, the oldest first
        self._pipe, theirs = context.Pipe()
        life = (theirs, work, arguments, threads, traces)
        self._process: BaseProcess = context.Process(target=_run_child, args=life, daemon=True)
        try:
            self._process.start()
        finally:
            theirs.close()  # or the end of the child would not be seen

    def message(self, at_most_s: float) -> tuple[str, tuple[Any, ...]] | None:
        """Return the next message, or None if none came in time.

        Raises:
            EOFError: the process is gone, and no message is left.
        """
        try:
            if not self._pipe.poll(at_most_s):
                self._count_oom_kills()
                return None
            name, content = self._pipe.recv()
        except OSError as error:
            raise EOFError from error  # it died in the middle of a message
        return name, content

    def ask_to_stop(self, reason: str) -> None:
        """Request an orderly stop."""
        with suppress(OSError):
            self._pipe.send(reason)

    def kill(self) -> None:
        """End the process at once, even where the server that forked it is gone."""
        if self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    def is_working(self) -> bool:
        """Whether the process is running; False while it is frozen (SIGSTOP)."""
        return self._process.pid is None or not is_frozen(self._process.pid)

    def death(self) -> Failed | Killed:
        """Return what ended a process that is gone: the kernel for lack of memory, a signal, or itself."""
        self._process.join(PATIENCE_S)
        code = self._process.exitcode
        name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        if name == "SIGKILL" and oom_kills() > self._oom_kills[0][1]:
            return Failed(
                "oom", "the system ran out of memory, and its kernel killed the attempt's process", ""
            )
        traces = self._traces.read_text(errors="replace") if self._traces and self._traces.is_file() else ""
        return Killed(f"its process was ended by {name}", traces)

    def _count_oom_kills(self) -> None:
        """Keep the kernel's count as it was some seconds ago: it rises a while before the process is gone."""
        now = time.monotonic()
        self._oom_kills.append((now, oom_kills()))
        while len(self._oom_kills) > 2 and self._oom_kills[1][0] < now - PATIENCE_S:
            self._oom_kills.pop(0)

    def close(self) -> None:
        """End the process if it still runs, and release it."""
        if self._process.is_alive():
            self._process.join(PATIENCE_S)
            self._process.kill()
        self._process.join()
        self._pipe.close()
        if self._traces:
            self._traces.unlink(missing_ok=True)


class Messages:
    """The report of a run in a child: all goes through the pipe, and no answer is waited for."""

    def __init__(self, pipe: Connection, request: "_StopRequest") -> None:
        """Send through `pipe`; `request` says whether to stop."""
        self._pipe, self._request = pipe, request
        self._last_step_s = -math.inf

    def stage(self, text: str) -> None:
        """Pass on what happens next."""
        self._pipe.send(("stage", (text,)))

    def counted(self, done: int, total: int) -> None:
        """Pass on how far reading or preparing images is."""
        self._pipe.send(("counted", (done, total)))

    def restored(self, records: list[EpochRecord]) -> bool:
        """Pass on which epochs are done already; return whether to go on."""
        return self._send("restored", records)

    def step(self, epoch: int, done: int, total: int) -> bool:
        """Pass on one training step, unless one was passed on just now; return whether to go on."""
        now = time.monotonic()
        if now - self._last_step_s < STEPS_APART_S:
            return not self._request.reason
        self._last_step_s = now
        return self._send("step", epoch, done, total)

    def epoch(self, record: EpochRecord) -> bool:
        """Pass on a finished epoch; return whether to go on."""
        return self._send("epoch", record)

    def why_stopped(self) -> str:
        """Return the reason that came with the request to stop."""
        return self._request.reason

    def _send(self, name: str, *content: Any) -> bool:
        self._pipe.send((name, content))
        return not self._request.reason


def answer(work: Callable[..., Any], *arguments: Any, threads: int = 0) -> Any:
    """Return what `work(*arguments, report)` returns in a process of its own.

    Raises:
        BoneexpError: as `work` raised it, or the process died.
    """
    child = Child(work, arguments, threads)
    try:
        while True:
            name, content = child.message(60.0) or ("", ())
            if name == "outcome":
                return content[0]
            if name == "problem":
                raise content[0]
    except EOFError:
        death = child.death()
        reason = death.message if isinstance(death, Failed) else f"{death.reason}\n{death.traceback}"
        raise BoneexpError(f"the process that checks the device has died: {reason.strip()}") from None
    finally:
        child.close()


@dataclass
class _StopRequest:
    """Why to stop; "" while nobody has asked."""

    reason: str = ""


def _run_child(
    pipe: Connection,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    threads: int,
    traces: Path | None,
) -> None:
    """The child's whole life. Ctrl-C and the lost terminal are the parent's business, SIGTERM is its own."""
    request = _StopRequest()

    def stop(number: int, frame: FrameType | None) -> None:
        request.reason = request.reason or f"{signal.Signals(number).name} to its process"

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    _volunteer_for_oom_killer()
    threading.Thread(target=_listen, args=(pipe, request), daemon=True).start()
    if threads:
        import torch

        torch.set_num_threads(threads)
    with _crashes_kept(traces):
        try:
            message = ("outcome", (work(*arguments, Messages(pipe, request)),))
        except BoneexpError as error:
            message = ("problem", (error,))
        with suppress(BrokenPipeError):
            pipe.send(message)


@contextmanager
def _crashes_kept(traces: Path | None) -> Iterator[None]:
    """Let a crash in native code leave its stack in the file; a full disk is no reason not to work."""
    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context((traces or Path(os.devnull)).open("w"))
            faulthandler.enable(file)
            stack.callback(faulthandler.disable)
        yield


def _listen(pipe: Connection, request: _StopRequest) -> None:
    """Wait for the request to stop; exit at once when the parent is gone, as nobody would settle the run."""
    while True:
        try:
            request.reason = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)


def _volunteer_for_oom_killer() -> None:
    """Let the kernel kill this process rather than the worker when memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")
