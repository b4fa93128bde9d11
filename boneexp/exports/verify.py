"""Check what no checksum can in a bag of `boneexp export --bundle`. Research use only, not for clinical use.

    sha256sum -c manifest-sha256.txt    in the bag's folder: every file is the one that was written
    python data/verify.py               then this: the files agree with one another and with their history

Python 3.8 or newer and nothing else; nothing is changed. A line per check, exit code 1 if one does not hold.
A bag that was made anew as a whole can agree, too: compare the hash of the last event with the published one.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

CLASSES = ("Normal", "Benign", "Malignant")
SEALS_SHA256 = "072f9b5cbb3c8424c60f54d596dc55bd1db12289e7cdb190e8a511a9238d0ab5"  # what a seal covers


class Study(NamedTuple):
    """What the payload of a bag holds: its folder, its ledger, export.json and seals.json."""

    folder: Path
    ledger: sqlite3.Connection
    export: Any
    rules: Any


def main(arguments: list[str]) -> int:
    """Check the payload in the named folder, or where this file is; return the exit code."""
    wrong = 0
    for name, message, holds in checked(Path(arguments[0]) if arguments else Path(__file__).resolve().parent):
        wrong += not holds
        printable = message.encode("unicode_escape").decode("ascii")  # nothing that a terminal would obey
        sys.stdout.write("{:5} {:8} {}\n".format("ok" if holds else "WRONG", name, printable))
    sys.stdout.write(f"{wrong} of the checks do not hold\n" if wrong else "every check holds\n")
    return 1 if wrong else 0


def checked(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield (check, message, whether it holds)."""
    for check in (chain, seals, tables, metrics):
        try:
            rules, export = (plain(folder, name).read_text("utf-8") for name in ("seals.json", "export.json"))
            require(sha256(rules) == SEALS_SHA256, "seals.json is not the one that this program knows")
            address = f"file:{quote(str(plain(folder, 'ledger.db').resolve()))}?mode=ro&immutable=1"
            with closing(sqlite3.connect(address, uri=True)) as ledger:
                ledger.row_factory = sqlite3.Row
                ledger.execute("PRAGMA trusted_schema = OFF")
                study = Study(folder, ledger, json.loads(export), json.loads(rules))
                yield check.__name__, check(study), True
        except Exception as error:  # noqa: BLE001 - a changed file may lead to any of them
            yield check.__name__, f"{type(error).__name__}: {error}".replace("ValueError: ", "", 1), False


def chain(study: Study) -> str:
    """Every event follows from the one before it, up to the one that export.json names."""
    previous, last = "0" * 64, 0
    for row in study.ledger.execute("SELECT * FROM events ORDER BY id"):
        content = [previous, *(row[key] for key in ("at", "kind", "run_id", "attempt", "details_json"))]
        hidden = [row["kind"], row["details_json"]] in study.rules["may_be_withheld"]
        follows = row["id"] == last + 1 and row["previous_hash"] == previous
        whole = follows and (hidden or row["hash"] == sha256(compact(content)))
        require(whole, f"event {row['id']} does not follow from the one before it")
        previous, last = row["hash"], row["id"]
    require(study.export["last_event"] == {"id": last, "hash": previous}, "the chain ends at another event")
    return f"{last} events; the last has the hash {previous}"


def seals(study: Study) -> str:
    """Every row that was sealed is as it was, but for those that name the machine and are withheld."""
    standing = standing_seals(study)
    for (run,) in study.ledger.execute("SELECT id FROM runs WHERE state = 'succeeded' ORDER BY id"):
        require(("run", run) in standing, f"run {run} has no seal")
    unknown = 0
    for subject, details in standing.items():
        rule, name = details.get("rule", study.rules["first_rule"]), " ".join(map(str, subject))
        for table, query in study.rules["rules"][rule][subject[0]].items():
            rows = [compact(tuple(row)) for row in study.ledger.execute(query, subject[1:])]
            if sha256("\n".join([rule, *rows, ""])) != details["seal"].get(table):
                hidden = [name, table] in study.export["withheld"] and table in ("runs", "attempts")
                require(hidden, f"{name}: the rows of {table} are not those that were sealed")
                unknown += 1
    return f"{len(standing)} seals; {unknown} tables that name the machine cannot be checked here"


