"""One attempt at one run: claimed, kept under its lease, worked on in a child process, settled.

Here ledger and learning meet: the child knows no ledger, and this process knows no torch.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boneexp.artifacts import RunFolder
from boneexp.computing import Computing
from boneexp.engines.child import Child
from boneexp.engines.lease import LEASE_S, Lease, kept_lease
from boneexp.engines.limit import GRACE_S, TimeLimit
from boneexp.engines.work import work
from boneexp.errors import BoneexpError, Busy, Damaged, LedgerUnusable
from boneexp.failures import failure_of
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim
from boneexp.ledger.settling import fail, finish, keep_epoch, lose, put_back
from boneexp.results import EpochRecord, Failed, Finished, Killed, News, Outcome, Stopped

Announce = Callable[[News], None]
TICK_S = 0.2
LOST, CANCELLED = COUNTS_NO_MORE = ("the lease was lost", "cancelled")  # why an attempt's work is for nothing


class StopFlag:
    """Set by a signal, and looked at by every worker; a second Ctrl-C means at once."""

    def __init__(self) -> None:
        """Begin unset."""
        self._set, self._at_once = threading.Event(), threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask for the end; the first reason stays. Ctrl-C after that asks for it at once."""
        if self.is_set() and reason == signal.SIGINT.name:
            self._at_once.set()
        self.reason = self.reason or reason
        self._set.set()

    def is_set(self) -> bool:
        """Tell whether the end was asked for."""
        return self._set.is_set()

    def is_at_once(self) -> bool:
        """Tell whether nothing shall be waited for any more."""
        return self._at_once.is_set()


@dataclass(frozen=True)
class Workplace:
    """What every attempt of a worker shares."""

    ledger: Path
    artifacts: Path
    computing: Computing
    announce: Announce
    stop: StopFlag = field(default_factory=StopFlag)
    lease_s: float = LEASE_S
    root: str = ""  # where the data lie now; "" for where each run was queued with
    threads: int = 0  # of each attempt; 0 leaves it to torch
    work: Callable[..., Outcome] = work  # what a child does


@dataclass(frozen=True)
class Settled:
    """How an attempt ended, and the state that its run is in since."""

    outcome: Outcome
    state: str


def attempt(place: Workplace, claim: Claim) -> Settled | None:
    """Run the claim and settle it; return how it ended, or None when the lease was lost on the way.

    What goes wrong beside the run is raised, once the run has been put back or, for what is no BoneexpError,
    has been recorded as failed, so that the next worker does not meet the same again.
    """
    folder = RunFolder(place.artifacts.resolve(), claim.folder, claim.attempt)
    with run_log(folder, claim) as log:
        report = Report(place, claim, log)
        report.tell("claimed", f"attempt {claim.attempt}")
        try:
            settled = _worked_and_settled(place, claim, folder, report)
        except Exception as error:
            outcome = (
                Stopped(f"interrupted: {error}") if isinstance(error, BoneexpError) else failure_of(error)
            )
            log.error("%s", outcome.reason if isinstance(outcome, Stopped) else outcome.traceback)
            with suppress(Exception):  # the ledger itself may be what is wrong
                _write_end(place.ledger, claim, folder, outcome)
            raise
        report.settled(settled)
        if settled is None or settled.state == "succeeded":
            for own in [folder] if settled is None else [*folder.earlier(), folder]:
                own.drop()
    return settled


def _worked_and_settled(
    place: Workplace, claim: Claim, folder: RunFolder, report: "Report"
) -> Settled | None:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.drop_leftovers()
        child = Child(
            place.work,
            (claim.spec, folder, place.computing, claim.micro_batch),
            place.threads,
            folder.file("crash.txt"),
        )
    except (OSError, Damaged) as error:  # a link in the folder's way, perhaps
        return _settle(place.ledger, claim, report, folder, failure_of(error))
    try:
        with kept_lease(place.ledger, claim, place.lease_s, child.is_working) as lease:
            report.lease = lease
            outcome = outcome_of(child, report, place.stop)
            while True:
                try:
                    return _settle(place.ledger, claim, report, folder, outcome)
                except Busy:  # somebody holds the ledger for long: a result is worth waiting for
                    if lease.lost.is_set():
                        raise
    finally:
        child.close()


