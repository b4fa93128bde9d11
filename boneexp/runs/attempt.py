"""One attempt at one run: claimed, kept under its lease, computed in a child process, settled.

Here ledger and learning meet: the child knows no ledger, and this process knows no torch.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

from boneexp.errors import BoneexpError, Busy, Damaged, LedgerUnusable
from boneexp.experiment.failures import failure_of
from boneexp.files.folders import RunFolder
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim
from boneexp.ledger.settling import fail, finish, keep_epoch, record_death, requeue
from boneexp.results import EpochRecord, Failed, Finished, Killed, Outcome, Stopped
from boneexp.runs.children.process import Child
from boneexp.runs.context import COUNTS_NO_MORE, TICK_S, Settled, StopFlag, WorkerContext
from boneexp.runs.lease import kept_lease
from boneexp.runs.report import Report, run_log
from boneexp.runs.time_limit import GRACE_S


def attempt(context: WorkerContext, claim: Claim) -> Settled | None:
    """Run the claim and settle it; return how it ended, or None when the lease was lost on the way.

    An error outside the run is raised once the run has been requeued, or recorded as failed where it is no
    BoneexpError, so that the next worker does not run into it again.
    """
    folder = RunFolder(context.artifacts.resolve(), claim.folder, claim.attempt)
    with run_log(folder, claim) as log:
        report = Report(context, claim, log)
        report.tell("claimed", f"attempt {claim.attempt}")
        try:
            settled = _computed_and_settled(context, claim, folder, report)
        except Exception as error:
            outcome = (
                Stopped(f"interrupted: {error}") if isinstance(error, BoneexpError) else failure_of(error)
            )
            log.error("%s", outcome.reason if isinstance(outcome, Stopped) else outcome.traceback)
            with suppress(Exception):  # the ledger itself may be what is wrong
                _write_end(context.ledger, claim, folder, outcome)
            raise
        report.settled(settled)
        if settled is None or settled.state == "succeeded":
            for own in [folder] if settled is None else [*folder.earlier(), folder]:
                own.drop()
    return settled


def _computed_and_settled(
    context: WorkerContext, claim: Claim, folder: RunFolder, report: Report
) -> Settled | None:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.drop_leftovers()
        child = start_child(context, claim, folder)
    except (OSError, Damaged) as error:  # a link in the folder's way, perhaps
        return _settle(context.ledger, claim, report, folder, failure_of(error))
    try:
        with kept_lease(context.ledger, claim, context.lease_s, child.is_working) as lease:
            report.lease = lease
            outcome = outcome_of(child, report, context.stop)
            while True:
                try:
                    return _settle(context.ledger, claim, report, folder, outcome)
                except Busy:  # somebody holds the ledger for long: a result is worth waiting for
                    if lease.lost.is_set():
                        raise
    finally:
        child.close()


def start_child(context: WorkerContext, claim: Claim, folder: RunFolder) -> Child:
    """Start the process that computes the run."""
    arguments = (claim.spec, folder, context.computing, claim.micro_batch)
    return Child(context.work, arguments, context.threads, folder.file("crash.txt"))


def outcome_of(child: Child, report: Report, stop: StopFlag) -> Outcome:
    """Pass on the child's messages until it has ended, one way or another.

    One that does not stop is killed after a grace period if its time is over or its work counts no more.
    """
    reason, stop_requested_s, limit = "", 0.0, report.limit
    try:
        while True:
            if not reason and (reason := report.why_stop()):
                child.ask_to_stop(reason)
                stop_requested_s = limit.clock()
            in_vain = reason in COUNTS_NO_MORE and limit.clock() - stop_requested_s > GRACE_S
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
    ledger: Path, claim: Claim, report: Report, folder: RunFolder, outcome: Outcome
) -> Settled | None:
    """Write the end of the attempt; if that fails, record the run as failed instead.

    That is tried once: a second error is raised, and so is a ledger that cannot be written at all.
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
    """Write the end of the attempt, and give its files their final names, in one transaction."""
    with writing(ledger) as connection:
        for record in epochs:
            keep_epoch(connection, claim, record, time.time())
        state = _settled_state(connection, claim, outcome)
        if state == "succeeded" and isinstance(outcome, Finished):
            folder.publish(outcome.files)
    return None if state is None else Settled(outcome, state)


def _settled_state(connection: Connection, claim: Claim, outcome: Outcome) -> str | None:
    now = time.time()
    if isinstance(outcome, Finished):
        return finish(connection, claim, outcome, now)
    if isinstance(outcome, Failed):
        return fail(connection, claim, outcome, now)
    if isinstance(outcome, Killed):
        return record_death(connection, claim, outcome, now)
    return requeue(connection, claim, outcome, now)
