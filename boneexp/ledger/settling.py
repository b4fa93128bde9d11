"""What an attempt writes, each one transaction: an epoch; the run finished, failed, lost or put back.

Each end returns the state that the run is in since, or None when the claim is no longer the current one: then
nothing is changed that counts.
"""

from functools import partial
from sqlite3 import Connection
from typing import Any

from boneexp.ledger.history import record_event, record_files
from boneexp.ledger.queue import HOPELESS, Claim, holds, stop_requested
from boneexp.ledger.statements import insert, insert_all, update
from boneexp.ledger.summaries import summarise
from boneexp.results import CLASS_NAMES, EpochRecord, Failed, Finished, Killed, Stopped

# Only deaths in a row count. A row that need not change is not written: it would be a page more per epoch.
GETS_ON = "UPDATE runs SET killed_attempts = 0 WHERE id = ? AND killed_attempts <> 0"


def keep_epoch(connection: Connection, claim: Claim, record: EpochRecord, now: float) -> bool:
    """Keep one epoch's figures, again only if it came out otherwise; False when the claim is not current."""
    if not holds(connection, claim):
        return False
    same = "SELECT 1 FROM epochs WHERE run_id = ? AND epoch = ? AND train_loss = ? AND val_loss = ?"
    key = (claim.run_id, record.epoch, record.train_loss, record.val_loss)
    if connection.execute(same, key).fetchone() is None:
        row = {"run_id": claim.run_id, "attempt": claim.attempt, "ended_at": now, **vars(record)}
        insert(connection, "epochs", row)
        connection.execute(GETS_ON, (claim.run_id,))
    return True


def finish(connection: Connection, claim: Claim, finished: Finished, now: float) -> str | None:
    """Settle the run as succeeded, with metrics, predictions and files; a late result is kept as evidence."""
    if not holds(connection, claim):
        _keep_as_evidence(connection, claim, finished, now)
        return None
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
    """Settle the run as failed; after out-of-memory it is queued again with half the micro-batch instead."""
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
    again = failed.kind == "oom" and claim.micro_batch > 1 and not stop_requested(connection, claim)
    _end_attempt(
        connection,
        claim,
        now,
        outcome="failed",
        failure_kind=failed.kind,
        failure=failed.message,
        traceback=failed.traceback,
    )
    if again:
        _update(connection, claim, state="queued", lease_until=None, micro_batch=claim.micro_batch // 2)
    else:
        _settle(connection, claim, now, state="failed", failure_kind=failed.kind, failure=failed.message)
    record_event(
        connection,
        now,
        "batch-halved" if again else "failed",
        run_id=claim.run_id,
        attempt=claim.attempt,
        failure_kind=failed.kind,
        failure=failed.message,
    )
    return "queued" if again else "failed"


def lose(connection: Connection, claim: Claim, killed: Killed, now: float) -> str | None:
    """Queue a run again whose process was killed, until that has happened as often in a row as is allowed."""
    if not holds(connection, claim):
        return None
    query = "SELECT killed_attempts + 1, max_attempts, stop_requested FROM runs WHERE id = ?"
    deaths, allowed, cancelled = connection.execute(query, (claim.run_id,)).fetchone()
    ended = {"outcome": "lost", "failure_kind": "killed", "failure": killed.reason}
    _end_attempt(connection, claim, now, **ended, traceback=killed.traceback or None)
    record = partial(record_event, connection, now, run_id=claim.run_id, attempt=claim.attempt)
    record("attempt-lost", failure=killed.reason)
    if cancelled:
        _settle(connection, claim, now, state="cancelled")
        record("cancelled", reason=killed.reason)
        return "cancelled"
    if deaths < allowed:
        _update(connection, claim, state="queued", lease_until=None, killed_attempts=deaths)
        return "queued"
    failure = f"{killed.reason}; {HOPELESS}"
    why = {"state": "failed", "failure_kind": "killed", "failure": failure}
    _settle(connection, claim, now, killed_attempts=deaths, **why)
    record("failed", failure_kind="killed", failure=failure)
    return "failed"


def put_back(connection: Connection, claim: Claim, stopped: Stopped, now: float) -> str | None:
    """Put the run back in the queue, or end it as cancelled when that was asked for."""
    if not holds(connection, claim):
        return None
    cancelled = stop_requested(connection, claim)
    _end_attempt(connection, claim, now, outcome="stopped", failure=stopped.reason)
    if cancelled:
        _settle(connection, claim, now, state="cancelled")
    else:
        _update(connection, claim, state="queued", lease_until=None)
    kind = "cancelled" if cancelled else "put-back"
    record_event(connection, now, kind, run_id=claim.run_id, attempt=claim.attempt, reason=stopped.reason)
    return "cancelled" if cancelled else "queued"


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
    """Keep the figures of a worker that had lost the run, beside those that count."""
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
