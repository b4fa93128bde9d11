"""The files of a bundle, from the ledger's rows and from what lies in the study's folders."""

import json
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path

import boneexp
from boneexp.comparison import files as comparison_files
from boneexp.comparison.ranking import compared
from boneexp.comparison.references import data_warning
from boneexp.comparison.verdict import verdict_of
from boneexp.errors import Damaged
from boneexp.exports.withheld import grid_without_paths, paths_here, without_images, without_paths
from boneexp.files.atomic import inside, sha256_of
from boneexp.files.folders import MODEL_CARD, POC_REPORT, Place
from boneexp.ledger.database import sqlite_version
from boneexp.ledger.queries.attempts import software_of_attempts
from boneexp.ledger.queries.datasets import all_datasets
from boneexp.ledger.queries.figures import every_metric
from boneexp.ledger.queries.finished import exported_runs
from boneexp.ledger.queries.predictions import every_prediction
from boneexp.ledger.statements import Facts
from boneexp.reports.documents import standing_text
from boneexp.text.escaping import csv_text, visible
from boneexp.text.labels import RESEARCH_ONLY

Content = bytes | Path
ROWS_AT_A_TIME = 10_000
LARGEST_PAGE_BYTES = 1_000_000_000  # report.html with its pictures
README = """\
{research_only}

A study of bone-radiograph classifiers, exported by boneexp {version}: {runs} finished runs.
{warnings}
To check it (Python 3.8 or newer, nothing else; this file's neighbours are not changed):

    python verify.py              in the unpacked folder
    python verify.py study.zip    on the archive as it came

Take verify.py from boneexp itself (boneexp/exports/verify.py) if you do not trust the one in here. It checks
that every file is the one in manifest.json, that the history of the ledger is unbroken, that every result is
as it was sealed when its run ended, and that the figures come out of the predictions again. It cannot tell a
whole bundle that was made anew from the first one: hold the hash of the last event against what its makers
have noted elsewhere.

    last event    {last_event}

    ledger.db            the whole ledger (sqlite3 ledger.db); docs/ledger.md of boneexp explains every table
    configs/             the resolved settings of each finished run
    splits/              which image is in which part
    predictions.csv      three probabilities per run and image
    metrics.csv          every figure with its interval
    comparison.csv/.json the comparison of the experiments
    docs/, report.html   the documents as they stood
    experiments.toml     the grid file as it stood
    environment.json     the software of every attempt, and what is installed where this was exported
    checkpoints/         the weights, if they were asked for

Withheld: host names, process numbers and absolute paths (a path is cut down to its last name), tracebacks,
and every image, also those embedded in report.html. manifest.json names the files that were altered by
that, those that were not there, and the seals that cannot be checked because of it.
"""


@dataclass(frozen=True)
class Texts:
    """Documents and grid file; `altered` had paths or images taken out, `missing` are not there."""

    files: dict[str, Content]
    altered: tuple[str, ...]
    missing: tuple[str, ...]


def of_ledger(connection: sqlite3.Connection, scratch: Path) -> dict[str, Content]:
    """Return tables, settings, comparison and environment; what may be large is written into `scratch`."""
    found = compared(connection)
    return {
        "predictions.csv": _table(scratch / "predictions.csv", every_prediction(connection)),
        "metrics.csv": _table(scratch / "metrics.csv", every_metric(connection)),
        "comparison.csv": comparison_files.as_csv(found).encode(),
        "comparison.json": _json(comparison_files.as_json(found, verdict_of(connection, found))),
        "environment.json": _json(environment(connection)),
        **{
            f"configs/run-{row.run:04d}.json": _json({"config_hash": row.config_hash, **row.spec})
            for row in exported_runs(connection)
        },
    }


def splits(connection: sqlite3.Connection, artifacts: Path) -> tuple[dict[str, Content], list[str]]:
    """Return the manifest of each split of a finished run, and the names of those that are not there.

    Raises:
        Damaged: a symbolic link is in the way.
    """
    runs = exported_runs(connection)
    names = {f"splits/{row.split}-{row.split_digest[:12]}.csv" for row in runs}
    paths = {name: inside(artifacts, name) for name in sorted(names)}
    there: dict[str, Content] = {name: path for name, path in paths.items() if path.is_file()}
    return there, sorted(names - set(there))


