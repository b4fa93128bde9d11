"""Whether a grid file is the one that the ledger's runs were queued from: it is held against their settings.

Settings given with `--set` are in no grid file. What the file itself said when they were queued is in the
ledger as a digest, so the file is known again all the same.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from boneexp.errors import GridInvalid
from boneexp.files.atomic import sha256_of
from boneexp.ledger.queries.experiments import QueuedSettings, queued_settings
from boneexp.promotion.gate.conditions import GRID_FILE, Condition
from boneexp.study.grid import load_grid
from boneexp.study.settings import ExperimentSettings, decisive_settings, settings_digest
from boneexp.text.numbers import first_few

MOST_KEYS = 5  # in a message
OTHER = "name the grid file that it was queued from with --grid FILE, or set the file right"


def describes(connection: sqlite3.Connection, grid: Path, run_ids: Sequence[int]) -> Condition:
    """Return whether the grid file has the experiment of these runs, with the settings they were run with."""
    rows = queued_settings(connection, run_ids)
    experiment = rows[0].experiment
    asked = f"the grid file describes {experiment} as it was run"
    try:
        written = load_grid(grid).experiments
    except GridInvalid as error:
        return Condition(GRID_FILE, "integrity", asked, False, f"{error}; {OTHER}")
    if experiment not in written:
        found = f"{grid} has no experiment {experiment}; {OTHER}"
        return Condition(GRID_FILE, "integrity", asked, False, found)
    apart = tuple(dict.fromkeys(each for row in rows for each in _differences(written[experiment], row)))
    found = f"{grid}: {first_few(apart, MOST_KEYS)}; {OTHER}" if apart else f"{grid} has its settings"
    return Condition(GRID_FILE, "integrity", asked, not apart, found)


def belongs(
    connection: sqlite3.Connection, grid: Path, promoted_into: Path | None, run_ids: Sequence[int]
) -> Condition:
    """Return whether a grid file is this study's, for what is decided without regard to its settings now.

    It is where the last promotion wrote (`promoted_into`), or describes these runs, or without runs any
    experiment of the ledger.
    """
    asked = "the grid file is the one of this study"
    if promoted_into is not None and grid.resolve() == promoted_into.resolve():
        return Condition(GRID_FILE, "integrity", asked, True, f"the last decision was written into {grid}")
    if run_ids:
        return describes(connection, grid, run_ids)
    rows = queued_settings(connection, None)
    try:
        written = load_grid(grid).experiments
    except GridInvalid as error:
        return Condition(GRID_FILE, "integrity", asked, False, f"{error}; {OTHER}")
    there = [row for row in rows if row.experiment in written]
    alike = [row for row in there if not _differences(written[row.experiment], row)]
    found = f"{grid} describes no experiment as the ledger has it; {OTHER}"
    if alike or not rows:
        found = f"{grid} describes {alike[0].experiment} as queued" if alike else "nothing is queued"
    return Condition(GRID_FILE, "integrity", asked, bool(alike) or not rows, found)


def _differences(written: ExperimentSettings, row: QueuedSettings) -> tuple[str, ...]:
    """Return which settings are others in the grid file than in the ledger, and how."""
    if settings_digest(written) in row.as_written:
        return ()
    try:
        run = ExperimentSettings.model_validate_json(row.settings_json)
    except ValueError:
        return ("the ledger's settings cannot be read; see: boneexp doctor",)
    here, there = decisive_settings(written), decisive_settings(run)
    weights = row.weights_sha256
    for settings in (here, there):
        settings["model"]["pretrained"] = _weights(settings["model"]["pretrained"], weights)
    return tuple(
        f"{section}.{key} is {here[section][key]!r} there and {there[section][key]!r} in the ledger"
        for section in there
        for key in there[section]
        if here[section][key] != there[section][key]
    )


def _weights(pretrained: bool | str, recorded: str) -> bool | str:
    """Return what a file of weights is known by: its digest; that of the run where the file is not here."""
    if not isinstance(pretrained, str):
        return pretrained
    try:
        return sha256_of(Path(pretrained))
    except OSError:
        return recorded
