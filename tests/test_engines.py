"""Leases that are kept, processes that are told apart, and workers whose parent is gone."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import faulty
import pytest
import specs as make

from boneexp.errors import BoneexpError, DeviceUnavailable, LedgerUnusable
from boneexp.experiment.readiness import readiness
from boneexp.ledger.database import reading, writing
from boneexp.ledger.queue import cancel, claim_next
from boneexp.results import Computing
from boneexp.runs import processes
from boneexp.runs.children import openmp, process
from boneexp.runs.children.process import answer
from boneexp.runs.lease import kept_lease


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
            connection.execute("UPDATE runs SET attempt = attempt + 1")
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

    monkeypatch.setattr("boneexp.runs.lease.writing", broken)
    began = time.monotonic()
    with kept_lease(ledger, claim, lease_s=0.4) as lease:
        assert lease.lost.wait(timeout=60)
    assert len(failures) > 1
    assert time.monotonic() - began >= 0.4


def test_this_process_lives_and_an_ended_one_does_not():
    me = processes.this_worker("cpu", {})
    assert processes.is_alive(me.pid, me.process_started, me.boot_id)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = processes._started(process.pid)
    assert processes.is_alive(process.pid, started, me.boot_id)
    process.kill()
    until(lambda: not processes.is_alive(process.pid, started, me.boot_id))  # a zombie is dead, too
    process.wait()
    assert not processes.is_alive(process.pid, started, me.boot_id)


@pytest.mark.skipif(not processes._boot_id().count("-"), reason="only Linux tells boot and start time")
def test_a_pid_that_was_given_out_again_or_another_boot_is_another_process():
    me = processes.this_worker("cpu", {})
    assert not processes.is_alive(me.pid, "1", me.boot_id)
    boot, _, namespace = me.boot_id.partition("/")
    assert not processes.is_alive(me.pid, me.process_started, f"another-boot/{namespace}")
    assert processes.is_alive(999_999_999, "1", f"{boot}/pid:[another container]")


def test_the_lease_of_a_frozen_run_is_left_to_run_out(ledger):
    claim = claimed(ledger)
    first, asked = lease_until(ledger), []

    def is_working():
        asked.append(True)
        return False

    with kept_lease(ledger, claim, lease_s=0.4, is_working=is_working) as lease:
        until(lambda: len(asked) > 3)
        assert lease_until(ledger) == first
        assert not lease.lost.is_set()  # nobody has taken it, and it may wake in time


def test_a_keeper_that_dies_of_anything_loses_the_lease(ledger, monkeypatch):
    claim = claimed(ledger)
    monkeypatch.setattr("boneexp.runs.lease.renew", lambda *_: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda *_: None)
    with kept_lease(ledger, claim, lease_s=0.4) as lease:
        assert lease.lost.wait(timeout=60)


def test_a_frozen_process_is_told_from_a_working_one():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not processes.is_frozen(process.pid)
    process.send_signal(signal.SIGSTOP)
    until(lambda: processes.is_frozen(process.pid))
    process.kill()
    process.wait()
    assert not processes.is_frozen(process.pid)


def test_a_child_answers_raises_and_dies():
    assert answer(faulty.threads_and_pid, threads=1) == (1, True)
    with pytest.raises(DeviceUnavailable, match="no such device"):
        answer(readiness, Computing("cuda:99"), (), Path("none"))
    with pytest.raises(BoneexpError, match="SIGKILL"):
        answer(faulty.always_killed)


def test_a_child_has_torch_from_its_server_and_loads_no_ledger():
    found = answer(faulty.loaded)
    assert {"torch", "timm", "sklearn"} <= found
    assert found & {"sqlalchemy", "alembic"} == set()


class Pipe:
    """Keeps what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)


def test_of_steps_that_follow_one_another_at_once_only_some_are_told_and_a_stop_is_heard_at_each(monkeypatch):
    pipe, request, now = Pipe(), process._StopRequest(), itertools.count(step=process.STEPS_APART_S / 3.5)
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: next(now)))
    messages = process.Messages(pipe, request)
    assert all(messages.step(0, done, 12) for done in range(1, 13))
    assert [content for _, content in pipe.sent] == [(0, 1, 12), (0, 5, 12), (0, 9, 12)]
    request.reason = "cancelled"
    assert not any(messages.step(1, done, 12) for done in range(1, 5))


@pytest.mark.slow
def test_a_child_whose_worker_was_killed_ends_too():
    program = (
        "import faulty\n"
        "from boneexp.runs.children.process import Child\n"
        "child = Child(faulty.waiting, ())\n"
        "print(child.message(600)[1][0], flush=True)\n"
        "input()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    worker = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    pid = int(worker.stdout.readline())
    assert _exists(pid)
    worker.kill()
    worker.wait()
    until(lambda: not _exists(pid))


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def spin_count(report):
    return os.environ.get("GOMP_SPINCOUNT")


def test_the_threads_of_an_attempt_sleep_soon_while_they_wait():
    for name in openmp.CHOSEN_BY_THE_USER:
        assert openmp.spin_settings({name: "ACTIVE"}) == {}, "what the user has chosen stays"
    assert openmp.spin_settings({}) == {"GOMP_SPINCOUNT": "4000"}
    if not set(openmp.CHOSEN_BY_THE_USER) & set(os.environ):
        assert answer(spin_count) == "4000"
