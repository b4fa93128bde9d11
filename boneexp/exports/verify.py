"""Check a bundle that `boneexp export --bundle` wrote. Research use only, not for clinical use.

    python verify.py study.zip      the archive
    python verify.py FOLDER         the unpacked archive; without FOLDER the one where this file lies

One line per check, and exit code 0 if all of them hold, 1 if not. It needs Python 3.8 or newer and nothing
else, reads the bundle alone, and changes nothing. It can tell that the bundle is whole and agrees with
itself. Whoever makes a whole bundle anew can make that agree, too: hold the SHA-256 of the archive, or the
hash of the last event, against what its makers noted elsewhere.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
import sqlite3
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

FORMAT = "boneexp-bundle-1"
MANIFEST, MANIFEST_DIGEST, LEDGER = "manifest.json", "manifest.sha256", "ledger.db"
CLASSES = ("Normal", "Benign", "Malignant")
FIRST_HASH = "0" * 64
TOLERANCE = 1e-9
LARGEST_MANIFEST_BYTES = 256_000_000
# What names the machine is withheld from a bundle: details of these events, and rows of these tables of a run
# that has succeeded. No event that settles a result is among them.
WITHHELD = '{"withheld":true}'
MAY_BE_WITHHELD = {
    "attempt-lost",
    "batch-halved",
    "cancelled",
    "claimed",
    "failed",
    "late-failure",
    "mended",
    "promotion-begun",
    "put-back",
}
TABLES_WITH_A_MACHINE = {"runs", "attempts"}
PREDICTIONS = """SELECT run_id AS run, part, image_id, group_id AS "group", center, label, p_normal, p_benign,
                        p_malignant
                 FROM predictions ORDER BY run_id, part, image_id"""
METRICS = """SELECT run_id AS run, part, metric, class_name, value, low, high, interval_method
             FROM metrics ORDER BY run_id, part, metric, class_name"""
SUMMARISED = {  # columns of run_summaries that are not called like their metric
    "malignant_sensitivity": ("sensitivity", "Malignant"),
    "malignant_specificity": ("specificity", "Malignant"),
}
RULE, FIRST_RULE = "boneexp-seal-2", "boneexp-seal-1"  # the second of seals that name none
SEALS = {
    "run": {
        "runs": """
            SELECT id, experiment_ref, split, seed, config_hash, split_digest, CASE state WHEN 'succeeded'
            THEN spec_json END, folder, state, failure_kind, failure, attempt, micro_batch, best_epoch,
            checkpoint, checkpoint_sha256, queued_at, settled_at FROM runs WHERE id = ?""",
        "experiments": """
            SELECT id, experiment, config_digest, backbone, image_size, batch_size, annotations,
            json_remove(settings_json, '$.name', '$.notes', '$.data.root', '$.data.name',
            '$.model.pretrained'), data_fingerprint, queued_at FROM experiments WHERE id = (SELECT
            experiment_ref FROM runs WHERE id = ?)""",
        "attempts": """
            SELECT run_id, number, worker, host, pid, boot_id, process_started, device, versions_json,
            batch_size, micro_batch, started_at, renewed_at, ended_at, outcome, failure_kind, failure,
            traceback FROM attempts WHERE run_id = ? ORDER BY number""",
        "epochs": """
            SELECT run_id, epoch, attempt, train_loss, val_loss, val_accuracy, val_macro_auroc, learning_rate,
            duration_s, ended_at FROM epochs WHERE run_id = ? ORDER BY epoch, attempt""",
        "metrics": """
            SELECT run_id, part, metric, class_name, value, low, high, interval_method FROM metrics WHERE
            run_id = ? ORDER BY part, metric, class_name""",
        "run_summaries": """
            SELECT run_id, part, accuracy, accuracy_low, accuracy_high, balanced_accuracy, macro_auroc,
            macro_auroc_low, macro_auroc_high, macro_f1, malignant_sensitivity, malignant_sensitivity_low,
            malignant_sensitivity_high, malignant_specificity, malignant_specificity_low,
            malignant_specificity_high, only_class FROM run_summaries WHERE run_id = ? ORDER BY part""",
        "predictions": """
            SELECT run_id, part, image_id, group_id, center, label, p_normal, p_benign, p_malignant FROM
            predictions WHERE run_id = ? ORDER BY part, image_id""",
        "files": """
            SELECT path, run_id, kind, sha256, size_bytes, written_at FROM files WHERE run_id = ? ORDER BY
            path""",
    },
    "promotion": {
        "promotions": """
            SELECT id, action, experiment, stratified_run_id, center_run_id, reason, decided_by, decided_at,
            evidence_json, undoes_id FROM promotions WHERE id = ?""",
    },
    "explanations": {
        "explanations": """
            SELECT run_id, part, image_id, explained_class, threshold, purpose, checkpoint_sha256, layer,
            outcome, overlay, iou, energy_inside, pointing_hit, explained_at, lesion FROM explanations WHERE
            run_id = ? ORDER BY part, image_id, explained_class, threshold, purpose""",
    },
    "late result": {
        "late_results": """
            SELECT run_id, attempt, part, metric, class_name, value, low, high, interval_method, recorded_at
            FROM late_results WHERE run_id = ? AND attempt = ? ORDER BY part, metric, class_name""",
    },
    "dataset": {
        "datasets": """
            SELECT fingerprint, name, kind, images, counts_json, notes_json, recorded_at, contradicting_images
            FROM datasets WHERE fingerprint = ?""",
        "image_attributes": """
            SELECT data_fingerprint, image_id, attribute, value FROM image_attributes WHERE data_fingerprint =
            ? ORDER BY image_id, attribute, value""",
        "split_overlaps": """
            SELECT data_fingerprint, split_digest, first_part, second_part, images, images_of_shared_groups,
            images_of_shared_pictures, images_without_group FROM split_overlaps WHERE data_fingerprint = ?
            ORDER BY split_digest, first_part, second_part""",
    },
    "study": {
        "selection_keys": """
            SELECT position, figure, part FROM selection_keys ORDER BY position""",
        "study_figures": """
            SELECT kind, figure, value, images, comparable_to FROM study_figures ORDER BY kind, figure""",
    },
    "grid": {
        "runs": """
            SELECT id, is_current FROM runs ORDER BY id""",
        "experiments": """
            SELECT id, name, json_extract(settings_json, '$.name', '$.notes', '$.data.name') FROM experiments
            ORDER BY id""",
    },
}
# The tables of which the first rule covers less; it knows no summaries or overlaps, no study and no grid.
SEALS_OF_THE_FIRST_RULE = {
    "run": {
        "metrics": """
            SELECT run_id, CASE interval_method WHEN 'percentile' THEN part END, metric, class_name, value,
            low, high FROM metrics WHERE run_id = ? ORDER BY part, metric, class_name""",
    },
    "explanations": {
        "explanations": """
            SELECT run_id, CASE WHEN purpose = 'measured' AND lesion = 'union' THEN part END, image_id,
            explained_class, threshold, checkpoint_sha256, layer, outcome, overlay, iou, energy_inside,
            pointing_hit, explained_at FROM explanations WHERE run_id = ? ORDER BY part, image_id,
            explained_class, threshold""",
    },
    "late result": {
        "late_results": """
            SELECT run_id, attempt, CASE interval_method WHEN 'percentile' THEN part END, metric, class_name,
            value, low, high, recorded_at FROM late_results WHERE run_id = ? AND attempt = ? ORDER BY part,
            metric, class_name""",
    },
    "dataset": {
        "datasets": """
            SELECT CASE WHEN contradicting_images IS NULL THEN fingerprint END, kind, images, counts_json,
            notes_json, recorded_at FROM datasets WHERE fingerprint = ?""",
    },
}
SEALED_BY = {
    "succeeded": "run",
    "failed": "run",
    "cancelled": "run",
    "promotion": "promotion",
    "explained": "explanations",
    "late-result": "late result",
    "dataset": "dataset",
    "study": "study",
    "queued": "grid",
    "grid": "grid",
}


def main(arguments: list[str]) -> int:
    """Check the bundle that is named, say each check on a line, and return the exit code."""
    if len(arguments) > 1:
        sys.stdout.write("usage: python verify.py [study.zip or FOLDER]\n")
        return 2
    path = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    wrong = 0
    for name, said, holds in checked(path):
        wrong += not holds
        sys.stdout.write("{:5} {:12} {}\n".format("ok" if holds else "WRONG", name, printable(said)))
    sys.stdout.write(f"{wrong} of the checks do not hold\n" if wrong else "every check holds\n")
    return 1 if wrong else 0


def checked(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield (check, what was found, whether it holds) of a bundle, an archive or a folder."""
    problems = (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        sqlite3.Error,
        csv.Error,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,  # a way of compressing that zipfile does not know
        RuntimeError,  # an encrypted member
        RecursionError,
    )
    with tempfile.TemporaryDirectory(prefix="boneexp-verify-") as scratch:
        try:
            bundle = Bundle(path, Path(scratch))
        except problems as error:
            yield "manifest", described(error), False
            return
        for name, check in CHECKS.items():
            try:
                yield name, check(bundle), True
            except problems as error:
                yield name, described(error), False
        bundle.close()


