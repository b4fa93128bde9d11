import json
import multiprocessing
import sqlite3
import time

import pytest
import specs as make

from boneexp.errors import RunNotFinished, RunNotFound
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.queries.attempts import attempts_of_run, epochs_of_run
from boneexp.ledger.queries.events import events_of_run
from boneexp.ledger.queries.figures import late_rows, metric_rows
from boneexp.ledger.queries.files import files_of_run
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.ledger.queries.runs import run_row, state_counts, unfinished_rows
from boneexp.ledger.queue import (
    CLAIM_OLDEST,
    cancel,
    claim_next,
    free_runs_of_dead_processes,
    holds,
    renew,
    retry,
    stop_requested,
)
from boneexp.ledger.seals import Subject, broken_seals, seal_holds
from boneexp.ledger.settling import fail, finish, keep_epoch, record_death, requeue
from boneexp.ledger.tables import runs
from boneexp.results import Failed, Killed, Stopped
from boneexp.study.settings import RunSpec


def enqueue(ledger, wanted, now=0.0):
    with writing(ledger) as connection:
        return make.queued(connection, wanted, now)


def claim(ledger, name="a", now=0.0, lease_s=60.0, run_id=None):
    with writing(ledger) as connection:
        return claim_next(connection, make.worker(name), now, lease_s, run_id)


def row(ledger, run_id):
    with reading(ledger) as connection:
        return run_row(connection, run_id)


def outcomes(ledger, run_id):
    with reading(ledger) as connection:
        return [each.outcome for each in attempts_of_run(connection, run_id)]


def test_queueing_twice_is_a_no_op(ledger):
    assert enqueue(ledger, make.specs(3)).added == (1, 2, 3)
    again = enqueue(ledger, make.specs(3))
    assert (again.added, again.known) == ((), 3)


def test_the_database_itself_refuses_a_second_run_of_the_same_hash(ledger):
    enqueue(ledger, make.specs(1))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), writing(ledger) as connection:
        columns = [column.name for column in runs.columns]
        copied = ", ".join({"id": "9", "folder": "'other'"}.get(name, name) for name in columns)
        connection.execute(f"INSERT INTO runs SELECT {copied} FROM runs")


def test_the_hash_covers_what_decides_the_result_and_nothing_else():
    base = make.spec().config_hash
    assert make.spec(notes="x", name="other").config_hash == base
    assert make.spec(data={"root": "elsewhere", "name": "other"}).config_hash == base
    changed = [
        make.spec(seed=43),
        make.spec(experiment="E2"),
        make.spec(split="center_holdout"),
        make.spec(training={"batch_size": 8}),
        make.spec(model={"dropout": 0.3}),
        make.spec(data={"image_size": 300}),
        make.spec().model_copy(update={"data_fingerprint": "e" * 64}),
        make.spec().model_copy(update={"weights_sha256": "e" * 64}),
    ]
    hashes = {each.config_hash for each in changed}
    assert base not in hashes
    assert len(hashes) == len(changed)


def test_what_was_queued_before_decoding_was_a_setting_keeps_its_hash():
    before = "6de80dcb3513f33f17e179f19d97095e22c48f6b2b8431f1bc7a55a4f2c67f94"
    assert make.spec().config_hash == make.spec(data={"decoding": "full"}).config_hash == before
    assert make.spec(data={"decoding": "scaled"}).config_hash != before


def test_the_lesion_decides_runs_with_annotations_and_no_others():
    plain, annotated = {"annotations": False}, {"annotations": True}
    hashes = {
        (lesion, used["annotations"]): make.spec(data={"lesion": lesion}, training=used).config_hash
        for lesion in ("outline", "box", "union")
        for used in (plain, annotated)
    }
    assert len({hashes[lesion, True] for lesion in ("outline", "box", "union")}) == 3
    assert len({hashes[lesion, False] for lesion in ("outline", "box", "union")}) == 1
    assert make.spec(training=annotated).config_hash == hashes["outline", True]


def test_a_run_from_before_the_lesion_was_a_setting_took_every_shape_and_keeps_its_hash():
    before = "ada4b88850b0cebb7f54c5e7d92ab29409c5c84b9e0302dbf469a2201634d0fb"
    spec = json.loads(make.spec(training={"annotations": True}).model_dump_json())
    del spec["settings"]["data"]["lesion"]
    read = RunSpec.model_validate_json(json.dumps(spec))
    assert read.settings.data.lesion == "union"
    assert read.config_hash == before
    assert RunSpec.model_validate_json(read.model_dump_json()) == read


