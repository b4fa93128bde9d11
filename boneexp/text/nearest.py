"""A hint at the nearest known name."""

import difflib
from collections.abc import Collection

MOST_NAMED = 12  # names in a message


def nearest(name: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """Return a hint with the known name nearest to `name`, or with the first of all known ones."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", …" if len(known) > MOST_NAMED else ""
    return f"known here: {', '.join(sorted(known)[:MOST_NAMED])}{more}"