class Bundle:
    """The members of an archive or of a folder, its manifest, and its ledger, opened to read."""

    def __init__(self, path: Path, scratch: Path) -> None:
        """Open the bundle; of an archive, the ledger is unpacked into `scratch`."""
        self.folder = path
        self.archive = None if path.is_dir() else zipfile.ZipFile(path)
        self.names = sorted(self._listed())
        text = self.read(MANIFEST, LARGEST_MANIFEST_BYTES)
        self.manifest = json.loads(text.decode("utf-8"))
        self.manifest_sha256 = hashlib.sha256(text).hexdigest()
        ledger = path / LEDGER
        if self.archive is not None:
            ledger = scratch / LEDGER
            self._unpack(ledger)
        address = f"file:{quote(str(ledger.resolve()))}?mode=ro&immutable=1"
        self.ledger = sqlite3.connect(address, uri=True)
        self.ledger.row_factory = sqlite3.Row
        self.ledger.execute("PRAGMA trusted_schema = OFF")

    def close(self) -> None:
        """Let go of the files."""
        self.ledger.close()
        if self.archive is not None:
            self.archive.close()

    def open(self, name: str) -> Any:
        """Open a member to read its bytes; no other file, and no pipe that would keep its reader waiting."""
        require(name in self.names, f"{name} is missing")
        if self.archive is not None:
            return self.archive.open(name)
        path = self.folder / name
        require(stat.S_ISREG(path.lstat().st_mode), f"{name} is no plain file")
        return path.open("rb")

    def read(self, name: str, largest_bytes: int) -> bytes:
        """Return a member that must be no larger than that."""
        with self.open(name) as file:
            content: bytes = file.read(largest_bytes + 1)
        require(len(content) <= largest_bytes, f"{name} has more than {largest_bytes:,} bytes")
        return content

    def rows(self, name: str) -> Iterator[list[str]]:
        """Yield the rows of a CSV."""
        with self.open(name) as file:
            yield from csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""))

    def _listed(self) -> list[str]:
        if self.archive is not None:
            return [entry.filename for entry in self.archive.infolist()]
        found = []
        for folder, folders, files in os.walk(self.folder):
            for name in [*files, *(each for each in folders if Path(folder, each).is_symlink())]:
                found.append(Path(folder, name).relative_to(self.folder).as_posix())
        return found

    def _unpack(self, target: Path) -> None:
        left = int(self.manifest["files"][LEDGER]["size_bytes"])
        with self.open(LEDGER) as source, target.open("wb") as copy:
            while block := source.read(1 << 20):
                left -= len(block)
                require(left >= 0, f"{LEDGER} is larger than {MANIFEST} says")
                copy.write(block)


