"""`export --mlflow`: every settled run as a run in MLflow, written once.

A run there carries the config hash and the hash of the event that settled it here. What has both is left
alone, what was settled anew since is written again, and what an export that was cut short left is, too.
"""

import logging
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boneexp
from boneexp.comparison.references import data_warning
from boneexp.errors import BoneexpError, Damaged, NothingToDo
from boneexp.files.atomic import inside, sha256_of
from boneexp.ledger.database import read_snapshot, reading
from boneexp.ledger.quarantine import require_untouched
from boneexp.ledger.queries.attempts import Epoch, epochs_of_run
from boneexp.ledger.queries.figures import metric_rows
from boneexp.ledger.queries.files import RunFile, files_of_run
from boneexp.ledger.queries.finished import SettledRun, settled_runs
from boneexp.ledger.slice import shown_path
from boneexp.text.escaping import visible
from boneexp.text.labels import RESEARCH_ONLY

STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
EPOCH_FIGURES = ("train_loss", "val_loss", "val_accuracy", "val_macro_auroc", "learning_rate", "duration_s")
CHECKPOINT_KINDS = ("best checkpoint", "last checkpoint")
LONGEST_VALUE = 5000  # of a tag or parameter; what is longer is cut
COMPLETE, CHECKPOINTS = "boneexp.complete", "boneexp.checkpoints"
CONFIG_HASH, SETTLED_BY, CURRENT = "boneexp.config_hash", "boneexp.settled_by", "boneexp.current"
_CREDENTIALS = re.compile(r"(?<=//)[^/\s@]+@")
Row = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """How many runs were new in the store, written again, given their checkpoints, or there already."""

    store: str
    new: int
    replaced: int
    completed: int
    unchanged: int

    def sentence(self) -> str:
        """Say it."""
        more = f", {self.completed} given their checkpoints" if self.completed else ""
        return f"{self.new} runs new, {self.replaced} written again{more}, {self.unchanged} there already"

    def as_json(self) -> dict[str, Any]:
        """Return it, ready for json.dumps."""
        return asdict(self)


def write_runs(ledger: Path, artifacts: Path, target: str, *, with_checkpoints: bool) -> Written:
    """Write every settled run into the MLflow store `target`, a folder or a tracking URI.

    Raises:
        NothingToDo: no run is settled.
        Damaged: something in the ledger is not as it was sealed, a file is not what was recorded, or a
            symbolic link leads out of the artifacts.
        BoneexpError: MLflow is not installed, or the store does not take it; no credentials are in it.
    """
    with reading(ledger) as connection:
        require_untouched(connection)
        runs = settled_runs(connection)
        if not runs:
            raise NothingToDo("no run is settled yet, so there is nothing to export; see: boneexp status")
        records = (_record(connection, row) for row in runs)
        with _problems_said(target):
            store = _opened(target)
            done = [store.write(record, artifacts, with_checkpoints) for record in records]
    counts = {word: done.count(word) for word in ("new", "replaced", "completed", "unchanged")}
    return Written(store=without_credentials(target), **counts)


def without_credentials(target: str) -> str:
    """Return a tracking URI without user, password and query."""
    if "://" not in target:
        return target
    return _CREDENTIALS.sub("", target).partition("?")[0]


