"""The queue inside the ledger: claim, renew, retry, cancel.

A claim is a lease with a fence. Whoever holds it renews it; when it runs out, or its process is gone, the
run is anyone's again and resumes from its last checkpoint. Every later write names the attempt it belongs
to and is refused when a newer attempt has begun. A run that was cancelled while it was running is never
claimed again: when its lease is over, it ends as cancelled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from sqlite3 import Connection

from boneexp.errors import RunNotFinished, RunNotFound
from boneexp.ledger.history import record_event
from boneexp.ledger.statements import insert, update
from boneexp.study.settings import RunSpec, canonical_json

HOPELESS = "its workers died before an epoch was done; see what kills them, then: boneexp retry RUN"
LONGEST_LEASE_S = 3600  # one that ends later was given before the clock was put back

ABANDONED = f"state = 'running' AND (lease_until < :now OR lease_until > :now + {LONGEST_LEASE_S})"
# However many runs there are, each of the three reads what it finds in ix_runs_state_lease_until; in one
# question, SQLite would read all that wait. These hold no lease: their entries are in the order of the ids.
OLDEST = f"""
SELECT MIN(id) FROM (
  SELECT id FROM (SELECT id FROM runs WHERE state = 'queued' ORDER BY lease_until, id LIMIT 1)
  UNION ALL SELECT MIN(id) FROM runs WHERE state = 'running' AND lease_until < :now
  UNION ALL SELECT MIN(id) FROM runs WHERE state = 'running' AND lease_until > :now + {LONGEST_LEASE_S})"""
THIS = f"SELECT id FROM runs WHERE id = :run_id AND (state = 'queued' OR {ABANDONED})"
CLAIM = """UPDATE runs SET state = 'running', attempt = attempt + 1,
                           killed_attempts = killed_attempts + (state = 'running'),
                           lease_until = :now + :lease_s, failure_kind = NULL, failure = NULL
           WHERE id = ({which}) RETURNING id, attempt, spec_json, folder, micro_batch"""
CLAIM_OLDEST, CLAIM_THIS = CLAIM.format(which=OLDEST), CLAIM.format(which=THIS)
GIVE_UP = f"""UPDATE runs SET state = 'failed', failure_kind = 'killed', failure = :failure,
                              killed_attempts = killed_attempts + 1, lease_until = NULL, settled_at = :now
              WHERE {ABANDONED} AND killed_attempts + 1 >= max_attempts RETURNING id"""
CANCEL_ABANDONED = f"""UPDATE runs SET state = 'cancelled', stop_requested = 0, lease_until = NULL,
                                       settled_at = :now
                       WHERE {ABANDONED} AND stop_requested RETURNING id"""
CLOSE_LOST = """UPDATE attempts SET outcome = 'lost', failure_kind = 'killed', ended_at = :now,
                                    failure = 'the worker stopped renewing its lease'
                WHERE run_id = :run_id AND outcome IS NULL RETURNING number"""
# A time limit holds for all attempts since a person last asked for the run: queued it, or queued it again.
WORKED_S = """SELECT COALESCE(SUM(MAX(COALESCE(ended_at, renewed_at) - started_at, 0)), 0) FROM attempts
              WHERE run_id = :run_id AND number < :attempt AND started_at >= COALESCE(
                (SELECT MAX(at) FROM events WHERE run_id = :run_id AND kind = 'retried'), 0)"""
HELD_HERE = """SELECT r.id, a.pid, a.process_started, a.boot_id
               FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
               WHERE r.state = 'running' AND r.lease_until >= :now AND a.host = :host"""


@dataclass(frozen=True)
class Worker:
    """Who claims: enough to find out later, on the same machine, whether the process is alive."""

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
    worked_s: float = 0.0  # by earlier attempts, where the run has a time limit


def claim_next(
    connection: Connection, worker: Worker, now: float, lease_s: float, run_id: int | None = None
) -> Claim | None:
    """Give `worker` the oldest waiting or abandoned run (or just `run_id`), or None.

    One UPDATE … RETURNING inside one write transaction: two workers never get the same run.
    """
    _end_cancelled(connection, now)
    _give_up_on_killers(connection, now)
    values = {"now": now, "lease_s": lease_s, "run_id": run_id}
    row = connection.execute(CLAIM_OLDEST if run_id is None else CLAIM_THIS, values).fetchone()
    if row is None:
        return None
    number, attempt, spec_json, folder, micro_batch = row
    _close_lost_attempts(connection, number, now)
    spec = RunSpec.model_validate_json(spec_json)
    worked_s = _worked_s(connection, number, attempt) if spec.settings.training.time_limit_hours else 0.0
    claimed = Claim(number, attempt, spec, folder, micro_batch, worked_s)
    _begin_attempt(connection, worker, claimed, now)
    return claimed


def renew(connection: Connection, claim: Claim, now: float, lease_s: float) -> bool:
    """Extend the lease by `lease_s`; False when a newer attempt has the run or it was settled."""
    if not holds(connection, claim):
        return False
    update(connection, "runs", {"id": claim.run_id}, lease_until=now + lease_s)
    update(connection, "attempts", {"run_id": claim.run_id, "number": claim.attempt}, renewed_at=now)
    return True


def stop_requested(connection: Connection, claim: Claim) -> bool:
    """Return True if someone has cancelled this run while it is running."""
    return _stop_requested(connection, claim.run_id)


def holds(connection: Connection, claim: Claim) -> bool:
    """Return True if the claim's attempt is the current one: the fence in front of every write."""
    query = "SELECT 1 FROM runs WHERE id = ? AND attempt = ? AND state = 'running'"
    return connection.execute(query, (claim.run_id, claim.attempt)).fetchone() is not None


