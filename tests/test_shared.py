"""Other people's hands: users who may only read, users of one group, places where nothing can be written."""

import os
import shutil
import sqlite3
import stat
import subprocess

import pytest
import specs as make
from conftest import Study
from filelock import FileLock
from settled_ledger import NOW, outcome_of
from settled_study import default_of, settled_study, whole
from users import ANNA, BERT, CARL, GROUP, as_user, everybodys_folder  # noqa: F401

from boneexp.errors import Busy
from boneexp.files.atomic import write_text
from boneexp.files.folders import RunFolder
from boneexp.files.sharing import share_with_group
from boneexp.ledger import held_before
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.history import record_event
from boneexp.ledger.queries.promotions import promotion_cut_short, promotion_rows
from boneexp.ledger.queue import claim_next
from boneexp.ledger.settling import finish, keep_epoch
from boneexp.study.settings import digest_of

OTHERS = 54_100  # a group of its own


@pytest.fixture(scope="module", autouse=True)
def everything_is_loaded(tmp_path_factory):
    """Load what is loaded when it is needed: another user may not reach Python's own folder."""
    study = settled_study(tmp_path_factory.mktemp("loaded"))
    study("promote", "E2", "--yes")
    study("compare")
    study("show", "1")
    study("status")


def write_newest_row_and_die(ledger):
    """Commit a row that stays in the WAL: the process ends before SQLite can bring it into the file."""
    if os.fork() == 0:
        with writing(ledger) as connection:
            record_event(connection, NOW, "claimed", run_id=1)
        os._exit(0)
    os.wait()
    assert ledger.with_name("ledger.db-wal").stat().st_size > 0


def bring_wal_into_file(ledger):
    connection = sqlite3.connect(ledger)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert [path.name for path in ledger.parent.glob("ledger.db*")] == ["ledger.db"]


def newest_row_shown(study):
    return any(each["at"] == NOW for each in study.json("show", "1")["events"])


def look(study):
    """Return what a user sees; nothing may be left behind."""
    before = {path.name: path.stat().st_mtime_ns for path in study.folder.iterdir()}
    seen = len(study.json("status")), newest_row_shown(study), study.json("compare")["best"]
    said = study("compare").stderr
    assert {path.name: path.stat().st_mtime_ns for path in study.folder.iterdir()} == before
    return (*seen, "could not be written" in said)


@pytest.fixture
def owned(everybodys_folder):  # noqa: F811
    """A study that belongs to root and that others may read; its newest row is in the WAL."""
    study = settled_study(everybodys_folder / "study")
    study.folder.chmod(0o755)
    copied = Study(everybodys_folder / "copy")
    shutil.copytree(study.folder, copied.folder)
    write_newest_row_and_die(copied.ledger)
    return copied


@pytest.mark.parametrize("index", ["is there", "is missing"])
def test_who_may_only_read_sees_the_newest_rows_and_leaves_nothing(owned, index):
    if index == "is missing":
        owned.ledger.with_name("ledger.db-shm").unlink()
    assert as_user(CARL, look, owned, group=OTHERS) == (4, True, "E1", True)


def test_a_reader_who_may_write_the_folder_does_not_lock_the_owner_out(owned, monkeypatch):
    monkeypatch.setattr(held_before, "SETTLED_S", -1)  # so that everything that holds would be noted
    owned.folder.chmod(0o777)
    bring_wal_into_file(owned.ledger)
    os.chown(owned.ledger, BERT, GROUP)
    assert as_user(CARL, look, owned, group=OTHERS)[:1] == (4,)
    assert [path.name for path in owned.folder.glob("ledger.db*")] == ["ledger.db"]
    assert as_user(BERT, lambda: newest_row_shown(owned))


def test_who_may_only_read_is_told_why_nothing_was_written(owned):
    said = as_user(CARL, lambda: owned("promote", "E2", "--yes", code=1).stderr, group=OTHERS)
    assert "cannot be opened or written: Permission denied (" in said
    assert "check the rights of the file and of its folder" in said


