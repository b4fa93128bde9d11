"""What an attempt writes, each in one transaction: an epoch; the run finished, failed, lost or requeued.

Each end returns the new state of the run, or None when the claim is no longer the current one: then nothing
that counts is changed. A cancelled run ends as cancelled, however its attempt ended; the attempt keeps its
own outcome.
"""

from functools import partial
from sqlite3 import Connection
from typing import Any

from boneexp.ledger.history import record_event, record_files
from boneexp.ledger.queue import HOPELESS, Claim, holds, stop_requested
from boneexp.ledger.statements import insert, insert_all, update
from boneexp.ledger.summaries import summarise
from boneexp.results import CLASS_NAMES, EpochRecord, Failed, Finished, Killed, Stopped

FINISHED_TOO_LATE = "cancelled; it finished before it could be stopped"
# Only deaths in a row count. A row that need not change is not written: it would be a page more per epoch.
RESET_DEATHS = "UPDATE runs SET killed_attempts = 0 WHERE id = ? AND killed_attempts <> 0"


def keep_epoch(connection: Connection, claim: Claim, record: EpochRecord, now: float) -> bool:
    """Keep one epoch's metrics, again only if they differ; False when the claim is not current."""
    if not holds(connection, claim):
        return False
    same = "SELECT 1 FROM epochs WHERE run_id = ? AND epoch = ? AND train_loss = ? AND val_loss = ?"
    key = (claim.run_id, record.epoch, record.train_loss, record.val_loss)
    if connection.execute(same, key).fetchone() is None:
        row = {"run_id": claim.run_id, "attempt": claim.attempt, "ended_at": now, **vars(record)}
        insert(connection, "epochs", row)
        connection.execute(RESET_DEATHS, (claim.run_id,))
    return True


def finish(connection: Connection, claim: Claim, finished: Finished, now: float) -> str | None:
    """Settle the run as succeeded, with metrics, predictions and files.

    A result that comes after the lease was lost, or after the run was cancelled, is kept as evidence alone.
    """
    if not holds(connection, claim):
        _keep_as_evidence(connection, claim, finished, now)
        return None
    if stop_requested(connection, claim):
        _keep_as_evidence(connection, claim, finished, now)
        return _end_as_cancelled(connection, claim, now, FINISHED_TOO_LATE, outcome="stopped")
    insert_all(connection, "metrics", _metric_rows(claim, finished))
    summarise(connection, claim.run_id)
    insert_all(connection, "predictions", [_row(claim, each) for each in finished.predictions])
    record_files(connection, finished.files, claim.run_id, now)
    best = next(file for file in finished.files if file.kind == "best checkpoint")
    _settle(
        connection,
        claim,
        now,
        state="succeeded",
        best_epoch=finished.best_epoch,
        checkpoint=best.path,
        checkpoint_sha256=best.sha256,
    )
    _end_attempt(connection, claim, now, outcome="succeeded")
    record_event(
        connection,
        now,
        "succeeded",
        run_id=claim.run_id,
        attempt=claim.attempt,
        checkpoint_sha256=best.sha256,
    )
    return "succeeded"


