"""How time and memory grow with the number of images, and with their size.

Each point is a whole run in a process of its own: the dataset read and its images prepared, a tiny network
trained for an epoch, validation and test evaluated with 2,000 resamples. Held against growth in proportion.

python benchmarks/growth.py
"""

import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

from made_radiographs import write_films
from measuring import Goal, Row, run_script

STAGES = {
    "reading": "reading the data",
    "preparing": "preparing the images",
    "epoch": "an epoch",
    "evaluating": "evaluating",
}
SIDES = ((700, 600), (800, 650))  # larger than the largest size that is prepared
SIZES_PX = (224, 320, 512)
GRID = """
seeds = [42]
[data]
root = "{root}"
name = "made up"
image_size = {size_px}
[model]
backbone = "test_efficientnet"
pretrained = false
[training]
epochs = 1
batch_size = 16
[experiments.E1]
"""
Point = dict[str, tuple[float, float]]  # by stage: seconds, and the most memory above that of its start in MB


def measured(full: bool) -> list[Row]:
    """Measure at 1, 2, 4 and 8 times as many images, and at three sizes; the short form leaves out some."""
    sizes_px = SIZES_PX if full else SIZES_PX[::2]
    base, more = (240, (2, 4, 8)) if full else (30, (4, 8))
    with tempfile.TemporaryDirectory() as home:
        counts = {times: point(Path(home) / f"n{times}", base * times, SIZES_PX[0]) for times in (1, *more)}
        sizes = {size: point(Path(home) / f"s{size}", 2 * base, size) for size in sizes_px}
    rows = []
    for stage, said in STAGES.items():
        for times in more:
            what = f"{said}, {base * times} images"
            (alone_s, _), (more_s, _) = counts[1][stage], counts[times][stage]
            rows.append(
                Row(what, more_s, "s", f"{times} x that of {base}", times * alone_s, Goal(at_most=1.2))
            )
    for stage in ("preparing", "epoch", "evaluating"):
        said = STAGES[stage]
        for size in sizes_px[1:]:
            pixels = (size / SIZES_PX[0]) ** 2
            (small_s, _), (large_s, _) = sizes[SIZES_PX[0]][stage], sizes[size][stage]
            against = f"{pixels:.2f} x that at {SIZES_PX[0]} px"
            rows.append(Row(f"{said}, {size} px", large_s, "s", against, pixels * small_s, Goal(at_most=1.2)))
    for stage, said in STAGES.items():
        (_, few_mb), (_, many_mb) = counts[1][stage], counts[8][stage]
        what = f"memory of {said}, {8 * base} images"
        rows.append(Row(what, many_mb, "MB", f"that of {base}, and 256 MB", few_mb + 256, Goal(at_most=1)))
    return rows


def point(folder: Path, images: int, size_px: int) -> Point:
    """Make a dataset and measure one run on it, in a process forked from one that has torch loaded."""
    write_films(folder / "data", images, SIDES)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["boneexp.experiment.run", "boneexp.runs.enqueue"])
    with context.Pool(1) as pool:
        found: Point = pool.apply(_run, (folder, size_px))
    return found


def _run(folder: Path, size_px: int) -> Point:
    import torch

    from boneexp.experiment.run import run
    from boneexp.files.folders import RunFolder
    from boneexp.results import Computing, Finished
    from boneexp.runs.enqueue import planned

    torch.set_num_threads(1)  # two threads on a machine that has other work measure that work
    grid = folder / "experiments.toml"
    grid.write_text(GRID.format(root=folder / "data", size_px=size_px))
    watch = Stopwatch()
    watch.stage("reading")
    spec = planned(grid, [], ([], ["stratified"], []), folder / "artifacts").plan.specs[0]
    watch.stage("")
    ended = run(
        spec,
        RunFolder(folder / "artifacts", "run", 1),
        Computing("cpu"),
        spec.settings.training.batch_size,
        watch,
    )
    watch.stage("")
    assert isinstance(ended, Finished), ended
    return watch.found


class Stopwatch:
    """A report that takes the time and the memory of each stage, and always says to go on."""

    def __init__(self) -> None:
        """Begin to look at the memory, every few milliseconds."""
        self.found: Point = {}
        self._name, self._began, self._least, self._most = "", time.perf_counter(), 0.0, 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def stage(self, text: str) -> None:
        """End the stage that was and begin the next."""
        self._most = max(self._most, anonymous_mb())
        if self._name:
            stage = (time.perf_counter() - self._began, self._most - self._least)
            self.found.setdefault(self._name, stage)  # the first reading: the second remembers it
        self._name = text.split()[0] if text else ""
        self._least = self._most = anonymous_mb()
        self._began = time.perf_counter()

    def counted(self, done: int, total: int) -> None:
        """Hear how far reading or preparing is."""

    def restored(self, records: object) -> bool:
        """Begin the epoch."""
        self.stage("epoch")
        return True

    def step(self, epoch: int, done: int, total: int) -> bool:
        """Go on."""
        return True

    def epoch(self, record: object) -> bool:
        """Go on."""
        return True

    def why_stopped(self) -> str:
        """Never stop."""
        return ""

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, anonymous_mb())
            time.sleep(0.003)


def anonymous_mb() -> float:
    """Return the memory that is this process's own, in MB: mapped files can be given back at any time."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    run_script("Growth", __doc__, measured)