@pytest.fixture
def mounted_read_only(owned):
    place = owned.folder.with_name("mounted")
    place.mkdir()
    for options in (["--bind", str(owned.folder)], ["-o", "remount,ro,bind"]):
        if subprocess.run(["mount", *options, str(place)], capture_output=True).returncode:
            pytest.skip("a folder can only be mounted by root, where mounting is allowed")
    yield Study(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("index", ["is there", "is missing"])
def test_a_read_only_file_system_shows_the_newest_rows(owned, mounted_read_only, index):
    if index == "is missing":
        owned.ledger.with_name("ledger.db-shm").unlink()
    assert look(mounted_read_only) == (4, True, "E1", True)
    assert "cannot be opened or written: " in mounted_read_only("promote", "E2", "--yes", code=1).stderr


def test_a_read_only_file_system_without_a_wal_is_read_as_it_lies(owned, mounted_read_only):
    bring_wal_into_file(owned.ledger)
    assert look(mounted_read_only) == (4, True, "E1", True)


def test_a_ledger_that_is_written_while_it_is_read_without_a_lock_is_read_again(owned, mounted_read_only):
    owned.ledger.with_name("ledger.db-shm").unlink()
    said = pytest.raises(Busy, match="was written while it was read")
    with said, reading(mounted_read_only.ledger), sqlite3.connect(owned.ledger) as connection:
        connection.execute("UPDATE runs SET seed = seed + 1")


READ_ONLY = {
    "grid file": ("experiments.toml", 0o444),
    "model card": ("docs/model_card.md", 0o444),
    "documents": ("docs", 0o555),
    "artifacts": ("artifacts", 0o555),
}


@pytest.mark.parametrize("what", READ_ONLY)
def test_a_promotion_that_may_not_write_is_refused_before_anything_is_recorded(owned, what):
    for path in (owned.folder, *owned.folder.rglob("*")):
        os.chown(path, ANNA, GROUP)
    name, mode = READ_ONLY[what]
    (owned.folder / name).chmod(mode)

    def refused():
        return owned("promote", "E2", "--yes", code=6).stderr

    assert "is read-only" in as_user(ANNA, refused)
    with reading(owned.ledger) as connection:
        assert promotion_rows(connection) == []
        assert promotion_cut_short(connection) is None
    assert list(owned.folder.rglob("*.part")) == []
    assert default_of(owned) == whole(None)


@pytest.fixture
def shared(everybodys_folder):  # noqa: F811
    """A folder as docs/scale.md says that one is made for a group."""
    folder = everybodys_folder / "shared"
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2770)
    return folder


UMASKS = pytest.mark.parametrize("umasks", [(0o077, 0o022), (0o022, 0o077), (0o077, 0o077)], ids=str)


DATA = digest_of("BTXRD")  # what the study's other experiments were tried on, without which none is promoted
SAME_IMAGES = {"data_fingerprint": DATA, "split_digest": digest_of(["stratified", DATA])}


def begin(home):
    """What the first user does: make the study, claim a run, train an epoch, and die."""
    share_with_group(home / "ledger.db")
    settled_study(home)
    folder = RunFolder(home / "artifacts", "experiments/E9/stratified")
    with writing(home / "ledger.db") as connection:
        make.queued(connection, [make.spec("E9").model_copy(update=SAME_IMAGES)])
        claim = claim_next(connection, make.worker("anna"), NOW, lease_s=60)
        keep_epoch(connection, claim, make.epoch(0), NOW)
    folder.path.mkdir(parents=True)
    write_text(folder.last, "after epoch 1")
    write_text(folder.best_of(0), "weights")
    folder.log.write_text("attempt 1\n")
    folder.file("last.pt.77.part").write_text("half")
    with FileLock(home / "artifacts" / "cache" / "prepared" / "x.lock"):
        write_text(home / "artifacts" / "cache" / "prepared" / "x" / "prepared.json", "{}")


