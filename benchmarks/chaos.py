"""A kill storm: workers, children and the servers between them are killed at random until the grid is done.

    python benchmarks/chaos.py --runs 40 --kills 200 --seed 7

The same grid of tiny runs on phantom radiographs is done twice: undisturbed, and while SIGKILL, SIGTERM and
SIGSTOP for longer than a lease hit random processes at random moments (the draws are seeded; what they hit
depends on the machine). Then everything that must hold is checked; a failed check ends with exit code 1.
Linux only: it looks processes up in /proc.
"""

import argparse
import json
import os
import platform
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from boneexp.files.atomic import sha256_of

LEASE_S, FROZEN_S = 2.0, 3.5
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
TARGETS = ("worker", "child", "child", "server")
RARELY = 0.1
GRID = """
seeds = [{seeds}]
[data]
root = "../data"
name = "phantom"
image_size = 32
[model]
backbone = "test_efficientnet"
pretrained = false
[training]
epochs = {epochs}
batch_size = 8
warmup_epochs = 1
[evaluation]
resamples = 200
[experiments.E1]
name = "plain"
[experiments.E2]
name = "annotated"
training.annotations = true
"""


@dataclass
class Storm:
    """What was done to whom, and what came of it."""

    hits: Counter[tuple[str, str]] = field(default_factory=Counter)  # (target, signal)
    workers_started: int = 0
    duration_s: float = 0.0
    outputs: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many signals hit a process."""
        return sum(self.hits.values())


def storm(folder: Path, *, runs: int, kills: int, seed: int, workers: int = 2, epochs: int = 8) -> list[str]:
    """Do the grid undisturbed and in the storm; return the report's lines.

    Raises:
        AssertionError: something that must hold does not.
    """
    calm, rough = folder / "calm", folder / "rough"
    folder.mkdir(parents=True, exist_ok=True)
    _boneexp(folder, "data", "phantom", "--images", "72", "--seed", "1", "--out", "data")
    for place in (calm, rough):
        _set_up(place, runs, epochs)
    _boneexp(calm, "run", "--all")
    found = _stormy(rough, kills, workers, random.Random(seed))
    figures = _checked(calm, rough, found)
    hit = [f"{count} x {name} to a {target}" for (target, name), count in sorted(found.hits.items())]
    return [
        f"- {platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores; seed {seed}",
        f"- {runs} runs of {epochs} epochs, {workers} workers at a time, {found.workers_started} started; "
        f"lease {LEASE_S:g} s, frozen for {FROZEN_S:g} s; {found.duration_s:.0f} s",
        f"- {found.kills} hits: {', '.join(hit)}",
        *(f"- {name}: {value}" for name, value in figures.items()),
    ]


def _set_up(place: Path, runs: int, epochs: int) -> None:
    place.mkdir(parents=True)
    seeds = ", ".join(map(str, range(1, runs // 4 + 1)))
    (place / "experiments.toml").write_text(GRID.format(seeds=seeds, epochs=epochs))
    _boneexp(place, "queue", "--max-attempts", "1000000")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "boneexp.cli.app", *arguments]


def _boneexp(place: Path, *arguments: str) -> str:
    done = subprocess.run(_command(*arguments), cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: exit code {done.returncode}: {done.stderr}"
    return done.stdout


def _stormy(place: Path, kills: int, workers: int, dice: random.Random) -> Storm:
    """Keep `workers` calls of `run --all` alive and hit processes until the grid is done."""
    found, crew, frozen = Storm(), [], {}
    began_s = time.monotonic()
    while _waiting(place) or crew:
        crew = [each for each in crew if each.poll() is None]
        while len(crew) < workers and _waiting(place):
            crew.append(_worker(place, found))
        for pid, until_s in list(frozen.items()):
            if time.monotonic() > until_s:
                _send(pid, signal.SIGCONT)
                del frozen[pid]
        if found.kills < kills:
            _hit(crew, frozen, found, dice)
        time.sleep(dice.expovariate(2.5))
    found.duration_s = time.monotonic() - began_s
    found.outputs = [path.read_text(errors="replace") for path in sorted(place.glob("worker-*.log"))]
    return found


def _worker(place: Path, found: Storm) -> subprocess.Popen[bytes]:
    found.workers_started += 1
    with (place / f"worker-{found.workers_started:04d}.log").open("wb") as log:
        command = _command("run", "--all", "--lease", str(LEASE_S), "--workers", "1")
        return subprocess.Popen(command, cwd=place, stdout=log, stderr=log)


def _hit(
    crew: list[subprocess.Popen[bytes]], frozen: dict[int, float], found: Storm, dice: random.Random
) -> None:
    target, chosen, rarely = dice.choice(TARGETS), dice.choice(SIGNALS), dice.random() < RARELY
    servers = [pid for each in crew for pid in _children(each.pid) if _is_server(pid)]
    children = [pid for server in servers for pid in _children(server)]
    if not children and not rarely:
        return  # most hits shall meet a run at work, and not a program that is still being loaded
    pids = {"worker": [each.pid for each in crew], "server": servers, "child": children}[target]
    if pids and _send(pid := dice.choice(pids), chosen):
        found.hits[target, chosen.name] += 1
        if chosen == signal.SIGSTOP:
            frozen[pid] = time.monotonic() + FROZEN_S


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            continue
    return found


def _is_server(pid: int) -> bool:
    try:
        return b"multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _rows(place: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{place / 'ledger.db'}?mode=ro", uri=True, timeout=30)) as ledger:
        return ledger.execute(query).fetchall()


def _waiting(place: Path) -> bool:
    return bool(_rows(place, "SELECT 1 FROM runs WHERE state IN ('queued', 'running') LIMIT 1"))


def _checked(calm: Path, rough: Path, found: Storm) -> dict[str, object]:
    """Check all that must hold; return figures for the report."""
    states = Counter(state for (state,) in _rows(rough, "SELECT state FROM runs"))
    assert set(states) == {"succeeded"}, states
    for query in (
        "SELECT run_id, COUNT(*) FROM attempts WHERE outcome = 'succeeded' GROUP BY run_id",
        "SELECT run_id, COUNT(*) FROM events WHERE kind = 'succeeded' GROUP BY run_id",
    ):
        assert {count for _, count in _rows(rough, query)} == {1}, "a run was settled more than once"
        assert len(_rows(rough, query)) == states["succeeded"]
    for query in (
        "SELECT config_hash, checkpoint_sha256, best_epoch FROM runs ORDER BY config_hash",
        "SELECT r.config_hash, p.part, p.image_id, p.p_normal, p.p_benign, p.p_malignant FROM predictions p"
        " JOIN runs r ON r.id = p.run_id ORDER BY 1, 2, 3",
        "SELECT r.config_hash, h.epoch, h.train_loss, h.val_loss FROM epoch_history h"
        " JOIN runs r ON r.id = h.run ORDER BY 1, 2",
    ):
        assert _rows(calm, query) == _rows(rough, query), f"differs from the undisturbed grid: {query}"
    for path, sha256 in _rows(rough, "SELECT path, sha256 FROM files"):
        assert sha256_of(rough / "artifacts" / str(path)) == sha256, path
    left = [*rough.rglob("*.part"), *rough.rglob("attempt-*")]
    assert not left, left
    wrong = [text for text in found.outputs if "locked" in text or "Traceback" in text]
    assert not wrong, wrong[0]
    doctor = json.loads(_boneexp(rough, "doctor", "--json"))
    outcomes = Counter(outcome for (outcome,) in _rows(rough, "SELECT outcome FROM attempts"))
    folders = [str(folder) for (folder,) in _rows(rough, "SELECT folder FROM runs")]
    repeated = [_epochs_repeated(rough / "artifacts" / folder / "run.log") for folder in folders]
    late = _rows(rough, "SELECT COUNT(*) FROM events WHERE kind = 'late-result'")[0][0]
    return {
        "runs succeeded, each once": states["succeeded"],
        "attempts by outcome": dict(outcomes),
        "weights, epochs and predictions equal to the undisturbed grid": "all",
        "finished epochs that were trained again": sum(repeated),
        "late results kept as evidence": late,
        "files with the digest of the ledger": len(_rows(rough, "SELECT path FROM files")),
        "temporary files and attempt folders left": 0,
        "doctor": f"clean, {len(doctor['findings'])} findings, none of them damage",
    }


def _epochs_repeated(log: Path) -> int:
    """Count the epochs that an attempt trained although one had reported them before it began."""
    current, repeated = "", 0
    reported: set[str] = set()
    before: set[str] = set()
    for found in re.finditer(r"attempt (\d+) (?:claimed|epoch (\d+)):", log.read_text(encoding="utf-8")):
        attempt, epoch = found.groups()
        if epoch is None:
            current, before = attempt, set(reported)
        else:
            repeated += attempt == current and epoch in before
            reported.add(epoch)
    return repeated


def main() -> None:
    """Run the storm and print its figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=40, help="a multiple of 4")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boneexp-chaos-") as name:
        lines = storm(Path(name), **vars(chosen))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
