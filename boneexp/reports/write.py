"""`report`: the documents and the page updated from the ledger, or checked against it."""

import sqlite3
from pathlib import Path

from boneexp.comparison.files import comparison_texts
from boneexp.errors import NothingToDo
from boneexp.files.atomic import inside
from boneexp.files.folders import PAGE, StudyPaths
from boneexp.files.lock import alone, at_rest, is_at_work
from boneexp.files.together import replace_texts
from boneexp.ledger.database import read_snapshot, reading
from boneexp.ledger.quarantine import require_untouched
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.ledger.schema import BUSY_TIMEOUT_S
from boneexp.reports.check import LONG_AGO, Difference, differences, in_page
from boneexp.reports.documents import render_documents
from boneexp.reports.facts import Facts, gather
from boneexp.reports.page.facts import gather_page
from boneexp.reports.page.render import report_page


def write_report(place: StudyPaths, now: float, *, with_page: bool) -> list[Path]:
    """Update both documents, also before anybody has decided; return their paths.

    With the page go comparison.csv and .json: Grad-CAM after the last `compare` has changed what they say.

    All are of one moment, and all are made before the first takes its place.

    Raises:
        NothingToDo: no run has finished.
        Busy: a promotion is at work.
        Damaged: something in the ledger is not as it was sealed, or a symbolic link stands where the page is
            to lie.
        BoneexpError: as `render_documents`; nothing is written.
    """
    with alone(place.ledger, BUSY_TIMEOUT_S):
        with reading(place.ledger) as connection, read_snapshot(connection):
            facts = _facts(connection, now)
            page = gather_page(connection, facts) if with_page else None
        texts = render_documents(place.docs, facts)
        if page is not None:
            texts |= comparison_texts(facts.comparison, facts.verdict, place.artifacts)
            texts[inside(place.artifacts, PAGE)] = report_page(page, place.artifacts)
        replace_texts(texts)
    return list(texts)


def check_report(place: StudyPaths) -> list[Difference]:
    """Return every place where a document, the comparison or the page says something else than the ledger.

    The two documents must be there, the other files are looked at if they are; pictures in the page are not.
    Nothing is written: it also works where nothing may be.

    Raises:
        NothingToDo: no run has finished.
        Busy: a promotion is at work.
        Damaged: something in the ledger is not as it was sealed.
    """
    while True:
        with at_rest(place.ledger, BUSY_TIMEOUT_S) as held:
            found = _differences(place)
        if held or not is_at_work(place.ledger):  # else one has begun while the files were read
            return found


def _differences(place: StudyPaths) -> list[Difference]:
    path = inside(place.artifacts, PAGE)
    with reading(place.ledger) as connection, read_snapshot(connection):
        facts = _facts(connection, LONG_AGO)
        page = gather_page(connection, facts) if path.exists() else None
    found = differences(place.docs, place.artifacts, facts)
    return found + (in_page(path, report_page(page, place.artifacts)) if page else [])


def _facts(connection: sqlite3.Connection, now: float) -> Facts:
    """Return the facts with the last decision, or with none."""
    require_untouched(connection)
    decided = promotion_rows(connection)
    facts = gather(connection, decided[-1] if decided else None, now)
    if not facts.runs.succeeded:
        raise NothingToDo("no run has finished, so there is nothing to report; see them with: boneexp status")
    return facts