def go_on(home):
    """What the second does: take the run over, go on from its checkpoint, finish it, and promote another."""
    share_with_group(home / "ledger.db")
    folder = RunFolder(home / "artifacts", "experiments/E9/stratified")
    with writing(home / "ledger.db") as connection:
        claim = claim_next(connection, make.worker("bert"), NOW + 1000, lease_s=60)
    assert (folder.last.read_text(), claim.attempt) == ("after epoch 1", 2)
    folder.drop_leftovers()
    folder.drop_former_bests(5)
    with folder.log.open("a") as log:
        log.write("attempt 2\n")
    write_text(folder.last, "after epoch 2")
    with writing(home / "ledger.db") as connection:
        assert finish(connection, claim, outcome_of(claim, skill=1.0), NOW + 1001)
    with FileLock(home / "artifacts" / "cache" / "prepared" / "x.lock"):
        shutil.rmtree(home / "artifacts" / "cache" / "prepared" / "x")
    Study(home)("promote", "E2", "--yes")


@UMASKS
def test_two_users_of_a_group_work_on_one_study_whatever_their_umask(shared, umasks):
    study, (first, second) = Study(shared), umasks
    as_user(ANNA, begin, shared, umask=first)
    as_user(BERT, go_on, shared, umask=second)
    assert default_of(study) == whole("E2")
    as_user(ANNA, lambda: study("promote", "E1", "--yes").exit_code, umask=first)
    as_user(BERT, lambda: study("rollback", "--yes").exit_code, umask=second)
    assert default_of(study) == whole("E2")
    assert as_user(ANNA, lambda: len(study.json("status")), umask=first) == 5
    with reading(study.ledger) as connection:
        assert first_broken_event(connection) is None
    for path in shared.rglob("*"):
        mode, wanted = path.stat().st_mode, stat.S_IRGRP | stat.S_IWGRP
        assert mode & wanted == wanted, (path, oct(mode))
        assert not path.is_dir() or mode & stat.S_ISGID, path
        assert path.stat().st_gid == GROUP, path
    refused = as_user(CARL, lambda: os.access(shared, os.R_OK), group=OTHERS)
    assert refused is False


@UMASKS
def test_what_one_user_wrote_last_lies_in_a_wal_that_the_other_can_go_on_with(shared, umasks):
    def write(name, now):
        share_with_group(shared / "ledger.db")
        with writing(open_ledger(shared / "ledger.db")) as connection:
            record_event(connection, now, "claimed", worker=name)
        # the process ends here, without bringing the WAL into the file

    for number in range(3):
        as_user(ANNA, write, "anna", number, umask=umasks[0])
        as_user(BERT, write, "bert", number, umask=umasks[1])
    with reading(shared / "ledger.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM events").fetchone()[0] == 6
        assert first_broken_event(connection) is None


def test_the_umask_follows_the_folder_and_only_a_groups_folder(tmp_path):
    before = os.umask(0o077)
    try:
        for mode, left in ((0o700, 0o077), (0o750, 0o077), (0o1777, 0o077), (0o2770, 0o007)):
            tmp_path.chmod(mode)
            share_with_group(tmp_path / "new" / "ledger.db")
            assert os.umask(0o077) == left, oct(mode)
    finally:
        os.umask(before)


def test_every_command_follows_the_folder_of_the_ledger_and_of_artifacts(tmp_path):
    before = os.umask(0o077)
    try:
        (tmp_path / "artifacts").mkdir()
        study = Study(tmp_path)
        study("status", code=1)
        assert os.umask(0o077) == 0o077
        (tmp_path / "artifacts").chmod(0o770)
        study("status", code=1)
        assert os.umask(0o077) == 0o007
    finally:
        os.umask(before)
