"""Tables and figures of a run made again from the ledger's rows; what they replace is put aside."""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from boneexp.doctor.remains import ORPHANS
from boneexp.errors import Damaged
from boneexp.experiment.outputs import MADE
from boneexp.files.atomic import inside, sha256_of, whole_file
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import examining
from boneexp.ledger.queries.files import RunFile
from boneexp.ledger.seals import Subject, seal_holds


def remakeable(rows: Sequence[RunFile]) -> dict[int, list[RunFile]]:
    """Return, by run, those of the files that can be made again."""
    found: dict[int, list[RunFile]] = {}
    for row in rows:
        if row.kind in MADE:
            found.setdefault(row.run_id, []).append(row)
    return found


def remake(place: StudyPaths, run_id: int, rows: Sequence[RunFile]) -> str:
    """Make files of a run again; return which of them do not come out byte for byte as they were.

    Raises:
        Damaged: the run's rows were changed after it was settled; nothing is made from them.
    """
    from boneexp.doctor.remaking import make_again

    with (
        examining(place.ledger) as connection,
        TemporaryDirectory(dir=place.artifacts, prefix="made.", suffix=f".{os.getpid()}.part") as folder,
    ):
        _require_sealed(connection, run_id)
        make_again(connection, run_id, Path(folder))
        others = [row.path for row in rows if sha256_of(_made(folder, row)) != row.sha256]
        for row in rows:
            _replace(place, place.artifacts / row.path, _made(folder, row))
    if not others:
        return "made again, byte for byte as recorded"
    return (
        f"made again, but not byte for byte as recorded, so the finding stays: {', '.join(others)} "
        "(another version of a package, perhaps, or an epoch that was trained twice)"
    )


def set_aside(place: StudyPaths, path: Path) -> Path:
    """Move a file or folder into artifacts/orphans; return where it is now."""
    target = place_aside(place, path)
    require_own(place, path)
    require_own(place, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    return target


def place_aside(place: StudyPaths, path: Path) -> Path:
    """Return where a file or folder of artifacts is put aside: a new name, so that nothing is overwritten."""
    first = place.artifacts / ORPHANS / path.relative_to(place.artifacts)
    target, number = first, 1
    while target.exists():
        number += 1
        target = first.with_name(f"{first.name}-{number}")
    return target


def require_own(place: StudyPaths, path: Path) -> None:
    """Raise Damaged if a link below artifacts leads to `path`: then what lies there is not boneexp's."""
    if path.is_relative_to(place.artifacts):
        inside(place.artifacts, path.parent.relative_to(place.artifacts).as_posix())


def _require_sealed(connection: sqlite3.Connection, run_id: int) -> None:
    if not seal_holds(connection, Subject("run", (run_id,))):
        raise Damaged(f"the rows of run {run_id} were changed after it was settled")


def _replace(place: StudyPaths, path: Path, source: Path) -> None:
    require_own(place, path)
    with whole_file(path) as part:
        shutil.copyfile(source, part)
        if path.exists():
            set_aside(place, path)


def _made(folder: str, row: RunFile) -> Path:
    return Path(folder) / MADE[row.kind]
