"""Where a run's files lie, and how a file comes to be there: whole or not at all, and nowhere else."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from boneexp.errors import Damaged
from boneexp.results import WrittenFile


def inside(artifacts: Path, relative: str) -> Path:
    """Return a path below the artifacts folder, to write or to remove. The folder itself may be a link.

    Raises:
        Damaged: the path leads out, or a symbolic link lies on the way: what it leads to is not boneexp's.
    """
    parts = PurePosixPath(relative).parts
    if ".." in parts or relative.startswith("/"):
        raise Damaged(f"{relative} leads out of {artifacts}; nothing there was touched")
    path = artifacts
    for part in parts:
        path /= part
        _refuse_link(path)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes `path`'s place only if the block succeeds.

    The content is flushed to the disk before the rename, and the rename before the return,
    so that a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    _refuse_link(part)
    try:
        yield part
        _flush(part)
        part.replace(path)
        _flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with the line ends it has, whole."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 as 64 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise Damaged(f"{path} is a symbolic link, and boneexp writes through none; remove it and try again")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class RunFolder:
    """Every path of one run; none of them leads out of the artifacts folder, or Damaged is raised."""

    artifacts: Path
    relative: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return inside(self.artifacts, self.relative)

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

    def drop_leftovers(self) -> None:
        """Remove what a killed attempt had begun to write and not yet put in place."""
        for path in self.path.glob("*.part"):
            path.unlink(missing_ok=True)

    @property
    def last(self) -> Path:
        """The checkpoint from which the run goes on."""
        return self.file("last.pt")

    @property
    def log(self) -> Path:
        """What happened, line by line."""
        return self.file("run.log")

    def file(self, name: str) -> Path:
        """Return the path of any other file of the run."""
        return inside(self.path, name)

    def written(self, kind: str, path: Path) -> WrittenFile:
        """Return the ledger's fact about a file that is in place."""
        return WrittenFile(
            kind, path.relative_to(self.artifacts).as_posix(), sha256_of(path), path.stat().st_size
        )