def check_manifest(bundle: Bundle) -> str:
    """The manifest is what its digest says, and of a form that this program knows."""
    noted = bundle.read(MANIFEST_DIGEST, 1000).decode("ascii")
    require(
        noted == f"{bundle.manifest_sha256}  {MANIFEST}\n", f"{MANIFEST} is not what {MANIFEST_DIGEST} says"
    )
    require(bundle.manifest["format"] == FORMAT, f"its form is {bundle.manifest['format']!r}, not {FORMAT}")
    return f"{MANIFEST} has the SHA-256 in {MANIFEST_DIGEST}; made by boneexp {bundle.manifest['boneexp']}"


def check_members(bundle: Bundle) -> str:
    """Every member is named in the manifest, and the other way round; none leads elsewhere."""
    wanted = {*bundle.manifest["files"], MANIFEST, MANIFEST_DIGEST}
    extra, missing = sorted(set(bundle.names) - wanted), sorted(wanted - set(bundle.names))
    require(not missing, "missing: " + ", ".join(missing))
    require(not extra, "not in the manifest: " + ", ".join(extra))
    twice = sorted({name for name in bundle.names if bundle.names.count(name) > 1})
    require(not twice, "there more than once: " + ", ".join(twice))
    for name in bundle.names:
        require(not name.startswith(("/", "\\")) and ".." not in name.split("/"), f"{name} leads out")
        if bundle.archive is None:
            mode = (bundle.folder / name).lstat().st_mode
        else:
            mode = bundle.archive.getinfo(name).external_attr >> 16
        require(stat.S_ISREG(mode), f"{name} is no plain file")
    return f"{len(bundle.names)} files, none missing, none added"


