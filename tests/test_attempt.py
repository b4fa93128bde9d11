"""The end of an attempt whose child says what a test lets it say: lasting errors, cancels, time limits."""

import errno
import logging
import math
import sqlite3
import time
from pathlib import Path

import pytest
import specs as make

from boneexp.errors import BoneexpError, Damaged, LedgerUnusable
from boneexp.files.folders import RunFolder
from boneexp.ledger.database import reading, writing
from boneexp.ledger.queries.attempts import attempts_of_run
from boneexp.ledger.queries.runs import run_row as read_run_row
from boneexp.ledger.queue import Claim, cancel, claim_next, retry
from boneexp.results import Computing, Failed, Killed, Stopped
from boneexp.runs import attempt as engine
from boneexp.runs.attempt import outcome_of
from boneexp.runs.context import Settled, StopFlag, WorkerContext
from boneexp.runs.report import Report
from boneexp.runs.reproduce import _Unrecorded
from boneexp.runs.time_limit import GRACE_S, TimeLimit
from boneexp.runs.workers import Tally

HOUR_S = 3600.0


class Child:
    """Says what it was given to say, and is gone then; stops when it is asked to, if it is not deaf."""

    said = ()
    deaf = False

    def __init__(self, *_):
        self.left, self.asked, self.killed = list(self.said), [], False

    def message(self, _at_most_s):
        if self.asked and not self.deaf:
            return "outcome", (Stopped(self.asked[0]),)
        if self.killed or not self.left:
            raise EOFError
        return self.left.pop(0)

    def ask_to_stop(self, reason):
        self.asked.append(reason)

    def kill(self):
        self.killed = True

    def is_working(self):
        return True

    def death(self):
        return Killed("its process was ended by SIGKILL", "stack")

    def close(self):
        """Have nothing to let go of."""


@pytest.fixture
def place(ledger, tmp_path):
    made = WorkerContext(ledger, tmp_path / "artifacts", Computing("cpu"), lambda news: None)
    made.artifacts.mkdir()
    return made


@pytest.fixture
def nowhere():
    return nothing(lambda news: None)


def nothing(announce):
    return WorkerContext(Path("no ledger"), Path("no artifacts"), Computing("cpu"), announce)


@pytest.fixture
def lets(monkeypatch):
    """Return a function that lets children say these messages."""

    def say(*messages):
        monkeypatch.setattr(engine, "Child", type("Saying", (Child,), {"said": messages}))

    return say


def claimed(place, **changes):
    with writing(place.ledger) as connection:
        make.queued(connection, [make.spec(**changes)])
        return claim_next(connection, make.WORKER, time.time(), 60)


finished = make.finished


def run_row(place):
    with reading(place.ledger) as connection:
        return read_run_row(connection, 1), attempts_of_run(connection, 1)[-1]


def log_of(place):
    return (place.artifacts / "experiments/E1/stratified/run.log").read_text()


def raising(error, calls):
    def raises(*_, **__):
        calls.append(error)
        raise error

    return raises