def outcome_of(child: Child, report: "Report", stop: StopFlag) -> Outcome:
    """Pass on what the child tells until it has ended, one way or another.

    One that does not stop is killed after a grace where its time is over, or nothing of it counts any more.
    """
    reason, asked_s, limit = "", 0.0, report.limit
    try:
        while True:
            if not reason and (reason := report.why_stop()):
                child.ask_to_stop(reason)
                asked_s = limit.clock()
            in_vain = reason in COUNTS_NO_MORE and limit.clock() - asked_s > GRACE_S
            if in_vain or stop.is_at_once() or limit.is_overdue():
                child.kill()
            name, content = child.message(TICK_S) or ("", ())
            if name == "outcome":
                outcome: Outcome = content[0]
                timed_out = isinstance(outcome, Stopped) and reason == limit.reason()
                return limit.failure(report.run_id) if timed_out else outcome
            if name == "problem":
                return failure_of(content[0])
            report.hear(name, content)
    except EOFError:
        if stop.is_at_once():
            return Stopped(f"{stop.reason}, twice")
        return limit.failure(report.run_id) if limit.is_overdue() else child.death()


def _settle(
    ledger: Path, claim: Claim, report: "Report", folder: RunFolder, outcome: Outcome
) -> Settled | None:
    """Write the end of the attempt; what cannot be written of it, or put in place, fails the run instead.

    That is tried once: an error that comes again is raised, as is a ledger that cannot be written at all.
    """
    try:
        return _write_end(ledger, claim, folder, outcome, report.unwritten)
    except (Busy, LedgerUnusable):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the run's end
        failed = failure_of(error)
        report.log.error("%s", failed.traceback)
        return _write_end(ledger, claim, folder, failed)


def _write_end(
    ledger: Path, claim: Claim, folder: RunFolder, outcome: Outcome, epochs: Sequence[EpochRecord] = ()
) -> Settled | None:
    """Write the end of the attempt in one transaction, in which its files get their final names, too."""
    with writing(ledger) as connection:
        for record in epochs:
            keep_epoch(connection, claim, record, time.time())
        state = _settled_state(connection, claim, outcome)
        if state == "succeeded" and isinstance(outcome, Finished):
            folder.publish(outcome.files)
    return None if state is None else Settled(outcome, state)


def _settled_state(connection: Any, claim: Claim, outcome: Outcome) -> str | None:
    now = time.time()
    if isinstance(outcome, Finished):
        return finish(connection, claim, outcome, now)
    if isinstance(outcome, Failed):
        return fail(connection, claim, outcome, now)
    if isinstance(outcome, Killed):
        return lose(connection, claim, outcome, now)
    return put_back(connection, claim, outcome, now)