def check_digests(bundle: Bundle) -> str:
    """Every member has the size and the SHA-256 that the manifest records."""
    total = 0
    for name, noted in sorted(bundle.manifest["files"].items()):
        digest, size = hashlib.sha256(), 0
        with bundle.open(name) as file:
            while size <= noted["size_bytes"] and (block := file.read(1 << 20)):
                digest.update(block)
                size += len(block)
        require(size == noted["size_bytes"], f"{name} has not the {noted['size_bytes']:,} bytes recorded")
        require(digest.hexdigest() == noted["sha256"], f"{name} has not the SHA-256 recorded")
        total += size
    return f"{len(bundle.manifest['files'])} files have the size and SHA-256 recorded ({total:,} bytes)"


def check_ledger(bundle: Bundle) -> str:
    """The ledger is a sound database, of the data that the manifest names."""
    sound = [row[0] for row in bundle.ledger.execute("PRAGMA integrity_check(1)")]
    require(sound == ["ok"], f"{LEDGER}: {sound[0]}")
    schema = bundle.ledger.execute("SELECT MAX(version_num) FROM alembic_version").fetchone()[0]
    require(schema == bundle.manifest["schema"], f"its schema is {schema}, not {bundle.manifest['schema']}")
    found = {row["fingerprint"] for row in bundle.ledger.execute("SELECT fingerprint FROM datasets")}
    noted = {dataset["fingerprint"] for dataset in bundle.manifest["datasets"]}
    require(found == noted, "the fingerprints of its datasets are not those of the manifest")
    return f"sound, schema {schema}; fingerprints of data: {', '.join(each[:12] for each in sorted(found))}"


def check_chain(bundle: Bundle) -> str:
    """Every event follows from the one before it; the last is the one that the manifest names."""
    previous, last, withheld = FIRST_HASH, 0, 0
    for row in bundle.ledger.execute("SELECT * FROM events ORDER BY id"):
        content = [previous, row["at"], row["kind"], row["run_id"], row["attempt"], row["details_json"]]
        hidden = row["details_json"] == WITHHELD and row["kind"] in MAY_BE_WITHHELD
        follows = row["id"] == last + 1 and row["previous_hash"] == previous
        require(
            follows and (hidden or row["hash"] == digest_of(content)),
            f"event {row['id']} does not follow from those before it",
        )
        previous, last, withheld = row["hash"], row["id"], withheld + hidden
    require(bundle.manifest["last_event"] == {"id": last, "hash": previous}, "it ends at another event")
    return f"{last} events, {withheld} with details withheld; the last has the hash {previous}"