ERRORS = {
    "no rights": PermissionError(errno.EACCES, "Permission denied", "best.pt"),
    "a broken disk": OSError(errno.EIO, "Input/output error"),
    "a read-only disk": OSError(errno.EROFS, "Read-only file system"),
    "a link in the way": Damaged("best.pt is a symbolic link"),
    "a bug": ZeroDivisionError("division by zero"),
    "a row that the ledger refuses": sqlite3.IntegrityError("UNIQUE constraint failed: metrics.run_id"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_files_that_cannot_be_put_in_place_fail_the_run_and_the_ledger_says_why(
    place, lets, monkeypatch, error
):
    lets(("outcome", (finished(),)))
    calls = []
    monkeypatch.setattr(RunFolder, "publish", raising(error, calls))
    settled = engine.attempt(place, claimed(place))
    assert (settled.state, len(calls)) == ("failed", 1)
    row, last = run_row(place)
    assert (row.state, row.failure_kind, row.accuracy) == ("failed", "error", None)
    assert str(error) in last.failure
    assert str(error) in log_of(place)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_an_error_that_comes_again_at_every_write_ends_the_attempt_and_is_told(
    place, lets, monkeypatch, error
):
    lets(("outcome", (finished(),)))
    held, calls = claimed(place), []
    monkeypatch.setattr(engine, "_settled_state", raising(error, calls))
    with pytest.raises(type(error)) as raised:
        engine.attempt(place, held)
    assert raised.value is error
    assert len(calls) == 3
    assert str(error) in log_of(place)
    assert run_row(place)[0].state == "running"  # until its lease is over


@pytest.mark.parametrize("times", [1, 2])
def test_an_error_that_comes_once_or_twice_is_the_runs_failure(place, lets, monkeypatch, times):
    lets(("outcome", (finished(),)))
    real, calls = engine._settled_state, []

    def failing_at_first(*arguments):
        calls.append(1)
        if len(calls) <= times:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments)

    monkeypatch.setattr(engine, "_settled_state", failing_at_first)
    if times == 1:
        assert engine.attempt(place, claimed(place)).state == "failed"
    else:
        with pytest.raises(OSError, match="Input/output"):
            engine.attempt(place, claimed(place))
    row, _ = run_row(place)
    assert (row.state, row.failure) == ("failed", "OSError: [Errno 5] Input/output error")


def test_a_ledger_that_cannot_be_written_is_no_failure_of_the_run(place, lets, monkeypatch):
    lets(("outcome", (finished(),)))
    held, calls = claimed(place), []
    monkeypatch.setattr(engine, "_settled_state", raising(LedgerUnusable("the disk is full"), calls))
    with pytest.raises(LedgerUnusable, match="the disk is full"):
        engine.attempt(place, held)
    assert len(calls) == 2
    assert "interrupted: the disk is full" in log_of(place)


def test_an_epoch_that_the_ledger_refuses_fails_its_run_and_nothing_is_tried_for_ever(place, lets):
    never = math.nan
    lets(("epoch", (make.epoch(0, loss=never),)), ("outcome", (finished(),)))
    with pytest.raises(sqlite3.IntegrityError):
        engine.attempt(place, claimed(place))
    row, last = run_row(place)
    assert (row.state, row.failure_kind) == ("failed", "error")
    assert "NOT NULL" in last.traceback


@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_a_folder_that_cannot_be_made_fails_its_run_alone(place, lets, in_the_way):
    lets(("outcome", (finished(),)))
    if in_the_way == "file":
        (place.artifacts / "experiments").write_text("")
    else:
        (place.artifacts / "experiments").symlink_to(place.artifacts.parent / "elsewhere")
    assert engine.attempt(place, claimed(place)).state == "failed"
    assert "experiments" in run_row(place)[0].failure


def test_a_problem_that_a_child_could_not_return_as_an_outcome_fails_its_run(place, lets):
    lets(("problem", (BoneexpError("torch cannot be loaded"),)))
    assert engine.attempt(place, claimed(place)).state == "failed"
    assert run_row(place)[0].failure == "torch cannot be loaded"


TIMEOUT = TimeLimit(1.5).failure(1)
ENDINGS = {
    "cancelled": (Stopped("cancelled"), "cancelled", "boneexp retry 1", "run --all"),
    "cancelled, and failed": (Failed("error", "m", "t"), "cancelled", "boneexp retry 1", "run --all"),
    "cancelled, and killed": (Killed("m", "t"), "cancelled", "boneexp retry 1", "run --all"),
    "cancelled, and finished": (finished(), "cancelled", "boneexp retry 1", "run --all"),
    "stopped": (Stopped("SIGINT"), "queued", "boneexp run --all", "retry"),
    "out of memory": (Failed("oom", "m", "t"), "queued", "half the micro-batch", "retry"),
    "killed": (Killed("m", "t"), "queued", "resumes from its last checkpoint", "retry"),
    "killed too often": (
        Killed("m", "t"),
        "failed",
        "given up; see what kills it, then: boneexp retry 1",
        "--all",
    ),
    "over its time": (TIMEOUT, "failed", "boneexp retry 1 resumes it", "run --all"),
    "succeeded": (finished(), "succeeded", "finished; test accuracy 0.800", "retry"),
}


@pytest.mark.parametrize(("outcome", "state", "said", "unsaid"), ENDINGS.values(), ids=ENDINGS)
def test_the_last_line_of_an_attempt_names_the_command_that_fits(outcome, state, said, unsaid):
    news = []
    report = Report(nothing(news.append), claim_of(), logging.Logger("none"))
    report.settled(Settled(outcome, state))
    text = news[-1].text
    assert said in text
    assert unsaid not in text
    assert text.startswith("cancelled") == (state == "cancelled")


def test_a_run_that_is_cancelled_on_its_way_is_counted_as_that(place, lets, monkeypatch):
    lets(("stage", ("reading",)), ("outcome", (Failed("error", "m", "t"),)))
    held = claimed(place)
    monkeypatch.setattr(Report, "hear", lambda *_: cancelled(place))
    assert engine.attempt(place, held).state == "cancelled"
    assert Tally(1, 0, 2).sentence() == "1 succeeded, 0 failed, 2 cancelled"
    assert Tally(1, 2).sentence() == "1 succeeded, 2 failed"


def cancelled(place):
    with writing(place.ledger) as connection:
        cancel(connection, 1, time.time())


class Clock:
    """Goes on by some seconds whenever it is looked at, twice in each round of listening."""

    def __init__(self, step_s):
        self.now, self.step_s = 0.0, step_s

    def __call__(self):
        self.now += self.step_s
        return self.now


def claim_of(**training):
    return Claim(1, 1, make.spec(training=training), "experiments/E1/stratified", 8)


def limited(nowhere, hours, worked_s=0.0, step_s=GRACE_S / 10):
    report = Report(nowhere, claim_of(time_limit_hours=hours), logging.Logger("none"))
    report.limit = TimeLimit(hours, worked_s, Clock(step_s))
    return report


def waiting(child_of=Child, rounds=100):
    child = child_of()
    child.left = [None] * rounds
    return child


def test_a_run_over_its_time_is_asked_to_stop_saves_and_is_failed_as_timeout(nowhere):
    child = waiting()
    outcome = outcome_of(child, limited(nowhere, 0.5), StopFlag())
    assert (outcome.kind, child.killed) == ("timeout", False)
    assert child.asked == ["it has worked for longer than its training.time_limit_hours = 0.5"]
    assert "boneexp retry 1 resumes it from its last checkpoint" in outcome.message


@pytest.mark.parametrize(("worked_h", "ended"), [(98.0, Killed), (99.9, Failed)])
def test_earlier_attempts_count_for_the_limit(nowhere, worked_h, ended):
    found = outcome_of(waiting(rounds=50), limited(nowhere, 100, worked_h * HOUR_S), StopFlag())
    assert isinstance(found, ended)


def test_a_run_that_does_not_hear_is_killed_after_the_grace(nowhere):
    child = waiting(type("Deaf", (Child,), {"deaf": True}))
    outcome = outcome_of(child, limited(nowhere, 1), StopFlag())
    assert (outcome.kind, child.killed) == ("timeout", True)


@pytest.mark.parametrize("why", ["cancelled", "lost"])
@pytest.mark.parametrize("deaf", [True, False])
def test_a_run_of_which_nothing_counts_any_more_is_killed_where_it_does_not_stop(nowhere, why, deaf):
    child, report = waiting(type("Hearing", (Child,), {"deaf": deaf})), limited(nowhere, 0.0)
    getattr(report.lease, why).set()
    outcome = outcome_of(child, report, StopFlag())
    assert (len(child.asked), child.killed, isinstance(outcome, Killed)) == (1, deaf, deaf)


def test_a_run_that_is_to_go_on_later_is_given_all_the_time_that_it_needs_to_stop(nowhere):
    child, stop = waiting(type("Deaf", (Child,), {"deaf": True})), StopFlag()
    stop.set("SIGTERM")
    place = WorkerContext(Path("no ledger"), Path("no artifacts"), Computing("cpu"), lambda news: None, stop)
    outcome_of(child, limited(place, 0.0), stop)
    assert (child.asked, child.killed) == (["SIGTERM"], False)


@pytest.mark.parametrize("hours", [0.0, 1000.0])
def test_a_run_within_its_time_or_without_a_limit_is_let_alone(nowhere, hours):
    child = waiting(rounds=20)
    child.left.append(("outcome", (Failed("oom", "m", "t"),)))
    assert outcome_of(child, limited(nowhere, hours), StopFlag()).kind == "oom"
    assert child.asked == []


def test_a_result_in_the_grace_counts_and_a_cancel_comes_before_a_limit(nowhere):
    child = waiting(type("Deaf", (Child,), {"deaf": True}), rounds=1)
    child.left.append(("outcome", (finished(),)))
    assert outcome_of(child, limited(nowhere, 0.01), StopFlag()) == finished()
    report = limited(nowhere, 0.01)
    report.lease.cancelled.set()
    assert outcome_of(waiting(), report, StopFlag()) == Stopped("cancelled")


def test_a_run_over_its_time_can_be_queued_again_with_its_folder_and_all_its_time(place, lets, monkeypatch):
    lets(("stage", ("reading",)))
    held = claimed(place, training={"time_limit_hours": 1e-9})
    settled = engine.attempt(place, held)
    assert (settled.state, settled.outcome.kind) == ("failed", "timeout")
    assert (place.artifacts / "experiments/E1/stratified/attempt-0001").is_dir()  # where its checkpoint is
    with writing(place.ledger) as connection:
        retry(connection, 1, time.time())
        assert claim_next(connection, make.WORKER, time.time() + 1, 60).worked_s == 0


def test_what_is_reproduced_takes_as_long_as_it_takes(nowhere):
    report = _Unrecorded(nowhere, claim_of(time_limit_hours=1e-9), logging.Logger("none"))
    assert not report.limit.is_over()
