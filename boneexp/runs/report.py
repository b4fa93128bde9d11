"""What an attempt reports while it runs: epochs to the ledger, lines to run.log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from boneexp.errors import BoneexpError, Busy, Damaged
from boneexp.files.folders import RunFolder
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim
from boneexp.ledger.settling import keep_epoch
from boneexp.results import EpochRecord, Failed, Finished, Killed, News, Outcome
from boneexp.runs.context import CANCELLED, LOST, Settled, WorkerContext
from boneexp.runs.lease import Lease
from boneexp.runs.time_limit import TimeLimit


class Report:
    """Passes on what the run reports to the ledger, the log and the watcher, and knows why to stop."""

    def __init__(self, context: WorkerContext, claim: Claim, log: logging.Logger) -> None:
        """Begin without epochs."""
        self._context, self._claim, self.log = context, claim, log
        self._planned = claim.spec.settings.training.epochs
        self._durations_s: list[float] = []
        self._unwritable = ""
        self.run_id = claim.run_id
        self.limit = TimeLimit(claim.spec.settings.training.time_limit_hours, claim.worked_s)
        self.lease = Lease()
        self.unwritten: list[EpochRecord] = []  # epochs that are not in the ledger yet

    def tell(self, kind: str, text: str = "", **counts: Any) -> None:
        """Announce one thing that happened, and log its text."""
        spec = self._claim.spec
        title = f"{spec.experiment} {spec.split.name} seed {spec.seed}"
        if text:
            self.log.info("%s: %s", kind, text)
        news = News(self._claim.run_id, title, kind, text, epochs_planned=self._planned, **counts)
        with suppress(OSError):  # the terminal may be gone
            self._context.announce(news)

    def hear(self, name: str, content: tuple[Any, ...]) -> None:
        """Handle one message of the child."""
        handlers: dict[str, Callable[..., None]] = {
            "stage": lambda text: self.tell("stage", text),
            "counted": lambda done, total: self.tell("counted", done=done, total=total),
            "restored": self._restored,
            "step": self._step,
            "epoch": self._epoch,
        }
        if name:
            handlers[name](*content)

    def why_stop(self) -> str:
        """Return why the run must stop; "" while it need not."""
        if self.lease.lost.is_set():
            return LOST
        if self.lease.cancelled.is_set():
            return CANCELLED
        if self.limit.is_over():
            return self.limit.reason()
        return self._context.stop.reason or self._unwritable

    def settled(self, settled: Settled | None) -> None:
        """Announce how it ended."""
        self.tell("settled", self._ending(settled))

    def _ending(self, settled: Settled | None) -> str:
        if settled is None:
            return "lease lost: another worker has this run, or it was cancelled; this attempt does not count"
        outcome, retry = settled.outcome, f"boneexp retry {self.run_id}"
        if isinstance(outcome, Failed | Killed):
            self.log.error("%s", outcome.traceback)
        if settled.state == "cancelled":
            return f"cancelled; its attempt {_how_it_ended(outcome)}; queue it again with: {retry}"
        if settled.state == "queued":
            after = {Failed: "resumes with half the micro-batch", Killed: "resumes from its last checkpoint"}
            again = "resume it with: boneexp run --all"
            return f"{_how_it_ended(outcome)}; {after.get(type(outcome), again)}"
        given_up = f"; given up; see what kills it, then: {retry}" if isinstance(outcome, Killed) else ""
        return f"{_how_it_ended(outcome)}{given_up}"

    def _restored(self, records: list[EpochRecord]) -> None:
        self._durations_s = [record.duration_s for record in records]
        if records:
            self.tell("resumed", f"resuming after epoch {len(records)}", done=len(records))
        for record in records:
            self._keep(record)

    def _step(self, epoch: int, done: int, total: int) -> None:
        self.tell("step", epoch=epoch + 1, done=done, total=total, left_s=self._left_s(epoch + done / total))

    def _epoch(self, record: EpochRecord) -> None:
        self._durations_s.append(record.duration_s)
        self.log.info(
            "epoch %d: training loss %.4f, validation loss %.4f, validation accuracy %.3f, %.1f s",
            record.epoch + 1,
            record.train_loss,
            record.val_loss,
            record.val_accuracy,
            record.duration_s,
        )
        self._keep(record)
        self.tell("epoch", done=record.epoch + 1, record=record, left_s=self._left_s(record.epoch + 1))

    def _keep(self, record: EpochRecord) -> None:
        """Keep the epoch in the ledger; if that cannot be written, the run has not failed."""
        self.unwritten.append(record)
        try:
            with writing(self._context.ledger) as connection:
                kept = [keep_epoch(connection, self._claim, each, time.time()) for each in self.unwritten]
        except Busy:
            return  # another process holds the ledger; the epochs are written with the next
        except BoneexpError as error:
            self._unwritable = f"the ledger cannot be written: {error}"
            return
        self.unwritten.clear()
        if not all(kept):
            self.lease.lost.set()

    def _left_s(self, epochs_done: float) -> float | None:
        """Return the time the planned epochs will take; early stopping may end them sooner."""
        if not self._durations_s:
            return None
        mean_s = sum(self._durations_s) / len(self._durations_s)
        return mean_s * max(self._planned - epochs_done, 0)


def _how_it_ended(outcome: Outcome) -> str:
    """Return how an attempt ended, in words."""
    if isinstance(outcome, Finished):
        return f"finished; {headline(outcome)}"
    if isinstance(outcome, Failed):
        return f"failed ({outcome.kind}): {outcome.message}"
    return f"killed: {outcome.reason}" if isinstance(outcome, Killed) else f"stopped ({outcome.reason})"


def headline(finished: Finished) -> str:
    """Return the two metrics that sum up a finished run, and its best epoch."""
    metrics = {(each.metric, each.class_name): each.value for each in finished.metrics["test"]}
    accuracy, auroc = metrics[("accuracy", "")], metrics[("macro_auroc", "")]
    shown = [
        f"{name} {value:.3f}"
        for name, value in (("accuracy", accuracy), ("macro AUROC", auroc))
        if value is not None
    ]
    return f"test {', '.join(shown)}, best epoch {finished.best_epoch + 1}"


class _LogFile(logging.FileHandler):
    """The run's log; a full disk is no reason to stop, or to complain at each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore it."""


@contextmanager
def run_log(folder: RunFolder, claim: Claim) -> Iterator[logging.Logger]:
    """Yield a logger that writes the run's own log and nothing else; earlier attempts' lines stay.

    Where no log can be written, the attempt fails of the same cause in its own folder.
    """
    log = logging.Logger(f"boneexp.run{claim.run_id}", logging.INFO)
    log.addHandler(logging.NullHandler())
    with suppress(OSError, Damaged):
        folder.home.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(folder.log, encoding="utf-8")
        handler.setFormatter(logging.Formatter(f"%(asctime)s attempt {claim.attempt} %(message)s"))
        log.addHandler(handler)
    try:
        yield log
    finally:
        for each in log.handlers:
            with suppress(OSError):
                each.close()