class Report:
    """What the run tells, passed on to the ledger, the log and the watcher; and the word to stop."""

    def __init__(self, place: Workplace, claim: Claim, log: logging.Logger) -> None:
        """Begin with nothing heard."""
        self._place, self._claim, self.log = place, claim, log
        self._planned = claim.spec.settings.training.epochs
        self._durations_s: list[float] = []
        self._unwritable = ""
        self.run_id = claim.run_id
        self.limit = TimeLimit(claim.spec.settings.training.time_limit_hours, claim.worked_s)
        self.lease = Lease()
        self.unwritten: list[EpochRecord] = []  # epochs that the ledger has yet to hear of

    def tell(self, kind: str, text: str = "", **counts: Any) -> None:
        """Pass one thing that happened on to the watcher, and its text to the log."""
        spec = self._claim.spec
        title = f"{spec.experiment} {spec.split.name} seed {spec.seed}"
        if text:
            self.log.info("%s: %s", kind, text)
        news = News(self._claim.run_id, title, kind, text, epochs_planned=self._planned, **counts)
        with suppress(OSError):  # the terminal may be gone
            self._place.announce(news)

    def hear(self, name: str, content: tuple[Any, ...]) -> None:
        """Take in one message of the child."""
        hearers: dict[str, Callable[..., None]] = {
            "stage": lambda text: self.tell("stage", text),
            "counted": lambda done, total: self.tell("counted", done=done, total=total),
            "restored": self._restored,
            "step": self._step,
            "epoch": self._epoch,
        }
        if name:
            hearers[name](*content)

    def why_stop(self) -> str:
        """Return why the run must stop; "" while it need not."""
        if self.lease.lost.is_set():
            return LOST
        if self.lease.cancelled.is_set():
            return CANCELLED
        if self.limit.is_over():
            return self.limit.reason()
        return self._place.stop.reason or self._unwritable

    def settled(self, settled: Settled | None) -> None:
        """Say how it ended."""
        self.tell("settled", self._ending(settled))

    def _ending(self, settled: Settled | None) -> str:
        if settled is None:
            return (
                "lease lost; another worker has this run, or it was cancelled: nothing of this attempt counts"
            )
        outcome, retry = settled.outcome, f"boneexp retry {self.run_id}"
        if isinstance(outcome, Failed | Killed):
            self.log.error("%s", outcome.traceback)
        if settled.state == "cancelled":
            return f"cancelled; its attempt {_came_to(outcome)}; queue it again, from here, with: {retry}"
        if settled.state == "queued":
            after = {Failed: "goes on with half the micro-batch", Killed: "goes on from its last checkpoint"}
            again = "it goes on from here with: boneexp run --all"
            return f"{_came_to(outcome)}; {after.get(type(outcome), again)}"
        given_up = f"; given up; see what kills it, then: {retry}" if isinstance(outcome, Killed) else ""
        return f"{_came_to(outcome)}{given_up}"

    def _restored(self, records: list[EpochRecord]) -> None:
        self._durations_s = [record.duration_s for record in records]
        if records:
            self.tell("resumed", f"goes on after epoch {len(records)}", done=len(records))
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
        """Keep the epoch in the ledger; a ledger that cannot be written is not the run's failure."""
        self.unwritten.append(record)
        try:
            with writing(self._place.ledger) as connection:
                kept = [keep_epoch(connection, self._claim, each, time.time()) for each in self.unwritten]
        except Busy:
            return  # somebody holds the ledger for long; the epochs are written with the next
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


def _came_to(outcome: Outcome) -> str:
    """Say how an attempt ended."""
    if isinstance(outcome, Finished):
        return f"finished; {_headline(outcome)}"
    if isinstance(outcome, Failed):
        return f"failed ({outcome.kind}): {outcome.message}"
    return f"killed: {outcome.reason}" if isinstance(outcome, Killed) else f"stopped ({outcome.reason})"


def _headline(finished: Finished) -> str:
    figures = {(each.metric, each.class_name): each.value for each in finished.metrics["test"]}
    accuracy, auroc = figures[("accuracy", "")], figures[("macro_auroc", "")]
    shown = [
        f"{name} {value:.3f}"
        for name, value in (("accuracy", accuracy), ("macro AUROC", auroc))
        if value is not None
    ]
    return f"test {', '.join(shown)}, best epoch {finished.best_epoch + 1}"


class _LogFile(logging.FileHandler):
    """The run's log; a disk that takes no more lines is no reason to stop or to complain at each."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing."""


@contextmanager
def run_log(folder: RunFolder, claim: Claim) -> Iterator[logging.Logger]:
    """Yield a logger that writes the run's own log and nothing else; earlier attempts' lines stay.

    Where no log can be written, the attempt says nothing there and meets the same cause in its own folder.
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
