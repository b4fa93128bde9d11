"""Where a run's files lie, and how a file comes to be there: whole or not at all, and nowhere else."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
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
        refuse_link(path)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes `path`'s place only if the block succeeds.

    The content is flushed to the disk before the rename, and the rename before the return,
    so that a power cut leaves the old file or the new one. The new file has the old one's rights.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    refuse_link(part)
    try:
        yield part
        keep_rights(path, part)
        flush(part)
        part.replace(path)
        flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with the line ends it has, whole."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content`, whole."""
    with whole_file(path) as part:
        part.write_bytes(content)


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 as 64 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_link(path: Path) -> None:
    """Raise Damaged for a symbolic link: what it leads to is not boneexp's."""
    if path.is_symlink():
        raise Damaged(f"{path} is a symbolic link, and boneexp writes through none; remove it and try again")


def keep_rights(path: Path, part: Path) -> None:
    """Give `part` the rights of the file whose place it is to take, if there is one."""
    with suppress(FileNotFoundError):
        shutil.copymode(path, part)


def flush(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(source: Path, target: Path) -> None:
    """Let `target` be the file `source`: a second name for it, or a copy where the disk has no such names."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        shutil.copyfile(source, target)
        flush(target)


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

    def written(self, kind: str, path: Path) -> WrittenFile:
        """Return the ledger's fact about a file: it names the place where the file will be published."""
        return WrittenFile(kind, f"{self.relative}/{path.name}", sha256_of(path), path.stat().st_size)

    def earlier(self) -> list["RunFolder"]:
        """Return the folders of other attempts, the newest first; for attempt 3, of those before it."""
        numbers = (int(path.name[8:]) for path in self.home.glob("attempt-[0-9]*") if path.name[8:].isdigit())
        below = sorted(number for number in numbers if self.attempt is None or number < self.attempt)
        return [replace(self, attempt=number) for number in reversed(below)]

    def publish(self, files: Iterable[WrittenFile]) -> None:
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