@dataclass(frozen=True)
class _Record:
    """One settled run, as the ledger has it at one moment."""

    row: SettledRun
    epochs: Sequence[Epoch]
    metrics: Mapping[str, Sequence[Row]]  # by part
    files: Sequence[RunFile]

    @property
    def identity(self) -> tuple[str, str]:
        """What tells whether the store has this very result."""
        return self.row.config_hash, self.row.settled_by

    def params(self) -> dict[str, str]:
        """Return settings, split and seed, flat; where the data lie decides nothing and is left out."""
        spec = self.row.spec
        settings = spec["settings"]
        settings["data"].pop("root")
        if isinstance(settings["model"]["pretrained"], str):
            settings["model"]["pretrained"] = shown_path(settings["model"]["pretrained"])
        notes = {key: settings.pop(key) for key in ("name", "notes")}
        flat = {
            "experiment": spec["experiment"],
            "name": notes["name"],
            "seed": spec["seed"],
            **_flat(settings),
        }
        flat |= _flat({"split": spec["split"]})
        flat |= {key: spec[key] for key in ("data_fingerprint", "split_digest", "weights_sha256")}
        flat["config_hash"] = self.row.config_hash
        return {key: _cut(str(value)) for key, value in flat.items()}

    def tags(self) -> dict[str, str]:
        """Return what is said about the run: state, failure, digests, and what a reader must know."""
        row = self.row
        title = f"{row.experiment} {row.name}".strip()
        told = {
            "mlflow.runName": f"{title}, {row.split}, seed {row.seed}",
            "boneexp.note": RESEARCH_ONLY,
            "boneexp.data_warning": data_warning(
                {"name": row.data_name, "kind": row.data_kind, "images": row.images}
            ),
            "boneexp.version": boneexp.__version__,
            "boneexp.run": row.run,
            "boneexp.state": row.state,
            "boneexp.failure_kind": row.failure_kind,
            "boneexp.failure": row.failure,
            "boneexp.device": row.device,
            "boneexp.checkpoint_sha256": row.checkpoint_sha256,
            "boneexp.best_epoch": row.best_epoch,
            CURRENT: _yes_no(row.is_current),
            CONFIG_HASH: row.config_hash,
            SETTLED_BY: row.settled_by,
        }
        return {key: _cut(visible(str(value))) for key, value in told.items() if value not in (None, "")}

    def figures(self) -> Iterator[tuple[str, float, int, int]]:
        """Yield (name, value, time in ms, step): each epoch's figures, then those of validation and test."""
        for epoch in self.epochs:
            for name in EPOCH_FIGURES:
                if (value := getattr(epoch, name)) is not None:
                    yield name, value, _ms(epoch.ended_at), epoch.epoch
        settled = _ms(self.row.settled_at)
        for part, rows in self.metrics.items():
            for row in rows:
                name = "/".join(filter(None, [part, row["class_name"], row["metric"]]))
                for suffix, key in (("", "value"), ("/low", "low"), ("/high", "high")):
                    if row[key] is not None:
                        yield f"{name}{suffix}", row[key], settled, 0


def _record(connection: sqlite3.Connection, row: SettledRun) -> _Record:
    run_id = row.run
    with read_snapshot(connection):
        return _Record(
            row=row,
            epochs=epochs_of_run(connection, run_id),
            metrics={part: metric_rows(connection, run_id, part) for part in ("val", "test")},
            files=files_of_run(connection, run_id),
        )


class _Store:
    """An MLflow store, and which of our runs it has."""

    def __init__(self, client: Any, artifact_root: str | None) -> None:
        """Write through `client`; artifacts go to `artifact_root`, or where the server puts them."""
        self._client, self._artifact_root = client, artifact_root
        self._known: dict[str, dict[str, Any]] = {}  # experiment id -> config hash -> MLflow run

    def write(self, record: _Record, artifacts: Path, with_checkpoints: bool) -> str:
        """Write a run unless it is there; return what was done: new, replaced, completed or unchanged."""
        plain, checkpoints = _files(record, artifacts, with_checkpoints)
        experiment = self._experiment(record.row)
        known = self._runs(experiment).get(record.row.config_hash)
        if known is not None and _is_same(known, record):
            return self._brought_up_to_date(known, record, checkpoints)
        if known is not None:
            self._client.delete_run(known.info.run_id)
        self._write_anew(experiment, record, [*plain, *checkpoints])
        return "new" if known is None else "replaced"

    def _write_anew(self, experiment: str, record: _Record, files: Sequence[Path]) -> None:
        from mlflow.entities import Metric, Param

        row = record.row
        start = _ms(row.started_at or row.queued_at)
        made = self._client.create_run(experiment, start_time=start, tags=record.tags())
        run_id = made.info.run_id
        for params in _in_parts(record.params().items(), 90):
            self._client.log_batch(run_id, params=[Param(*each) for each in params])
        for figures in _in_parts(record.figures(), 900):
            self._client.log_batch(run_id, metrics=[Metric(*each) for each in figures])
        self._log(run_id, files)
        self._client.set_terminated(run_id, STATUS[row.state], _ms(row.settled_at))
        self._client.set_tag(run_id, COMPLETE, "yes")

    def _brought_up_to_date(self, known: Any, record: _Record, checkpoints: Sequence[Path]) -> str:
        """Leave a run that is there as it is, but for what may change of a settled one."""
        current = _yes_no(record.row.is_current)
        if known.data.tags.get(CURRENT) != current:
            self._client.set_tag(known.info.run_id, CURRENT, current)
        if not checkpoints or CHECKPOINTS in known.data.tags:
            return "unchanged"
        self._log(known.info.run_id, checkpoints)
        return "completed"

    def _log(self, run_id: str, files: Sequence[Path]) -> None:
        for path in files:
            self._client.log_artifact(run_id, str(path))
        if any(path.suffix == ".pt" for path in files):
            self._client.set_tag(run_id, CHECKPOINTS, "yes")

    def _experiment(self, row: SettledRun) -> str:
        """Return the experiment of a dataset; one that is not there yet is made."""
        name = f"boneexp {visible(row.data_name)} {row.data_fingerprint[:12]}"
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        told = {"boneexp.note": RESEARCH_ONLY, "boneexp.data_fingerprint": row.data_fingerprint}
        told["boneexp.data_kind"] = row.data_kind
        return str(self._client.create_experiment(name, artifact_location=self._artifact_root, tags=told))

    def _runs(self, experiment: str) -> dict[str, Any]:
        """Return the runs of ours that an experiment has, by config hash."""
        if experiment not in self._known:
            found: dict[str, Any] = {}
            token: str | None = None
            while token != "":
                page = self._client.search_runs([experiment], max_results=1000, page_token=token)
                found |= {run.data.tags[CONFIG_HASH]: run for run in page if CONFIG_HASH in run.data.tags}
                token = page.token or ""
            self._known[experiment] = found
        return self._known[experiment]


