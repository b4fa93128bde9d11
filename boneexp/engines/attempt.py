"""One attempt at one run: claimed, kept under its lease, run, settled. Here ledger and learning meet."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boneexp import experiment
from boneexp.artifacts import RunFolder
from boneexp.engines.lease import Lease, kept_lease
from boneexp.errors import BoneexpError
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim
from boneexp.ledger.settling import fail, finish, keep_epoch, put_back
from boneexp.results import EpochRecord, Failed, Finished, News, Outcome, Stopped

Announce = Callable[[News], None]


@dataclass(frozen=True)
class Workplace:
    """What every attempt of a worker shares."""

    ledger: Path
    artifacts: Path
    device: str
    announce: Announce
    stop: "StopFlag"


class StopFlag:
    """Set once by a signal (or by the parent process); read at every step."""

    def __init__(self) -> None:
        """Begin unset."""
        self._set = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask for the end; the first reason stays."""
        self.reason = self.reason or reason
        self._set.set()

    def is_set(self) -> bool:
        """Tell whether the end was asked for."""
        return self._set.is_set()


def attempt(place: Workplace, claim: Claim) -> Outcome | None:
    """Run the claim and settle it; return the outcome, or None when the lease was lost on the way."""
    folder = RunFolder(place.artifacts, claim.folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.drop_leftovers()
    with kept_lease(place.ledger, claim) as lease, _run_log(folder, claim) as log:
        report = _Report(place, claim, lease, log)
        report.tell("claimed", f"attempt {claim.attempt}")
        try:
            outcome = experiment.run(claim.spec, folder, place.device, claim.micro_batch, report)
        except BaseException:  # Ctrl-C a second time: nothing more is awaited, the run goes back
            _settle(place.ledger, claim, Stopped("interrupted"))
            raise
    held = _settle(place.ledger, claim, outcome)
    report.settled(outcome, held)
    return outcome if held else None


def _settle(ledger: Path, claim: Claim, outcome: Outcome) -> bool:
    with writing(ledger) as connection:
        if isinstance(outcome, Finished):
            return finish(connection, claim, outcome, time.time())
        if isinstance(outcome, Failed):
            return fail(connection, claim, outcome, time.time())
        return put_back(connection, claim, outcome, time.time())


class _Report:
    """What the run tells, passed on to the ledger, the log and the watcher; and the word to stop."""

    def __init__(self, place: Workplace, claim: Claim, lease: Lease, log: logging.Logger) -> None:
        self._place, self._claim, self._lease, self._log = place, claim, lease, log
        self._planned = claim.spec.settings.training.epochs
        self._durations_s: list[float] = []

    def tell(self, kind: str, text: str = "", **counts: Any) -> None:
        spec = self._claim.spec
        title = f"{spec.experiment} {spec.split.name} seed {spec.seed}"
        if text:
            self._log.info("%s: %s", kind, text)
        news = News(self._claim.run_id, title, kind, text, epochs_planned=self._planned, **counts)
        self._place.announce(news)

    def stage(self, text: str) -> None:
        self.tell("stage", text)

    def counted(self, done: int, total: int) -> None:
        self.tell("counted", done=done, total=total)

    def restored(self, records: list[EpochRecord]) -> bool:
        self._durations_s = [record.duration_s for record in records]
        if records:
            self.tell("resumed", f"goes on after epoch {len(records)}", done=len(records))
        return all(self._kept(record) for record in records) and self._go_on()

    def step(self, epoch: int, done: int, total: int) -> bool:
        self.tell("step", epoch=epoch + 1, done=done, total=total, left_s=self._left_s(epoch + done / total))
        return self._go_on()

    def epoch(self, record: EpochRecord) -> bool:
        if not self._kept(record):
            return False
        self._durations_s.append(record.duration_s)
        self._log.info(
            "epoch %d: training loss %.4f, validation loss %.4f, validation accuracy %.3f, %.1f s",
            record.epoch + 1,
            record.train_loss,
            record.val_loss,
            record.val_accuracy,
            record.duration_s,
        )
        self.tell("epoch", done=record.epoch + 1, record=record, left_s=self._left_s(record.epoch + 1))
        return self._go_on()

    def why_stopped(self) -> str:
        if self._lease.lost.is_set():
            return "the lease was lost"
        if self._lease.cancelled.is_set():
            return "cancelled"
        return self._place.stop.reason or "the ledger could not be written"

    def settled(self, outcome: Outcome, held: bool) -> None:
        if not held:
            text = "lease lost; another worker has this run, and nothing of this attempt counts"
        elif isinstance(outcome, Finished):
            text = f"finished; {_headline(outcome)}"
        elif isinstance(outcome, Failed):
            text = f"failed ({outcome.kind}): {outcome.message}"
            self._log.error("%s", outcome.traceback)
        else:
            text = f"stopped ({outcome.reason}); it goes on from here with: boneexp run --all"
        self.tell("settled", text)

    def _kept(self, record: EpochRecord) -> bool:
        """Keep the epoch in the ledger; a ledger that cannot be written is not the run's failure."""
        try:
            with writing(self._place.ledger) as connection:
                held = keep_epoch(connection, self._claim, record, time.time())
        except BoneexpError as error:
            self._log.error("the ledger cannot be written: %s", error)
            return False
        if not held:
            self._lease.lost.set()
        return held

    def _go_on(self) -> bool:
        return not (self._lease.lost.is_set() or self._lease.cancelled.is_set() or self._place.stop.is_set())

    def _left_s(self, epochs_done: float) -> float | None:
        """Return the time the planned epochs will take; early stopping may end them sooner."""
        if not self._durations_s:
            return None
        mean_s = sum(self._durations_s) / len(self._durations_s)
        return mean_s * max(self._planned - epochs_done, 0)


def _headline(finished: Finished) -> str:
    figures = {(each.metric, each.class_name): each.value for each in finished.metrics["test"]}
    accuracy, auroc = figures[("accuracy", "")], figures[("macro_auroc", "")]
    shown = [
        f"{name} {value:.3f}"
        for name, value in (("accuracy", accuracy), ("macro AUROC", auroc))
        if value is not None
    ]
    return f"test {', '.join(shown)}, best epoch {finished.best_epoch + 1}"


@contextmanager
def _run_log(folder: RunFolder, claim: Claim) -> Iterator[logging.Logger]:
    """Yield a logger that writes the run's own log and nothing else; earlier attempts' lines stay."""
    log = logging.Logger(f"boneexp.run{claim.run_id}", logging.INFO)
    handler = logging.FileHandler(folder.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter(f"%(asctime)s attempt {claim.attempt} %(message)s"))
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()
