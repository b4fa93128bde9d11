"""What every speed script shares: rows of results, times taken in turn, and the machine that took them.

A speed is always a ratio of two medians that were taken in turn in one run: machines drift, ratios less.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

Call = Callable[[], Any]
HOME = Path(__file__).resolve().parents[1]
sys.path.append(str(HOME / "tests"))  # made-up ledgers and tables are the tests' own


def in_turn(calls: Mapping[str, Call], times: int) -> dict[str, float]:
    """Return the median seconds of each call, made in turn (A B A B …) after one that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(times + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def process(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Call:
    """Return a call that runs the command as a process and throws away what it prints.

    Raises:
        RuntimeError: when called, and the command fails.
    """

    def call() -> None:
        done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode()[-500:]}")

    return call


def apart(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return what `function` returns in a fresh process, and the most memory that process held, in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (function, arguments))


def one_core() -> None:
    """Keep this process, and what it starts, on one core, with one thread in each library."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def installed(package: str) -> str:
    """Return "" if the package is installed, else why its yardstick is skipped."""
    try:
        version(package)
    except PackageNotFoundError:
        return f"skipped: {package} is not installed; make bench installs it where it can"
    return ""


def machine(*packages: str) -> str:
    """Return the machine and the versions that made the figures, in one line."""
    known = [f"{name} {version(name)}" for name in packages if not installed(name)]
    cores = len(os.sched_getaffinity(0))
    python = f"Python {platform.python_version()}"
    return ", ".join([f"{_processor()}, {cores} cores", *_gpus(), python, *known])


def printed(title: str, rows: Sequence["Row"]) -> str:
    """Return rows as a Markdown table under a heading."""
    head = ["what", "measured", "against", "yardstick", "ratio", "goal", "reached"]
    cells = [[row.what, *row.cells()] for row in rows]
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    lines = [f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *cells]]
    return "\n".join([f"## {title}", "", *lines, *([""] if notes else []), *notes, ""])


def run_script(title: str, doc: str | None, measured: Callable[[bool], Sequence["Row"]]) -> None:
    """Be the command line of one speed script: measure, print a table, keep the rows if that is asked for."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="take the longer form")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the rows in FILE as well")
    arguments = parser.parse_args()
    rows = list(measured(arguments.full))
    print(printed(title, rows))
    if arguments.json:
        kept = {"title": title, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _with_peak(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    answer = function(*arguments)
    return answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def _gpus() -> list[str]:
    try:
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\n")[:1]
    except (OSError, subprocess.CalledProcessError):
        return []


@dataclass(frozen=True)
class Goal:
    """What was promised, of the ratio, of the figure itself, or of the difference to the yardstick."""

    of: Literal["ratio", "figure", "difference"] = "ratio"
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        """Say it."""
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return f"{self.of} {sign} {bound:g}"


@dataclass(frozen=True)
class Row:
    """One figure beside its yardstick; without `measured` it was skipped, and `note` says why."""

    what: str
    measured: float | None
    unit: str
    against: str = ""
    yardstick: float | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The figure over its yardstick; None without one."""
        if self.measured is None or not self.yardstick:
            return None
        return self.measured / self.yardstick

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is no goal or no figure."""
        judged = {"ratio": self.ratio, "figure": self.measured, "difference": self._difference()}
        if self.goal is None or (value := judged[self.goal.of]) is None:
            return None
        if self.goal.at_least is not None:
            return value >= self.goal.at_least
        return self.goal.at_most is not None and value <= self.goal.at_most

    def cells(self) -> list[str]:
        """Return the figure, what it is held against, the ratio, the goal, and whether it was reached."""
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        reached = {None: "", True: "yes", False: "no"}[self.reached]
        figures = [self._with_unit(self.measured), self.against, self._with_unit(self.yardstick)]
        return [*figures, ratio, str(self.goal or ""), reached]

    def _difference(self) -> float | None:
        return None if self.measured is None or self.yardstick is None else self.measured - self.yardstick

    def _with_unit(self, value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:,.3g} {self.unit}" if abs(value) < 100 else f"{value:,.0f} {self.unit}"
