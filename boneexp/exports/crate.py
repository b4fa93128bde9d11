"""The RO-Crate 1.2 metadata of a bundle: who and what, which run made which file, under which terms.

It follows the profile Process Run Crate. Not with the package rocrate, which brings requests and four more
packages for what is a list of JSON objects; it reads the result in the tests.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import boneexp
from boneexp.comparison.references import PUBLISHED, data_warning
from boneexp.exports.bag import files_below
from boneexp.ledger.queries.datasets import all_datasets
from boneexp.ledger.queries.events import Event
from boneexp.ledger.queries.finished import exported_runs, settled_runs
from boneexp.ledger.queries.promotions import decision_rows
from boneexp.text.labels import RESEARCH_ONLY

METADATA = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.2"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PROGRAM = f"pkg:generic/boneexp@{boneexp.__version__}"
BY_NC_ND = "https://creativecommons.org/licenses/by-nc-nd/4.0/"
APACHE = "https://spdx.org/licenses/Apache-2.0"
CONTENTS = {
    "README.txt": "what this is, and how to check it",
    "checkpoints/": "the weights of each finished run, if they were asked for",
    "comparison.csv": "the comparison of the experiments",
    "comparison.json": "the comparison of the experiments, with the verdict",
    "configs/": "the resolved settings of each finished run",
    "docs/": "the documents as they stood",
    "environment.json": "the software of every attempt, and what is installed where this was exported",
    "experiments.toml": "the grid file as it stood",
    "export.json": "the last event, and what was withheld, altered or missing",
    "ledger.db": "the whole ledger (sqlite3 ledger.db); docs/ledger.md of boneexp explains every table",
    "metrics.csv": "every metric with its interval",
    "predictions.csv": "three probabilities per run and image",
    "report.html": "the page as it stood, without images",
    "seals.json": "which rows of the ledger each seal covers; verify.py reads it",
    "splits/": "which image is in which set",
    "verify.py": "the check of what no checksum can tell",
}
TYPES = {
    ".csv": "text/csv",
    ".db": "application/vnd.sqlite3",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pt": "application/zip",
    ".py": "text/x-python",
    ".toml": "application/toml",
    ".txt": "text/plain",
}
TERMS = (
    f"{RESEARCH_ONLY} Those who exported this study have named no licence for it; ask them before you pass "
    "it on. Weights, splits and image attributes come from the data: the licence of the data holds for them."
)
BTXRD_TERMS = (
    "The paper (doi 10.1038/s41597-024-04311-y) states CC BY-NC-ND 4.0, the download page CC BY 4.0; treat "
    "it as non-commercial, and do not pass on its images."
)
Entity = dict[str, object]


def crate_metadata(connection: sqlite3.Connection, payload: Path, last: Event) -> str:
    """Return the text of ro-crate-metadata.json for the files that are in `payload`."""
    names = [path.relative_to(payload).as_posix() for path in files_below(payload)]
    files = [_file(payload, name) for name in names]
    actions = [*_runs(connection, set(names)), _export(names, last)]
    people = sorted({row.decided_by for row in decision_rows(connection) if row.decided_by})
    persons: list[Entity] = [
        {"@id": f"#person-{number}", "@type": "Person", "name": name} for number, name in enumerate(people, 1)
    ]
    graph: list[Entity] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": {"@id": CRATE},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": "A study of bone-radiograph classifiers",
            "description": f"{RESEARCH_ONLY} {_about(connection)}",
            "datePublished": _date(last.at),
            "identifier": {"@id": "#last-event"},
            "license": {"@id": "#terms"},
            "conformsTo": {"@id": PROFILE},
            "hasPart": _references(files),
            "mentions": _references(actions),
            **({"author": _references(persons) if persons[1:] else {"@id": "#person-1"}} if persons else {}),
        },
        *files,
        *actions,
        *persons,
        *_datasets(connection),
        {
            "@id": "#last-event",
            "@type": "PropertyValue",
            "name": "hash of the last event",
            "value": last.hash,
        },
        *_context(),
    ]
    content = {"@context": f"{CRATE}/context", "@graph": graph}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _about(connection: sqlite3.Connection) -> str:
    warnings = filter(None, map(data_warning, all_datasets(connection)))
    runs = len(exported_runs(connection))
    return " ".join([f"{runs} finished runs, with every event of their history.", *warnings])


def _file(payload: Path, name: str) -> Entity:
    folder = f"{name.partition('/')[0]}/"
    return {
        "@id": quote(name),
        "@type": "File",
        "name": name,
        "description": CONTENTS[folder if folder in CONTENTS else name],
        "contentSize": str((payload / name).stat().st_size),
        "encodingFormat": TYPES[Path(name).suffix],
        **({"license": {"@id": APACHE}} if name == "verify.py" else {}),
    }


def _runs(connection: sqlite3.Connection, names: set[str]) -> Iterator[Entity]:
    """Yield an action for each finished run: what it read, and what it made."""
    settled = {row.run: row for row in settled_runs(connection)}
    for row in exported_runs(connection):
        times = settled[row.run]
        read = [f"configs/run-{row.run:04d}.json", f"splits/{row.split}-{row.split_digest[:12]}.csv"]
        made = ["predictions.csv", "metrics.csv", f"checkpoints/run-{row.run:04d}.pt"]
        data = {"@id": _dataset_id(times.data_fingerprint)}
        yield {
            "@id": f"#run-{row.run:04d}",
            "@type": "CreateAction",
            "name": f"Run {row.run}: {row.experiment}, {row.split}, seed {row.seed}",
            "description": f"Trained and evaluated; its rows in the tables have run = {row.run}.",
            "instrument": {"@id": PROGRAM},
            "startTime": _date(times.started_at or times.queued_at),
            "endTime": _date(times.settled_at),
            "object": [*({"@id": name} for name in read if name in names), data],
            "result": [{"@id": name} for name in made if name in names],
        }


def _export(names: Sequence[str], last: Event) -> Entity:
    of_runs = ("checkpoints/", "ledger.db", "metrics.csv", "predictions.csv")
    return {
        "@id": "#export",
        "@type": "CreateAction",
        "name": "boneexp export --bundle",
        "description": "Wrote the ledger as of its last event, and what follows from it.",
        "instrument": {"@id": PROGRAM},
        "endTime": _date(last.at),
        "object": {"@id": "ledger.db"},
        "result": [{"@id": quote(name)} for name in names if not name.startswith(of_runs)],
    }


def _datasets(connection: sqlite3.Connection) -> Iterator[Entity]:
    for row in all_datasets(connection):
        is_btxrd = row.kind == PUBLISHED
        terms = BTXRD_TERMS if is_btxrd else data_warning(row)
        yield {
            "@id": _dataset_id(row.fingerprint),
            "@type": "CreativeWork",
            "name": row.name,
            "description": f"{row.images} radiographs, not part of this study. {terms}",
            "identifier": row.fingerprint,
            **({"license": {"@id": BY_NC_ND}} if is_btxrd else {}),
        }


def _context() -> list[Entity]:
    """Return the program, the profile and the licences."""
    return [
        {
            "@id": PROGRAM,
            "@type": "SoftwareApplication",
            "name": "boneexp",
            "url": PROGRAM,
            "version": boneexp.__version__,
            "description": "Runs, compares and defends a grid of bone-radiograph classifiers.",
            "license": {"@id": APACHE},
        },
        {"@id": PROFILE, "@type": ["CreativeWork", "Profile"], "name": "Process Run Crate", "version": "0.5"},
        {
            "@id": APACHE,
            "@type": "CreativeWork",
            "name": "Apache License 2.0",
            "description": "Holds for boneexp, and for verify.py.",
        },
        {
            "@id": BY_NC_ND,
            "@type": "CreativeWork",
            "name": "CC BY-NC-ND 4.0",
            "description": "Holds for BTXRD, which is not part of this study.",
        },
        {"@id": "#terms", "@type": "CreativeWork", "name": "Terms of this study", "description": TERMS},
    ]


def _references(entities: Sequence[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]


def _dataset_id(fingerprint: str) -> str:
    return f"#data-{fingerprint[:12]}"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at))
