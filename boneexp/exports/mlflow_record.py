"""What a settled run is in MLflow: parameters, tags, and metrics of each epoch and at the end."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import boneexp
from boneexp.comparison.references import data_warning
from boneexp.ledger.database import read_snapshot
from boneexp.ledger.queries.attempts import Epoch, epochs_of_run
from boneexp.ledger.queries.datasets import Dataset
from boneexp.ledger.queries.figures import metric_rows
from boneexp.ledger.queries.files import RunFile, files_of_run
from boneexp.ledger.queries.finished import SettledRun
from boneexp.ledger.slice import shown_path
from boneexp.text.escaping import visible
from boneexp.text.labels import RESEARCH_ONLY

EPOCH_METRICS = ("train_loss", "val_loss", "val_accuracy", "val_macro_auroc", "learning_rate", "duration_s")
CONFIG_HASH, SETTLED_BY, CURRENT = "boneexp.config_hash", "boneexp.settled_by", "boneexp.current"
LONGEST_VALUE = 5000  # of a tag or parameter; what is longer is cut


def read_record(connection: sqlite3.Connection, run: SettledRun) -> "Record":
    """Return a settled run with its epochs, metrics and files, as the ledger has them at one moment."""
    with read_snapshot(connection):
        return Record(
            run=run,
            epochs=epochs_of_run(connection, run.run),
            final_metrics=tuple(_final_metrics(connection, run)),
            files=files_of_run(connection, run.run),
        )


def _final_metrics(connection: sqlite3.Connection, run: SettledRun) -> Iterator["LoggedMetric"]:
    for part in ("val", "test"):
        for row in metric_rows(connection, run.run, part):
            name = "/".join(filter(None, [part, row.class_name, row.metric]))
            for suffix, value in (("", row.value), ("/low", row.low), ("/high", row.high)):
                if value is not None:
                    yield LoggedMetric(f"{name}{suffix}", value, milliseconds(run.settled_at), 0)


@dataclass(frozen=True)
class LoggedMetric:
    """One metric in the terms of MLflow."""

    key: str
    value: float
    timestamp: int  # ms
    step: int


@dataclass(frozen=True)
class Record:
    """One settled run, as the ledger has it at one moment."""

    run: SettledRun
    epochs: Sequence[Epoch]
    final_metrics: Sequence[LoggedMetric]
    files: Sequence[RunFile]

    def params(self) -> dict[str, str]:
        """Return settings, split and seed, flat; where the data are decides nothing and is left out."""
        spec = self.run.spec
        settings = dict(spec["settings"])
        settings["data"] = {key: value for key, value in settings["data"].items() if key != "root"}
        if isinstance(settings["model"]["pretrained"], str):
            pretrained = shown_path(settings["model"]["pretrained"])
            settings["model"] = {**settings["model"], "pretrained": pretrained}
        name = settings.pop("name")
        settings.pop("notes")
        flat = {
            "experiment": spec["experiment"],
            "name": name,
            "seed": spec["seed"],
            **_flat(settings),
            **_flat({"split": spec["split"]}),
            **{key: spec[key] for key in ("data_fingerprint", "split_digest", "weights_sha256")},
            "config_hash": self.run.config_hash,
        }
        return {key: _cut(str(value)) for key, value in flat.items()}

    def tags(self) -> dict[str, str]:
        """Return state, failure, digests, and what a reader must know of the data."""
        run = self.run
        title = f"{run.experiment} {run.name}".strip()
        data = Dataset(run.data_fingerprint, run.data_name, run.data_kind, run.images)
        tags = {
            "mlflow.runName": f"{title}, {run.split}, seed {run.seed}",
            "boneexp.note": RESEARCH_ONLY,
            "boneexp.data_warning": data_warning(data),
            "boneexp.version": boneexp.__version__,
            "boneexp.run": run.run,
            "boneexp.state": run.state,
            "boneexp.failure_kind": run.failure_kind,
            "boneexp.failure": run.failure,
            "boneexp.device": run.device,
            "boneexp.checkpoint_sha256": run.checkpoint_sha256,
            "boneexp.best_epoch": run.best_epoch,
            CURRENT: yes_no(run.is_current),
            CONFIG_HASH: run.config_hash,
            SETTLED_BY: run.settled_by,
        }
        return {key: _cut(visible(str(value))) for key, value in tags.items() if value not in (None, "")}

    def metrics(self) -> Iterator[LoggedMetric]:
        """Yield each epoch's metrics, then those of the validation and the test set."""
        for epoch in self.epochs:
            for name in EPOCH_METRICS:
                if (value := getattr(epoch, name)) is not None:
                    yield LoggedMetric(name, value, milliseconds(epoch.ended_at), epoch.epoch)
        yield from self.final_metrics


def yes_no(value: object) -> str:
    """Return a truth value as a tag has it."""
    return "yes" if value else "no"


def milliseconds(seconds: float) -> int:
    """Return a time as MLflow has it."""
    return round(seconds * 1000)


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested settings under dotted names."""
    found: dict[str, object] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