def check_seals(bundle: Bundle) -> str:
    """What was settled is as it was sealed then, but for what names the machine and is withheld."""
    standing = standing_seals(bundle.ledger)
    withheld = {(each["subject"], table) for each in bundle.manifest["withheld"] for table in each["tables"]}
    succeeded = [
        row[0] for row in bundle.ledger.execute("SELECT id FROM runs WHERE state = 'succeeded' ORDER BY id")
    ]
    for run in succeeded:
        require(("run", (run,)) in standing, f"run {run} has no seal")
    held, unknown = 0, 0
    for subject, (rule, seal) in standing.items():
        require(rule in (RULE, FIRST_RULE), f"{named(subject)} is sealed by a rule that is not known here")
        for table, query in queries_of(rule, subject[0]).items():
            if digest_of_rows(rule, bundle.ledger.execute(query, subject[1])) == seal.get(table):
                held += 1
                continue
            hidden = (named(subject), table) in withheld and table in TABLES_WITH_A_MACHINE
            require(hidden, f"{named(subject)}: the rows of {table} are not those that were sealed")
            unknown += 1
    return f"{held} seals hold; {unknown} cover what names the machine and cannot be checked here"


def check_configs(bundle: Bundle) -> str:
    """The settings of each run are those in the ledger, and give the hash under which it was queued."""
    query = """SELECT r.id, e.experiment, r.split, r.seed, r.split_digest, r.config_hash, r.spec_json
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE r.state = 'succeeded' ORDER BY r.id"""
    runs = bundle.ledger.execute(query).fetchall()
    queued: set[str] = set()
    for row in bundle.ledger.execute("SELECT details_json FROM events WHERE kind = 'queued'"):
        queued.update(json.loads(row["details_json"])["config_hashes"])
    for row in runs:
        name = "configs/run-{:04d}.json".format(row["id"])
        config = json.loads(bundle.read(name, LARGEST_MANIFEST_BYTES).decode("utf-8"))
        noted = config.pop("config_hash")
        require(config == json.loads(row["spec_json"]), f"{name} is not what the ledger has")
        require(noted == row["config_hash"] == config_hash(config), f"{name} does not give the run's hash")
        require(noted in queued, f"{name}: nothing was queued under its hash")
        about = [config["experiment"], config["split"]["name"], config["seed"], config["split_digest"]]
        require(about == list(row)[1:5], f"{name} is not of the run that the ledger says it is of")
    return f"{len(runs)} runs; each hash was computed again from the settings, and is one that was queued"


def check_splits(bundle: Bundle) -> str:
    """Each split has the digest that its runs name, and the predicted images are those of their part."""
    runs = bundle.ledger.execute(
        "SELECT id, split, split_digest FROM runs WHERE state = 'succeeded' ORDER BY id"
    ).fetchall()
    known: dict[str, dict[str, tuple[str, ...]]] = {}
    absent = set()
    for split, digest in sorted({(row["split"], row["split_digest"]) for row in runs}):
        name = f"splits/{split}-{digest[:12]}.csv"
        if name in bundle.manifest["missing"]:
            absent.add(name)
            continue
        header, *images = list(bundle.rows(name))
        require(header[:4] == ["image_id", "part", "center", "label"], f"{name} has other columns")
        pairs = sorted((image[0], image[1]) for image in images)
        altered = any(image[0].startswith("'") or "\\" in image[0] for image in images)
        require(altered or digest_of(pairs) == digest, f"{name} does not give the digest {digest[:12]}…")
        known[digest] = {image[0]: tuple(image[1:4]) for image in images}
    query = "SELECT part, image_id, center, label FROM predictions WHERE run_id = ?"
    for row in runs:
        deal = known.get(row["split_digest"])
        dealt = {image: where for image, where in (deal or {}).items() if where[0] in ("val", "test")}
        found = {
            cell(each["image_id"]): (each["part"], str(each["center"]), each["label"])
            for each in bundle.ledger.execute(query, (row["id"],))
        }
        require(deal is None or found == dealt, f"run {row['id']} predicts other images than its split has")
    said = f"; not there when this was exported: {', '.join(sorted(absent))}" if absent else ""
    return f"{len(known)} splits give the digests of their runs and hold the predicted images{said}"


