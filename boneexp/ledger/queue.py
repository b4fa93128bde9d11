"""The queue inside the ledger: claim, renew, retry, cancel.

A claim is a lease with a fence. Whoever holds it renews it; when it runs out, or its process is gone, the
run is anyone's again and goes on from its last checkpoint. Every later write names the attempt it belongs
to and is refused when a newer attempt has begun.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from boneexp.config import RunSpec, canonical_json
from boneexp.errors import RunNotFinished, RunNotFound
from boneexp.ledger.history import record_event
from boneexp.ledger.tables import attempts, experiments, runs

HOPELESS = "its workers died before an epoch was done; see what kills them, then: boneexp retry RUN"
LONGEST_LEASE_S = 3600  # one that ends later was given before the clock was put back


@dataclass(frozen=True)
class Worker:
    """Who claims: enough to tell later, on the same machine, whether the process still lives."""

    name: str
    host: str
    pid: int
    boot_id: str
    process_started: str
    device: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Claim:
    """One run, held under one attempt number."""

    run_id: int
    attempt: int
    spec: RunSpec
    folder: str
    micro_batch: int


def claim_next(
    connection: Connection, worker: Worker, now: float, lease_s: float, run_id: int | None = None
) -> Claim | None:
    """Give `worker` the oldest waiting or abandoned run (or just `run_id`), or None.

    One UPDATE … RETURNING inside one write transaction: two workers never get the same run.
    """
    _give_up_on_killers(connection, now)
    abandoned = sa.and_(runs.c.state == "running", _lapsed(now))
    waiting = sa.or_(runs.c.state == "queued", abandoned)
    oldest = sa.select(runs.c.id).where(waiting).order_by(runs.c.id).limit(1)
    if run_id is not None:
        oldest = oldest.where(runs.c.id == run_id)
    taken_over = sa.case((runs.c.state == "running", 1), else_=0)
    claim = (
        sa.update(runs)
        .where(runs.c.id == oldest.scalar_subquery())
        .values(
            state="running",
            attempt=runs.c.attempt + 1,
            killed_attempts=runs.c.killed_attempts + taken_over,
            lease_until=now + lease_s,
            failure_kind=None,
            failure=None,
        )
        .returning(runs.c.id, runs.c.attempt, runs.c.spec_json, runs.c.folder, runs.c.micro_batch)
    )
    row = connection.execute(claim).one_or_none()
    if row is None:
        return None
    _close_lost_attempts(connection, row.id, now)
    spec = RunSpec.model_validate_json(row.spec_json)
    claimed = Claim(row.id, row.attempt, spec, row.folder, row.micro_batch)
    _begin_attempt(connection, worker, claimed, now)
    return claimed


def renew(connection: Connection, claim: Claim, now: float, lease_s: float) -> bool:
    """Hold the claim for `lease_s` more; False when the run has gone to a newer attempt or was settled."""
    if not holds(connection, claim):
        return False
    _update_run(connection, claim, lease_until=now + lease_s)
    _update_attempt(connection, claim, renewed_at=now)
    return True


def stop_requested(connection: Connection, claim: Claim) -> bool:
    """Tell whether someone has cancelled this run while it is running."""
    return bool(connection.scalar(sa.select(runs.c.stop_requested).where(runs.c.id == claim.run_id)))


def holds(connection: Connection, claim: Claim) -> bool:
    """Tell whether the claim's attempt is the current one: the fence in front of every write."""
    current = sa.select(runs.c.id).where(
        runs.c.id == claim.run_id, runs.c.attempt == claim.attempt, runs.c.state == "running"
    )
    return connection.scalar(current) is not None


def free_runs_of_dead_processes(
    connection: Connection, host: str, is_alive: Callable[[int, str, str], bool], now: float
) -> list[int]:
    """Let go of leases whose process on `host` is gone, so that nobody waits for them to run out.

    `is_alive(pid, process_started, boot_id)` says whether that very process still runs.
    """
    held = (
        sa.select(runs.c.id, attempts.c.pid, attempts.c.process_started, attempts.c.boot_id)
        .join(attempts, sa.and_(attempts.c.run_id == runs.c.id, attempts.c.number == runs.c.attempt))
        .where(runs.c.state == "running", runs.c.lease_until >= now, attempts.c.host == host)
    )
    dead = [
        row.id for row in connection.execute(held) if not is_alive(row.pid, row.process_started, row.boot_id)
    ]
    if dead:
        connection.execute(sa.update(runs).where(runs.c.id.in_(dead)).values(lease_until=now - 1))
    return dead