def free_runs_of_dead_processes(
    connection: Connection, host: str, is_alive: Callable[[int, str, str], bool], now: float
) -> list[int]:
    """Release leases whose process on `host` is gone, so that nobody waits for them to expire.

    `is_alive(pid, process_started, boot_id)` is whether that very process still runs. A run that was
    cancelled ends with its process.
    """
    held = connection.execute(HELD_HERE, {"now": now, "host": host}).fetchall()
    dead = [run_id for run_id, *process in held if not is_alive(*process)]
    for run_id in dead:
        update(connection, "runs", {"id": run_id}, lease_until=now - 1)
    _end_cancelled(connection, now)
    return dead


def retry(connection: Connection, run_id: int, now: float) -> None:
    """Queue a failed or cancelled run again; its attempts and history stay.

    After out-of-memory it begins with the planned batch again: the user may have a larger device now.

    Raises:
        RunNotFound: the ledger has no such run.
        RunNotFinished: the run waits, runs, or has succeeded.
    """
    _end_cancelled(connection, now)
    state = _state(connection, run_id)
    if state == "running" and _stop_requested(connection, run_id):
        raise RunNotFinished(
            f"run {run_id} was cancelled and its worker has yet to stop; wait until boneexp status says "
            f"cancelled, then: boneexp retry {run_id}"
        )
    if state not in ("failed", "cancelled"):
        raise RunNotFinished(f"run {run_id} is {state}; only a failed or cancelled run can be queued again")
    again = {
        "state": "queued",
        "lease_until": None,
        "failure_kind": None,
        "failure": None,
        "settled_at": None,
    }
    update(connection, "runs", {"id": run_id}, **again, killed_attempts=0, stop_requested=False)
    connection.execute(
        """UPDATE runs SET micro_batch = (SELECT batch_size FROM experiments WHERE id = experiment_ref)
           WHERE id = ? AND micro_batch = 1""",
        (run_id,),
    )
    record_event(connection, now, "retried", run_id=run_id, was=state)


def cancel(connection: Connection, run_id: int, now: float) -> str:
    """Take a run out of the queue ("cancelled"), or ask the worker that runs it to stop ("stopping").

    Whatever that worker then reports, the run ends as cancelled. Cancelling twice changes nothing.

    Raises:
        RunNotFound: the ledger has no such run.
        RunNotFinished: the run is settled already.
    """
    state = _state(connection, run_id)
    if state == "queued" or _abandoned(connection, run_id, now):
        _close_lost_attempts(connection, run_id, now)
        ended = {"state": "cancelled", "settled_at": now, "lease_until": None, "stop_requested": False}
        update(connection, "runs", {"id": run_id}, **ended)
        record_event(connection, now, "cancelled", run_id=run_id, was=state)
        return "cancelled"
    if state == "running":
        if not _stop_requested(connection, run_id):
            update(connection, "runs", {"id": run_id}, stop_requested=True)
            record_event(connection, now, "cancel-requested", run_id=run_id)
        return "stopping"
    raise RunNotFinished(f"run {run_id} is {state} already; there is nothing to cancel")


def _abandoned(connection: Connection, run_id: int, now: float) -> bool:
    query = f"SELECT 1 FROM runs WHERE id = :run_id AND {ABANDONED}"
    return connection.execute(query, {"run_id": run_id, "now": now}).fetchone() is not None


def _stop_requested(connection: Connection, run_id: int) -> bool:
    query = "SELECT 1 FROM runs WHERE id = ? AND stop_requested"
    return connection.execute(query, (run_id,)).fetchone() is not None


def _end_cancelled(connection: Connection, now: float) -> None:
    """End abandoned runs that were cancelled while they were running: nobody is left to stop them."""
    for (run_id,) in connection.execute(CANCEL_ABANDONED, {"now": now}).fetchall():
        _close_lost_attempts(connection, run_id, now)
        record_event(connection, now, "cancelled", run_id=run_id, was="running", reason="its worker is gone")


def _worked_s(connection: Connection, run_id: int, attempt: int) -> float:
    """Return for how long earlier attempts have worked since the run was queued, or queued again."""
    values = {"run_id": run_id, "attempt": attempt}
    return float(connection.execute(WORKED_S, values).fetchone()[0])


def _give_up_on_killers(connection: Connection, now: float) -> None:
    """Fail abandoned runs that have ended with their worker as often as is allowed."""
    for (run_id,) in connection.execute(GIVE_UP, {"now": now, "failure": HOPELESS}).fetchall():
        _close_lost_attempts(connection, run_id, now)
        record_event(connection, now, "failed", run_id=run_id, failure_kind="killed", failure=HOPELESS)


def _close_lost_attempts(connection: Connection, run_id: int, now: float) -> None:
    for (number,) in connection.execute(CLOSE_LOST, {"run_id": run_id, "now": now}).fetchall():
        record_event(connection, now, "attempt-lost", run_id=run_id, attempt=number)


def _begin_attempt(connection: Connection, worker: Worker, claim: Claim, now: float) -> None:
    row = {
        "run_id": claim.run_id,
        "number": claim.attempt,
        "worker": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "boot_id": worker.boot_id,
        "process_started": worker.process_started,
        "device": worker.device,
        "versions_json": canonical_json(worker.versions),
        "batch_size": claim.spec.settings.training.batch_size,
        "micro_batch": claim.micro_batch,
        "started_at": now,
        "renewed_at": now,
    }
    insert(connection, "attempts", row)
    record_event(connection, now, "claimed", run_id=claim.run_id, attempt=claim.attempt, worker=worker.name)


def _state(connection: Connection, run_id: int) -> str:
    found = connection.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
    if found is None:
        raise RunNotFound(f"the ledger has no run {run_id}; see which there are with: boneexp status")
    return str(found[0])
