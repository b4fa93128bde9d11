"""The files of a bundle's payload, from the ledger's rows and from the study's folders."""

import csv
import json
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path

import boneexp
from boneexp.comparison import files as comparison_files
from boneexp.comparison.compared import compared
from boneexp.comparison.references import data_warning
from boneexp.comparison.verdict import verdict_of
from boneexp.errors import Damaged
from boneexp.exports import verify
from boneexp.exports.crate import CONTENTS
from boneexp.exports.withheld import grid_without_paths, paths_here, without_images, without_paths
from boneexp.files.atomic import inside, link, sha256_of
from boneexp.files.folders import MODEL_CARD, POC_REPORT, StudyPaths
from boneexp.ledger.database import sqlite_version
from boneexp.ledger.queries.attempts import software_of_attempts
from boneexp.ledger.queries.datasets import all_datasets
from boneexp.ledger.queries.events import Event
from boneexp.ledger.queries.figures import EVERY_METRIC, every_metric
from boneexp.ledger.queries.finished import exported_runs
from boneexp.ledger.queries.predictions import EVERY_PREDICTION, every_prediction
from boneexp.ledger.sealed_rows import FIRST_RULE, RULES
from boneexp.ledger.seals import SEALED_BY
from boneexp.ledger.slice import MAY_NAME_A_MACHINE, WITHHELD_DETAILS
from boneexp.ledger.statements import record
from boneexp.reports.documents import standing_text
from boneexp.study.settings import digest_of
from boneexp.text.escaping import csv_text, visible
from boneexp.text.labels import RESEARCH_ONLY

ROWS_AT_A_TIME = 10_000
LARGEST_PAGE_BYTES = 1_000_000_000  # report.html with its pictures
README = """\
{research_only}

A study of bone-radiograph classifiers, exported by boneexp {version}: {runs} finished runs.
{warnings}
It is a BagIt bag (RFC 8493), and its folder data/ is an RO-Crate 1.2 (data/ro-crate-metadata.json). To check
it, in the folder with bagit.txt:

    sha256sum -c manifest-sha256.txt      every file is the one that was written; any BagIt tool can do it
    python data/verify.py                 what a checksum cannot tell; Python 3.8 or newer, nothing else

verify.py checks that the history of the ledger is unbroken, that every result is as it was sealed when its
run ended, that the tables have the ledger's rows, and that the metrics come out of the predictions again.
Take it from boneexp itself (python boneexp/exports/verify.py data) if you do not trust the one in here. No
check can tell a whole bag that was made anew from the first one: compare the hash of the last event with the
one that its makers have published.

    last event    {last_event}

{contents}

Withheld: host names, process numbers and absolute paths (a path is cut down to its last name), tracebacks,
and every image, also those embedded in report.html. export.json names the files that were altered by that,
those that were not there, and the seals that cannot be checked because of it.
"""


@dataclass(frozen=True)
class Texts:
    """Documents and grid file; `altered` had paths or images taken out, `missing` are not there."""

    altered: tuple[str, ...]
    missing: tuple[str, ...]


