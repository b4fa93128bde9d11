"""A ledger in which everything has happened once, for tests of upgrades and of `boneexp doctor`.

    PYTHONPATH=. python tests/full_ledger.py tests/ledgers/0001.db

keeps one of today's schema. Do that before a migration is added: released schemas are tested for ever.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from settled_ledger import EPOCHS, NOW, outcome_of, settled_ledger

from boneexp.ledger.database import writing
from boneexp.ledger.explanations import record_explanations
from boneexp.ledger.history import record_event, record_files
from boneexp.ledger.promotions import Promotion, Standing, record_promotion
from boneexp.ledger.queue import Worker, cancel, claim_next, retry
from boneexp.ledger.settling import fail, finish, keep_epoch, requeue
from boneexp.results import EpochRecord, Failed, Stopped, WrittenFile
from boneexp.study.settings import digest_of

LATER = NOW + 100_000
WORKER = Worker("tester", "host", 1, "boot", "0", "cpu", {"torch": "2.14.0", "boneexp": "0.1.0"})
FAILED, CANCELLED, ABANDONED, QUEUED = 5, 6, 7, 8
PROMOTED = ("promoted/best_stratified.pt", "promoted/best_center.pt")


def full_ledger(path: Path) -> Path:
    """Make a ledger with runs in every state, each kind of event, decisions and explanations."""
    settled_ledger(path)  # runs 1 to 4: E1 and E2, succeeded
    settled_ledger(path, experiments=("E1", "E2", "E3", "E4"), settle=False)
    _fail(path)
    _cancel(path)
    _explain(path)
    _decide(path)
    _claim(path, ABANDONED, LATER + 9000)  # and its worker is never heard of again
    return path


def _fail(path: Path) -> None:
    """Run 5: lost to a second worker, late, out of memory, stopped, and broken in the end."""
    lost, taken = _claim(path, FAILED, LATER), _claim(path, FAILED, LATER + 1000)
    with writing(path) as connection:
        assert not finish(connection, lost, outcome_of(lost, 1.0), LATER + 1001)
        assert fail(connection, taken, Failed("oom", "out of memory", "Traceback …"), LATER + 1002)
    stopped = _claim(path, FAILED, LATER + 2000)
    with writing(path) as connection:
        assert requeue(connection, stopped, Stopped("SIGINT"), LATER + 2001)
    broken = _claim(path, FAILED, LATER + 3000)
    with writing(path) as connection:
        assert fail(connection, broken, Failed("error", "ZeroDivisionError: Ü", "Traceback …"), LATER + 3001)


def _cancel(path: Path) -> None:
    """Run 6: taken out while it ran, queued again, and taken out while it waited."""
    running = _claim(path, CANCELLED, LATER + 3500)
    with writing(path) as connection:
        assert cancel(connection, CANCELLED, LATER + 3501) == "stopping"
        assert requeue(connection, running, Stopped("cancelled"), LATER + 3502)
        retry(connection, CANCELLED, LATER + 3503)
        assert cancel(connection, CANCELLED, LATER + 3504) == "cancelled"


def _claim(path: Path, run_id: int, now: float):
    with writing(path) as connection:
        claim = claim_next(connection, WORKER, now, lease_s=60, run_id=run_id)
        assert claim is not None
        for epoch in range(EPOCHS // 2):
            loss = 1 / (3 + epoch + claim.attempt)
            record = EpochRecord(epoch, loss, loss / 3, 0.5, None, 3e-4, 61.5)
            assert keep_epoch(connection, claim, record, now + epoch)
    return claim


def _explain(path: Path) -> None:
    shared = {"part": "test", "layer": "bn2", "outcome": "TP", "overlay": ""}
    rows = [
        {**shared, "image_id": image_id, "explained_class": "Benign", "threshold": threshold, **measured}
        for image_id, measured in (
            ("IMG100000-test.jpeg", {"iou": 1 / 7, "energy_inside": 0.1, "pointing_hit": True}),
            ("IMG100001-test.jpeg", {"iou": None, "energy_inside": None, "pointing_hit": None}),
        )
        for threshold in (0.3, 0.5)
    ]
    with writing(path) as connection:
        record_explanations(connection, 3, digest_of("experiments/E2/stratified"), rows, LATER + 4000)


def _decide(path: Path) -> None:
    evidence = {"experiments": [{"Experiment ID": "E2", "Stratified Accuracy": 0.75}]}
    chosen = Standing("E2", 3, 4)
    decisions = (
        Promotion("keep-baseline", Standing(), "too early", "tester", evidence),
        Promotion("promote", chosen, "the best", "tester", evidence),
        Promotion("rollback", Standing(), "", "tester", evidence, 2),
        Promotion("promote", chosen, "the best after all", "tester", evidence),
    )
    for number, decision in enumerate(decisions):
        now = LATER + 5000 + number
        files = [WrittenFile("promoted checkpoint", name, digest_of(name), 16_000_000) for name in PROMOTED]
        with writing(path) as connection:
            decided = record_promotion(connection, decision, now)
            record_files(connection, tuple(files) if decision.standing.experiment else (), None, now)
            record_event(connection, now, "promotion-settled", promotion=decided)


def _closed(path: Path) -> None:
    """Bring what is in the write-ahead log into the file; the last to leave removes the log."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")


if __name__ == "__main__":
    _closed(full_ledger(Path(sys.argv[1])))
