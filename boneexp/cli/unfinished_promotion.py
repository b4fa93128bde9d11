"""An interrupted promotion: finish it, or report it."""

import time
from typing import Any

from boneexp.cli import output
from boneexp.errors import BoneexpError, Busy
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import reading
from boneexp.ledger.schema import BUSY_TIMEOUT_S


def finish_interrupted_promotion(paths: StudyPaths, *, required: bool = False) -> None:
    """Finish an interrupted promotion and report it; failing to finish is an error only if `required`."""
    from boneexp.ledger.queries.promotions import promotion_cut_short

    with reading(paths.ledger) as connection:
        if promotion_cut_short(connection) is None:
            return
    from boneexp.promotion.carry_out import finish_cut_short

    try:
        message = finish_cut_short(paths, time.time(), BUSY_TIMEOUT_S if required else 0)
    except Busy:  # still running
        if required:
            raise
        return
    except (BoneexpError, OSError) as error:
        if required:
            raise
        message = f"a promotion was interrupted and could not be finished: {error}"
    if message:
        output.talk(message)


def mention_interrupted_promotion(connection: Any) -> None:
    """Report an interrupted promotion and how to finish it."""
    from boneexp.ledger.queries.promotions import promotion_cut_short

    found = promotion_cut_short(connection)
    if found is None:
        return
    what, left = "a promotion", "nothing has changed"
    if found.promotion is not None:
        what = f"promotion {found.promotion} ({found.experiment or 'the baseline'})"
        left = "checkpoints, grid file and documents may not match"
    output.talk(f"{what} is running or was interrupted: {left}; finish it with: boneexp promote --finish")
