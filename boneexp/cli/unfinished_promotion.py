"""A promotion that was cut short: finished, or mentioned."""

import time
from pathlib import Path
from typing import Any

from boneexp.cli import output
from boneexp.errors import BoneexpError, Busy
from boneexp.ledger.database import BUSY_TIMEOUT_S, reading
from boneexp.ledger.queries.promotions import promotion_cut_short


def finish_if_cut_short(where: tuple[Path, Path, Path, Path], *, required: bool = False) -> None:
    """Finish a promotion that was killed, and say so; what is `required` for the command must succeed."""
    with reading(where[0]) as connection:
        if promotion_cut_short(connection) is None:
            return
    from boneexp.files.folders import Place
    from boneexp.promotion.carry_out import finish_cut_short

    try:
        said = finish_cut_short(Place(*where), time.time(), BUSY_TIMEOUT_S if required else 0)
    except Busy:  # it was not killed, it is at work
        if required:
            raise
        return
    except (BoneexpError, OSError) as error:
        if required:
            raise
        said = f"a promotion was cut short and is not finished: {error}"
    if said:
        output.talk(said)


def mention_cut_short(connection: Any) -> None:
    """Say that a promotion was cut short, and how to finish it."""
    found = promotion_cut_short(connection)
    if found is None:
        return
    what, left = "a promotion", "nothing has changed"
    if found["promotion"] is not None:
        what = f"promotion {found['promotion']} ({found['experiment'] or 'the baseline'})"
        left = "checkpoints, grid file and documents may not agree"
    output.talk(f"{what} is at work or was cut short: {left}; finish it with: boneexp promote --finish")
