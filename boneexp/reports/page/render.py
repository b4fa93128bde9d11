"""artifacts/report.html: one page that needs nothing else, neither a network nor JavaScript to be read.

Style and script lie beside the templates and are put into the page; its content security policy names their
digests, so that nothing else runs or is fetched, whatever a name in the ledger holds.
"""

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

import boneexp
from boneexp.reports.page import cells, tables
from boneexp.reports.page.facts import PageFacts
from boneexp.reports.page.run_charts import MOST_POINTS
from boneexp.reports.page.tables import MOST_ERRORS
from boneexp.reports.page.thumbnails import Thumbnail, thumbnail
from boneexp.reports.rendering import environment
from boneexp.text import markdown
from boneexp.text.escaping import visible

MOST_OVERLAYS = 24


def report_page(page: PageFacts, artifacts: Path) -> str:
    """Return the page's HTML; overlays are read from below `artifacts`, and a missing one is named."""
    style, script = _asset("page.css"), _asset("page.js")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            facts=page.facts,
            subject=page.facts.subject,
            overlays=_overlays(page, artifacts),
            version=boneexp.__version__,
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
        )
    )


def shown(value: object) -> Markup | str:
    """Return any value as text of the page; None and empty text are "not reported".

    What would turn the direction of writing, or no reader can see, is written out.
    """
    return value if isinstance(value, Markup) else visible(markdown.plain(value))


def _policy(style: str, script: str) -> str:
    """Return the content security policy: what is inside the page, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_source(style)}'; script-src '{_source(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _overlays(page: PageFacts, artifacts: Path) -> dict[int, list[Thumbnail]]:
    """Return the overlays of mistaken images by run, as many of each run as there is room for."""
    drawn = {mistakes.run.run: [row for row in mistakes.rows if row.overlay] for mistakes in page.mistakes}
    each = MOST_OVERLAYS // max(1, sum(bool(rows) for rows in drawn.values()))
    return {run: [thumbnail(artifacts, row) for row in rows[:each]] for run, rows in drawn.items()}


def _asset(name: str) -> str:
    return (files("boneexp.reports") / "templates" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return environment(shown, (tables, cells), MOST_POINTS=MOST_POINTS, MOST_ERRORS=MOST_ERRORS)
