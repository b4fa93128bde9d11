"""`boneexp doctor` on a finished study: what is wrong is found, what can be mended is, nothing else moves."""

import fcntl
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import specs as make
from conftest import Study
from typer.testing import CliRunner

from boneexp.cli.app import app
from boneexp.doctor import remaking, surroundings
from boneexp.files.atomic import sha256_of
from boneexp.ledger.database import writing
from boneexp.ledger.queue import claim_next
from boneexp.runs.processes import this_worker

RUN = Path("experiments", "E2", "stratified")
OUT_OF_DATE = [("promotion", "warning", f"docs/{name}.md") for name in ("model_card", "poc_report")]
DEAD = 2**22 + 1  # above the highest process number that Linux gives out


@pytest.fixture(scope="module")
def decided(finished_study, tmp_path_factory):
    """The finished study, with E2 promoted and explained; tests must not change it."""
    made = Study(tmp_path_factory.mktemp("decided") / "study")
    shutil.copytree(finished_study.folder, made.folder)
    made("promote", "E2", "--yes")
    made("gradcam", "--count", "1")
    with closing(sqlite3.connect(made.ledger)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return made


@pytest.fixture
def copy(decided, tmp_path):
    return Study(Path(shutil.copytree(decided.folder, tmp_path / "copy")))


def by_hand(study, *changes):
    """Change the ledger as with the sqlite3 program."""
    with closing(sqlite3.connect(study.ledger)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for change in changes:
            connection.execute(change)
        connection.commit()


def doctor(study, *arguments, code=0):
    return json.loads(study("doctor", "--json", *arguments, code=code).stdout)


def wrong(study, *arguments, code):
    """Return (check, severity, where it is, below the study's folder) of all that is not ok.

    But for documents that say less than the ledger knows by now.
    """
    found = [
        (each["check"], each["severity"], each["where"])
        for each in doctor(study, *arguments, code=code)["findings"]
        if each["severity"] != "ok"
    ]
    return [each for each in found if each not in OUT_OF_DATE]


def test_a_sound_study_is_found_sound(copy):
    found = doctor(copy)
    assert found["sound"] is True
    assert {each["severity"] for each in found["findings"]} == {"ok"}
    checks = ["schema", "integrity", "tables", "history", "seals", "summaries", "identity"]
    checks += ["leases", "clock", "files"]
    checks += ["overlays", "promotion", "leftovers", "orphans", "cache", "disk", "file system"]
    assert [each["check"] for each in found["findings"]] == checks
    said = copy("doctor")
    assert "44 files of runs are there with their sizes and SHA-256" in said.stdout
    assert "No damage found." in said.stderr


def state_of(folder):
    """Return every file's bytes and time of change, but for the index and empty log of SQLite's readers."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".db-shm"]
    states = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    return {path: state for path, state in states.items() if path.suffix != ".db-wal" or state[0]}


def test_looking_changes_not_one_byte(copy):
    (copy.artifacts / RUN / "history.csv").unlink()
    (copy.artifacts / RUN / f"best.pt.{DEAD}.part").write_text("half")
    (copy.artifacts / "experiments" / "E9" / "stratified").mkdir(parents=True)
    by_hand(copy, "UPDATE metrics SET value = 0 WHERE run_id = 1", "DROP VIEW leaderboard")
    before = state_of(copy.folder)
    doctor(copy, code=7)
    doctor(copy, "--fix", "--dry-run", code=7)
    assert state_of(copy.folder) == before


def test_a_study_that_cannot_be_written_is_looked_at_all_the_same(copy):
    for path in (copy.folder, *copy.folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    program = [sys.executable, "-m", "boneexp.cli.app", "doctor"]
    if os.geteuid() == 0:  # root may write everywhere, unless it is told that it may not
        if shutil.which("setpriv") is None:
            pytest.skip("root, and nothing here that takes its rights")
        program = ["setpriv", "--bounding-set", "-dac_override", *program]
    done = subprocess.run(program, cwd=copy.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (copy.folder, *copy.folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def test_one_changed_figure_is_damage(copy):
    by_hand(
        copy, "UPDATE metrics SET value = 0.99 WHERE run_id = 1 AND part = 'test' AND metric = 'accuracy'"
    )
    assert ("seals", "damage", "run 1") in wrong(copy, code=7)
    assert "metrics" in copy("doctor", code=7).stdout


def test_a_changed_event_is_damage(copy):
    by_hand(copy, "UPDATE events SET at = at + 1 WHERE id = 3")
    assert ("history", "damage", "ledger.db") in wrong(copy, code=7)


def overwritten(path, at, content):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


DAMAGES = {
    "cut to half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut to a page": lambda path: os.truncate(path, 4096),
    "cut to a few bytes": lambda path: os.truncate(path, 50),
    "empty": lambda path: os.truncate(path, 0),
    "overwritten with text": lambda path: path.write_text("these are notes and no database at all" * 500),
    "a page of noise in front": lambda path: overwritten(path, 0, bytes(range(256)) * 16),
    "another schema's page": lambda path: overwritten(path, 110, b"\xff" * 900),
    "zeros in the middle": lambda path: overwritten(path, 40 * 1024, bytes(40 * 1024)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.filterwarnings("error")
def test_a_ledger_that_is_none_any_more_gives_one_sentence(copy, damage):
    damage(copy.ledger)
    before = copy.ledger.read_bytes()
    said = copy("doctor", code=7)
    assert said.stdout == ""
    assert said.stderr.startswith("Error: ledger.db is ")
    assert said.stderr.count("\n") == 1
    assert "Backup and restore" in said.stderr
    found = doctor(copy, code=7)
    assert [each["severity"] for each in found["findings"]] == ["damage"]
    assert doctor(copy, "--fix", "--yes", code=7)["steps"] == []
    copy("backup", "kept.db", code=7)
    assert not (copy.folder / "kept.db").exists()
    assert copy.ledger.read_bytes() == before


@pytest.mark.parametrize("garbage", [
    "UPDATE promotions SET evidence_json = 'none'",
    "UPDATE promotions SET stratified_run_id = 99",
    "UPDATE experiments SET settings_json = x'ff'",
    "UPDATE runs SET spec_json = 'none'",
    "UPDATE datasets SET counts_json = ''",
    "UPDATE files SET path = printf('%.9999c', 'b') WHERE run_id = 3 AND kind = 'history'",
    "UPDATE files SET size_bytes = 'many' WHERE kind = 'history'",
    "UPDATE explanations SET overlay = CAST(x'ff' AS TEXT)",
    "UPDATE events SET details_json = x'00', at = 9e999 WHERE id = 4",
    "DELETE FROM runs",
])  # fmt: skip
def test_rows_that_make_no_sense_are_damage_and_no_traceback(copy, garbage):
    by_hand(copy, garbage)
    assert doctor(copy, code=7)["sound"] is False
    doctor(copy, "--fix", "--yes", code=0 if "explanations" in garbage else 7)  # those are taken out


def test_a_missing_ledger_is_named_with_the_command_that_makes_one(study):
    assert "boneexp init" in study("doctor", code=1).output


def test_a_row_that_names_a_row_that_is_gone_is_damage(copy):
    by_hand(
        copy,
        "INSERT INTO late_results VALUES (99, 1, 'test', 'accuracy', '', 0.5, NULL, NULL, 0, 'percentile')",
    )
    assert ("integrity", "damage", "ledger.db") in wrong(copy, code=7)


def test_views_and_indices_are_made_again_and_tables_and_triggers_are_named(copy):
    by_hand(
        copy,
        "DROP VIEW leaderboard",
        "DROP VIEW comparison",
        "CREATE VIEW comparison AS SELECT 1 AS experiment_id",
        "DROP INDEX ix_events_run_id",
        "CREATE TRIGGER better AFTER INSERT ON metrics BEGIN UPDATE metrics SET value = 1; END",
        "CREATE TABLE notes (text)",
        "DROP TABLE selection_keys",
    )
    said = [each for each in doctor(copy, code=7)["findings"] if each["check"] == "tables"]
    assert {(each["what"], each["severity"]) for each in said} == {
        ("view leaderboard is gone", "damage"),
        ("view comparison is not as the migrations make it", "damage"),
        ("index ix_events_run_id is gone", "damage"),
        ("table selection_keys is gone", "damage"),
        ("trigger better is not of boneexp", "damage"),
        ("table notes is not of boneexp", "warning"),
    }
    doctor(copy, "--fix", "--yes", code=7)
    left = {each["what"] for each in doctor(copy, code=7)["findings"] if each["check"] == "tables"}
    assert left == {
        "table selection_keys is gone",
        "trigger better is not of boneexp",
        "table notes is not of boneexp",
    }


def test_a_summary_that_is_not_what_the_metrics_give_is_damage_and_is_made_again(copy):
    by_hand(
        copy,
        "UPDATE run_summaries SET accuracy = 0.99 WHERE run_id = 1 AND part = 'test'",
        "DELETE FROM run_summaries WHERE run_id = 2",
    )
    (said,) = [each for each in doctor(copy, code=7)["findings"] if each["check"] == "summaries"]
    assert "run 1, 2" in said["what"]
    doctor(copy, "--fix", "--yes")
    checks = {each["check"]: each["severity"] for each in doctor(copy)["findings"]}
    assert checks["summaries"] == "ok"


def test_dropped_views_alone_are_mended_wholly(copy):
    by_hand(copy, "DROP VIEW leaderboard", "DROP VIEW run_status")
    mended = doctor(copy, "--fix", "--yes")
    assert mended["sound"]
    (backup,) = copy.folder.glob("ledger.db.before-fix.*.backup")
    assert sha256_of(backup) in mended["steps"][0]["outcome"]
    copy("compare")


def test_an_index_that_does_not_match_its_table_is_made_again(copy):
    entry = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master WHERE name = 'ix_files_run_id'"
    with closing(sqlite3.connect(copy.ledger)) as connection:
        kept = connection.execute(entry).fetchone()
    by_hand(copy, "DELETE FROM sqlite_master WHERE name = 'ix_files_run_id'")
    by_hand(copy, "INSERT INTO files VALUES ('promoted/old.pt', NULL, 'promoted checkpoint', 'a', 1, 0)")
    with closing(sqlite3.connect(copy.ledger)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", kept)
        connection.commit()
    assert {check for check, *_ in wrong(copy, code=7)} == {"integrity"}
    mended = doctor(copy, "--fix", "--yes")
    assert [each["what"].split(" ")[0] for each in mended["steps"]] == ["copy", "make", "note"]


def test_files_that_are_gone_or_changed_are_named(copy):
    folder = copy.artifacts / RUN
    (folder / "history.csv").unlink()
    with (folder / "metrics_summary.json").open("a") as file:
        file.write(" ")
    overwritten(folder / "best.pt", 5000, b"\0\1\2\3")
    found = wrong(copy, code=7)
    base = f"artifacts/{RUN}"
    names = ("best.pt", "history.csv", "metrics_summary.json")
    assert found == [("files", "damage", f"{base}/{name}") for name in names]
    found = wrong(copy, "--quick", code=7)
    assert found == [("files", "damage", f"{base}/{name}") for name in names[1:]]


def test_tables_and_figures_are_made_again_byte_for_byte(copy):
    folder = copy.artifacts / RUN
    checkpoints = {"best.pt", "last.pt", "run.log"}
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for name in before.keys() - checkpoints - {"predictions.csv"}:
        (folder / name).unlink()
    (folder / "predictions.csv").write_text("a person's notes, perhaps")
    mended = doctor(copy, "--fix", "--yes")
    assert mended["steps"][0]["outcome"] == "made again, byte for byte as recorded"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    kept = copy.artifacts / "orphans" / RUN / "predictions.csv"
    assert kept.read_text() == "a person's notes, perhaps"


def test_what_does_not_come_out_byte_for_byte_is_made_and_says_so(copy, monkeypatch):
    real = remaking.write_tables_and_figures

    def otherwise(folder, *rest):
        real(folder, *rest)
        with folder.file("history.csv").open("a") as file:
            file.write("\n")

    monkeypatch.setattr(remaking, "write_tables_and_figures", otherwise)
    path = copy.artifacts / RUN / "history.csv"
    path.unlink()
    (step, _note) = doctor(copy, "--fix", "--yes", code=7)["steps"]
    assert "not byte for byte as recorded, so the finding stays" in step["outcome"]
    assert path.is_file()
    assert wrong(copy, code=7) == [("files", "damage", f"artifacts/{RUN}/history.csv")]


def test_nothing_is_made_from_rows_that_were_changed(copy):
    for name in ("metrics_summary.json", "predictions.csv"):
        (copy.artifacts / RUN / name).unlink()
    by_hand(copy, "UPDATE predictions SET p_normal = 0.5 WHERE run_id = 3")
    steps = doctor(copy, "--fix", "--yes", code=7)["steps"]
    failed = {each["what"][:10]: each for each in steps if not each["succeeded"]}
    assert "compute me" not in {each["what"][:10] for each in steps}
    made = failed["make again"]
    assert "the rows of run 3 were changed" in made["outcome"]
    assert not (copy.artifacts / RUN / "metrics_summary.json").exists()


def test_a_lost_checkpoint_is_named_with_where_to_get_it_and_left_to_a_person(copy):
    best, last = copy.artifacts / RUN / "best.pt", copy.artifacts / RUN / "last.pt"
    best.unlink()
    last.unlink()
    found = doctor(copy, "--fix", "--yes", code=7)
    assert not best.exists()
    mend = {each["where"]: each["mend"] for each in found["findings"] if each["severity"] == "damage"}
    assert "artifacts/promoted has a copy" in mend[f"artifacts/{RUN}/best.pt"]
    assert "cannot be made again" in mend[f"artifacts/{RUN}/last.pt"]


def test_the_files_of_a_promotion_are_held_against_the_decision_and_put_right(copy):
    best = copy.artifacts / "promoted" / "best_stratified.pt"
    card = copy.folder / "docs" / "model_card.md"
    right = {path: path.read_bytes() for path in (best, card, copy.grid)}
    overwritten(best, 2000, b"\0\1\2\3")
    card.write_text(card.read_text().replace("E2", "E1"))
    copy.grid.write_text(copy.grid.read_text().replace('experiment = "E2"', 'experiment = "E1"'))
    assert wrong(copy, code=7) == [
        ("promotion", "damage", "artifacts/promoted/best_stratified.pt"),
        ("promotion", "warning", "experiments.toml"),
    ]
    said = [each["where"] for each in doctor(copy, code=7)["findings"] if each["severity"] != "ok"]
    assert said[-1] == "docs/model_card.md"
    assert doctor(copy, "--fix", "--yes")["sound"]
    assert {each["severity"] for each in doctor(copy)["findings"]} == {"ok"}
    for path in (best, copy.grid):
        assert path.read_bytes() == right[path]
    assert "E1 becomes" not in card.read_text()


def test_a_persons_own_words_in_the_documents_are_no_finding(copy):
    card = copy.folder / "docs" / "model_card.md"
    card.write_text(card.read_text() + "\n## Funding\n\nOur own words.\n")
    assert {each["severity"] for each in doctor(copy)["findings"]} == {"ok"}


def test_a_promotion_that_was_cut_short_is_finished(copy):
    by_hand(copy, "DELETE FROM events WHERE id > (SELECT MAX(id) FROM events WHERE kind = 'promotion')")
    by_hand(copy, "DELETE FROM explanations")  # which came later
    (copy.artifacts / "promoted" / "best_center.pt").unlink()
    assert wrong(copy, code=0) == [("promotion", "warning", "ledger.db")]
    assert doctor(copy, "--fix", "--yes")["sound"]
    assert wrong(copy, code=0) == []
    assert (copy.artifacts / "promoted" / "best_center.pt").is_file()


def test_a_default_that_the_ledger_knows_nothing_of_is_named(finished_study, tmp_path):
    study = Study(Path(shutil.copytree(finished_study.folder, tmp_path / "copy")))
    study.grid.write_text(study.grid.read_text() + 'experiment = "E2"\n')
    assert wrong(study, code=0) == [("promotion", "warning", "experiments.toml")]


def claimed(study, worker):
    """Queue one more run and claim it; return its folder."""
    study("queue", "--only", "E1", "--split", "stratified", "--seeds", "7")
    with writing(study.ledger) as connection:
        claim = claim_next(connection, worker, time.time(), 120.0)
    folder = study.artifacts / claim.folder
    folder.mkdir(parents=True)
    return folder


def touched(study):
    """Fix, and return what else was done than writing documents anew."""
    steps = doctor(study, "--fix", "--yes")["steps"]
    return [each["what"] for each in steps if not each["what"].startswith(("put checkpoints", "note"))]


def dead_worker():
    return make.Worker("gone", socket.gethostname(), DEAD, this_worker("cpu", {}).boot_id, "1", "cpu", {})


def test_a_run_that_is_at_work_is_no_finding_and_nothing_of_it_is_touched(copy):
    folder = claimed(copy, this_worker("cpu", {}))
    part = folder / f"best.pt.{DEAD}.part"  # of a process of another container, perhaps
    part.write_text("half")
    (folder / "attempt-0001").mkdir()
    assert wrong(copy, code=0) == []
    assert touched(copy) == []
    assert part.exists()


def test_what_a_dead_process_holds_is_let_go(copy):
    folder = claimed(copy, dead_worker())
    (folder / "best.pt.part").write_text("half")
    assert wrong(copy, code=0) == [
        ("leases", "warning", "run 5"),
        ("leftovers", "warning", f"artifacts/{folder.relative_to(copy.artifacts)}/best.pt.part"),
    ]
    assert [each.split(" ")[0] for each in touched(copy)] == ["let", "remove"]
    assert not (folder / "best.pt.part").exists()
    assert copy.json("status")[-1]["lease_expired"] == 1


def test_the_silent_worker_of_another_machine_is_named_and_left_alone(copy):
    folder = claimed(copy, make.worker("far away"))
    (folder / "best.pt.part").write_text("half")
    by_hand(copy, "UPDATE runs SET lease_until = 5 WHERE state = 'running'")
    assert wrong(copy, code=0) == [("leases", "warning", "run 5")]
    assert touched(copy) == []


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(copy):
    (copy.artifacts / "cache" / "prepared" / f"abc.{DEAD}.part").mkdir()
    (copy.artifacts / "promoted" / f"best_center.pt.{DEAD}.part").touch()
    (copy.folder / f"experiments.toml.{DEAD}.part").touch()
    (copy.artifacts / RUN / "attempt-0003").mkdir()
    living = copy.artifacts / RUN / f"best.pt.{os.getpid()}.part"
    stranger = copy.folder / f"holiday.mp4.{DEAD}.part"
    living.touch()
    stranger.touch()
    assert len(wrong(copy, code=0)) == 4
    doctor(copy, "--fix", "--yes")
    assert wrong(copy, code=0) == []
    assert living.exists()
    assert stranger.exists()
    assert list(copy.folder.rglob(f"*.{DEAD}.part")) == [stranger]
    assert not (copy.artifacts / RUN / "attempt-0003").exists()


def test_a_cache_that_is_being_built_is_left_alone(copy):
    prepared = copy.artifacts / "cache" / "prepared"
    (prepared / f"abc.{DEAD}.part").mkdir()  # its builder may be of another container
    with (prepared / "abc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert wrong(copy, code=0) == []
    assert len(wrong(copy, code=0)) == 1


def test_attempts_from_which_a_run_may_go_on_stay(copy):
    claimed(copy, dead_worker())
    copy("cancel", "5")
    copy("retry", "5")
    folder = copy.artifacts / copy.json("status")[-1]["folder"] / "attempt-0001"
    folder.mkdir()
    doctor(copy, "--fix", "--yes")
    assert folder.is_dir()


def test_folders_of_no_run_are_put_aside_and_never_deleted(copy):
    for text in ("first", "second"):
        folder = copy.artifacts / "experiments" / "E9" / "stratified"
        folder.mkdir(parents=True)
        (folder / "last.pt").write_text(text)
        assert wrong(copy, code=0) == [("orphans", "warning", "artifacts/experiments/E9/stratified")]
        doctor(copy, "--fix", "--yes")
        assert wrong(copy, code=0) == []
    aside = copy.artifacts / "orphans" / "experiments" / "E9"
    assert (aside / "stratified" / "last.pt").read_text() == "first"
    assert (aside / "stratified-2" / "last.pt").read_text() == "second"


def test_a_cache_that_does_not_match_is_removed(copy):
    (pixels,) = (copy.artifacts / "cache" / "prepared").glob("*/pixels.npy")
    overwritten(pixels, 500, b"\0\1\2\3")
    assert wrong(copy, code=0) == [("cache", "warning", f"artifacts/cache/prepared/{pixels.parent.name}")]
    doctor(copy, "--fix", "--yes")
    assert not pixels.parent.exists()
    assert wrong(copy, code=0) == []


def test_a_lost_overlay_is_a_warning(copy):
    overlay = copy.json("gradcam", "--count", "1")["explanations"][0]["overlay"]
    (copy.artifacts / overlay).unlink()
    assert wrong(copy, code=0) == [("overlays", "warning", f"artifacts/{overlay}")]


def test_what_lies_in_the_future_is_a_warning(copy):
    claimed(copy, this_worker("cpu", {}))
    by_hand(copy, "UPDATE runs SET lease_until = lease_until + 1e6 WHERE state = 'running'")
    assert wrong(copy, code=0) == [("clock", "warning", "run 5")]
    by_hand(copy, "UPDATE events SET at = at + 1e9 WHERE id = 1")
    found = wrong(copy, code=7)
    assert [each for each in found if each[0] == "clock"] == [
        ("clock", "warning", "ledger.db"),
        ("clock", "warning", "run 5"),
    ]


def test_a_spec_that_does_not_give_its_hash_is_a_warning_before_it_is_run(copy):
    claimed(copy, dead_worker())
    by_hand(copy, "UPDATE runs SET spec_json = json_set(spec_json, '$.seed', 8) WHERE id = 5")
    assert ("identity", "warning", "run 5") in wrong(copy, code=0)


def test_little_room_and_a_network_file_system_are_warnings(copy, monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("server:/x / nfs4 rw 0 0\n")
    monkeypatch.setattr(surroundings.kind_of_file_system, "__defaults__", (mounts,))
    monkeypatch.setattr(surroundings, "LITTLE_ROOM_BYTES", 1e30)
    assert [check for check, *_ in wrong(copy, code=0)] == ["disk", "file system"]


@pytest.mark.usefixtures("terminal")
def test_fixing_asks_first(copy, monkeypatch):
    (copy.artifacts / RUN / f"best.pt.{DEAD}.part").touch()
    before = state_of(copy.folder)
    monkeypatch.chdir(copy.folder)
    for answer in ("n\n", ""):
        refused = CliRunner().invoke(app, ["doctor", "--fix"], input=answer)
        assert refused.exit_code == 1
        assert f"remove artifacts/{RUN}/best.pt.{DEAD}.part" in refused.stderr
    assert state_of(copy.folder) == before
    taken = CliRunner().invoke(app, ["doctor", "--fix"], input="y\n")
    assert taken.exit_code == 0
    assert "  removed" in taken.stderr


def test_what_was_mended_is_an_event_of_the_history(copy):
    assert doctor(copy, "--fix", "--yes")["steps"] == []
    (copy.artifacts / RUN / f"best.pt.{DEAD}.part").touch()
    doctor(copy, "--fix", "--yes")
    with closing(sqlite3.connect(copy.ledger)) as connection:
        (details,) = connection.execute("SELECT details_json FROM events WHERE kind = 'mended'").fetchone()
    assert list(json.loads(details)["steps"].values()) == ["removed"]
    assert doctor(copy)["sound"]


def test_a_step_that_cannot_be_taken_says_so_and_the_others_go_on(copy, monkeypatch):
    for name in ("a", "b"):
        (copy.artifacts / RUN / f"{name}.{DEAD}.part").touch()
    real = Path.unlink

    def refusing(path, missing_ok=False):
        if path.name.startswith("a."):
            raise PermissionError(13, "Permission denied", str(path))
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    steps = doctor(copy, "--fix", "--yes")["steps"]
    assert [each["succeeded"] for each in steps] == [False, True, True]
    assert "could not be done: Permission denied" in steps[0]["outcome"]


def test_a_leftover_that_came_to_life_before_its_step_is_left_alone(copy, monkeypatch):
    part = copy.artifacts / RUN / f"best.pt.{DEAD}.part"
    part.touch()
    looks = iter([False, True, True, True, True])
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: next(looks, True) if pid == DEAD else True)
    doctor(copy, "--fix", "--yes")
    assert part.exists()


@pytest.mark.parametrize("wrongly", [("--yes",), ("--dry-run",), ("--fix", "--dry-run", "--yes")])
def test_options_that_do_not_go_together_are_refused(copy, wrongly):
    copy("doctor", *wrongly, code=2)