def test_each_run_of_an_experiment_and_split_has_a_folder_of_its_own(ledger):
    enqueue(ledger, [make.spec(), make.spec(seed=43), make.spec(training={"epochs": 2})])
    folders = [row(ledger, run_id).folder for run_id in (1, 2, 3)]
    assert folders[0] == "experiments/E1/stratified"
    assert folders[1].startswith("experiments/E1/stratified-seed43-")
    assert len(set(folders)) == 3


def test_what_was_queued_last_is_current(ledger):
    enqueue(ledger, [make.spec(), make.spec(split="center_holdout")])
    changed = enqueue(ledger, [make.spec(training={"epochs": 2})])
    assert changed.outdated == (1, 2)
    assert [row(ledger, run_id).is_current for run_id in (1, 2, 3)] == [0, 0, 1]
    enqueue(ledger, [make.spec()])
    assert [row(ledger, run_id).is_current for run_id in (1, 2, 3)] == [1, 0, 0]


def test_a_waiting_run_learns_where_moved_data_lie(ledger):
    enqueue(ledger, [make.spec(data={"root": "old"})])
    enqueue(ledger, [make.spec(data={"root": "new"})])
    assert claim(ledger).spec.settings.data.root == "new"


def test_an_abandoned_run_is_claimed_again_and_its_first_holder_must_stop(ledger):
    enqueue(ledger, make.specs(1))
    lost = claim(ledger, "a", now=0, lease_s=60)
    assert claim(ledger, "b", now=59) is None
    taken = claim(ledger, "b", now=61)
    assert (taken.run_id, taken.attempt) == (lost.run_id, 2)
    with writing(ledger) as connection:
        assert not renew(connection, lost, now=62, lease_s=60)
        assert not keep_epoch(connection, lost, make.epoch(0), now=62)
        assert not fail(connection, lost, Failed("error", "m", "t"), now=62)
        assert not record_death(connection, lost, Killed("k", ""), now=62)
        assert not requeue(connection, lost, Stopped("s"), now=62)
        assert renew(connection, taken, now=62, lease_s=60)
        assert holds(connection, taken)
    assert outcomes(ledger, 1) == ["lost", None]


def test_nothing_that_a_worker_writes_reads_a_table_from_end_to_end(ledger):
    enqueue(ledger, make.specs(3))
    said = []
    with writing(ledger) as connection:
        connection.set_trace_callback(said.append)
        free_runs_of_dead_processes(connection, "host", lambda *_: True, now=0)
        one = claim_next(connection, make.WORKER, 0, 60)
        other = claim_next(connection, make.WORKER, 0, 60, run_id=3)
        assert renew(connection, one, 1, 60)
        assert not stop_requested(connection, one)
        assert keep_epoch(connection, one, make.epoch(0), 2)
        assert finish(connection, one, make.finished(), 3) == "succeeded"
        assert record_death(connection, other, Killed("k", ""), 4) == "queued"
        connection.set_trace_callback(None)
        plans = {each: connection.execute(f"EXPLAIN QUERY PLAN {each}").fetchall() for each in said}
    scans = {each: row["detail"] for each, plan in plans.items() for row in plan if "SCAN" in row["detail"]}
    ends_after_one = {
        "SCAN (subquery-1)": CLAIM_OLDEST[:20],
        "SCAN events": "SELECT hash FROM events ORDER BY id DESC",
    }
    assert all(each.startswith(ends_after_one.get(scan, "?")) for each, scan in scans.items()), scans
    assert sum("ix_runs_state_lease_until" in row["detail"] for plan in plans.values() for row in plan) > 4


@pytest.mark.parametrize("way", ["oom", "killed", "stopped", "retried", "cancelled and retried"])
def test_a_run_that_waits_again_holds_no_lease(ledger, way):
    enqueue(ledger, make.specs(1))
    with writing(ledger) as connection:
        held = claim_next(connection, make.WORKER, 0, 60)
        if way == "oom":
            assert fail(connection, held, Failed("oom", "m", "t"), 1) == "queued"
        elif way == "killed":
            assert record_death(connection, held, Killed("k", ""), 1) == "queued"
        elif way == "stopped":
            assert requeue(connection, held, Stopped("s"), 1) == "queued"
        elif way == "retried":
            assert fail(connection, held, Failed("error", "m", "t"), 1) == "failed"
            retry(connection, 1, 2)
        else:
            assert cancel(connection, 1, 100) == "cancelled"
            retry(connection, 1, 101)
        kept = connection.execute("SELECT state, lease_until FROM runs").fetchone()
    assert tuple(kept) == ("queued", None)


