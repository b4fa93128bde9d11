"""The ends of an attempt, each one transaction: an epoch is kept, the run is finished, failed or put back.

Every function returns False, and changes nothing that counts, when the claim is no longer the current one.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from boneexp.ledger import tables
from boneexp.ledger.history import record_event, record_files
from boneexp.ledger.queue import Claim, holds, stop_requested
from boneexp.results import CLASS_NAMES, EpochRecord, Failed, Finished, Stopped


def keep_epoch(connection: Connection, claim: Claim, record: EpochRecord, now: float) -> bool:
    """Keep one epoch's figures; an epoch trained again is kept again only if it came out otherwise."""
    if not holds(connection, claim):
        return False
    epochs = tables.epochs.c
    same = sa.select(epochs.attempt).where(
        epochs.run_id == claim.run_id,
        epochs.epoch == record.epoch,
        epochs.train_loss == record.train_loss,
        epochs.val_loss == record.val_loss,
    )
    if connection.scalar(same) is None:
        row = {"run_id": claim.run_id, "attempt": claim.attempt, "ended_at": now, **vars(record)}
        connection.execute(sa.insert(tables.epochs).values(**row))
        _update(connection, claim, killed_attempts=0)  # it gets on: only deaths in a row count
    return True


def finish(connection: Connection, claim: Claim, finished: Finished, now: float) -> bool:
    """Settle the run as succeeded, with metrics, predictions and files; a late result becomes an event."""
    if not holds(connection, claim):
        _keep_as_evidence(connection, claim, finished, now)
        return False
    metrics = [
        {"run_id": claim.run_id, "part": part, **vars(value)}
        for part, values in finished.metrics.items()
        for value in values
    ]
    connection.execute(sa.insert(tables.metrics), metrics)
    connection.execute(sa.insert(tables.predictions), [_row(claim, each) for each in finished.predictions])
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
    return True


def fail(connection: Connection, claim: Claim, failed: Failed, now: float) -> bool:
    """Settle the run as failed; after out-of-memory it is queued again with half the micro-batch instead."""
    if not holds(connection, claim):
        return False
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
    return True


def put_back(connection: Connection, claim: Claim, stopped: Stopped, now: float) -> bool:
    """Put the run back in the queue, or end it as cancelled when that was asked for."""
    if not holds(connection, claim):
        return False
    cancelled = stop_requested(connection, claim)
    _end_attempt(connection, claim, now, outcome="stopped", failure=stopped.reason)
    if cancelled:
        _settle(connection, claim, now, state="cancelled")
    else:
        _update(connection, claim, state="queued", lease_until=None)
    kind = "cancelled" if cancelled else "put-back"
    record_event(connection, now, kind, run_id=claim.run_id, attempt=claim.attempt, reason=stopped.reason)
    return True


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
    accuracy = {
        part: value.value
        for part, values in finished.metrics.items()
        for value in values
        if (value.metric, value.class_name) == ("accuracy", "")
    }
    files = {file.kind: file.sha256 for file in finished.files}
    record_event(
        connection,
        now,
        "late-result",
        run_id=claim.run_id,
        attempt=claim.attempt,
        accuracy=accuracy,
        files=files,
    )


def _settle(connection: Connection, claim: Claim, now: float, **values: Any) -> None:
    _update(connection, claim, settled_at=now, lease_until=None, stop_requested=False, **values)


def _update(connection: Connection, claim: Claim, **values: Any) -> None:
    connection.execute(sa.update(tables.runs).where(tables.runs.c.id == claim.run_id).values(**values))


def _end_attempt(connection: Connection, claim: Claim, now: float, **values: Any) -> None:
    this = sa.and_(tables.attempts.c.run_id == claim.run_id, tables.attempts.c.number == claim.attempt)
    connection.execute(sa.update(tables.attempts).where(this).values(ended_at=now, **values))
