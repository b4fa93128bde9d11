"""The wheel: built, looked into, and run from a folder of its own."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(made_once):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(ROOT), "--outdir"]
    out = made_once("wheel", lambda folder: subprocess.run([*build, folder], check=True, capture_output=True))
    return next(out.glob("boneexp-*.whl"))


def test_the_wheel_carries_migrations_templates_and_the_grid_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    migrations = {path.relative_to(ROOT).as_posix() for path in (ROOT / "migrations").rglob("*.py")}
    assert {f"boneexp/{name}" for name in migrations} <= names
    templates = (ROOT / "boneexp" / "reports" / "templates").iterdir()
    assert {f"boneexp/reports/templates/{path.name}" for path in templates} <= names
    assert {"boneexp/experiments.toml", "boneexp/py.typed"} <= names
    assert not [name for name in names if name.endswith((".db", ".pt", ".jpeg")) or name.startswith("tests/")]


@pytest.mark.slow
def test_the_console_script_works_from_any_folder(wheel, tmp_path):
    """The environment is empty but for the wheel; the packages it needs are seen through a path file."""
    home, elsewhere = tmp_path / "env", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(install, check=True, capture_output=True, env=environment)
    site = next((home / "lib").glob("python*/site-packages"))
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (site / "needed.pth").write_text("\n".join(packages) + "\n")

    def run(*command):
        settings = {"cwd": elsewhere, "env": environment, "capture_output": True, "text": True}
        return subprocess.run(command, check=True, **settings).stdout

    def boneexp(*arguments):
        return run(home / "bin" / "boneexp", *arguments)

    assert "not for clinical use" in boneexp("--help")
    boneexp("data", "phantom", "--images", "60", "--out", "BTXRD")
    boneexp("init")
    assert "8 queued" in boneexp("queue", "--grid", "experiments.toml")
    assert boneexp("status", "--json").count('"queued"') == 8
    where = "import boneexp.ledger.upgrading as d; print(d._migrations())"
    assert run(python, "-c", where).strip() == str(site / "boneexp" / "migrations")


def test_torch_and_torchvision_are_built_for_the_same_cuda():
    """0.29.2 is built for another CUDA than torch 2.14.1, though pip lets them be installed together."""
    import torch
    import torchvision

    built_for = torchvision.version.cuda  # 13020 is CUDA 13.2; None where it was built without
    if built_for is not None:
        assert f"{built_for // 1000}.{built_for % 1000 // 10}" == torch.version.cuda
    assert torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5).tolist() == [0]