def test_a_late_result_is_kept_as_evidence_and_does_not_count(ledger):
    enqueue(ledger, make.specs(1))
    lost = claim(ledger, "a", now=0, lease_s=60)
    claim(ledger, "b", now=61)
    with writing(ledger) as connection:
        assert not finish(connection, lost, make.finished(accuracy=0.99), now=62)
    with reading(ledger) as connection:
        assert metric_rows(connection, 1) == []
        late = [event for event in events_of_run(connection, 1) if event.kind == "late-result"]
        rows = late_rows(connection, 1)
    assert late[0].details["files"] == {"best checkpoint": "c" * 64}
    assert {(row.attempt, row.metric, row.value) for row in rows} >= {(1, "accuracy", 0.99)}


def test_claims_stop_when_every_attempt_killed_its_worker(ledger):
    enqueue(ledger, make.specs(1))
    for attempt in (1, 2, 3):
        assert claim(ledger, now=attempt * 100, lease_s=60).attempt == attempt
    assert claim(ledger, now=400) is None
    settled = row(ledger, 1)
    assert (settled.state, settled.failure_kind, settled.attempts) == ("failed", "killed", 3)
    assert outcomes(ledger, 1) == ["lost"] * 3


def test_a_run_whose_process_is_killed_waits_again_until_that_has_happened_too_often(ledger):
    enqueue(ledger, make.specs(1))
    killed = Killed("its process was ended by SIGKILL", "stack")
    for expected in ("queued", "queued", "failed"):
        held = claim(ledger)
        with writing(ledger) as connection:
            assert record_death(connection, held, killed, now=1) == expected
    settled = row(ledger, 1)
    assert (settled.state, settled.failure_kind, settled.attempts) == ("failed", "killed", 3)
    assert "SIGKILL" in settled.failure
    with writing(ledger) as connection:
        retry(connection, 1, now=2)
    assert claim(ledger).attempt == 4


def test_only_deaths_in_a_row_without_an_epoch_count(ledger):
    enqueue(ledger, make.specs(1))
    for number in range(5):
        held = claim(ledger)
        with writing(ledger) as connection:
            assert keep_epoch(connection, held, make.epoch(number), now=1)
            assert record_death(connection, held, Killed("killed", ""), now=2) == "queued"


ENDS = {
    "an error": lambda connection, held: fail(connection, held, Failed("error", "m", "t"), 2),
    "out of memory": lambda connection, held: fail(connection, held, Failed("oom", "m", "t"), 2),
    "a full disk": lambda connection, held: fail(connection, held, Failed("disk", "m", "t"), 2),
    "unusable data": lambda connection, held: fail(connection, held, Failed("data", "m", "t"), 2),
    "a time limit": lambda connection, held: fail(connection, held, Failed("timeout", "m", "t"), 2),
    "a kill": lambda connection, held: record_death(connection, held, Killed("m", "t"), 2),
    "a stop": lambda connection, held: requeue(connection, held, Stopped("m"), 2),
    "a result": lambda connection, held: finish(connection, held, make.finished(), 2),
    "its worker's death": lambda connection, held: free_dead(connection, 2),
    "the end of its lease": lambda connection, held: claim_next(connection, make.WORKER, 61, 60),
    "the end of its lease, seen by a worker that wants it alone": lambda connection, held: claim_next(
        connection, make.WORKER, 61, 60, held.run_id
    ),
    "a lease beyond reason": lambda connection, held: claim_next(connection, make.WORKER, -9999, 60),
    "a second cancel after its lease": lambda connection, held: cancel(connection, held.run_id, 61),
}
KIND_OF_ATTEMPT = {"an error": "error", "out of memory": "oom", "a full disk": "disk",
                   "unusable data": "data", "a time limit": "timeout", "a stop": None,
                   "a result": None}  # fmt: skip


def free_dead(connection, now):
    return free_runs_of_dead_processes(connection, "host", lambda *_: False, now)


def raw(ledger, query):
    with reading(ledger) as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize("end", ENDS)
