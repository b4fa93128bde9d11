"""What most tests share: a ledger made by Alembic, a phantom dataset, the command line, finished runs."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from boneexp.cli import options
from boneexp.cli.app import app
from boneexp.ledger.database import open_ledger
from boneexp.ledger.transaction import close_idle

GRID = """
seeds = [42]

[data]
root = "{root}"
name = "phantom"
image_size = 48

[model]
backbone = "test_efficientnet"
pretrained = false
dropout = 0.1

[training]
epochs = 2
batch_size = 8
warmup_epochs = 1
learning_rate = 1e-3

[evaluation]
resamples = 200

[experiments.E1]
name = "plain"

[experiments.E2]
name = "annotated"
training.annotations = true

[baseline]
stratified_accuracy = 0.1
center_holdout_accuracy = 0.9

[targets]
stratified_accuracy = 0.2
center_holdout_accuracy = 0.95

[promoted]   # written by boneexp promote
"""


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that gives a folder of that name, made once for all processes of the test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent / "shared" if "PYTEST_XDIST_WORKER" in os.environ else base / "shared"
    shared.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def new_ledger(made_once) -> Path:
    return made_once("new", lambda folder: open_ledger(folder / "ledger.db")) / "ledger.db"


@pytest.fixture
def ledger(tmp_path: Path, new_ledger: Path) -> Path:
    """A new ledger; the migrations have run once for all of them."""
    return Path(shutil.copyfile(new_ledger, tmp_path / "ledger.db"))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find a terminal to ask on; what a test gives as input answers."""
    monkeypatch.setattr(options, "has_terminal", lambda: True)


@pytest.fixture(scope="session")
def phantom(made_once) -> Path:
    from boneexp.data.phantom.write import write_phantom

    return made_once("phantom", lambda folder: write_phantom(folder / "data", images=72, seed=1)) / "data"


os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network; children and their server inherit it

for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:  # started by nohup, or in the background of a script
        # Without effect still, but as a handler: who is started inherits SIG_IGN, and could not be stopped.
        signal.signal(_number, lambda *_: None)


# Slow by name, so that `make quick` need not even import them: they load torch, draw, or start processes.
SLOW_FILES = {
    *("test_backup", "test_bundle", "test_chaos", "test_checked", "test_devices", "test_doctor"),
    *("test_engines", "test_evidence_in_documents", "test_explaining", "test_feeding", "test_fuzz"),
    *("test_gate", "test_grid_file_condition", "test_mlflow_runs", "test_moved_data", "test_networks"),
    *("test_package", "test_page_browser", "test_phantom", "test_plots", "test_promoted_files"),
    *("test_promotion", "test_promotion_kills", "test_quarantine", "test_reproducing", "test_resume_check"),
    *("test_runs", "test_saving", "test_tensors", "test_training"),
    # seconds each, over whole studies and many resamples
    *("test_advice", "test_beside_the_figures", "test_checklists", "test_comparing", "test_differences"),
    *("test_documents", "test_facts", "test_large_grid", "test_links", "test_metrics", "test_page"),
    *("test_prepared", "test_refusals", "test_report", "test_selection", "test_shared", "test_toml_values"),
    *("test_upgrade", "test_winner", "test_written"),
}
FIRST = ("test_chaos", "test_promotion_kills", "test_runs")  # the longest, lest one be left for the end
SLOW_FIXTURES = {"phantom"}  # whatever reads it, or runs on it


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_quick = config.option.markexpr == "not slow"
    return True if is_quick and collection_path.stem in SLOW_FILES else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in FIRST)
    for item in items:
        if item.path.stem in SLOW_FILES or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@dataclass
class Study:
    """A folder with a grid file, and boneexp run inside it."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def grid(self) -> Path:
        return self.folder / "experiments.toml"

    def __call__(self, *arguments: str, code: int = 0):
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        finally:
            os.chdir(before)
        assert result.exit_code == code, f"exit {result.exit_code}: {result.output}"
        return result

    def json(self, *arguments: str):
        return json.loads(self(*arguments, "--json").stdout)


def new_study(folder: Path, root: Path) -> Study:
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(folder)
    study.grid.write_text(GRID.format(root=root))
    return study


@pytest.fixture
def study(tmp_path: Path, phantom: Path) -> Study:
    return new_study(tmp_path / "study", phantom)


@pytest.fixture(scope="session")
def finished_study(made_once, phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two experiments on both splits, run to the end; tests must not change it. Each process has a copy."""

    def make(folder: Path) -> None:
        made = new_study(folder, phantom)
        made("queue")
        made("run", "--all")
        close_idle()

    made = made_once("finished", make)
    return Study(Path(shutil.copytree(made, tmp_path_factory.mktemp("finished") / "study")))


@pytest.fixture(scope="session")
def settled(made_once) -> Path:
    """The folder of a study whose runs are settled and none promoted; tests copy it."""
    from settled_study import settled_study

    return made_once("settled", settled_study)
