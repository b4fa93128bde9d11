"""docs/model_card.md and docs/poc_report.md, written from the facts into their templates.

A template is the whole document as it is first written. Later only its marked blocks are taken from it, and
put into the document that a person may have worked on since.
"""

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment

from boneexp.errors import BoneexpError
from boneexp.files.folders import MODEL_CARD, POC_REPORT
from boneexp.files.reading import content_of
from boneexp.reports.checklists.items import CLAIM, TRIPOD_AI
from boneexp.reports.checklists.own_words import CARD, NOBODY, REPORT, Own, own_words
from boneexp.reports.checklists.rules import checklist_table
from boneexp.reports.facts import Facts
from boneexp.reports.markers import blocks_of, with_blocks
from boneexp.reports.rendering import environment
from boneexp.text import markdown

NAMED = {MODEL_CARD: CARD, POC_REPORT: REPORT}
NOTICE = "notice"
LARGEST_BYTES = 16_000_000


def render_documents(docs: Path, facts: Facts) -> dict[Path, str]:
    """Return the texts that both documents are to have, by path; nothing is written.

    Raises:
        BoneexpError: a document that is there cannot be read, or its markers are broken.
    """
    return {
        path: _brought_up_to_date(fresh, standing_text(path), str(path))
        for path, fresh in fresh_documents(docs, facts, standing_words(docs)).items()
    }


def fresh_documents(docs: Path, facts: Facts, own: Own) -> dict[Path, str]:
    """Return the texts of both documents as if there were none yet, by path.

    Args:
        docs: the folder that the paths are in.
        facts: what they are to say.
        own: under which headings a person has written; the checklists say so.
    """
    return {docs / name: _rendered(name, facts, own) for name in NAMED}


def standing_words(docs: Path) -> Own:
    """Return under which headings of both documents a person has written; none of one that cannot be read."""
    found = NOBODY
    for name in NAMED:
        with suppress(BoneexpError):
            found |= _words_in(name, standing_text(docs / name))
    return found


def standing_text(path: Path, largest_bytes: int = LARGEST_BYTES) -> str | None:
    """Return what stands in a file, with the line ends that it has; None if there is none.

    Raises:
        BoneexpError: it cannot be read, or is not UTF-8.
    """
    try:
        return content_of(path, largest_bytes).decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BoneexpError(f"{path} cannot be read ({error.strerror}); see to its rights") from error
    except UnicodeDecodeError as error:
        raise BoneexpError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error


def _words_in(name: str, text: str | None) -> Own:
    with suppress(BoneexpError):  # broken markers are reported when the text is updated
        return own_words(NAMED[name], text or "")
    return NOBODY


def _rendered(name: str, facts: Facts, own: Own) -> str:
    text = _environment().get_template(f"{name}.j2").render(facts=facts, subject=facts.subject, own=own)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _brought_up_to_date(fresh: str, existing: str | None, document: str) -> str:
    if existing is None or not existing.strip("\ufeff \t\r\n"):
        return fresh
    return with_blocks(existing, blocks_of(fresh), document, on_top=NOTICE)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    functions = (markdown.bullets, checklist_table)
    return environment(markdown.printed, (), *functions, CLAIM=CLAIM, TRIPOD_AI=TRIPOD_AI)
