"""Backups while workers write, and what is left to do after one was put in the place of a damaged ledger."""

import re
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import specs as make
from conftest import Study, new_study
from settled_ledger import settled_ledger

from boneexp.doctor.examination import examine
from boneexp.doctor.findings import Examination, is_damaged
from boneexp.errors import Damaged, LedgerUnusable
from boneexp.files.atomic import sha256_of
from boneexp.files.folders import StudyPaths
from boneexp.ledger import same_file
from boneexp.ledger.backup import back_up
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import examining, reading, writing
from boneexp.ledger.queue import claim_next
from boneexp.ledger.seals import broken_seals
from boneexp.ledger.settling import finish
from boneexp.ledger.transaction import close_idle


def backed_up(ledger, target):
    with examining(ledger) as connection:
        return back_up(connection, target)


def dump(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_backup_has_every_row_and_says_its_digest(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", experiments=("E1",))
    study = Study(tmp_path)
    assert study("backup", "kept/copy.db").stdout.split() == [
        sha256_of(tmp_path / "kept" / "copy.db"),
        "kept/copy.db",
    ]
    assert dump(tmp_path / "kept" / "copy.db") == dump(path)
    assert study.json("backup", "again.db")["backup"] == "again.db"
    assert {path.name for path in tmp_path.glob("*.part*")} == set()


def test_a_backup_overwrites_nothing(tmp_path):
    settled_ledger(tmp_path / "ledger.db", experiments=("E1",), settle=False)
    (tmp_path / "kept.db").write_text("an older backup")
    refused = Study(tmp_path)("backup", "kept.db", code=1)
    assert "is there already" in refused.output
    assert (tmp_path / "kept.db").read_text() == "an older backup"


def test_a_backup_is_one_moment_of_a_ledger_that_is_written_to(ledger, tmp_path):
    """Each run is claimed and finished in one transaction: no backup may hold half of one."""
    with writing(ledger) as connection:
        make.queued(connection, make.specs(60))
    first, stop = threading.Event(), threading.Event()

    def work():
        number = 0
        while not stop.is_set():
            number += 1
            with writing(ledger) as connection:
                claim = claim_next(connection, make.WORKER, number, 60)
                if claim is None:
                    return
                assert finish(connection, claim, make.finished(path=f"{number}/best.pt"), number)
            first.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert first.wait(60)
    copies = [tmp_path / f"copy{number}.db" for number in range(5)]
    digests = [backed_up(ledger, copy) for copy in copies]
    stop.set()
    worker.join()
    assert [sha256_of(copy) for copy in copies] == digests
    for copy in copies:
        with reading(copy) as connection:
            states = {row[0] for row in connection.execute("SELECT DISTINCT state FROM runs")}
            assert states <= {"queued", "succeeded"}
            assert first_broken_event(connection) is None
            assert list(broken_seals(connection)) == []


def test_a_damaged_ledger_is_not_taken_for_a_backup(tmp_path):
    path = settled_ledger(tmp_path / "ledger.db", experiments=("E1",))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(content[: -20 * 1024] + bytes(20 * 1024))
    with pytest.raises(Damaged, match="boneexp doctor"):
        backed_up(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_place_that_cannot_be_written_to_is_named(ledger, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnusable, match="cannot be backed up"):
        backed_up(ledger, tmp_path / "file" / "copy.db")


@pytest.fixture
def restored(tmp_path, phantom):
    """A study whose two runs were finished after the backup that stands in the ledger's place now.

    The first run was in the backup, the second was queued after it. Restored as docs/start.md says.
    """
    study = new_study(tmp_path / "study", phantom)
    study("queue", "--only", "E1", "--split", "stratified")
    study("backup", "kept.db")
    study("queue", "--only", "E1")
    study("run", "--all")
    before = figures(study), {path: path.read_bytes() for path in study.artifacts.rglob("*.csv")}
    study.ledger.write_text("overwritten by something")
    aside = study.folder / "damaged"
    aside.mkdir()
    for path in study.folder.glob("ledger.db*"):
        shutil.move(path, aside)
    shutil.copyfile(study.folder / "kept.db", study.ledger)
    same_file._written_to.clear()  # every command is a process of its own elsewhere
    close_idle()
    return study, before


def figures(study):
    with closing(sqlite3.connect(study.ledger)) as connection:
        rows = "SELECT run_id, part, metric, class_name, value, low, high FROM metrics ORDER BY 1, 2, 3, 4"
        predictions = "SELECT * FROM predictions ORDER BY 1, 2, 3"
        return connection.execute(rows).fetchall(), connection.execute(predictions).fetchall()


def epochs_trained(study):
    """Count the epochs that were trained by the logs of both runs, which went on through it all."""
    logs = [path.read_text() for path in study.artifacts.rglob("run.log")]
    return [len(re.findall(r"epoch \d+: training loss", log)) for log in logs]


def test_runs_that_were_finished_after_the_backup_are_evaluated_again_and_not_trained_again(restored):
    study, (kept, files) = restored
    assert [row["state"] for row in study.json("status")] == ["queued"]
    found = {each["check"]: each for each in study.json("doctor")["findings"] if each["severity"] != "ok"}
    assert set(found) == {"orphans"}
    assert "queue the grid again" in found["orphans"]["mend"]
    assert found["orphans"]["where"] == "artifacts/experiments/E1/center_holdout"
    study("queue", "--only", "E1")
    assert {each["severity"] for each in study.json("doctor")["findings"]} == {"ok"}
    study("run", "--all")
    assert epochs_trained(study) == [2, 2]
    assert figures(study) == kept
    assert {path: path.read_bytes() for path in study.artifacts.rglob("*.csv")} == files
    assert {each["severity"] for each in study.json("doctor")["findings"]} == {"ok"}


def test_a_look_while_workers_write_finds_nothing_wrong(ledger, tmp_path):
    with writing(ledger) as connection:
        make.queued(connection, make.specs(40))
    place = StudyPaths(ledger, tmp_path / "artifacts", tmp_path / "experiments.toml", tmp_path / "docs")
    first, stop = threading.Event(), threading.Event()

    def work():
        for number in range(40):
            with writing(ledger) as connection:
                claim = claim_next(connection, make.WORKER, number, 60)
                file = Path("artifacts", str(number), "best.pt")
                (tmp_path / file).parent.mkdir(parents=True)
                (tmp_path / file).write_bytes(b"nine byte")
                done = make.finished(path=f"{number}/best.pt", sha=sha256_of(tmp_path / file))
                assert finish(connection, claim, done, number)
            first.set()
            if stop.is_set():
                return

    worker = threading.Thread(target=work)
    worker.start()
    assert first.wait(60)
    looks = [examine(Examination(place, now=1e6)) for _ in range(5)]
    stop.set()
    worker.join()
    assert [is_damaged(findings) for findings in looks] == [False] * 5
