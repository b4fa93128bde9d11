"""The files that a promotion leaves, held against the last decision."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from boneexp.doctor.findings import DAMAGE, FIX, OK, RESTORE, WARNING, Examination, Finding
from boneexp.errors import BoneexpError
from boneexp.files.atomic import sha256_of
from boneexp.files.folders import FOLDER, STANDARD_NAMES, StudyPaths
from boneexp.ledger.queries.files import checkpoint_of, promoted_files
from boneexp.ledger.queries.promotions import CutShort, PromotionRow, promotion_cut_short, promotion_rows
from boneexp.promotion.carry_out import wrong_grid
from boneexp.promotion.files import grid_text
from boneexp.reports.check import LONG_AGO, in_documents
from boneexp.reports.facts import gather
from boneexp.study.promoted_table import with_promoted


def promotion(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Check whether checkpoints, grid file and documents are those of the last decision.

    A promotion may be at work meanwhile; what was found is told only if no decision came in between.
    """
    while True:
        before = _decisions(connection)
        found = list(_found(examination, connection))
        if before == _decisions(connection):
            break
    yield from found


def _decisions(connection: sqlite3.Connection) -> tuple[list[int | None], CutShort | None]:
    ids = [row.id for row in promotion_rows(connection)]
    return ids, promotion_cut_short(connection)


def _found(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    place, rows = examination.place, promotion_rows(connection)
    cut_short = promotion_cut_short(connection)
    if cut_short is not None:
        what = f"promotion {cut_short.promotion} is at work, or was cut short between its row and its files"
        if cut_short.promotion is None:
            what = "a promotion is at work, or was cut short before it was recorded"
        mend = f"{FIX} finishes it, or clears it away"
        yield Finding("promotion", WARNING, str(place.ledger), what, mend)
        return
    if rows:
        problems = [*_checkpoints(examination, connection, rows[-1]), *_texts(place, connection, rows[-1])]
    else:
        problems = list(_promoted_by_nobody(place))
    yield from problems
    if not problems:
        default = (rows[-1].experiment if rows else None) or "the baseline"
        yield Finding("promotion", OK, str(place.ledger), f"everything agrees that {default} is the default")


def _promoted_by_nobody(place: StudyPaths) -> Iterator[Finding]:
    """Look for a default that the ledger knows nothing of: it may be older than the promotion."""
    try:
        agrees = not place.grid.is_file() or _says(place.grid, with_promoted(place.grid, {}))
    except BoneexpError:
        return  # no grid file that could be read, and nothing that it ought to say
    if not agrees:
        what = "its [promoted] table names a default, and the ledger knows of no promotion"
        yield Finding("promotion", WARNING, str(place.grid), what, "decide again: boneexp promote")


def _checkpoints(
    examination: Examination, connection: sqlite3.Connection, row: PromotionRow
) -> Iterator[Finding]:
    place, recorded = examination.place, promoted_files(connection)
    for split, name in STANDARD_NAMES.items():
        path, run_id = place.artifacts / FOLDER / name, row.runs.get(split)
        if run_id is None:
            if path.exists():
                what = "lies there, and by the last decision nothing should"
                yield Finding("promotion", WARNING, str(path), what, f"{FIX} keeps it among the former ones")
            continue
        right = checkpoint_of(connection, run_id).sha256
        if recorded.get(f"{FOLDER}/{name}") != right:
            what = f"its row of files does not have the digest of run {run_id}'s checkpoint"
            yield Finding("promotion", DAMAGE, str(path), what, RESTORE)
        if not path.is_file():
            yield Finding("promotion", DAMAGE, str(path), "is gone", f"{FIX} puts it there again")
        elif not examination.quick and sha256_of(path) != right:
            what = f"is not the checkpoint of run {run_id}, which was promoted"
            yield Finding("promotion", DAMAGE, str(path), what, f"{FIX} puts it there again")


def _texts(place: StudyPaths, connection: sqlite3.Connection, row: PromotionRow) -> Iterator[Finding]:
    try:
        if (wrong := wrong_grid(place, connection)) is not None:
            mend = "name the study's own grid file: boneexp doctor --grid FILE"
            yield Finding("promotion", WARNING, str(place.grid), wrong, mend)
        elif not _says(place.grid, grid_text(place, connection, row)):
            what = f"its [promoted] table is not that of promotion {row.id}"
            yield Finding("promotion", WARNING, str(place.grid), what, f"{FIX} writes it again")
        differing = in_documents(place.docs, gather(connection, row, LONG_AGO))
        for path in dict.fromkeys(each.document for each in differing):
            what = "does not say what the ledger says now: it is older, or changed between its markers"
            yield Finding("promotion", WARNING, path, what, f"{FIX} writes it again")
    except BoneexpError as error:
        yield Finding("promotion", WARNING, str(place.docs), str(error), "then run doctor again")


def _says(path: Path, text: str) -> bool:
    """Check whether a file has this text, whatever its line ends."""
    try:
        return path.read_bytes().decode().splitlines() == text.splitlines()
    except (OSError, UnicodeDecodeError):
        return False