def checkpoints(connection: sqlite3.Connection, artifacts: Path) -> dict[str, Content]:
    """Return the best weights of each finished run.

    Raises:
        Damaged: a file is gone, or not what was recorded, or a symbolic link is in the way.
    """
    found: dict[str, Content] = {}
    for row in exported_runs(connection):
        path = inside(artifacts, row.checkpoint)
        if not path.is_file() or sha256_of(path) != row.checkpoint_sha256:
            raise Damaged(
                f"{path}, the checkpoint of run {row.run}, is gone or not what was recorded; "
                "see what is wrong with: boneexp doctor"
            )
        found[f"checkpoints/run-{row.run:04d}.pt"] = path
    return found


def texts_of_study(place: Place, machine_paths: Iterable[str]) -> Texts:
    """Return grid file, both documents and the page, as far as they are there.

    Raises:
        BoneexpError: one is a symbolic link, cannot be read, or is not UTF-8.
    """
    paths = {*machine_paths, *paths_here(place.ledger, place.artifacts, place.grid, place.docs)}
    page = inside(place.artifacts, "report.html")
    wanted: dict[str, tuple[Path, Callable[[str], str]]] = {
        "experiments.toml": (place.grid, lambda text: grid_without_paths(text, paths)),
        f"docs/{MODEL_CARD}": (place.docs / MODEL_CARD, lambda text: without_paths(text, paths)),
        f"docs/{POC_REPORT}": (place.docs / POC_REPORT, lambda text: without_paths(text, paths)),
        "report.html": (page, lambda text: without_images(without_paths(text, paths))),
    }
    files: dict[str, Content] = {}
    altered = []
    for name, (path, for_others) in wanted.items():
        text = _text(path)
        if text is None:
            continue
        files[name] = for_others(text).encode()
        altered += [name] if files[name] != text.encode() else []
    return Texts(files, tuple(altered), tuple(name for name in wanted if name not in files))


def environment(connection: sqlite3.Connection) -> dict[str, object]:
    """Return the software of every attempt, and what is installed here."""
    attempts = [
        {
            **{key: getattr(row, key) for key in ("run", "attempt", "device", "outcome")},
            "software": row.versions,
        }
        for row in software_of_attempts(connection)
    ]
    installed = {str(each.metadata["Name"]): each.version for each in distributions()}
    return {
        "exported_with": {
            "boneexp": boneexp.__version__,
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "platform": platform.platform(),
            "sqlite": sqlite_version(connection),
        },
        "installed": dict(sorted(installed.items(), key=lambda item: item[0].lower())),
        "attempts": attempts,
    }


def readme(connection: sqlite3.Connection, last_event: str) -> bytes:
    """Return README.txt."""
    warnings = [data_warning(dataset) for dataset in all_datasets(connection)]
    text = README.format(
        research_only=RESEARCH_ONLY,
        version=boneexp.__version__,
        runs=len(exported_runs(connection)),
        warnings="".join(f"\n{visible(warning)}\n" for warning in warnings if warning),
        last_event=last_event,
    )
    return text.encode()


def _table(path: Path, rows: Iterable[Facts]) -> Path:
    """Write rows as CSV, some thousand at a time."""
    with path.open("w", encoding="utf-8", newline="") as file:
        left, header = iter(rows), ""
        while block := list(islice(left, ROWS_AT_A_TIME)):
            text = csv_text(list(block[0]), block)
            file.write(text.removeprefix(header))
            header = header or text.partition("\n")[0] + "\n"
    return path


def _text(path: Path) -> str | None:
    """Return a text of the study; None if it is not there."""
    if path.is_symlink():
        raise Damaged(
            f"{path} is a symbolic link, and what it leads to may not be the study's; put the file there"
        )
    return standing_text(path, LARGEST_PAGE_BYTES)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
