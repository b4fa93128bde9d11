"""What the study compares with, and what decides its best experiment, as the grid file says it now."""

from sqlite3 import Connection

from boneexp.ledger.history import seal_if_changed
from boneexp.ledger.statements import insert_all
from boneexp.study.decision_settings import BaselineSettings, ReferenceSettings, SelectionSettings

PUBLISHED = "BTXRD"  # the data that baseline and targets are of where the grid file names none


def record_study(
    connection: Connection,
    selection: SelectionSettings,
    targets: ReferenceSettings,
    baseline: BaselineSettings,
    now: float,
) -> None:
    """Keep what decides the best experiment and what it is compared with, as the grid file says it now.

    Of which data baseline and targets are stands in one of both tables, or in each; else they are BTXRD's.
    """
    connection.execute("DELETE FROM selection_keys")
    keys = [
        {"position": place, "figure": key, "part": selection.part}
        for place, key in enumerate(selection.order, start=1)
    ]
    insert_all(connection, "selection_keys", keys)
    connection.execute("DELETE FROM study_figures")
    named = baseline.comparable_to or targets.comparable_to or PUBLISHED
    sizes = {"target": {}, "baseline": baseline.sizes}
    rows = [
        {
            "kind": kind,
            "figure": figure,
            "value": value,
            "images": sizes[kind].get(figure),
            "comparable_to": settings.comparable_to or named,
        }
        for kind, settings in (("target", targets), ("baseline", baseline))
        for figure, value in settings.figures.items()
    ]
    insert_all(connection, "study_figures", rows)
    seal_if_changed(connection, "study", now)
