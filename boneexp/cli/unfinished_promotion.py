"""An interrupted promotion: finished, or mentioned."""

import time
from typing import Any

from boneexp.cli import output
from boneexp.errors import BoneexpError, Busy
from boneexp.files.folders import Place
from boneexp.ledger.database import reading
from boneexp.ledger.queries.promotions import promotion_cut_short
from boneexp.ledger.schema import BUSY_TIMEOUT_S


def finish_if_cut_short(place: Place, *, required: bool = False) -> None:
    """Finish a promotion that was killed, and report it; if `required` for the command, it must succeed."""
    with reading(place.ledger) as connection:
        if promotion_cut_short(connection) is None:
            return
    from boneexp.promotion.carry_out import finish_cut_short

    try:
        message = finish_cut_short(place, time.time(), BUSY_TIMEOUT_S if required else 0)
    except Busy:  # it was not killed: it is at work
        if required:
            raise
        return
    except (BoneexpError, OSError) as error:
        if required:
            raise
        message = f"a promotion was interrupted and is not finished: {error}"
    if message:
        output.talk(message)


def mention_cut_short(connection: Any) -> None:
    """Print that a promotion was interrupted, and how to finish it."""
    found = promotion_cut_short(connection)
    if found is None:
        return
    what, left = "a promotion", "nothing has changed"
    if found["promotion"] is not None:
        what = f"promotion {found['promotion']} ({found['experiment'] or 'the baseline'})"
        left = "checkpoints, grid file and documents may not agree"
    output.talk(f"{what} is at work or was interrupted: {left}; finish it with: boneexp promote --finish")
