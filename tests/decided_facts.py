"""The facts of a ledger in which a person has just decided, for tests of what is written from them."""

import re
from pathlib import Path

from settled_ledger import NOW

from boneexp.files.atomic import write_text
from boneexp.ledger.database import reading, writing
from boneexp.ledger.promotions import Promotion, Standing, record_promotion
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.reports.checklists.own_words import NOBODY
from boneexp.reports.documents import fresh_documents, render_documents
from boneexp.reports.facts import gather


def facts_of(ledger, action="promote", experiment="E2", runs=(3, 4), *, reason="the best", by="mara"):
    """Record a decision (none, if `action` is None) and gather the facts."""
    if action:
        stands = Standing(experiment, *runs) if experiment else Standing()
        with writing(ledger) as connection:
            record_promotion(connection, Promotion(action, stands, reason, by, {}), NOW)
    with reading(ledger) as connection:
        rows = promotion_rows(connection)
        return gather(connection, rows[-1] if rows else None, NOW)


def both(facts):
    card, report = fresh_documents(Path(), facts, NOBODY).values()
    return card, report


def model_card(facts):
    return both(facts)[0]


def poc_report(facts):
    return both(facts)[1]


def updated(name, facts, existing, docs):
    """Return what becomes of an existing document."""
    (docs / name).write_text(existing, encoding="utf-8", newline="")
    return render_documents(docs, facts)[docs / name]


def write_documents(docs, facts):
    texts = render_documents(docs, facts)
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def assert_tables_hold(text):
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        widths = {line.count("|") for line in block.splitlines()}
        assert len(widths) == 1, block