def test_a_cancelled_run_ends_cancelled_whatever_its_attempt_comes_to(ledger, end):
    enqueue(ledger, [make.spec(training={"batch_size": 4})])
    held = claim(ledger)
    with writing(ledger) as connection:
        assert cancel(connection, 1, now=1) == "stopping"
    with writing(ledger) as connection:
        said = ENDS[end](connection, held)
    assert said in ("cancelled", None) or said == [1]
    columns = "state, stop_requested, lease_until, failure_kind, failure, micro_batch, checkpoint"
    assert raw(ledger, f"SELECT {columns} FROM runs") == [("cancelled", 0, None, None, None, 4, None)]
    with reading(ledger) as connection:
        (ended,) = attempts_of_run(connection, 1)
        kinds = [event.kind for event in events_of_run(connection, 1)]
        assert seal_holds(connection, Subject("run", (1,)))
    assert ended.failure_kind == KIND_OF_ATTEMPT.get(end, "killed")
    assert ended.ended_at is not None
    assert ended.failure  # what it came to is told, in the attempt and by the event
    assert kinds[-1] == "cancelled"
    assert claim(ledger, now=99_999) is None
    with writing(ledger) as connection:  # what comes later changes nothing
        assert fail(connection, held, Failed("error", "late", "t"), 70) is None
        retry(connection, 1, now=100_000)
    again = claim(ledger, now=100_001)
    assert (again.run_id, again.attempt) == (1, 2)


def test_a_result_that_comes_after_its_run_was_cancelled_is_kept_and_does_not_count(ledger):
    enqueue(ledger, make.specs(1))
    held = claim(ledger)
    with writing(ledger) as connection:
        cancel(connection, 1, now=1)
        assert finish(connection, held, make.finished(accuracy=0.99), now=2) == "cancelled"
    assert row(ledger, 1).accuracy is None
    for table in ("metrics", "predictions", "files", "run_summaries"):
        assert raw(ledger, f"SELECT * FROM {table}") == [], table
    with reading(ledger) as connection:
        assert {each.value for each in late_rows(connection, 1)} >= {0.99}
        assert attempts_of_run(connection, 1)[0].outcome == "stopped"
        assert first_broken_event(connection) is None
        assert list(broken_seals(connection)) == []


def test_a_run_that_is_cancelled_twice_is_asked_once(ledger):
    enqueue(ledger, make.specs(1))
    claim(ledger)
    with writing(ledger) as connection:
        assert [cancel(connection, 1, now=now) for now in (1, 2, 3)] == ["stopping"] * 3
    assert len(raw(ledger, "SELECT 1 FROM events WHERE kind = 'cancel-requested'")) == 1


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_what_is_settled_cannot_be_cancelled_and_stays_as_it_is(ledger, state):
    enqueue(ledger, make.specs(1))
    held = claim(ledger)
    with writing(ledger) as connection:
        if state == "succeeded":
            finish(connection, held, make.finished(), 1)
        elif state == "failed":
            fail(connection, held, Failed("error", "m", "t"), 1)
        else:
            cancel(connection, 1, 1)
            requeue(connection, held, Stopped("cancelled"), 2)
    before = raw(ledger, "SELECT * FROM runs"), raw(ledger, "SELECT * FROM events")
    with pytest.raises(RunNotFinished, match=f"run 1 is {state} already"), writing(ledger) as connection:
        cancel(connection, 1, 3)
    assert (raw(ledger, "SELECT * FROM runs"), raw(ledger, "SELECT * FROM events")) == before


def test_a_run_that_is_being_cancelled_can_be_queued_again_only_when_it_has_stopped(ledger):
    enqueue(ledger, make.specs(1))
    claim(ledger, now=0, lease_s=60)
    with writing(ledger) as connection:
        cancel(connection, 1, now=1)
    with pytest.raises(RunNotFinished, match="has yet to stop"), writing(ledger) as connection:
        retry(connection, 1, now=59)
    with writing(ledger) as connection:
        retry(connection, 1, now=61)  # nobody is left to stop it
    assert (row(ledger, 1).state, row(ledger, 1).stop_requested) == ("queued", 0)
    assert outcomes(ledger, 1) == ["lost"]


def test_a_cancelled_run_whose_lease_is_over_is_shown_as_what_it_is_before_anybody_writes_it(ledger):
    enqueue(ledger, make.specs(2))
    claim(ledger, now=time.time() - 100, lease_s=60)
    claim(ledger, now=time.time(), lease_s=600, run_id=2)
    with writing(ledger) as connection:
        connection.execute("UPDATE runs SET stop_requested = 1")  # as cancel does while the lease lasts
    shown = [row(ledger, run_id) for run_id in (1, 2)]
    assert [(each.state, each.stop_requested) for each in shown] == [("cancelled", 1), ("running", 1)]
    assert [each.lease_expired for each in shown] == [0, 0]
    assert raw(ledger, "SELECT state FROM runs") == [("running",)] * 2
    with reading(ledger) as connection:
        assert state_counts(connection) == {"running": 1, "cancelled": 1}
        assert [each.run for each in unfinished_rows(connection)] == [2]


