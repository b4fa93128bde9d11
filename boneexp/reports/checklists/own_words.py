"""Which sections of the two documents a person has written, by the headings above their text."""

import re

from boneexp.reports.markers import blocks_of, with_blocks

CARD, REPORT = "the model card", "the report"
Own = frozenset[tuple[str, str]]  # (document, heading in lower case)
NOBODY: Own = frozenset()

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t#]*")
_NO_WORDS = re.compile(r"\*\(Your words\b.*?\)\*|<!--.*?-->", re.DOTALL)


def own_words(document: str, text: str) -> Own:
    """Return the headings of a document with a person's text under them, up to the next heading.

    The templates' placeholders, "*(Your words: ...)*", do not count. Text after a block belongs to the
    block's heading.

    Args:
        document: CARD or REPORT.
        text: what stands in it.

    Raises:
        BoneexpError: its markers are broken.
    """
    return frozenset(
        (document, heading)
        for heading, words in _sections(_without_insides(text)).items()
        if _NO_WORDS.sub("", words).strip()
    )


def _without_insides(text: str) -> str:
    """Return the text with nothing left in its blocks but their own headings."""
    insides = {
        name: "\n".join(line for line in inside.splitlines() if re.match(r"##? ", line))
        for name, inside in blocks_of(text).items()
    }
    return with_blocks(text, insides)


def _sections(text: str) -> dict[str, str]:
    """Return what stands under each heading."""
    found: dict[str, str] = {}
    heading = ""
    for line in text.splitlines():
        if match := _HEADING.fullmatch(line):
            heading = match[2].lower()
        else:
            found[heading] = f"{found.get(heading, '')}{line}\n"
    return found
