"""The files that a decision leaves: made whole beside their places, then put there by a few renames.

Whatever can fail, a full disk, a folder that cannot be written, a checkpoint that is gone, fails while they
are made, and then nothing has changed. What was made and is not in its place yet ends in `.promotion.part`.
"""

import os
import shutil
import sqlite3
from pathlib import Path

from boneexp.errors import Damaged, GridInvalid, PromotionRefused
from boneexp.files.atomic import flush, keep_rights, sha256_of
from boneexp.files.folders import FOLDER, STANDARD_NAMES, StudyPaths
from boneexp.files.together import Prepared, Stamp, _former, prepared_text, stamp
from boneexp.ledger.promotions import PROMOTED_CHECKPOINT
from boneexp.ledger.queries.experiments import settings_of
from boneexp.ledger.queries.files import Checkpoint, checkpoint_of
from boneexp.ledger.queries.promotions import PromotionRow
from boneexp.reports.documents import render_documents
from boneexp.reports.facts import gather
from boneexp.results import WrittenFile
from boneexp.study.promoted_table import promoted_of, with_promoted
from boneexp.study.toml import Scalar


def grid_text(place: StudyPaths, connection: sqlite3.Connection, row: PromotionRow) -> str:
    """Return what the grid file is to say after this decision.

    Raises:
        GridInvalid: it is missing, or cannot be rewritten safely.
    """
    return with_promoted(place.grid, _promoted_values(place, connection, row))


def default_checkpoint(
    place: StudyPaths, connection: sqlite3.Connection, row: PromotionRow, split: str
) -> tuple[Path | None, str]:
    """Return the checkpoint of a split that [promoted] names, or None and why that table cannot be gone by.

    The table is held against the ledger, whose last decision `row` is.
    """
    try:
        found = promoted_of(place.grid)
    except GridInvalid as error:
        return None, f"the default model is taken from the ledger: {error}"
    wanted = _promoted_values(place, connection, row)
    if found == wanted:
        path = place.standard(split)
        there = path.is_file()
        return path, "" if there else f"{path} is gone; put it there again with: boneexp doctor --fix"
    said = f"the default model is taken from the ledger, and [promoted] in {place.grid} says otherwise"
    if found.get("experiment") != wanted["experiment"]:
        said += f": {found.get('experiment') or 'no model'}, not {wanted['experiment']}"
    else:
        keys = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
        said += f" of {', '.join(keys)}"
    return None, f"{said}; name the study's grid file with --grid, or put it right with: boneexp doctor --fix"


def texts_of(place: StudyPaths, connection: sqlite3.Connection, row: PromotionRow) -> dict[Path, str]:
    """Return what the grid file and both documents are to say after this decision.

    Raises:
        GridInvalid: the grid file is missing, or cannot be rewritten safely.
        BoneexpError: a document that is there cannot be read, or its markers are broken.
    """
    grid = {place.grid: grid_text(place, connection, row)}
    return grid | render_documents(place.docs, gather(connection, row, row.decided_at))


def prepare(place: StudyPaths, connection: sqlite3.Connection, row: PromotionRow) -> list[Prepared]:
    """Make every file of a decision beside its place, in the order in which they are to be put there.

    A checkpoint that comes comes before the grid file names it, and one that goes goes after.

    Raises:
        PromotionRefused: a file cannot be written, or the disk is full.
        Damaged: no copy of a checkpoint is what the ledger recorded.
        GridInvalid, BoneexpError: as `texts_of`.
    """
    seen = {path: stamp(path) for path in place.files}
    for path in place.files:
        _require_writable(path)
    sources = {split: checkpoint_of(connection, run_id) for split, run_id in row.runs.items()}
    texts = texts_of(place, connection, row)
    try:
        checkpoints = [
            _prepared_checkpoint(place, split, sources.get(split), seen[place.standard(split)])
            for split in STANDARD_NAMES
        ]
        written = [prepared_text(path, place.part(path), text, seen[path]) for path, text in texts.items()]
    except OSError as error:
        raise PromotionRefused(
            f"{error.filename or place.artifacts} cannot be written: {error.strerror}; mend it and try again"
        ) from error
    changing = [each for each in checkpoints if each is not None]
    comes, goes = [each for each in changing if each.part], [each for each in changing if not each.part]
    return [*comes, *written, *goes]