def test_a_worker_does_not_give_up_on_a_cancelled_run_as_killed(ledger):
    enqueue(ledger, make.specs(1))
    for attempt in (1, 2, 3):
        claim(ledger, now=attempt * 100, lease_s=60)
    with writing(ledger) as connection:
        cancel(connection, 1, now=301)
    assert claim(ledger, now=400) is None
    assert row(ledger, 1).state == "cancelled"


LIMITED = {"training": {"time_limit_hours": 1.5}}


def test_a_time_limit_holds_for_all_attempts_since_a_person_asked_for_the_run(ledger):
    enqueue(ledger, [make.spec(**LIMITED)])
    first = claim(ledger, now=0)
    with writing(ledger) as connection:
        requeue(connection, first, Stopped("SIGINT"), now=1000)
    second = claim(ledger, now=5000)
    assert (first.worked_s, second.worked_s) == (0, 1000)
    with writing(ledger) as connection:
        renew(connection, second, now=5040, lease_s=60)
    third = claim(ledger, now=9000)  # the second was silent
    assert third.worked_s == 1000 + 4000
    with writing(ledger) as connection:
        assert fail(connection, third, Failed("timeout", "m", ""), now=9500) == "failed"
        retry(connection, 1, now=9600)
    assert row(ledger, 1).micro_batch == 32
    assert claim(ledger, now=9700).worked_s == 0


def test_a_run_over_its_time_is_failed_as_that_and_waits_for_a_person(ledger):
    enqueue(ledger, [make.spec(**LIMITED)])
    held = claim(ledger)
    with writing(ledger) as connection:
        assert keep_epoch(connection, held, make.epoch(0), now=1)
        assert fail(connection, held, Failed("timeout", "it has worked for longer", ""), now=2) == "failed"
    settled = row(ledger, 1)
    assert (settled.state, settled.failure_kind) == ("failed", "timeout")
    assert claim(ledger, now=9999) is None


def test_another_time_limit_is_no_other_run_and_is_learned_by_what_may_run_again(ledger):
    enqueue(ledger, [make.spec(**LIMITED)])
    held = claim(ledger)
    with writing(ledger) as connection:
        fail(connection, held, Failed("timeout", "m", ""), now=1)
    longer = make.spec(training={"time_limit_hours": 48.0})
    assert longer.config_hash == make.spec().config_hash
    assert enqueue(ledger, [longer]).known == 1
    with reading(ledger) as connection:
        assert list(broken_seals(connection)) == []  # of the failed run
    with writing(ledger) as connection:
        retry(connection, 1, now=2)
    assert claim(ledger).spec.settings.training.time_limit_hours == 48


def test_out_of_memory_halves_the_micro_batch_down_to_one_and_then_fails(ledger):
    enqueue(ledger, [make.spec(training={"batch_size": 4})])
    seen = []
    while (held := claim(ledger)) is not None:
        seen.append(held.micro_batch)
        with writing(ledger) as connection:
            assert fail(connection, held, Failed("oom", "out of memory", "t"), now=1)
    assert seen == [4, 2, 1]
    assert (row(ledger, 1).state, row(ledger, 1).failure_kind) == ("failed", "oom")
    with writing(ledger) as connection:
        retry(connection, 1, now=2)
    assert claim(ledger).micro_batch == 4


def test_an_error_fails_only_that_run_and_retry_keeps_its_history(ledger):
    enqueue(ledger, make.specs(2))
    held = claim(ledger)
    with writing(ledger) as connection:
        assert fail(connection, held, Failed("error", "ZeroDivisionError: x", "Traceback …"), now=1)
    assert row(ledger, 1).failure == "ZeroDivisionError: x"
    assert claim(ledger).run_id == 2
    with writing(ledger) as connection:
        retry(connection, 1, now=2)
    assert claim(ledger).attempt == 2
    with reading(ledger) as connection:
        assert attempts_of_run(connection, 1)[0].traceback == "Traceback …"