def check_predictions(bundle: Bundle) -> str:
    """predictions.csv has the rows of the ledger."""
    return equal_rows(bundle, "predictions.csv", PREDICTIONS)


def check_metrics(bundle: Bundle) -> str:
    """metrics.csv has the rows of the ledger, and the summaries behind its views are made of them."""
    said = equal_rows(bundle, "metrics.csv", METRICS)
    stored: dict[tuple[Any, ...], Any] = {tuple(row)[:4]: row for row in bundle.ledger.execute(METRICS)}
    summaries = bundle.ledger.execute("SELECT * FROM run_summaries").fetchall()
    for row in summaries:
        only = only_class(stored, row["run_id"], row["part"])
        require(row["only_class"] == only, f"run {row['run_id']}: only_class of run_summaries is wrong")
        for column in row.keys()[2:]:
            if column == "only_class":
                continue
            name, bound = re.sub("_(low|high)$", "", column), re.search("(low|high)$", column)
            metric = stored.get((row["run_id"], row["part"], *SUMMARISED.get(name, (name, ""))))
            value = metric and metric[bound.group(0) if bound else "value"]
            require(row[column] == value, f"run {row['run_id']}: {column} of run_summaries is not in metrics")
    parts = {key[:2] for key in stored}
    require(parts == {(row["run_id"], row["part"]) for row in summaries}, "a summary of a run is missing")
    return f"{said}; {len(summaries)} summaries are made of them"


def only_class(stored: dict[tuple[Any, ...], Any], run: int, part: str) -> str | None:
    """Return the class that a run predicted for every image of a part; None where there are several."""
    for name in CLASSES:
        spared = stored.get((run, part, "specificity", name))
        found = stored.get((run, part, "sensitivity", name))
        if spared and spared["value"] == 0 and not (found and found["value"] not in (1, None)):
            return name
    return None


def check_figures(bundle: Bundle) -> str:
    """Accuracy, balanced accuracy, sensitivity, specificity and AUROC come out of the predictions again."""
    compared, largest = 0, 0.0
    stored = {tuple(row)[:4]: row["value"] for row in bundle.ledger.execute(METRICS)}
    for (run, part), images in predicted_parts(bundle.ledger):
        for (metric, class_name), value in figures(images).items():
            where = f"run {run}, {part}: {metric} {class_name}".rstrip()
            require((run, part, metric, class_name) in stored, f"{where} is not in the ledger")
            noted = stored[run, part, metric, class_name]
            if value is None or noted is None:
                require(value is noted, f"{where} is {noted} in the ledger, and comes out as {value}")
                continue
            difference = abs(value - noted)
            require(difference <= TOLERANCE, f"{where} is {noted} in the ledger, and comes out as {value}")
            compared, largest = compared + 1, max(largest, difference)
    return f"{compared} figures come out again from the predictions, the largest difference is {largest:.1g}"


CHECKS: dict[str, Callable[[Bundle], str]] = {
    "manifest": check_manifest,
    "files": check_members,
    "digests": check_digests,
    "ledger": check_ledger,
    "chain": check_chain,
    "seals": check_seals,
    "configs": check_configs,
    "splits": check_splits,
    "predictions": check_predictions,
    "metrics": check_metrics,
    "figures": check_figures,
}


