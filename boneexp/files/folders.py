"""Where things lie: a run's folder, a study's files, names of documents."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from boneexp.files.atomic import flush, inside, link, sha256_of
from boneexp.files.together import part_of

if TYPE_CHECKING:
    from boneexp.results import WrittenFile


@dataclass(frozen=True)
class RunFolder:
    """Every path of one run; none of them leads out of the artifacts folder, or Damaged is raised.

    An attempt works in a folder of its own inside the run's, so that one which was taken for dead and comes
    back cannot touch what its successor writes. What it has finished is published: linked to its final names
    in the run's folder. Without an attempt number the paths are those final ones.
    """

    artifacts: Path
    relative: str
    attempt: int | None = None

    @property
    def home(self) -> Path:
        """The run's folder."""
        return inside(self.artifacts, self.relative)

    @property
    def path(self) -> Path:
        """The folder that is worked in: the attempt's, or the run's."""
        return self.home if self.attempt is None else inside(self.home, f"attempt-{self.attempt:04d}")

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch with the lowest validation loss."""
        return self.file("best.pt")

    def best_of(self, epoch: int) -> Path:
        """Where the best weights lie while training goes on: `last.pt` names the epoch they are from."""
        return self.file(f"best-epoch{epoch:05d}.pt")

    def drop_former_bests(self, best_epoch: int) -> None:
        """Remove the weights of epochs that are not the best any more."""
        for path in self.path.glob("best-epoch*.pt"):
            if path != self.best_of(best_epoch):
                path.unlink(missing_ok=True)

    @property
    def last(self) -> Path:
        """The checkpoint from which the run goes on."""
        return self.file("last.pt")

    @property
    def log(self) -> Path:
        """What happened, line by line, in all attempts."""
        return inside(self.home, "run.log")

    def file(self, name: str) -> Path:
        """Return the path of any other file of the run."""
        return inside(self.path, name)

    def written(self, kind: str, path: Path) -> "WrittenFile":
        """Return the ledger's fact about a file: it names the place where the file will be published."""
        from boneexp.results import WrittenFile

        return WrittenFile(kind, f"{self.relative}/{path.name}", sha256_of(path), path.stat().st_size)

    def earlier(self) -> list["RunFolder"]:
        """Return the folders of other attempts, the newest first; for attempt 3, of those before it."""
        numbers = (int(path.name[8:]) for path in self.home.glob("attempt-[0-9]*") if path.name[8:].isdigit())
        below = sorted(number for number in numbers if self.attempt is None or number < self.attempt)
        return [replace(self, attempt=number) for number in reversed(below)]

    def publish(self, files: "Iterable[WrittenFile]") -> None:
        """Put the attempt's files at their final names; they stay where they are, too, until `drop`."""
        parts = []
        for file in files:
            name = Path(file.path).name
            parts.append((self.home / f"{name}.{os.getpid()}.part", self.home / name))
            link(self.file(name), parts[-1][0])
        for part, final in parts:
            part.replace(final)
            part.unlink(missing_ok=True)  # renaming does nothing where both are names of one file
        flush(self.home)

    def drop(self) -> None:
        """Remove the attempt's folder with all that is in it."""
        if self.attempt is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def drop_leftovers(self) -> None:
        """Remove what a killed process had begun to put in place."""
        for path in [*self.home.glob("*.part"), *self.path.glob("*.part")]:
            path.unlink(missing_ok=True)


PAGE = "report.html"


MODEL_CARD = "model_card.md"


POC_REPORT = "poc_report.md"


STANDARD_NAMES = {"stratified": "best_stratified.pt", "center_holdout": "best_center.pt"}


FOLDER = "promoted"


@dataclass(frozen=True)
class StudyPaths:
    """The paths of a study: ledger, artifacts, grid file and documents."""

    ledger: Path
    artifacts: Path
    grid: Path
    docs: Path

    def part(self, path: Path) -> Path:
        """Return the temporary path under which `path` is written; unique for each ledger."""
        return part_of(path.with_name(f"{path.name}.{self.ledger.name}"))

    def standard(self, split: str) -> Path:
        """Return the path of the promoted checkpoint of a split."""
        return inside(self.artifacts, f"{FOLDER}/{STANDARD_NAMES[split]}")

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that a promotion may change."""
        checkpoints = [self.standard(split) for split in STANDARD_NAMES]
        return (*checkpoints, self.grid, self.docs / MODEL_CARD, self.docs / POC_REPORT)
