"""Below artifacts/ no symbolic link is followed: nothing is written or removed elsewhere through one."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Study, new_study
from settled_ledger import settled_ledger

from boneexp.errors import Damaged
from boneexp.files.atomic import inside, whole_file, write_text
from boneexp.files.folders import RunFolder


@pytest.fixture
def elsewhere(tmp_path):
    """A folder of somebody else's, with files under names that boneexp uses."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("last.pt", "best-epoch00001.pt", "run.log", "last.pt.1.part", "images.json"):
        (folder / name).write_text("not boneexp's")
    return folder


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def link(artifacts, relative, target):
    path = artifacts / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.fixture(scope="module")
def queued(tmp_path_factory, phantom):
    made = new_study(tmp_path_factory.mktemp("queued") / "study", phantom)
    made("queue", "--only", "E1", "--split", "stratified")
    return made


@pytest.fixture
def waiting(tmp_path, queued):
    """A study with one run that waits."""
    return Study(shutil.copytree(queued.folder, tmp_path / "study"))


BEFORE_A_RUN = {
    "experiments": "elsewhere",
    "experiments/E1": "elsewhere",
    "experiments/E1/stratified": "elsewhere",
    "experiments/E1/stratified/run.log": "elsewhere/run.log",
    "cache": "elsewhere",
    "cache/prepared": "elsewhere",
    "cache/images.json": "elsewhere/images.json",
}


@pytest.mark.parametrize(("place", "target"), BEFORE_A_RUN.items(), ids=BEFORE_A_RUN)
def test_a_run_that_would_write_through_a_link_is_refused_and_nothing_changes(
    waiting, tmp_path, elsewhere, place, target
):
    link(waiting.artifacts, place, tmp_path / target)
    before, ledger = content(elsewhere), waiting.ledger.read_bytes()
    result = waiting("run", "--next", code=7)
    assert f"{place} is a symbolic link" in result.output
    assert "Traceback" not in result.output
    assert (content(elsewhere), waiting.ledger.read_bytes()) == (before, ledger)


@pytest.mark.parametrize("place", ["cache", "splits"])
def test_queueing_through_a_link_is_refused_and_makes_no_ledger(study, elsewhere, place):
    link(study.artifacts, place, elsewhere)
    before = content(elsewhere)
    assert f"{place} is a symbolic link" in study("queue", code=7).output
    assert content(elsewhere) == before
    assert not study.ledger.exists()


def test_a_comparison_is_not_written_through_a_link(tmp_path, elsewhere):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",))
    link(study.artifacts, "comparison.csv", elsewhere / "last.pt")
    before = content(elsewhere)
    assert "comparison.csv is a symbolic link" in study("compare", code=7).output
    assert content(elsewhere) == before


def test_the_page_is_not_written_through_a_link_and_neither_is_a_document(settled, tmp_path, elsewhere):
    study = Study(shutil.copytree(settled, tmp_path / "study"))
    link(study.artifacts, "report.html", elsewhere / "last.pt")
    before, documents = content(elsewhere), content(study.folder / "docs")
    assert "report.html is a symbolic link" in study("report", code=7).output
    assert (content(elsewhere), content(study.folder / "docs")) == (before, documents)


@pytest.mark.parametrize(
    "place",
    ["artifacts/promoted", "artifacts/promoted/former", "experiments.toml.ledger.db.promotion.part"],
)
def test_nothing_is_promoted_through_a_link(settled, tmp_path, elsewhere, place):
    study = Study(shutil.copytree(settled, tmp_path / "study"))
    study("promote", "E1", "--yes")
    link(study.folder, place, elsewhere)
    before, default = content(elsewhere), study.grid.read_text()
    result = study("promote", "E2", "--yes", code=7)
    assert f"{Path(place).name} is a symbolic link" in result.output
    assert (content(elsewhere), study.grid.read_text()) == (before, default)