def queries_of(rule: str, kind: str) -> dict[str, str]:
    """Return which rows of which tables a seal covers."""
    if rule == RULE:
        return SEALS[kind]
    later = ("run_summaries", "split_overlaps")
    tables = {table: query for table, query in SEALS[kind].items() if table not in later}
    return dict(tables, **SEALS_OF_THE_FIRST_RULE.get(kind, {}))


def standing_seals(
    ledger: sqlite3.Connection,
) -> dict[tuple[str, tuple[Any, ...]], tuple[str, dict[str, str]]]:
    """Return the rule and the digests of each subject's last seal; a run that was queued again has none."""
    standing: dict[tuple[str, tuple[Any, ...]], tuple[str, dict[str, str]]] = {}
    for row in ledger.execute("SELECT kind, run_id, attempt, details_json FROM events ORDER BY id"):
        details = json.loads(row["details_json"])
        if row["kind"] == "retried":
            standing.pop(("run", (row["run_id"],)), None)
        kind = details.get("subject") if row["kind"] == "sealed" else SEALED_BY.get(row["kind"])
        if kind in SEALS and isinstance(details.get("seal"), dict):
            keys = {
                "run": (row["run_id"],),
                "promotion": (details.get("promotion"),),
                "explanations": (row["run_id"],),
                "late result": (row["run_id"], row["attempt"]),
                "dataset": (details.get("fingerprint"),),
                "study": (),
                "grid": (),
            }
            standing[kind, keys[kind]] = details.get("rule", FIRST_RULE), details["seal"]
    return standing


def named(subject: tuple[str, tuple[Any, ...]]) -> str:
    """Say what is sealed, as boneexp does: "run 3", "late result of run 3, attempt 2"."""
    kind, key = subject
    if kind in ("study", "grid"):
        return f"the {kind}"
    if kind == "dataset":
        return f"dataset {str(key[0])[:12]}"
    if kind in ("run", "promotion"):
        return f"{kind} {key[0]}"
    return f"{kind} of run {key[0]}" + (f", attempt {key[1]}" if len(key) > 1 else "")


def config_hash(spec: Any) -> str:
    """Return the name of an outcome: the digest over all that decides it."""
    settings = {key: value for key, value in spec["settings"].items() if key not in ("name", "notes")}
    outside = ("root", "name", "accept")  # decide no result
    settings["data"] = {key: value for key, value in settings["data"].items() if key not in outside}
    if settings["data"].get("decoding") == "full":  # was the only way once, and is not part of the hash
        del settings["data"]["decoding"]
    if settings["data"].get("lesion") == "union" or not settings["training"]["annotations"]:
        settings["data"].pop("lesion", None)  # was the only way once; decides nothing without annotations
    steering = ("time_limit_hours",)  # decides no result
    settings["training"] = {key: each for key, each in settings["training"].items() if key not in steering}
    if spec["weights_sha256"]:
        settings["model"] = dict(settings["model"], pretrained=spec["weights_sha256"])
    identity = {key: spec[key] for key in ("experiment", "data_fingerprint", "seed", "split_digest")}
    return digest_of(dict(identity, version="boneexp-run-1", settings=settings))


def equal_rows(bundle: Bundle, name: str, query: str) -> str:
    """Compare a CSV with a query, row by row; a number is compared as the number that it is."""
    rows = bundle.rows(name)
    cursor = bundle.ledger.execute(query)
    columns = [column[0] for column in cursor.description]
    require(next(rows, None) == columns, f"{name} has other columns")
    count = 0
    for row in cursor:
        count += 1
        found = next(rows, None)
        require(found is not None, f"{name} ends at row {count}")
        require(len(found or ()) == len(columns), f"{name}, row {count} has other columns")
        for column, text, value in zip(columns, found or (), row):  # noqa: B905 - not in Python 3.8
            same = float(text) == value if isinstance(value, float) and text else text == cell(value)
            require(same, f"{name}, row {count}: {column} is {text}, and the ledger has {value}")
    require(next(rows, None) is None, f"{name} has more rows than the ledger")
    return f"{name} has the {count:,} rows of the ledger"


