"""The clock jumps: a run is never lost, never counted twice, and what is shown stays readable."""

import pytest
import specs as make
import typer
from sealed_again import seal_again
from settled_ledger import NOW, settle_next, settled_ledger
from typer.testing import CliRunner

from boneexp.cli.app import app
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import reading, writing
from boneexp.ledger.queries.attempts import epochs_of_run
from boneexp.ledger.queries.events import events_of_run
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.ledger.queries.runs import run_row
from boneexp.ledger.queue import (
    LONGEST_LEASE_S,
    cancel,
    claim_next,
    free_runs_of_dead_processes,
    holds,
    renew,
)
from boneexp.ledger.settling import fail, finish, keep_epoch, requeue
from boneexp.results import Failed, Stopped
from boneexp.text.numbers import clock_time

HOUR_S, DAY_S = 3600, 86400


@pytest.fixture
def queued(ledger):
    with writing(ledger) as connection:
        make.queued(connection, make.specs(1), NOW)
    return ledger


def claim(ledger, name, now, lease_s=120):
    with writing(ledger) as connection:
        return claim_next(connection, make.worker(name), now, lease_s)


def kept(ledger, held, number, now):
    with writing(ledger) as connection:
        return keep_epoch(connection, held, make.epoch(number), now)


def test_a_run_claimed_until_tomorrow_by_a_process_that_is_gone_is_claimed_at_once(queued):
    lost = claim(queued, "a", NOW + DAY_S)  # the clock was a day ahead, and has been put right
    taken = claim(queued, "b", NOW)
    assert (taken.run_id, taken.attempt) == (lost.run_id, 2)
    with writing(queued) as connection:
        assert not renew(connection, lost, NOW + 1, 120)
        assert renew(connection, taken, NOW + 1, 120)


def test_after_a_small_jump_back_the_lease_holds_and_runs_out_with_the_new_clock(queued):
    claim(queued, "a", NOW)
    assert claim(queued, "b", NOW - 600) is None
    assert claim(queued, "b", NOW + 120) is None
    assert claim(queued, "b", NOW + 121).attempt == 2


def test_no_lease_holds_for_longer_than_the_longest(queued):
    claim(queued, "a", NOW)
    assert claim(queued, "b", NOW + 120 - LONGEST_LEASE_S) is None
    assert claim(queued, "b", NOW + 119 - LONGEST_LEASE_S).attempt == 2


def test_every_lease_that_can_be_asked_for_is_far_below_the_longest():
    run = typer.main.get_command(app).commands["run"]
    (lease,) = (each for each in run.params if each.name == "lease")
    assert lease.type.max <= LONGEST_LEASE_S / 2


def test_a_worker_that_lives_through_a_jump_back_keeps_its_run_by_renewing_it(queued):
    held = claim(queued, "a", NOW + DAY_S)
    with writing(queued) as connection:
        assert renew(connection, held, NOW, 120)
    assert claim(queued, "b", NOW + 60) is None


def test_a_run_of_a_dead_process_here_is_free_whatever_its_lease_says(queued):
    claim(queued, "a", NOW + DAY_S)
    with writing(queued) as connection:
        assert free_runs_of_dead_processes(connection, "host", lambda *_: False, NOW) == [1]
    assert claim(queued, "b", NOW).attempt == 2


def test_a_run_whose_lease_lies_far_ahead_can_be_cancelled(queued):
    claim(queued, "a", NOW + DAY_S)
    with writing(queued) as connection:
        assert cancel(connection, 1, NOW) == "cancelled"


def test_runs_that_kill_their_workers_are_given_up_in_the_wake_of_a_jump_too(queued):
    for attempt in (1, 2, 3):
        assert claim(queued, "a", NOW + DAY_S * (10 - attempt)).attempt == attempt
    assert claim(queued, "a", NOW) is None
    with reading(queued) as connection:
        assert run_row(connection, 1).failure_kind == "killed"


def test_after_a_jump_forward_a_living_worker_is_fenced_and_nothing_counts_twice(queued):
    first = claim(queued, "a", NOW)
    assert kept(queued, first, 0, NOW + 10)
    second = claim(queued, "b", NOW + 5 * HOUR_S)  # a lives, and by this clock its lease is old
    with writing(queued) as connection:
        assert not holds(connection, first)
        assert not renew(connection, first, NOW + 5 * HOUR_S, 120)
        assert not requeue(connection, first, Stopped("s"), NOW + 5 * HOUR_S)
        assert not fail(connection, first, Failed("error", "m", "t"), NOW + 5 * HOUR_S)
    assert not kept(queued, first, 1, NOW + 5 * HOUR_S)
    for number in (0, 1):  # what b trains again comes out the same
        assert kept(queued, second, number, NOW + 5 * HOUR_S)
    with writing(queued) as connection:
        assert not finish(connection, first, make.finished(), NOW + 5 * HOUR_S)
        assert finish(connection, second, make.finished(), NOW + 5 * HOUR_S)
    with reading(queued) as connection:
        assert run_row(connection, 1).state == "succeeded"
        assert [row.epoch for row in epochs_of_run(connection, 1)] == [1, 2]
        assert connection.execute("SELECT COUNT(*) FROM epochs").fetchone()[0] == 2
        assert len(prediction_rows(connection, 1)) == 2
        assert first_broken_event(connection) is None


def test_events_that_go_back_in_time_are_a_whole_chain_in_the_order_in_which_they_were_written(queued):
    held = claim(queued, "a", NOW + DAY_S)
    with writing(queued) as connection:
        assert requeue(connection, held, Stopped("SIGTERM"), NOW - DAY_S)
    claim(queued, "b", NOW)
    with reading(queued) as connection:
        events = events_of_run(connection, 1)
        assert first_broken_event(connection) is None
    assert [event.kind for event in events] == ["claimed", "put-back", "claimed"]
    assert events[1].at < events[0].at


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (-0.4, "0:00"),
        (-5, "-0:05"),
        (-65, "-1:05"),
        (-3725, "-1:02:05"),
        (3725, "1:02:05"),
        (None, ""),
    ],
)
def test_a_duration_across_a_jump_back_is_shown_as_negative(seconds, shown):
    assert clock_time(seconds) == shown


@pytest.mark.parametrize("now", [NOW - 10 * DAY_S, NOW + 10 * DAY_S])
def test_what_is_shown_stays_readable_when_times_run_backwards(tmp_path, now, monkeypatch):
    path = settled_ledger(tmp_path / "ledger.db", experiments=("E1",), settle=False)
    settle_next(path, NOW)
    held = claim(path, "a", NOW + DAY_S)
    kept(path, held, 0, NOW - DAY_S)
    with writing(path) as connection:
        connection.execute("UPDATE attempts SET ended_at = started_at - 3725 WHERE run_id = 1")
    seal_again(path)
    monkeypatch.setattr("time.time", lambda: now)
    for command in (["status"], ["status", "--csv"], ["show", "1"], ["show", "2"], ["compare"]):
        result = CliRunner().invoke(app, [*command, "--ledger", str(path), "--artifacts", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert ("-1:02:05" in result.stdout) == (command == ["show", "1"])
