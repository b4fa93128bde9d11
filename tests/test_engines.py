"""Leases that are kept, processes that are told apart, and workers whose parent is gone."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import specs as make
from test_runs import LONG, start, wait_for

from boneexp.engines import local, processes
from boneexp.engines.lease import kept_lease
from boneexp.errors import BoneexpError, LedgerUnusable
from boneexp.ledger.database import reading, writing
from boneexp.ledger.queue import cancel, claim_next


def claimed(ledger, now=None, lease_s=60.0):
    with writing(ledger) as connection:
        make.queued(connection, make.specs(1))
        return claim_next(connection, make.worker("a"), time.time() if now is None else now, lease_s)


def lease_until(ledger):
    with reading(ledger) as connection:
        return connection.execute("SELECT lease_until FROM runs").fetchone()[0]


def until(condition, at_most_s=60):
    """Wait for a condition; fail if it does not come."""
    end = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.05)


def test_a_kept_lease_is_renewed_until_the_block_ends(ledger):
    claim = claimed(ledger, lease_s=0.4)
    first = lease_until(ledger)
    with kept_lease(ledger, claim, lease_s=0.4) as lease:
        until(lambda: lease_until(ledger) > first)
        assert not lease.lost.is_set()
    assert not any("_keep" in thread.name for thread in threading.enumerate())


def test_a_lease_that_was_taken_over_is_lost(ledger):
    claim = claimed(ledger, now=0, lease_s=0.4)
    with kept_lease(ledger, claim, lease_s=0.4) as lease:
        with writing(ledger) as connection:
            connection.exec_driver_sql("UPDATE runs SET attempt = attempt + 1")
        assert lease.lost.wait(timeout=60)


def test_a_cancelled_run_hears_of_it_through_its_lease(ledger):
    claim = claimed(ledger)
    with kept_lease(ledger, claim, lease_s=0.4) as lease:
        with writing(ledger) as connection:
            assert cancel(connection, claim.run_id, time.time()) == "stopping"
        assert lease.cancelled.wait(timeout=60)
        assert not lease.lost.is_set()


def test_a_ledger_that_cannot_be_written_loses_the_lease_only_when_it_has_run_out(ledger, monkeypatch):
    claim = claimed(ledger)
    failures = []

    def broken(*_):
        failures.append(time.monotonic())
        raise LedgerUnusable("the disk is full")

    monkeypatch.setattr("boneexp.engines.lease.writing", broken)
    began = time.monotonic()
    with kept_lease(ledger, claim, lease_s=0.4) as lease:
        assert lease.lost.wait(timeout=60)
    assert len(failures) > 1
    assert time.monotonic() - began >= 0.4


def test_this_process_lives_and_an_ended_one_does_not():
    me = processes.this_worker("cpu", {})
    assert processes.is_alive(me.pid, me.process_started, me.boot_id)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = processes._started(child.pid)
    assert processes.is_alive(child.pid, started, me.boot_id)
    child.kill()
    until(lambda: not processes.is_alive(child.pid, started, me.boot_id))  # a zombie is dead, too
    child.wait()
    assert not processes.is_alive(child.pid, started, me.boot_id)


@pytest.mark.skipif(not processes._boot_id().count("-"), reason="only Linux tells boot and start time")
def test_a_pid_that_was_given_out_again_or_another_boot_is_another_process():
    me = processes.this_worker("cpu", {})
    assert not processes.is_alive(me.pid, "1", me.boot_id)
    boot, _, namespace = me.boot_id.partition("/")
    assert not processes.is_alive(me.pid, me.process_started, f"another-boot/{namespace}")
    assert processes.is_alive(999_999_999, "1", f"{boot}/pid:[another container]")


@pytest.mark.slow
def test_workers_whose_parent_was_killed_put_their_runs_back(study):
    study("queue", *LONG[2:], "--set", "training.epochs=400")
    process = start(study, "run", "--all", "--workers", "2")
    wait_for(process, "epoch 1/400")
    workers = {row["worker"] for row in study.json("status") if row["state"] == "running"}
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: {row["state"] for row in study.json("status")} == {"queued"}, at_most_s=120)
    until(lambda: not any(_exists(int(worker.rpartition(":")[2])) for worker in workers), at_most_s=60)


def test_a_worker_process_that_died_is_no_success():
    with pytest.raises(BoneexpError, match=r"1 worker process\(es\) died \(exit code -9"):
        local._or_problem(local.Tally(succeeded=3), [], [-9])
    assert local._or_problem(local.Tally(succeeded=3), [], []).succeeded == 3


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
