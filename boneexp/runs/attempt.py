"""One attempt at one run: claimed, kept under its lease, worked on in a child process, settled.

Here ledger and learning meet: the child knows no ledger, and this process knows no torch.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from boneexp.errors import BoneexpError, Busy, Damaged, LedgerUnusable
from boneexp.experiment.failures import failure_of
from boneexp.files.folders import RunFolder
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Claim
from boneexp.ledger.settling import fail, finish, keep_epoch, lose, put_back
from boneexp.results import EpochRecord, Failed, Finished, Killed, Outcome, Stopped
from boneexp.runs.children.process import Child
from boneexp.runs.context import COUNTS_NO_MORE, TICK_S, Settled, StopFlag, Workplace
from boneexp.runs.lease import kept_lease
from boneexp.runs.report import Report, run_log
from boneexp.runs.time_limit import GRACE_S


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