def cell(value: Any) -> str:
    """Return a value as boneexp writes it into a CSV, where it does nothing in a spreadsheet."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = printable(value)
    number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII)
    formula = re.match(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|\t", text)
    return f"'{text}" if formula and not number else text


def printable(text: str) -> str:
    """Return text with what a terminal would obey written out."""
    obeyed = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
    return re.sub(obeyed, lambda found: found.group(0).encode("unicode_escape").decode("ascii"), text)


def predicted_parts(
    ledger: sqlite3.Connection,
) -> Iterator[tuple[tuple[int, str], list[tuple[int, tuple[float, ...]]]]]:
    """Yield (run, part) and its images: the place of each one's class, and its three probabilities."""
    key: Any = None
    images: list[tuple[int, tuple[float, ...]]] = []
    for row in ledger.execute(PREDICTIONS):
        if key != (row["run"], row["part"]):
            if images:
                yield key, images
            key, images = (row["run"], row["part"]), []
        images.append((CLASSES.index(row["label"]), (row["p_normal"], row["p_benign"], row["p_malignant"])))
    if images:
        yield key, images


def figures(
    images: list[tuple[int, tuple[float, ...]]],
) -> dict[tuple[str, str], float | None]:
    """Return each figure by (metric, class); None where it is undefined. Of equals the first is called."""
    pairs = [(label, shares.index(max(shares))) for label, shares in images]
    sensitivities, areas = [], []
    found = {("accuracy", ""): share(sum(label == said for label, said in pairs), len(pairs))}
    for place, name in enumerate(CLASSES):
        own = [said == place for label, said in pairs if label == place]
        others = [said != place for label, said in pairs if label != place]
        sensitivities.append(share(sum(own), len(own)))
        areas.append(auroc([(shares[place], label == place) for label, shares in images]))
        found["sensitivity", name] = sensitivities[-1]
        found["specificity", name] = share(sum(others), len(others))
        found["auroc", name] = areas[-1]
    known = [value for value in sensitivities if value is not None]
    found["balanced_accuracy", ""] = share(math.fsum(known), len(known))
    whole = [value for value in areas if value is not None]
    found["macro_auroc", ""] = math.fsum(whole) / len(areas) if len(whole) == len(areas) else None
    return found


def auroc(scored: list[tuple[float, bool]]) -> float | None:
    """Return how often a positive ranks above a negative, ties counted half (Hanley and McNeil 1982)."""
    below, passed_twice, start = 0, 0, 0
    ranked = sorted(scored)
    while start < len(ranked):
        end = start
        while end < len(ranked) and ranked[end][0] == ranked[start][0]:
            end += 1
        positives = sum(positive for _, positive in ranked[start:end])
        negatives = end - start - positives
        passed_twice += positives * (2 * below + negatives)
        below, start = below + negatives, end
    return share(passed_twice, 2 * below * (len(ranked) - below))


def share(part: float, whole: int) -> float | None:
    """Return part / whole; None where there is nothing."""
    return part / whole if whole else None


def digest_of(value: Any) -> str:
    """Return the SHA-256 of the one JSON text of a value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def digest_of_rows(rule: str, rows: Any) -> str:
    """Return a table's part of a seal: the SHA-256 over its rows, a JSON list on a line for each."""
    digest = hashlib.sha256(f"{rule}\n".encode("ascii"))
    for row in rows:
        text = json.dumps(tuple(row), separators=(",", ":"), default=repr)
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()


def require(holds: bool, otherwise: str) -> None:
    """Raise a ValueError with those words unless it holds."""
    if not holds:
        raise ValueError(otherwise)


def described(error: BaseException) -> str:
    """Return an error in one line."""
    said = str(error).splitlines() or [""]
    return said[0] if isinstance(error, ValueError) and said[0] else f"{type(error).__name__}: {said[0]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
