"""A training step on idle cores and beside other work, waiting as boneexp does and as torch does by itself.

The threads of PyTorch's OpenMP spin while they wait for one another. boneexp limits that in the processes of
its attempts. Each way of waiting has a process of its own, and they take steps in turn; beside them run zero,
one or two processes that only count.

python benchmarks/busy_machine.py
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from measuring import Goal, Row, run_script

from boneexp.runs.children.openmp import CHOSEN_BY_THE_USER, spin_settings

OURS, TORCHS = "boneexp's waiting", "torch's own waiting"
BATCH_PIXELS = 16 * 96 * 96  # of a batch, so that a step takes about as long at each size
MOST_BUSY = 2


@dataclass(frozen=True)
class Case:
    """A network of the study at one size."""

    experiment: str
    size_px: int

    @property
    def batch(self) -> int:
        """Images of a step."""
        return max(2, min(16, BATCH_PIXELS // self.size_px**2))

    @property
    def what(self) -> str:
        """Say it."""
        return f"a step of {self.experiment}, batch {self.batch}, {self.size_px} px"


def measured(full: bool) -> list[Row]:
    """Take steps in turn; the short form has one network at one size."""
    keys, sizes_px = (("E1", "E3", "E4"), (64, 96, 224)) if full else (("E1",), (64,))
    cases = [Case(key, size_px) for key in keys for size_px in sizes_px]
    plain = {name: text for name, text in os.environ.items() if name not in CHOSEN_BY_THE_USER}
    with ExitStack() as stack:
        stepping = {
            OURS: stack.enter_context(stepping_process(plain | spin_settings(plain))),
            TORCHS: stack.enter_context(stepping_process(plain)),
        }
        return [row for case in cases for row in _rows_of(case, stepping, 11 if full else 7)]


def _rows_of(case: Case, stepping: Mapping[str, "Stepping"], times: int) -> Iterator[Row]:
    """Yield a step on idle cores, then beside one and two busy processes."""
    idle = _seconds(case, stepping, times, busy=0)
    yield Row(f"{case.what}, idle cores", idle[OURS], "s", TORCHS, idle[TORCHS], Goal(at_most=1.05))
    for busy in range(1, MOST_BUSY + 1):
        beside = _seconds(case, stepping, max(3, times // 2), busy)
        what = f"{case.what}, beside {busy} busy {'process' if busy == 1 else 'processes'}"
        goal = Goal(at_most=2.5) if busy == 1 else None
        yield Row(what, beside[OURS], "s", "idle cores", idle[OURS], goal)
        yield Row(f"{what}, {TORCHS}", beside[TORCHS], "s", "idle cores", idle[TORCHS])


def _seconds(case: Case, stepping: Mapping[str, "Stepping"], times: int, busy: int) -> dict[str, float]:
    """Return the median seconds of a step for each way of waiting, taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in stepping}
    with ExitStack() as stack:
        for _ in range(busy):
            stack.enter_context(_running([sys.executable, "-c", "while True: pass"]))
        for number in range(times):
            turns = list(stepping.items())
            for name, process in turns if number % 2 else reversed(turns):
                taken[name].append(process.step_s(case))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


@contextmanager
def stepping_process(environment: Mapping[str, str]) -> Iterator["Stepping"]:
    """Yield a process with this environment that takes a training step whenever it is asked to."""
    command = [sys.executable, str(Path(__file__)), "--take-steps"]
    with _running(command, dict(environment)) as process:
        yield Stepping(process)


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Stepping:
    """A process that takes training steps, seen from the one that asks for them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Talk to `process` through its pipes."""
        self._process = process

    def step_s(self, case: Case) -> float:
        """Return the seconds of one step; the first step of a case is taken before."""
        assert self._process.stdin and self._process.stdout
        print(case.experiment, case.size_px, case.batch, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def take_steps() -> None:
    """Answer each line of standard input, a case, with the seconds of a step."""
    import time

    import torch
    from step_speed import Steps, study_settings

    call, last = None, ""
    for line in sys.stdin:
        if line != last:
            experiment, size_px, batch = line.split()
            settings = study_settings(experiment, int(size_px))
            recipe = settings.training.model_copy(update={"batch_size": int(batch)})
            call = Steps(settings.model_copy(update={"training": recipe}), torch.device("cpu"), 1).ours(
                "deterministic"
            )
            call()
            last = line
        assert call
        began = time.perf_counter()
        call()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--take-steps"]:
        take_steps()
    else:
        run_script("A busy machine", __doc__, measured)
