"""What can happen around a promotion: others at work, hands in its files, no room, no rights, a kill."""

import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import threading

import pytest
from conftest import Study
from settled_ledger import NOW
from settled_study import GRID, default_of, whole

from boneexp.errors import BoneexpError, Busy, NothingToDo
from boneexp.files.folders import StudyPaths
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import reading, writing
from boneexp.ledger.history import record_event
from boneexp.ledger.queries.promotions import promotion_cut_short, promotion_rows
from boneexp.promotion import carry_out
from boneexp.promotion import decision as deciding


@pytest.fixture
def study(settled, tmp_path):
    shutil.copytree(settled, tmp_path / "study")
    return Study(tmp_path / "study")


def place_of(study):
    return StudyPaths(study.ledger, study.artifacts, study.grid, study.folder / "docs")


def promote(study, experiment, now=NOW):
    decision = deciding.decide(place_of(study), deciding.Request("promote", experiment))
    return carry_out.carry_out(place_of(study), decision, now)


def promotions(study):
    with reading(study.ledger) as connection:
        return [row.experiment for row in promotion_rows(connection)]


def leftovers(study):
    return [path.name for path in study.folder.rglob("*.part")]


def cut(study, monkeypatch, experiment, step):
    """Promote, and be interrupted at `step` of the module promotion."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(carry_out, step, interrupted)
        if step == "prepare":  # not even the clearing away is reached, as after a kill
            patched.setattr(carry_out, "_clear_unrecorded", lambda *_: None)
        study("promote", experiment, "--yes", code=130)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["queue"], 1),  # there are no data, which is noticed later
        (["run", "--all"], 4),
        (["retry", "--failed"], 4),
        (["cancel", "99"], 1),
        (["promote", "E1", "--yes"], 0),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_whatever_writes_next_finishes_a_promotion_that_was_cut_short(study, monkeypatch, command, code):
    study("promote", "E1", "--yes")
    cut(study, monkeypatch, "E2", "put_in_place")
    assert default_of(study) == whole("E1")
    said = study(*command, code=code).stderr
    assert "promotion 2 was cut short, and is finished now; the default is E2" in said
    assert default_of(study) == whole("E1" if command[0] == "promote" else "E2")
    assert leftovers(study) == []


def test_what_only_reads_says_that_a_promotion_was_cut_short_and_changes_nothing(study, monkeypatch):
    cut(study, monkeypatch, "E2", "put_in_place")
    before = {path: path.read_bytes() for path in study.folder.rglob("*.p*") if path.is_file()}
    for command in (["status"], ["status", "--json"], ["show", "1"], ["compare"]):
        said = study(*command).stderr
        assert "promotion 1 (E2) is running or was interrupted" in said
        assert "finish it with: boneexp promote --finish" in said
    study("promote", "E1", "--dry-run")
    assert {path: path.read_bytes() for path in study.folder.rglob("*.p*") if path.is_file()} == before
    assert study.json("promote", "--finish")["finished"].endswith("the default is E2")
    assert study("status").stderr == ""
    assert default_of(study) == whole("E2")


def test_what_was_cut_short_before_it_was_recorded_is_cleared_away(study, monkeypatch):
    study("promote", "E1", "--yes")
    cut(study, monkeypatch, "E2", "prepare")
    part = study.artifacts / "promoted" / "best_center.pt.ledger.db.promotion.part"
    part.write_text("half a checkp")
    assert "nothing has changed" in study("status").stderr
    assert "cut short before it was recorded" in study("promote", "--finish").stdout
    assert (promotions(study), leftovers(study), default_of(study)) == (["E1"], [], whole("E1"))
    assert "no promotion was interrupted" in study("promote", "--finish", code=4).output


@pytest.mark.parametrize(
    ("step", "found", "left"),
    [
        ("put_in_place", "cut short between its row and its files", "E2"),
        ("prepare", "cut short before it was recorded", "E1"),
    ],
)
def test_the_doctor_finds_a_promotion_that_was_cut_short_and_ends_it(study, monkeypatch, step, found, left):
    study("promote", "E1", "--yes")
    cut(study, monkeypatch, "E2", step)
    (study.artifacts / "promoted" / "best_center.pt.ledger.db.promotion.part").write_text("half a checkp")
    look = ("doctor", "--quick", "--json")
    assert found in study(*look, code=7).stdout  # 7: made-up runs lack most of their files
    study(*look, "--fix", "--yes", code=7)
    assert found not in study(*look, code=7).stdout
    assert (default_of(study), leftovers(study)) == (whole(left), [])


def test_a_study_that_was_moved_after_the_kill_is_finished_where_it_lies_now(study, monkeypatch):
    (study.folder / "papers").mkdir()
    monkeypatch.setenv("BONEEXP_DOCS", "papers")
    cut(study, monkeypatch, "E2", "put_in_place")
    monkeypatch.delenv("BONEEXP_DOCS")
    moved = Study(study.folder.with_name("moved"))
    study.folder.rename(moved.folder)
    moved("promote", "--finish")
    assert "E2" in (moved.folder / "papers" / "model_card.md").read_text()
    assert "E2" not in (moved.folder / "docs" / "model_card.md").read_text()
    assert default_of(moved)[:2] == whole("E2")[:2]


def test_a_decision_is_refused_if_somebody_else_has_decided_meanwhile(study):
    late = deciding.decide(place_of(study), deciding.Request("promote", "E2"))
    promote(study, "E1")
    with pytest.raises(Busy, match="somebody else has decided meanwhile"):
        carry_out.carry_out(place_of(study), late, NOW)
    assert (promotions(study), leftovers(study), default_of(study)) == (["E1"], [], whole("E1"))


def test_two_rollbacks_of_the_same_decision_are_one(study):
    promote(study, "E1")
    promote(study, "E2")
    decided = [deciding.decide(place_of(study), deciding.Request("rollback")) for _ in range(2)]
    carry_out.carry_out(place_of(study), decided[0], NOW)
    with pytest.raises(Busy):
        carry_out.carry_out(place_of(study), decided[1], NOW)
    assert default_of(study) == whole("E1")


def test_while_one_promotion_is_at_work_another_waits_and_then_says_so(study, monkeypatch):
    monkeypatch.setattr(carry_out, "BUSY_TIMEOUT_S", 0)
    with carry_out.alone(study.ledger, 0):
        refused = study("promote", "E2", "--yes", code=5)
        assert "another promotion is at work" in refused.stderr
        assert "no run has failed" in study("retry", "--failed", code=4).stderr
    assert (promotions(study), default_of(study)) == ([], whole(None))


def promoted_by_process(folder, experiment, found):
    for _ in range(3):
        try:
            promote(Study(folder), experiment)
            found.put("done")
        except Busy:
            found.put("busy")
        except NothingToDo:
            found.put("stands already")


def test_promotions_at_the_same_time_leave_the_default_of_the_last_row(study):
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    arguments = [(study.folder, experiment, found) for experiment in ("E1", "E2")]
    processes = [context.Process(target=promoted_by_process, args=each) for each in arguments]
    for process in processes:
        process.start()
    said = [found.get(timeout=120) for _ in range(6)]
    for process in processes:
        process.join()
    assert said.count("done") == len(promotions(study)) >= 1
    assert default_of(study) == whole(promotions(study)[-1])
    assert leftovers(study) == []


def test_runs_that_run_meanwhile_and_a_promotion_do_not_disturb_each_other(study):
    ended, written = threading.Event(), []

    def work():
        while not ended.is_set():
            with writing(study.ledger) as connection:
                record_event(connection, NOW, "claimed")
            written.append(1)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        promote(study, "E2")
    finally:
        ended.set()
        worker.join()
    assert written
    assert default_of(study) == whole("E2")
    with reading(study.ledger) as connection:
        assert first_broken_event(connection) is None


def test_what_was_edited_while_the_promotion_was_at_work_stays(study, monkeypatch):
    card, recorded = study.folder / "docs" / "model_card.md", carry_out.record_promotion

    def edited(*given):
        study.grid.write_text(GRID.replace("ours", "ours and theirs"))
        card.write_text("# Ours\n\nOther words.\n")
        return recorded(*given)

    monkeypatch.setattr(carry_out, "record_promotion", edited)
    study("promote", "E2", "--yes")
    assert study.grid.read_text().startswith("# ours and theirs\n")
    assert "Other words." in card.read_text()
    assert (default_of(study), leftovers(study)) == (whole("E2"), [])


def test_a_grid_file_broken_while_the_promotion_was_at_work_is_said_and_the_promotion_finished_later(
    study, monkeypatch
):
    recorded = carry_out.record_promotion

    def broken(*given):
        study.grid.write_text("[[[")
        return recorded(*given)

    with monkeypatch.context() as patched:
        patched.setattr(carry_out, "record_promotion", broken)
        said = study("promote", "E2", "--yes", code=1).stderr
    assert "the decision is recorded, and its files are not all in place" in said
    assert "boneexp promote --finish" in said
    assert "could not be finished" in study("retry", "--failed", code=4).stderr
    study.grid.write_text(GRID)
    study("promote", "--finish")
    assert (default_of(study), leftovers(study)) == (whole("E2"), [])


def test_a_checkpoint_put_there_by_hand_is_kept_under_its_digest(study):
    study("promote", "E1", "--yes")
    mine = study.artifacts / "promoted" / "best_stratified.pt"
    mine.write_text(json.dumps("theirs/E9/x"))
    study("promote", "E2", "--yes")
    assert default_of(study) == whole("E2")
    kept = [path.read_text() for path in (study.artifacts / "promoted" / "former").iterdir()]
    assert json.dumps("theirs/E9/x") in kept
    study("rollback", "--yes")
    assert default_of(study) == whole("E1")


def test_a_former_checkpoint_that_was_damaged_is_kept_anew(study):
    study("promote", "E1", "--yes")
    study("promote", "E2", "--yes")
    kept = study.artifacts / "promoted" / "former"
    for path in kept.iterdir():
        path.write_text("damaged")
    study("rollback", "--yes")  # from the runs' own folders
    shutil.rmtree(study.artifacts / "experiments" / "E2")
    study("rollback", "--yes", code=0)
    study("promote", "E1", "--yes")
    assert default_of(study) == whole("E1")
    assert "damaged" not in {path.read_text() for path in kept.iterdir() if "E2" in path.read_text()}


def test_checkpoints_that_are_gone_are_said_before_anything_is_recorded(study):
    study("promote", "E1", "--yes")
    study("promote", "E2", "--yes")
    shutil.rmtree(study.artifacts / "experiments" / "E1")
    shutil.rmtree(study.artifacts / "promoted" / "former")
    assert "is the checkpoint that the ledger recorded" in study("rollback", "--yes", code=7).stderr
    assert (promotions(study), default_of(study), leftovers(study)) == (["E1", "E2"], whole("E2"), [])


def test_the_rights_of_the_grid_file_and_the_documents_stay(study):
    card = study.folder / "docs" / "model_card.md"
    study.grid.chmod(0o640)
    card.chmod(0o606)
    study("promote", "E2", "--yes")
    assert [oct(path.stat().st_mode & 0o777) for path in (study.grid, card)] == ["0o640", "0o606"]


def test_the_table_of_files_has_the_checkpoints_that_stand(study):
    def recorded():
        with sqlite3.connect(study.ledger) as connection:
            return dict(
                connection.execute("SELECT path, sha256 FROM files WHERE kind = 'promoted checkpoint'")
            )

    study("promote", "E2", "--yes")
    assert set(recorded()) == {"promoted/best_stratified.pt", "promoted/best_center.pt"}
    study("promote", "--keep-baseline", "--yes")
    assert recorded() == {}


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with 2 MB; only root can mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root, where mounting is allowed")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # the pooled connection may keep it busy


def fill(folder, left=0):
    """Fill a disk up to `left` bytes."""
    found = os.statvfs(folder)
    with (folder / "filler").open("wb") as file:
        file.write(b"x" * (found.f_bavail * found.f_bsize - left))


def test_a_full_disk_is_noticed_before_anything_is_recorded_and_room_is_all_it_takes(study, small_disk):
    shutil.move(study.artifacts, small_disk / "artifacts")
    study.artifacts.symlink_to(small_disk / "artifacts")
    study("promote", "E1", "--yes")
    fill(small_disk)
    refused = study("promote", "E2", "--yes", code=6).stderr
    assert "No space left on device" in refused
    assert (promotions(study), default_of(study), leftovers(study)) == (["E1"], whole("E1"), [])
    with reading(study.ledger) as connection:
        assert promotion_cut_short(connection) is None
    (small_disk / "filler").unlink()
    study("promote", "E2", "--yes")
    assert default_of(study) == whole("E2")


@pytest.mark.parametrize("left", range(0, 400_000, 40_000))
def test_with_everything_on_a_disk_with_too_little_room_it_is_the_old_default_or_the_new_one(
    study, small_disk, left
):
    with writing(study.ledger) as connection:
        record_event(connection, NOW, "claimed")
    copy = Study(small_disk / "study")
    shutil.copytree(study.folder, copy.folder)
    fill(small_disk, left)
    try:
        promote(copy, "E2")
    except BoneexpError as error:
        assert "full" in str(error) or "No space" in str(error)
    (small_disk / "filler").unlink()
    with reading(copy.ledger) as connection:
        found = promotion_cut_short(connection)
    if found:
        carry_out.finish_cut_short(place_of(copy), NOW)
    assert default_of(copy) == whole((promotions(copy) or [None])[-1])
    assert leftovers(copy) == []
