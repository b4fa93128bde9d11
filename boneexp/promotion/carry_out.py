"""Promotion: a person's decision becomes a row in the ledger, and files that agree with it.

In this order: the files are made beside their places, the row is written, a few renames put the files in
place. The row is the truth: who comes after a kill clears away what has no row, and finishes what has one.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from boneexp.errors import BoneexpError, Busy, PromotionRefused
from boneexp.files.folders import StudyPaths
from boneexp.files.lock import alone
from boneexp.files.together import Prepared, is_stale, put_in_place
from boneexp.ledger.database import reading, writing
from boneexp.ledger.promotions import (
    begin_promotion,
    give_up_promotion,
    newest_promotion,
    record_promotion,
    settle_promotion,
)
from boneexp.ledger.quarantine import require_untouched
from boneexp.ledger.queries.promotions import CutShort, promotion_cut_short, promotion_rows
from boneexp.ledger.schema import BUSY_TIMEOUT_S
from boneexp.promotion.decision import Decision, own_grid
from boneexp.promotion.files import clear_away, prepare, standing_files


def carry_out(place: StudyPaths, decision: Decision, now: float) -> list[Path]:
    """Make the files, record the decision, put the files in place; return them.

    Raises:
        PromotionRefused: a condition that binds is not met; nothing has changed.
        PromotionRefused, Damaged, GridInvalid: a file cannot be made; nothing has changed.
        Busy: another promotion is at work, or has been since this was decided; nothing has changed.
        BoneexpError: the decision is recorded, and a file could not be put in place.
        NothingToDo: what was decided stands already; nothing has changed.
    """
    decision.require()
    decision.require_new()
    with alone(place.ledger, BUSY_TIMEOUT_S):
        with writing(place.ledger) as connection:
            begin_promotion(connection, _noted(place), now)
        try:
            with reading(place.ledger) as connection:
                prepared = prepare(place, connection, decision.row(now))
            with writing(place.ledger) as connection:
                if newest_promotion(connection) != decision.follows:
                    raise Busy("somebody else has decided meanwhile; look at it, and decide again")
                record_promotion(connection, decision.promotion, now)
        except BaseException:
            with suppress(BoneexpError, OSError):  # the next command does it
                _clear_unrecorded(place, now)
            raise
        return _settle(place, prepared, now)


def finish_cut_short(place: StudyPaths, now: float, wait_s: float = BUSY_TIMEOUT_S) -> str | None:
    """Finish a promotion that was killed, or clear it away; say what was done, None where there was nothing.

    `place` matters only where the ledger does not say where the promotion was to put its files.

    Raises:
        Busy: it was not killed: it is still at work.
        BoneexpError: it cannot be finished; the message says why.
    """
    if _cut_short(place.ledger) is None:
        return None
    with alone(place.ledger, wait_s):
        found = _cut_short(place.ledger)
        if found is None:
            return None
        there = _noted_place(place, found.place)
        if found.begun:
            _clear_unrecorded(there, now)
        if found.promotion is None:
            return (
                "a promotion was cut short before it was recorded, and is cleared away; nothing has changed"
            )
        _settle(there, [], now)
        default = found.experiment or "the baseline"
        return f"promotion {found.promotion} was cut short, and is finished now; the default is {default}"


def settle(place: StudyPaths, now: float) -> list[Path]:
    """Put every file in its place as the last decision says, whatever lies there now; return them.

    Raises:
        PromotionRefused: the grid file is not the one of this study.
    """
    with alone(place.ledger, BUSY_TIMEOUT_S):
        with reading(place.ledger) as connection:
            wrong = wrong_grid(place, connection)
        if wrong is not None:
            raise PromotionRefused(wrong)
        _clear_unrecorded(place, now)
        return _settle(place, [], now)


def wrong_grid(place: StudyPaths, connection: sqlite3.Connection) -> str | None:
    """Return why the grid file is not this study's, where the last decision belongs into; None if it is."""
    rows = promotion_rows(connection)
    condition = own_grid(connection, place, rows[-1] if rows else None)
    return None if condition.met else condition.found


def _settle(place: StudyPaths, prepared: list[Prepared], now: float) -> list[Path]:
    """Put the last decision's files in place; what was not prepared, or is stale by now, is made anew."""
    with reading(place.ledger) as connection:
        require_untouched(connection)
    try:
        with reading(place.ledger) as connection:
            row = promotion_rows(connection)[-1]
            assert row.id is not None  # it is recorded
            while not prepared or is_stale(prepared):
                prepared = prepare(place, connection, row)
            put_in_place(prepared)
            standing = standing_files(place, connection, row)
        with writing(place.ledger) as connection:
            settle_promotion(connection, row.id, standing, now)
    except (BoneexpError, OSError) as error:
        raise BoneexpError(
            f"the decision is recorded, and its files are not all in place: {error}; "
            "then finish it with: boneexp promote --finish"
        ) from error
    changed = [each.path for each in prepared if each.part is not None]
    return [*dict.fromkeys([*(place.artifacts / each.path for each in standing), *changed])]


def _clear_unrecorded(place: StudyPaths, now: float) -> None:
    """Remove what a promotion had prepared, unless it is recorded, and note that it was given up."""
    found = _cut_short(place.ledger)
    if found is not None and found.begun:
        clear_away(place)
        with writing(place.ledger) as connection:
            give_up_promotion(connection, now)


def _cut_short(ledger: Path) -> CutShort | None:
    with reading(ledger) as connection:
        return promotion_cut_short(connection)


def _noted(place: StudyPaths) -> dict[str, str]:
    """Return where files are to lie as seen from the ledger's folder, so that a study can be moved."""
    home = place.ledger.resolve().parent
    paths = {"artifacts": place.artifacts, "grid": place.grid, "docs": place.docs}
    return {name: Path(os.path.relpath(path.absolute(), home)).as_posix() for name, path in paths.items()}


def _noted_place(place: StudyPaths, noted: dict[str, str] | None) -> StudyPaths:
    """Return the place that was noted; paths as short as the given ones where they are the same."""
    home = place.ledger.resolve().parent
    if noted is None or noted == _noted(place):
        return place
    return StudyPaths(place.ledger, *(home / noted[name] for name in ("artifacts", "grid", "docs")))