def _opened(target: str) -> _Store:
    """Return the store; of a folder, `mlflow.db` and `artifacts/` in it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers of each use
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise BoneexpError(
            "MLflow is not installed; install it (the extra boneexp[mlflow]) with: pip install mlflow-skinny"
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if "://" in target:
        database = urlsplit(target).path[1:] if target.startswith("sqlite:") else ""
        beside = (Path(database).resolve().parent / "artifacts").as_uri() if database else None
        return _Store(MlflowClient(tracking_uri=target), beside)
    folder = Path(target).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    return _Store(client, (folder / "artifacts").as_uri())


@contextmanager
def _problems_said(target: str) -> Iterator[None]:
    """Say what a store does not take in one sentence, without the credentials of its address."""
    try:
        yield
    except BoneexpError:
        raise
    except Exception as error:  # noqa: BLE001 - what a store raises may hold its password
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        for secret in _secrets(target):
            said = said.replace(secret, "***")
        said = _CREDENTIALS.sub("***@", said)
        raise BoneexpError(
            f"MLflow at {without_credentials(target)} did not take it: {said}; what was written whole stays, "
            "and the same command writes the rest"
        ) from None


def _secrets(target: str) -> list[str]:
    """Return what an address may hold and no message may, the longest first."""
    if "://" not in target:
        return []
    parts = urlsplit(target)
    found = {parts.query, parts.username, parts.password, *(value for _, value in parse_qsl(parts.query))}
    written = {each for each in found if each} | {unquote(each) for each in found if each}
    return sorted(written, key=len, reverse=True)


def _files(record: _Record, artifacts: Path, with_checkpoints: bool) -> tuple[list[Path], list[Path]]:
    """Return a run's tables and figures, and its best weights where they are wanted, each as recorded.

    Raises:
        Damaged: one is gone, or not what was recorded, or a symbolic link is in the way.
    """
    wanted: list[list[Path]] = [[], []]
    for row in record.files:
        is_checkpoint = row.kind in CHECKPOINT_KINDS
        if is_checkpoint and not (with_checkpoints and row.kind == "best checkpoint"):
            continue
        path = inside(artifacts, row.path)
        if not path.is_file() or sha256_of(path) != row.sha256:
            raise Damaged(f"{path} is gone or not what was recorded; see what is wrong with: boneexp doctor")
        wanted[is_checkpoint].append(path)
    return wanted[0], wanted[1]


def _is_same(known: Any, record: _Record) -> bool:
    tags = known.data.tags
    return COMPLETE in tags and (tags[CONFIG_HASH], tags.get(SETTLED_BY)) == record.identity


def _in_parts(items: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Yield lists of at most so many: MLflow takes 100 parameters and 1000 figures at a time."""
    left = iter(items)
    while part := list(islice(left, most)):
        yield part


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _yes_no(value: object) -> str:
    return "yes" if value else "no"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