@pytest.mark.parametrize("place", ["experiments", "experiments/E1", "experiments/E1/stratified", "cache"])
def test_doctor_mends_nothing_through_a_link(settled, tmp_path, elsewhere, place):
    study = Study(shutil.copytree(settled, tmp_path / "study"))
    for name in ("X/stratified", "attempt-0001", "prepared/0123"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "thesis.txt").write_text("years of work")
    (elsewhere / f"x.{dead_process()}.part").write_text("not boneexp's")
    link(study.artifacts, place, elsewhere)
    before = content(elsewhere)
    study("doctor", "--fix", "--yes", code=7)
    assert content(elsewhere) == before


def dead_process():
    """Return the number of a process that is no more."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_the_prepared_cache_and_its_lock_are_not_opened_through_a_link(waiting, elsewhere):
    from boneexp.data.study import study_dataset, study_images
    from boneexp.study.grid import load_grid

    settings = load_grid(waiting.grid).experiments["E1"].data
    dataset = study_dataset(settings, "", None)
    place = study_images(dataset, settings, waiting.artifacts).folder
    shutil.rmtree(place)
    before = content(elsewhere)
    for name in (f"{place.name}.lock", place.name, f"{place.name}.1.part"):
        link(place.parent, name, elsewhere / "run.log" if name.endswith("lock") else elsewhere)
        with pytest.raises(Damaged, match=f"{name} is a symbolic link"):
            study_images(dataset, settings, waiting.artifacts)
        (place.parent / name).unlink()
    assert content(elsewhere) == before


def test_every_path_of_a_run_whose_folder_is_a_link_is_refused(tmp_path, elsewhere):
    link(tmp_path / "artifacts", "experiments/E1/stratified", elsewhere)
    folder = RunFolder(tmp_path / "artifacts", "experiments/E1/stratified")
    before = content(elsewhere)
    for use in (
        lambda: folder.path,
        lambda: folder.last,
        lambda: folder.best,
        lambda: folder.log,
        lambda: folder.best_of(1),
        lambda: folder.file("gradcam"),
        folder.drop_leftovers,
        lambda: folder.drop_former_bests(2),
    ):
        with pytest.raises(Damaged, match="stratified is a symbolic link"):
            use()
    assert content(elsewhere) == before


@pytest.mark.parametrize("relative", ["../x", "experiments/../../x", "/etc/passwd"])
def test_a_path_that_leads_out_of_the_artifacts_is_refused(tmp_path, relative):
    with pytest.raises(Damaged, match="leads out of"):
        inside(tmp_path / "artifacts", relative)


def test_half_a_file_is_not_written_through_a_link(tmp_path, elsewhere, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 1)
    (tmp_path / "last.pt.1.part").symlink_to(elsewhere / "last.pt")
    before = content(elsewhere)
    with pytest.raises(Damaged, match=r"last\.pt\.1\.part is a symbolic link"):
        write_text(tmp_path / "last.pt", "new")
    assert (tmp_path / "last.pt.1.part").is_symlink()
    assert content(elsewhere) == before
    assert not (tmp_path / "last.pt").exists()


def test_a_file_in_whose_place_a_link_stands_takes_the_place_of_the_link(tmp_path, elsewhere):
    (tmp_path / "card.md").symlink_to(elsewhere / "last.pt")
    with whole_file(tmp_path / "card.md") as part:
        part.write_text("new")
    assert (tmp_path / "card.md").read_text() == "new"
    assert (elsewhere / "last.pt").read_text() == "not boneexp's"


def test_the_artifacts_folder_itself_may_be_a_link_to_a_large_disk(waiting: Study, tmp_path):
    disk = tmp_path / "disk"
    waiting.artifacts.rename(disk)
    waiting.artifacts.symlink_to(disk)
    waiting("run", "--next")
    assert (disk / "experiments" / "E1" / "stratified" / "best.pt").is_file()
    waiting("compare")
    assert (disk / "comparison.csv").is_file()