def clear_away(place: StudyPaths) -> None:
    """Remove what was prepared and is not wanted."""
    for path in place.files:
        place.part(path).unlink(missing_ok=True)


def standing_files(
    place: StudyPaths, connection: sqlite3.Connection, row: PromotionRow
) -> tuple[WrittenFile, ...]:
    """Return the promoted checkpoints as the ledger keeps them among its files."""
    found = []
    for split, run_id in row.runs.items():
        path, sha256 = place.standard(split), checkpoint_of(connection, run_id).sha256
        relative = path.relative_to(place.artifacts).as_posix()
        found.append(WrittenFile(PROMOTED_CHECKPOINT, relative, sha256, path.stat().st_size))
    return tuple(found)


def _promoted_values(
    place: StudyPaths, connection: sqlite3.Connection, row: PromotionRow
) -> dict[str, Scalar]:
    """Return the keys of the [promoted] table; none when the baseline stands."""
    run_ids = row.runs
    if row.experiment is None:
        return {}
    settings = settings_of(connection, next(iter(run_ids.values())))
    folder = os.path.relpath(place.artifacts / FOLDER, place.grid.parent)
    paths = {split: Path(folder, STANDARD_NAMES[split]).as_posix() for split in run_ids}
    digests = {split: checkpoint_of(connection, run_id).sha256 for split, run_id in run_ids.items()}
    return {
        "experiment": row.experiment,
        "backbone": settings["model"]["backbone"],
        "image_size": settings["data"]["image_size"],
        "batch_size": settings["training"]["batch_size"],
        "dropout": settings["model"]["dropout"],
        "attn_layer": settings["model"]["attn_layer"],
        "checkpoint": next(iter(paths.values())),
        "checkpoint_stratified": paths.get("stratified", ""),
        "checkpoint_center": paths.get("center_holdout", ""),
        "digest_stratified": digests.get("stratified", ""),
        "digest_center": digests.get("center_holdout", ""),
    }


def _prepared_checkpoint(
    place: StudyPaths, split: str, source: Checkpoint | None, seen: Stamp | None
) -> Prepared | None:
    """Make the run's checkpoint beside its standard name; None where it stands there already."""
    path = place.standard(split)
    found = sha256_of(path) if seen else None
    if found == (source.sha256 if source else None):
        return None
    former = _former(path, found) if found else None
    if source is None:
        return Prepared(path, None, former, seen)
    part, kept, original = place.part(path), _former(path, source.sha256), place.artifacts / source.path
    for candidate in (part, original, kept):  # the first: of a promotion that was cut short
        if candidate.is_file() and _copied(candidate, part) == source.sha256:
            keep_rights(path, part)
            flush(part)
            return Prepared(path, part, former, seen)
    part.unlink(missing_ok=True)
    raise Damaged(f"neither {original} nor {kept} is the checkpoint that the ledger recorded for {path.name}")


def _copied(source: Path, part: Path) -> str:
    """Copy a file and return the SHA-256 of the copy."""
    part.parent.mkdir(parents=True, exist_ok=True)
    if source != part:
        shutil.copyfile(source, part)
    return sha256_of(part)


def _require_writable(path: Path) -> None:
    """Raise PromotionRefused for a file that is not ours to change; a rename alone would not ask."""
    folder = next(parent for parent in path.parents if parent.exists())
    for each in (path, folder):
        if each.exists() and not os.access(each, os.W_OK):
            raise PromotionRefused(
                f"{path} cannot be written ({each} is read-only); give yourself the right, or name another "
                "place with --grid, --docs or --artifacts"
            )
