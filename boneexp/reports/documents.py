"""docs/model_card.md and docs/poc_report.md, written from the facts into their templates.

A template is the whole document as it is first written. Later only its marked blocks are taken from it, and
put into the document that a person may have worked on since.
"""

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from boneexp.errors import BoneexpError
from boneexp.files.atomic import write_text
from boneexp.files.folders import MODEL_CARD, POC_REPORT
from boneexp.files.reading import content_of
from boneexp.reports.checklists import rules
from boneexp.reports.checklists.claim import CLAIM
from boneexp.reports.checklists.own_words import CARD, NOBODY, REPORT, Own, own_words
from boneexp.reports.checklists.tripod_ai import TRIPOD_AI
from boneexp.reports.facts import Facts
from boneexp.reports.markers import blocks_of, with_blocks
from boneexp.reports.prose import certainty, decision, sentences
from boneexp.reports.prose.next_steps import next_steps
from boneexp.reports.tables import analysis, grid, model
from boneexp.text import markdown
from boneexp.text.labels import RESEARCH_ONLY, UNKNOWN, data_label, split_label
from boneexp.text.numbers import moment

CALLED = {MODEL_CARD: CARD, POC_REPORT: REPORT}


NOTICE = "notice"


LARGEST_BYTES = 16_000_000


def model_card(facts: Facts, existing: str | None, document: str = MODEL_CARD) -> str:
    """Return the model card; of an `existing` one, everything outside the marked blocks stays.

    Raises:
        BoneexpError: the markers of the existing document are broken; `document` names it in the message.
    """
    return _alone(MODEL_CARD, facts, existing, document)


def poc_report(facts: Facts, existing: str | None, document: str = POC_REPORT) -> str:
    """Return the proof-of-concept report; of an `existing` one, everything outside the marked blocks stays.

    Raises:
        BoneexpError: the markers of the existing document are broken; `document` names it in the message.
    """
    return _alone(POC_REPORT, facts, existing, document)


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
    return {docs / name: _rendered(name, facts, own) for name in CALLED}


def standing_words(docs: Path) -> Own:
    """Return under which headings of both documents a person has written; none of one that cannot be read."""
    found = NOBODY
    for name in CALLED:
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


def write_documents(docs: Path, facts: Facts) -> tuple[Path, Path]:
    """Write both documents, each whole; nothing is written unless both can be rendered. Return their paths.

    Raises:
        BoneexpError: as `render_documents`.
    """
    card, report = render_documents(docs, facts).items()
    for path, text in (card, report):
        write_text(path, text)
    return card[0], report[0]


def _alone(name: str, facts: Facts, existing: str | None, document: str) -> str:
    fresh = _rendered(name, facts, _words_in(name, existing))
    return _brought_up_to_date(fresh, existing, document)


def _words_in(name: str, text: str | None) -> Own:
    with suppress(BoneexpError):  # broken markers are told where the text is brought up to date
        return own_words(CALLED[name], text or "")
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
    """Return the templates' environment: unknown names are errors, and every value passes `printed`."""
    environment = Environment(
        loader=PackageLoader("boneexp.reports", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=markdown.printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(grid=grid, model=model, say=sentences)
    environment.globals.update(RESEARCH_ONLY=RESEARCH_ONLY, UNKNOWN=UNKNOWN)
    environment.globals.update(
        bullets=markdown.bullets,
        moment=moment,
        split_label=split_label,
        RESEARCH_ONLY=RESEARCH_ONLY,
        UNKNOWN=UNKNOWN,
        data_label=data_label,
    )
    environment.globals.update(checklist=rules.checklist_table, claim=CLAIM, tripod_ai=TRIPOD_AI)
    environment.globals.update(next_steps=next_steps, decided=decision)
    environment.globals.update(analysis=analysis, sure=certainty)
    return environment