def write_texts(place: StudyPaths, machine_paths: Iterable[str], data: Path) -> Texts:
    """Write grid file, both documents and the page, as far as they are there.

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
    altered, missing = [], []
    for name, (path, for_others) in wanted.items():
        text = _text(path)
        if text is None:
            missing.append(name)
            continue
        written = for_others(text)
        _write(data / name, written)
        altered += [name] if written != text else []
    return Texts(tuple(altered), tuple(missing))


def copy_splits(connection: sqlite3.Connection, artifacts: Path, data: Path) -> list[str]:
    """Copy the manifest of each split of a finished run; return the names of those that are not there.

    Raises:
        Damaged: one is not the split that its runs had, or a symbolic link is in the way.
    """
    digests = {(row.split, row.split_digest) for row in exported_runs(connection)}
    missing = []
    for split, digest in sorted(digests):
        name = f"splits/{split}-{digest[:12]}.csv"
        path = inside(artifacts, name)
        if not path.is_file():
            missing.append(name)
            continue
        _copy(path, data / name)
        _require_split(data / name, digest)
    return missing


def copy_checkpoints(connection: sqlite3.Connection, artifacts: Path, data: Path) -> None:
    """Copy the best weights of each finished run.

    Raises:
        Damaged: a file is gone, or not what was recorded, or a symbolic link is in the way.
    """
    for row in exported_runs(connection):
        path = inside(artifacts, row.checkpoint)
        if not path.is_file() or sha256_of(path) != row.checkpoint_sha256:
            raise Damaged(
                f"{path}, the checkpoint of run {row.run}, is gone or not what was recorded; "
                "see what is wrong with: boneexp doctor"
            )
        _copy(path, data / "checkpoints" / f"run-{row.run:04d}.pt")


def write_tables(connection: sqlite3.Connection, data: Path) -> None:
    """Write predictions, metrics, comparison, settings and environment."""
    found = compared(connection)
    _write_table(data / "predictions.csv", every_prediction(connection))
    _write_table(data / "metrics.csv", every_metric(connection))
    _write(data / "comparison.csv", comparison_files.as_csv(found))
    write_json(data / "comparison.json", comparison_files.as_json(found, verdict_of(connection, found)))
    write_json(data / "environment.json", environment(connection))
    for row in exported_runs(connection):
        settings = {"config_hash": row.config_hash, **row.spec}
        write_json(data / "configs" / f"run-{row.run:04d}.json", settings)


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


def write_verifier(data: Path) -> None:
    """Write verify.py, and what it needs to know of seals."""
    shutil.copyfile(verify.__file__, data / "verify.py")
    _write(data / "seals.json", seal_rules())


def seal_rules() -> str:
    """Return the text of seals.json: which rows each seal covers, what seals them, what may be withheld."""
    rules = {
        "rules": RULES,
        "first_rule": FIRST_RULE,
        "sealed_by": SEALED_BY,
        "may_be_withheld": [[kind, WITHHELD_DETAILS] for kind in MAY_NAME_A_MACHINE],
        "tables": {"predictions": EVERY_PREDICTION, "metrics": EVERY_METRIC},
    }
    return json.dumps(_on_one_line(rules), indent=1, sort_keys=True) + "\n"


def write_readme(connection: sqlite3.Connection, data: Path, last: Event) -> None:
    """Write README.txt."""
    warnings = [data_warning(dataset) for dataset in all_datasets(connection)]
    text = README.format(
        research_only=RESEARCH_ONLY,
        version=boneexp.__version__,
        runs=len(exported_runs(connection)),
        warnings="".join(f"\n{visible(warning)}\n" for warning in warnings if warning),
        last_event=last.hash,
        contents="\n".join(f"    {name:20} {what}" for name, what in CONTENTS.items()),
    )
    _write(data / "README.txt", text)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON."""
    _write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _on_one_line(value: object) -> object:
    """Return nested values without line breaks in any text: how SQL is wrapped changes no digest."""
    if isinstance(value, Mapping):
        return {key: _on_one_line(each) for key, each in value.items()}
    return " ".join(value.split()) if isinstance(value, str) else value


def _require_split(path: Path, digest: str) -> None:
    """Refuse a split that does not have the digest that its runs name.

    Ids that had to be made harmless for a spreadsheet cannot be told from it, so such a split is not checked.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row[:2] for row in csv.reader(file)][1:]
    altered = any(row[0].startswith("'") or "\\" in row[0] for row in rows)
    if not altered and digest_of(sorted(rows)) != digest:
        raise Damaged(
            f"artifacts/splits/{path.name} is not the split that its runs had; "
            "see what is wrong with: boneexp doctor"
        )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    link(source, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def _write_table(path: Path, rows: Iterable[object]) -> None:
    """Write rows as CSV, some thousand at a time."""
    with path.open("w", encoding="utf-8", newline="") as file:
        left, header = map(record, rows), ""
        while block := list(islice(left, ROWS_AT_A_TIME)):
            text = csv_text(list(block[0]), block)
            file.write(text.removeprefix(header))
            header = header or text.partition("\n")[0] + "\n"


def _text(path: Path) -> str | None:
    """Return a text of the study; None if it is not there."""
    if path.is_symlink():
        raise Damaged(
            f"{path} is a symbolic link, and what it leads to may not be the study's; put the file there"
        )
    return standing_text(path, LARGEST_PAGE_BYTES)
