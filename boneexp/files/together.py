"""Several files changed as one: made beside their places and put there by renames."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from boneexp.files.atomic import flush, inside, keep_rights, link, refuse_link, sha256_of

PART = ".promotion.part"


Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Prepared:
    """A file that is to change: `part` takes its place; without one the file goes."""

    path: Path
    part: Path | None
    former: Path | None  # where what stands there now is kept
    seen: Stamp | None  # what stood there when this was prepared


def is_stale(prepared: Sequence[Prepared]) -> bool:
    """Return True if somebody has changed one of the files since; what was prepared would undo that."""
    return any(stamp(each.path) != each.seen for each in prepared)


def put_in_place(prepared: Sequence[Prepared]) -> None:
    """Put everything in its place; what stood there is kept where it says so."""
    for each in prepared:
        if each.former is not None:
            _keep(each.path, each.former)
        if each.part is not None:
            each.part.replace(each.path)
        else:
            each.path.unlink(missing_ok=True)
    for folder in dict.fromkeys(each.path.parent for each in prepared):
        flush(folder)


def replace_texts(texts: Mapping[Path, str]) -> None:
    """Write texts that belong together: all are made beside their places before the first is put there.

    Raises:
        OSError: one cannot be written; nothing has changed.
    """
    try:
        prepared = [prepared_text(path, part_of(path), text, stamp(path)) for path, text in texts.items()]
    except OSError:
        for path in texts:
            part_of(path).unlink(missing_ok=True)
        raise
    put_in_place(prepared)


def prepared_text(path: Path, part: Path, text: str, seen: Stamp | None) -> Prepared:
    """Write a text beside its place, with the rights of the file there."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(text, encoding="utf-8", newline="")
    keep_rights(path, part)
    flush(part)
    return Prepared(path, part, None, seen)


def _keep(path: Path, former: Path) -> None:
    """Keep a file under its digest; as a link, which takes neither room nor time."""
    if former.is_file() and former.name == _former(path, sha256_of(former)).name:
        return
    former.parent.mkdir(parents=True, exist_ok=True)
    link(path, former)
    flush(former.parent)


def _former(path: Path, sha256: str) -> Path:
    return inside(path.parent, f"former/{path.stem}-{sha256[:16]}.pt")


def part_of(path: Path) -> Path:
    """Return where a file is made before it is put in place."""
    part = path.with_name(path.name + PART)
    refuse_link(part)
    return part


def stamp(path: Path) -> Stamp | None:
    """Return what changes when a file is written or replaced; None where there is none."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    return None
