"""The nearest known name."""

import difflib
from collections.abc import Collection

MOST_NAMED = 12  # known keys in a message


def nearest(name: str, known: Collection[str]) -> str:
    """Return a hint that names the known key nearest to `name`, or all of them where they are not many."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", …" if len(known) > MOST_NAMED else ""
    return f"known here: {', '.join(sorted(known)[:MOST_NAMED])}{more}"