def fail(connection: Connection, claim: Claim, failed: Failed, now: float) -> str | None:
    """Settle the run as failed; after out-of-memory it is queued again with half the micro-batch instead.

    A run that was cancelled is neither: it is cancelled, and its attempt has failed.
    """
    if not holds(connection, claim):
        record_event(
            connection,
            now,
            "late-failure",
            run_id=claim.run_id,
            attempt=claim.attempt,
            failure_kind=failed.kind,
            failure=failed.message,
        )
        return None
    reason = {"failure_kind": failed.kind, "failure": failed.message}
    ended = {"outcome": "failed", **reason, "traceback": failed.traceback}
    if stop_requested(connection, claim):
        message = f"{failed.kind}: {failed.message}"
        return _end_as_cancelled(connection, claim, now, message, **ended)
    again = failed.kind == "oom" and claim.micro_batch > 1
    _end_attempt(connection, claim, now, **ended)
    if again:
        _update(connection, claim, state="queued", lease_until=None, micro_batch=claim.micro_batch // 2)
    else:
        _settle(connection, claim, now, state="failed", **reason)
    kind = "batch-halved" if again else "failed"
    record_event(connection, now, kind, run_id=claim.run_id, attempt=claim.attempt, **reason)
    return "queued" if again else "failed"


def record_death(connection: Connection, claim: Claim, killed: Killed, now: float) -> str | None:
    """Requeue a run whose process was killed, until that has happened too often in a row."""
    if not holds(connection, claim):
        return None
    query = "SELECT killed_attempts + 1, max_attempts FROM runs WHERE id = ?"
    deaths, allowed = connection.execute(query, (claim.run_id,)).fetchone()
    ended = {"outcome": "lost", "failure_kind": "killed", "failure": killed.reason}
    traced = {**ended, "traceback": killed.traceback or None}
    record = partial(record_event, connection, now, run_id=claim.run_id, attempt=claim.attempt)
    record("attempt-lost", failure=killed.reason)
    if stop_requested(connection, claim):
        return _end_as_cancelled(connection, claim, now, killed.reason, **traced)
    _end_attempt(connection, claim, now, **traced)
    if deaths < allowed:
        _update(connection, claim, state="queued", lease_until=None, killed_attempts=deaths)
        return "queued"
    failure = f"{killed.reason}; {HOPELESS}"
    why = {"state": "failed", "failure_kind": "killed", "failure": failure}
    _settle(connection, claim, now, killed_attempts=deaths, **why)
    record("failed", failure_kind="killed", failure=failure)
    return "failed"


def requeue(connection: Connection, claim: Claim, stopped: Stopped, now: float) -> str | None:
    """Put the run back in the queue, or end it as cancelled if somebody cancelled it."""
    if not holds(connection, claim):
        return None
    ended = {"outcome": "stopped", "failure": stopped.reason}
    if stop_requested(connection, claim):
        return _end_as_cancelled(connection, claim, now, stopped.reason, **ended)
    _end_attempt(connection, claim, now, **ended)
    _update(connection, claim, state="queued", lease_until=None)
    reason = stopped.reason
    record_event(connection, now, "put-back", run_id=claim.run_id, attempt=claim.attempt, reason=reason)
    return "queued"


def _end_as_cancelled(connection: Connection, claim: Claim, now: float, reason: str, **attempt: Any) -> str:
    """Record how the attempt ended, and end its run as cancelled; nothing of it counts."""
    _end_attempt(connection, claim, now, **{"failure": reason, **attempt})
    _settle(connection, claim, now, state="cancelled")
    record_event(connection, now, "cancelled", run_id=claim.run_id, attempt=claim.attempt, reason=reason)
    return "cancelled"


def _metric_rows(claim: Claim, finished: Finished) -> list[dict[str, Any]]:
    return [
        {"run_id": claim.run_id, "part": part, **vars(value)}
        for part, values in finished.metrics.items()
        for value in values
    ]


def _row(claim: Claim, prediction: Any) -> dict[str, Any]:
    normal, benign, malignant = prediction.probabilities
    return {
        "run_id": claim.run_id,
        "part": prediction.part,
        "image_id": prediction.image_id,
        "group_id": prediction.group,
        "center": prediction.center,
        "label": CLASS_NAMES[prediction.label],
        "p_normal": normal,
        "p_benign": benign,
        "p_malignant": malignant,
    }


def _keep_as_evidence(connection: Connection, claim: Claim, finished: Finished, now: float) -> None:
    """Keep metrics that do not count, since the run was lost or cancelled before, apart from the others."""
    late = {"attempt": claim.attempt, "recorded_at": now}
    rows = [{**row, **late} for row in _metric_rows(claim, finished)]
    insert_all(connection, "late_results", rows, "INSERT OR IGNORE")
    files = {file.kind: file.sha256 for file in finished.files}
    record_event(connection, now, "late-result", run_id=claim.run_id, attempt=claim.attempt, files=files)


def _settle(connection: Connection, claim: Claim, now: float, **values: Any) -> None:
    _update(connection, claim, settled_at=now, lease_until=None, stop_requested=False, **values)


def _update(connection: Connection, claim: Claim, **values: Any) -> None:
    update(connection, "runs", {"id": claim.run_id}, **values)


def _end_attempt(connection: Connection, claim: Claim, now: float, **values: Any) -> None:
    this = {"run_id": claim.run_id, "number": claim.attempt}
    update(connection, "attempts", this, ended_at=now, **values)