def standing_seals(study: Study) -> dict[tuple[Any, ...], Any]:
    """Return the event details with the last seal of each subject; a run that was queued again has none."""
    standing: dict[tuple[Any, ...], Any] = {}
    query = "SELECT kind, run_id, attempt, details_json FROM events ORDER BY id"
    for kind, run, attempt, text in study.ledger.execute(query):
        details = json.loads(text)
        subject = details.get("subject") if kind == "sealed" else study.rules["sealed_by"].get(kind)
        keys = {"run": (run,), "explanations": (run,), "late result": (run, attempt), "study": (), "grid": ()}
        keys.update(promotion=(details.get("promotion"),), dataset=(details.get("fingerprint"),))
        if kind == "retried":
            standing.pop(("run", run), None)
        if subject in keys and "seal" in details:
            standing[(subject, *keys[subject])] = details
    return standing


def tables(study: Study) -> str:
    """The tables for a spreadsheet have the rows of the ledger."""
    for name in ("predictions", "metrics"):
        with plain(study.folder, f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found, rows = csv.reader(file), study.ledger.execute(study.rules["tables"][name])
            require(next(found) == [column[0] for column in rows.description], f"{name}.csv: other columns")
            for number, (texts, row) in enumerate(zip_longest(found, rows), 1):
                same = texts and row and len(texts) == len(row) and [*map(cell, row, texts)] == texts
                require(same, f"{name}.csv, row {number} is not that of the ledger")
    return "predictions.csv and metrics.csv have the rows of the ledger"


def cell(value: Any, text: str) -> str:
    """Return a value as a CSV has it; of text that was made harmless for a spreadsheet, what is there."""
    harmless = isinstance(value, str) and (text.startswith("'") or "\\" in text)
    return text if harmless else "" if value is None else str(value)


def metrics(study: Study) -> str:
    """Accuracy, balanced accuracy, sensitivity, specificity and AUROC come out of the predictions again."""
    stored = {tuple(row)[:4]: row["value"] for row in study.ledger.execute(study.rules["tables"]["metrics"])}
    predictions = study.ledger.execute(study.rules["tables"]["predictions"])
    count = 0
    for (run, part), rows in groupby(predictions, key=lambda row: (row["run"], row["part"])):
        for (metric, name), value in metrics_of([(row["label"], tuple(row)[-3:]) for row in rows]).items():
            where = f"run {run}, {part}: {metric} {name}".rstrip()
            noted = stored.get((run, part, metric, name), "missing")
            close = isinstance(noted, float) and value is not None and abs(value - noted) <= 1e-9
            require(close or value is noted, f"{where} is {noted} in the ledger, and comes out as {value}")
            count += 1
    return f"{count} metrics come out of the predictions again, within 1e-9"


def metrics_of(images: list[tuple[str, tuple[float, ...]]]) -> dict[tuple[str, str], float | None]:
    """Return each metric by (metric, class); None where it is undefined. Of equals the first is predicted."""
    pairs = [(label, CLASSES[p.index(max(p))]) for label, p in images]
    found = {("accuracy", ""): fraction(sum(label == predicted for label, predicted in pairs), len(pairs))}
    for place, name in enumerate(CLASSES):
        own = [predicted == name for label, predicted in pairs if label == name]
        others = [predicted != name for label, predicted in pairs if label != name]
        found["sensitivity", name] = fraction(sum(own), len(own))
        found["specificity", name] = fraction(sum(others), len(others))
        found["auroc", name] = auroc([(p[place], label == name) for label, p in images])
    known = [value for (metric, _), value in found.items() if metric == "sensitivity" and value is not None]
    areas = [value for (metric, _), value in found.items() if metric == "auroc" and value is not None]
    found["balanced_accuracy", ""] = fraction(sum(known), len(known))
    found["macro_auroc", ""] = sum(areas) / len(CLASSES) if len(areas) == len(CLASSES) else None
    return found


def auroc(scored: list[tuple[float, bool]]) -> float | None:
    """Return how often a positive ranks above a negative, ties counted half (Hanley and McNeil 1982)."""
    negatives, twice = 0, 0
    for _, tied in groupby(sorted(scored), key=lambda pair: pair[0]):
        of_class = [positive for _, positive in tied]
        twice += sum(of_class) * (2 * negatives + of_class.count(False))
        negatives += of_class.count(False)
    return fraction(twice, 2 * negatives * (len(scored) - negatives))


def fraction(part: float, whole: int) -> float | None:
    """Return part / whole; None of nothing."""
    return part / whole if whole else None


def plain(folder: Path, name: str) -> Path:
    """Return where a file is, which must be a plain one."""
    path = folder / name
    require(path.is_file() and not path.is_symlink(), f"{name} is missing, or no plain file")
    return path


def compact(value: object) -> str:
    """Return the one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr)


def sha256(text: str) -> str:
    """Return the digest of a text in 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def require(holds: object, otherwise: str) -> None:
    """Raise a ValueError with those words unless it holds."""
    if not holds:
        raise ValueError(otherwise)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
