"""`export --mlflow`: every settled run as a run in MLflow, written once.

A run there carries the config hash and the hash of the event that settled it here. What has both is left
alone, what was settled anew since is written again, and what an export that was cut short left is, too.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from boneexp.errors import BoneexpError, Damaged, NothingToDo
from boneexp.exports.mlflow_record import (
    CONFIG_HASH,
    CURRENT,
    SETTLED_BY,
    Record,
    milliseconds,
    read_record,
    yes_no,
)
from boneexp.files.atomic import inside, sha256_of
from boneexp.ledger.database import reading
from boneexp.ledger.quarantine import require_untouched
from boneexp.ledger.queries.finished import SettledRun, settled_runs
from boneexp.text.escaping import visible
from boneexp.text.labels import RESEARCH_ONLY

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
COMPLETE, CHECKPOINTS = "boneexp.complete", "boneexp.checkpoints"
_CREDENTIALS = re.compile(r"(?<=//)[^/\s@]+@")
T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """How many runs were new in the store, written again, given their checkpoints, or there already."""

    store: str
    new: int
    replaced: int
    completed: int
    unchanged: int

    def sentence(self) -> str:
        """Return it in words."""
        more = f", {self.completed} given their checkpoints" if self.completed else ""
        return f"{self.new} runs new, {self.replaced} written again{more}, {self.unchanged} there already"

    def as_json(self) -> dict[str, object]:
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
        with _without_secrets(target):
            store = _open_store(target)
            done = Counter(
                store.write(read_record(connection, run), artifacts, with_checkpoints) for run in runs
            )
    counts = {word: done[word] for word in ("new", "replaced", "completed", "unchanged")}
    return Written(store=without_credentials(target), **counts)


def without_credentials(target: str) -> str:
    """Return a tracking URI without user, password and query."""
    if "://" not in target:
        return target
    return _CREDENTIALS.sub("", target).partition("?")[0]


class _Store:
    """An MLflow store, and which of our runs it has."""

    def __init__(self, client: "MlflowClient", artifact_root: str | None) -> None:
        """Write through `client`; artifacts go to `artifact_root`, or where the server puts them."""
        self._client, self._artifact_root = client, artifact_root
        self._known: dict[str, dict[str, Run]] = {}  # experiment id -> config hash -> MLflow run

    def write(self, record: Record, artifacts: Path, with_checkpoints: bool) -> str:
        """Write a run unless it is there; return what was done: new, replaced, completed or unchanged."""
        plain, checkpoints = _files(record, artifacts, with_checkpoints)
        experiment = self._experiment(record.run)
        known = self._runs(experiment).get(record.run.config_hash)
        if known is not None and _is_same(known, record):
            return self._update(known, record, checkpoints)
        if known is not None:
            self._client.delete_run(known.info.run_id)
        self._create(experiment, record, [*plain, *checkpoints])
        return "new" if known is None else "replaced"

    def _create(self, experiment: str, record: Record, files: Sequence[Path]) -> None:
        from mlflow.entities import Metric, Param

        run = record.run
        start = milliseconds(run.started_at or run.queued_at)
        run_id = self._client.create_run(experiment, start_time=start, tags=record.tags()).info.run_id
        for params in _batches(record.params().items(), 90):
            self._client.log_batch(run_id, params=[Param(*each) for each in params])
        for metrics in _batches(record.metrics(), 900):
            self._client.log_batch(run_id, metrics=[Metric(*astuple(each)) for each in metrics])
        self._log(run_id, files)
        self._client.set_terminated(run_id, STATUS[run.state], milliseconds(run.settled_at))
        self._client.set_tag(run_id, COMPLETE, "yes")

    def _update(self, known: "Run", record: Record, checkpoints: Sequence[Path]) -> str:
        """Leave a run that is there as it is, but for what may change of a settled one."""
        current = yes_no(record.run.is_current)
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

    def _experiment(self, run: SettledRun) -> str:
        """Return the experiment of a dataset; one that is not there yet is made."""
        name = f"boneexp {visible(run.data_name)} {run.data_fingerprint[:12]}"
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        tags = {
            "boneexp.note": RESEARCH_ONLY,
            "boneexp.data_fingerprint": run.data_fingerprint,
            "boneexp.data_kind": run.data_kind,
        }
        return str(self._client.create_experiment(name, artifact_location=self._artifact_root, tags=tags))

    def _runs(self, experiment: str) -> dict[str, "Run"]:
        """Return the runs of ours that an experiment has, by config hash."""
        if experiment not in self._known:
            found: dict[str, Run] = {}
            token: str | None = None
            while token != "":
                page = self._client.search_runs([experiment], max_results=1000, page_token=token)
                found |= {run.data.tags[CONFIG_HASH]: run for run in page if CONFIG_HASH in run.data.tags}
                token = page.token or ""
            self._known[experiment] = found
        return self._known[experiment]


def _open_store(target: str) -> _Store:
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
def _without_secrets(target: str) -> Iterator[None]:
    """Turn what a store raises into one sentence without the credentials of its address."""
    try:
        yield
    except BoneexpError:
        raise
    except Exception as error:  # noqa: BLE001 - what a store raises may hold its password
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        for secret in _secrets(target):
            message = message.replace(secret, "***")
        message = _CREDENTIALS.sub("***@", message)
        raise BoneexpError(
            f"MLflow at {without_credentials(target)} did not take it: {message}; "
            "what was written whole stays, and the same command writes the rest"
        ) from None


def _secrets(target: str) -> list[str]:
    """Return what an address may hold and no message may, the longest first."""
    if "://" not in target:
        return []
    parts = urlsplit(target)
    found = {parts.query, parts.username, parts.password, *(value for _, value in parse_qsl(parts.query))}
    written = {each for each in found if each} | {unquote(each) for each in found if each}
    return sorted(written, key=len, reverse=True)


def _files(record: Record, artifacts: Path, with_checkpoints: bool) -> tuple[list[Path], list[Path]]:
    """Return a run's tables and figures, and its best weights where they are wanted, each as recorded.

    Raises:
        Damaged: one is gone, or not what was recorded, or a symbolic link is in the way.
    """
    plain: list[Path] = []
    checkpoints: list[Path] = []
    for file in record.files:
        if file.kind == "last checkpoint" or (file.kind == "best checkpoint" and not with_checkpoints):
            continue
        path = inside(artifacts, file.path)
        if not path.is_file() or sha256_of(path) != file.sha256:
            raise Damaged(f"{path} is gone or not what was recorded; see what is wrong with: boneexp doctor")
        (checkpoints if file.kind == "best checkpoint" else plain).append(path)
    return plain, checkpoints


def _is_same(known: "Run", record: Record) -> bool:
    """Whether the store has this very result, whole."""
    tags, run = known.data.tags, record.run
    return COMPLETE in tags and (tags[CONFIG_HASH], tags.get(SETTLED_BY)) == (run.config_hash, run.settled_by)


def _batches(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield lists of at most so many: MLflow takes 100 parameters and 1000 metrics at a time."""
    left = iter(items)
    while batch := list(islice(left, most)):
        yield batch
