"""A study whose runs have finished without training: ledger, checkpoints, grid file, and a model card."""

import hashlib
import json
import sqlite3
import tomllib

from conftest import Study
from settled_ledger import settled_ledger

GRID = """# ours
[evaluation]
resamples = 200

[experiments.E1]
name = 'b0'

[experiments.E2]
training.annotations = true

[experiments.E3]
data.image_size = 300
model = {backbone = "efficientnet_b3", dropout = 0.3}
training = {annotations = true, batch_size = 16}

[experiments.E4]
model = {backbone = "resnet50", dropout = 0.3, attn_layer = "cbam"}
training = {annotations = true, batch_size = 16}

[promoted]   # the default
"""


def settled_study(home, grid=GRID, **ledger):
    """Make a study of two finished experiments in `home`, and a model card that a person has begun."""
    home.mkdir(parents=True, exist_ok=True)
    settled_ledger(home / "ledger.db", **ledger)
    with sqlite3.connect(home / "ledger.db") as connection:
        for folder, sha256 in connection.execute("SELECT folder, checkpoint_sha256 FROM runs").fetchall():
            checkpoint = home / "artifacts" / folder / "best.pt"
            checkpoint.parent.mkdir(parents=True)
            checkpoint.write_text(json.dumps(folder))
            assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() == sha256
    (home / "experiments.toml").write_text(grid)
    (home / "docs").mkdir()
    (home / "docs" / "model_card.md").write_text("# Ours\n\nOur own words.\n")
    return Study(home)


def default_of(study):
    """Return the experiment that grid file, checkpoints and documents say is the default, each for itself."""
    promoted = tomllib.loads(study.grid.read_text()).get("promoted", {})
    folder = study.artifacts / "promoted"
    runs = {path.name: json.loads(path.read_text()) for path in folder.glob("*.pt")}
    card = (study.folder / "docs" / "model_card.md").read_text()
    said = [name for name in ("E1", "E2") if f"**{name} (b0_" in card]
    return (
        promoted.get("experiment"),
        {name: run.split("/")[1] for name, run in sorted(runs.items())},
        said[0] if said else None,
    )


def whole(experiment):
    """Return what `default_of` gives where all of them agree."""
    names = ("best_center.pt", "best_stratified.pt") if experiment else ()
    return (experiment, dict.fromkeys(names, experiment), experiment)