def test_a_finished_run_has_its_facts_in_rows(ledger):
    enqueue(ledger, make.specs(1))
    held = claim(ledger)
    with writing(ledger) as connection:
        assert keep_epoch(connection, held, make.epoch(0), now=1)
        assert finish(connection, held, make.finished(), now=2)
    settled = row(ledger, 1)
    assert (settled.state, settled.accuracy, settled.malignant_sensitivity) == (
        "succeeded",
        0.8,
        0.7,
    )
    assert settled.checkpoint == "experiments/E1/stratified/best.pt"
    with reading(ledger) as connection:
        assert len(prediction_rows(connection, 1)) == 2
        assert files_of_run(connection, 1)[0].sha256 == "c" * 64
        assert first_broken_event(connection) is None


def test_an_epoch_that_comes_out_the_same_again_is_one_row(ledger):
    enqueue(ledger, make.specs(1))
    first = claim(ledger, now=0)
    with writing(ledger) as connection:
        keep_epoch(connection, first, make.epoch(0, loss=0.5), now=1)
    again = claim(ledger, now=100)
    with writing(ledger) as connection:
        keep_epoch(connection, again, make.epoch(0, loss=0.5), now=101)
        keep_epoch(connection, again, make.epoch(0, loss=0.4), now=102)
    with reading(ledger) as connection:
        assert [each.val_loss for each in epochs_of_run(connection, 1)] == [0.4]
        assert connection.execute("SELECT COUNT(*) FROM epochs").fetchone()[0] == 2


def test_a_run_that_is_put_back_goes_on_later(ledger):
    enqueue(ledger, make.specs(1))
    held = claim(ledger)
    with writing(ledger) as connection:
        assert requeue(connection, held, Stopped("SIGTERM"), now=1)
    assert row(ledger, 1).state == "queued"
    assert claim(ledger, now=2).attempt == 2


def test_cancel_takes_out_a_waiting_run_and_stops_a_running_one(ledger):
    enqueue(ledger, make.specs(2))
    held = claim(ledger)
    with writing(ledger) as connection:
        assert cancel(connection, 2, now=1) == "cancelled"
        assert cancel(connection, 1, now=1) == "stopping"
        assert stop_requested(connection, held)
        assert requeue(connection, held, Stopped("cancelled"), now=2)
    assert [row(ledger, run_id).state for run_id in (1, 2)] == ["cancelled", "cancelled"]
    with writing(ledger) as connection:
        retry(connection, 1, now=3)
    assert claim(ledger).run_id == 1


def test_runs_that_are_not_there_or_not_in_that_state_are_said_so(ledger):
    enqueue(ledger, make.specs(1))
    with writing(ledger) as connection:
        with pytest.raises(RunNotFound, match="no run 9"):
            cancel(connection, 9, now=1)
        with pytest.raises(RunNotFinished, match="run 1 is queued"):
            retry(connection, 1, now=1)


def test_a_run_of_a_dead_process_is_free_at_once_and_of_a_live_one_is_not(ledger):
    enqueue(ledger, make.specs(2))
    claim(ledger, now=0, lease_s=600)
    with writing(ledger) as connection:
        assert free_runs_of_dead_processes(connection, "elsewhere", lambda *_: False, now=1) == []
        assert free_runs_of_dead_processes(connection, "host", lambda *_: True, now=1) == []
        assert free_runs_of_dead_processes(connection, "host", lambda *_: False, now=1) == [1]
    assert claim(ledger, now=1).run_id == 1


def test_a_changed_event_is_found(ledger):
    enqueue(ledger, make.specs(2))
    claim(ledger)
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE events SET details_json = '{}' WHERE id = 2")
    with reading(ledger) as connection:
        assert first_broken_event(connection) == 2


def test_a_removed_event_is_found(ledger):
    enqueue(ledger, make.specs(2))
    claim(ledger)
    claim(ledger)
    with sqlite3.connect(ledger) as connection:
        connection.execute("DELETE FROM events WHERE id = 2")
    with reading(ledger) as connection:
        assert first_broken_event(connection) == 3


def claim_all(path, name, found):
    taken = []
    while (held := claim(path, name, now=time.time(), lease_s=600)) is not None:
        taken.append(held.run_id)
    found.put(taken)


@pytest.mark.slow
def test_eight_processes_claim_two_hundred_runs_each_once(tmp_path):
    path = open_ledger(tmp_path / "ledger.db")
    enqueue(path, make.specs(200))
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    processes = [context.Process(target=claim_all, args=(path, str(n), found)) for n in range(8)]
    for process in processes:
        process.start()
    taken = [run_id for _ in processes for run_id in found.get(timeout=120)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert sorted(taken) == list(range(1, 201))
