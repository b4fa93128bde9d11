"""The facts of a ledger in which a person has just decided, for tests of what is written from them."""

import re

from settled_ledger import NOW

from boneexp.ledger.database import reading, writing
from boneexp.ledger.promotions import Promotion, Standing, record_promotion
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.reports.documents import model_card, poc_report
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
    return model_card(facts, None), poc_report(facts, None)


def assert_tables_hold(text):
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        widths = {line.count("|") for line in block.splitlines()}
        assert len(widths) == 1, block