def retry(connection: Connection, run_id: int, now: float) -> None:
    """Queue a failed or cancelled run again; its attempts and history stay.

    After out-of-memory it begins with the planned batch again: the user may have found a larger device.

    Raises:
        RunNotFound: the ledger has no such run.
        RunNotFinished: the run waits, runs, or has succeeded.
    """
    state = _state(connection, run_id)
    if state not in ("failed", "cancelled"):
        raise RunNotFinished(f"run {run_id} is {state}; only a failed or cancelled run can be queued again")
    again = {"state": "queued", "failure_kind": None, "failure": None, "settled_at": None}
    fresh = {"killed_attempts": 0, "stop_requested": False}
    connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**again, **fresh))
    planned = sa.select(experiments.c.batch_size).where(experiments.c.id == runs.c.experiment_ref)
    ran_out = sa.and_(runs.c.id == run_id, runs.c.micro_batch == 1)
    connection.execute(sa.update(runs).where(ran_out).values(micro_batch=planned.scalar_subquery()))
    record_event(connection, now, "retried", run_id=run_id, was=state)


def cancel(connection: Connection, run_id: int, now: float) -> str:
    """Take a run out of the queue ("cancelled"), or ask the worker that runs it to stop ("stopping").

    Raises:
        RunNotFound: the ledger has no such run.
        RunNotFinished: the run is settled already.
    """
    state = _state(connection, run_id)
    if state == "queued" or _abandoned(connection, run_id, now):
        _close_lost_attempts(connection, run_id, now)
        ended = {"state": "cancelled", "settled_at": now, "lease_until": None}
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**ended))
        record_event(connection, now, "cancelled", run_id=run_id, was=state)
        return "cancelled"
    if state == "running":
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(stop_requested=True))
        record_event(connection, now, "cancel-requested", run_id=run_id)
        return "stopping"
    raise RunNotFinished(f"run {run_id} is {state} already; there is nothing to cancel")


def _abandoned(connection: Connection, run_id: int, now: float) -> bool:
    abandoned = sa.and_(runs.c.id == run_id, runs.c.state == "running", _lapsed(now))
    return connection.scalar(sa.select(runs.c.id).where(abandoned)) is not None


def _lapsed(now: float) -> sa.ColumnElement[bool]:
    return sa.not_(runs.c.lease_until.between(now, now + LONGEST_LEASE_S))


def _give_up_on_killers(connection: Connection, now: float) -> None:
    """Fail abandoned runs that have ended with their worker as often as is allowed."""
    hopeless = (
        sa.update(runs)
        .where(
            runs.c.state == "running",
            _lapsed(now),
            runs.c.killed_attempts + 1 >= runs.c.max_attempts,
        )
        .values(
            state="failed",
            failure_kind="killed",
            failure=HOPELESS,
            killed_attempts=runs.c.killed_attempts + 1,
            lease_until=None,
            settled_at=now,
        )
        .returning(runs.c.id)
    )
    for run_id in list(connection.scalars(hopeless)):
        _close_lost_attempts(connection, run_id, now)
        record_event(connection, now, "failed", run_id=run_id, failure_kind="killed", failure=HOPELESS)


def _close_lost_attempts(connection: Connection, run_id: int, now: float) -> None:
    lost = (
        sa.update(attempts)
        .where(attempts.c.run_id == run_id, attempts.c.outcome.is_(None))
        .values(
            outcome="lost",
            failure_kind="killed",
            failure="the worker stopped renewing its lease",
            ended_at=now,
        )
        .returning(attempts.c.number)
    )
    for number in list(connection.scalars(lost)):
        record_event(connection, now, "attempt-lost", run_id=run_id, attempt=number)


def _begin_attempt(connection: Connection, worker: Worker, claim: Claim, now: float) -> None:
    connection.execute(
        sa.insert(attempts).values(
            run_id=claim.run_id,
            number=claim.attempt,
            worker=worker.name,
            host=worker.host,
            pid=worker.pid,
            boot_id=worker.boot_id,
            process_started=worker.process_started,
            device=worker.device,
            versions_json=canonical_json(worker.versions),
            batch_size=claim.spec.settings.training.batch_size,
            micro_batch=claim.micro_batch,
            started_at=now,
            renewed_at=now,
        )
    )
    record_event(connection, now, "claimed", run_id=claim.run_id, attempt=claim.attempt, worker=worker.name)


def _state(connection: Connection, run_id: int) -> str:
    state = connection.scalar(sa.select(runs.c.state).where(runs.c.id == run_id))
    if state is None:
        raise RunNotFound(f"the ledger has no run {run_id}; see which there are with: boneexp status")
    return str(state)


def _update_run(connection: Connection, claim: Claim, **values: Any) -> None:
    connection.execute(sa.update(runs).where(runs.c.id == claim.run_id).values(**values))


def _update_attempt(connection: Connection, claim: Claim, **values: Any) -> None:
    this = sa.and_(attempts.c.run_id == claim.run_id, attempts.c.number == claim.attempt)
    connection.execute(sa.update(attempts).where(this).values(**values))
