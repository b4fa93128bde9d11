"""A decision is written into the study's own grid file; and what stands already is not decided again."""

import shutil
import sqlite3
import tomllib
from contextlib import closing

import pytest
from conftest import Study
from settled_ledger import NOW, specs
from settled_study import GRID, default_of, settled_study, whole

from boneexp.files.atomic import sha256_of
from boneexp.ledger.database import reading, writing
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queries.comparison import uses_of_test_parts
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.promotion import carry_out
from boneexp.promotion.gate.grid_file import describes
from boneexp.runs.enqueue import settings_as_written
from boneexp.study.grid import load_grid
from boneexp.study.settings import digest_of

ANOTHER = GRID.replace("training.annotations = true", "training = {annotations = true, epochs = 3}")


@pytest.fixture
def study(settled, tmp_path):
    shutil.copytree(settled, tmp_path / "study")
    return Study(tmp_path / "study")


def decisions(study):
    with reading(study.ledger) as connection:
        uses = {use.decisions for use in uses_of_test_parts(connection)}
        events = connection.execute("SELECT COUNT(*) FROM events").fetchone()[0]
        return len(promotion_rows(connection)), uses, events


def everything(study):
    """Return the ledger's content, and every other file."""
    with closing(sqlite3.connect(study.ledger)) as connection:
        rows = list(connection.iterdump())
    files = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    return rows, {path: content for path, content in files.items() if not path.name.startswith("ledger.db")}


def refused(study, *command, code=6):
    before = everything(study)
    said = study(*command, code=code)
    assert everything(study) == before
    return said.stderr + said.stdout


# The wrong grid file.


def test_a_grid_file_with_another_model_under_that_name_is_refused(study):
    (study.folder / "mine.toml").write_text(study.grid.read_text())
    study.grid.write_text(ANOTHER)
    for more in (["--yes"], ["--dry-run"]):
        said = refused(study, "promote", "E2", *more)
        assert "the grid file describes E2 as it was run: not met" in said
        assert "training.epochs is 3 there and 80 in the ledger" in said
        assert "--grid FILE" in said
    study("promote", "E2", "--grid", "mine.toml", "--yes")
    assert study.grid.read_text() == ANOTHER
    assert tomllib.loads((study.folder / "mine.toml").read_text())["promoted"]["experiment"] == "E2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[experiments.E1]\n", "has no experiment E2"),
        ("[experiments.E2]\nmodel.backbon = 'x'\n", "unknown key"),
        ("[experiments.E2]\n", "training.annotations is False there and True in the ledger"),
    ],
)
def test_a_grid_file_that_cannot_be_held_against_the_ledger_is_refused(study, text, said):
    study.grid.write_text(text)
    assert said in refused(study, "promote", "E2", "--yes")


def test_names_notes_and_where_the_data_lie_may_be_others(study):
    study.grid.write_text(
        GRID.replace("[evaluation]", "[data]\nroot = 'elsewhere'\nname = 'mine'\n[evaluation]").replace(
            "'b0'", "'another name'\nnotes = 'and notes'"
        )
    )
    study("promote", "E1", "--yes")


def test_what_promotes_nothing_anew_goes_by_the_file_of_the_last_decision(study):
    study("promote", "E1", "--yes")
    study("promote", "E2", "--yes")
    study.grid.write_text(study.grid.read_text().replace("'b0'", "'b0'\ntraining.epochs = 3"))  # the next E1
    (study.folder / "other.toml").write_text(ANOTHER.replace("'b0'", "'b0'\ntraining.epochs = 3"))
    assert "describes E1" in refused(study, "rollback", "--grid", "other.toml", "--yes")
    study("rollback", "--yes")
    assert default_of(study) == whole("E1")


def test_keeping_the_baseline_empties_no_table_of_another_study(study):
    other = study.folder / "other.toml"
    other.write_text('[experiments.X1]\n[promoted]\nexperiment = "X1"\n')
    said = refused(study, "promote", "--keep-baseline", "--grid", "other.toml", "--yes")
    assert "other.toml describes no experiment as the ledger has it" in said
    study("promote", "--keep-baseline", "--yes")


def test_doctor_writes_into_no_other_grid_file(study):
    shutil.move(study.grid, study.folder / "mine.toml")
    study("promote", "E2", "--grid", "mine.toml", "--yes")
    study.grid.write_text(ANOTHER)
    (study.artifacts / "promoted" / "best_center.pt").unlink()
    found = study("doctor", "--quick", "--fix", "--yes", "--json", code=7).stdout
    assert "training.epochs is 3 there" in found
    assert "boneexp doctor --grid FILE" in found
    assert study.grid.read_text() == ANOTHER
    study("doctor", "--quick", "--fix", "--yes", "--grid", "mine.toml", code=7)
    assert (study.artifacts / "promoted" / "best_center.pt").exists()


def test_a_bundle_takes_no_grid_file_of_another_study(study):
    (study.folder / "other.toml").write_text("[experiments.X1]\n")
    said = study("export", "--bundle", "out.zip", "--grid", "other.toml", code=6).stderr
    assert "other.toml describes no experiment as the ledger has it" in said
    assert not (study.folder / "out.zip").exists()


# Settings that were given with --set.


def test_a_file_is_recognised_by_what_it_said_when_its_settings_were_overridden(study):
    made = load_grid(study.grid, ["training.epochs=1", "data.root=elsewhere"])
    only_moved = load_grid(study.grid, ["data.root=elsewhere"])
    assert set(settings_as_written(made, study.grid)) == {"E1", "E2", "E3", "E4"}
    assert settings_as_written(only_moved, study.grid) == {}
    wanted = specs({"E1": {"training": {"epochs": 1}}}, (42,), ("stratified",), digest_of("BTXRD"))
    with writing(study.ledger) as connection:
        (run,) = enqueue(connection, wanted, NOW, as_written=settings_as_written(made, study.grid)).added
        assert describes(connection, study.grid, [run]).met
        assert describes(connection, study.grid, [1]).met  # which was queued as the file says
    study.grid.write_text(GRID.replace("[experiments.E1]", "[experiments.E1]\ntraining.epochs = 9"))
    with reading(study.ledger) as connection:
        found = describes(connection, study.grid, [run])
        assert not found.met
        assert "training.epochs is 9 there and 1 in the ledger" in found.found
        assert not describes(connection, study.grid, [1]).met


def test_weights_are_known_by_their_digest_wherever_the_file_lies(study):
    weights = study.folder / "weights.pt"
    weights.write_bytes(b"weights")
    design = {"E1": {"model": {"pretrained": "/gone/weights.pt"}}}
    made = specs(design, (42,), ("stratified",), digest_of("BTXRD"))[0]
    wanted = made.model_copy(update={"weights_sha256": sha256_of(weights)})
    with writing(study.ledger) as connection:
        (run,) = enqueue(connection, [wanted], NOW).added
    study.grid.write_text(
        GRID.replace("[experiments.E1]", "[model]\npretrained = 'weights.pt'\n[experiments.E1]")
    )
    with reading(study.ledger) as connection:
        assert describes(connection, study.grid, [run]).met
        weights.write_bytes(b"others")
        assert "model.pretrained is" in describes(connection, study.grid, [run]).found


# What stands already.


@pytest.mark.parametrize("command", [["E1"], ["--best"], ["E1", "--override", "--reason", "again"]])
def test_promoting_what_stands_already_records_nothing(study, command):
    study("promote", "E1", "--yes")
    before = decisions(study)
    assert "E1 is the default already" in refused(study, "promote", *command, "--yes", code=4)
    assert "E1 is the default already" in refused(study, "promote", *command, "--dry-run", code=4)
    assert decisions(study) == before == (1, {1}, before[2])


def test_keeping_the_baseline_twice_records_it_once_and_after_a_rollback_again(study):
    study("promote", "--keep-baseline", "--yes")
    assert "the baseline is the default already" in refused(
        study, "promote", "--keep-baseline", "--yes", code=4
    )
    assert decisions(study)[0] == 1
    study("rollback", "--yes")
    study("promote", "--keep-baseline", "--yes")  # nobody's decision stood
    assert decisions(study)[0] == 3


def test_what_a_rollback_brought_back_stands_already(study):
    for command in (["promote", "E1"], ["promote", "E2"], ["rollback"]):
        study(*command, "--yes")
    assert "E1 is the default already" in refused(study, "promote", "E1", "--yes", code=4)
    study("promote", "E2", "--yes")
    assert default_of(study) == whole("E2")


def test_what_stands_already_is_said_as_json_too_and_a_damaged_one_is_refused(study):
    study("promote", "E1", "--yes")
    said = study("promote", "E1", "--yes", "--json", code=4)
    assert '"stands_already": true' in said.stdout
    (study.artifacts / "experiments" / "E1" / "stratified" / "best.pt").write_text("another")
    assert "has SHA-256" in refused(study, "promote", "E1", "--yes")


# Nobody to ask.


@pytest.mark.parametrize(
    "command",
    [
        ["promote", "E1"],
        ["promote", "--best"],
        ["promote", "--keep-baseline"],
        ["rollback"],
        ["promote", "E1", "--json"],
        ["doctor", "--fix"],
        ["data", "phantom", "--images", "12", "--out", "docs"],
    ],
    ids=" ".join,
)
def test_what_asks_is_refused_where_nobody_can_answer(study, command):
    said = refused(study, *command, code=2)
    assert "add --yes" in said
    assert "no terminal" in said


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_it_works_as_written(study, monkeypatch):
    monkeypatch.setattr("boneexp.cli.app.typer.confirm", lambda *_, **__: True)
    study("promote", "E2")
    assert default_of(study) == whole("E2")


# Two ledgers in one folder.


@pytest.fixture
def two(tmp_path):
    """Two studies whose ledgers, grid file and documents lie in one folder; artifacts are their own."""
    made = settled_study(tmp_path / "study")
    for name in ("a", "b"):
        shutil.copytree(made.artifacts, made.folder / f"of-{name}")
        with sqlite3.connect(made.ledger) as source, sqlite3.connect(made.folder / f"{name}.db") as target:
            source.backup(target)
    return made


def of(name):
    return ("--ledger", f"{name}.db", "--artifacts", f"of-{name}")


@pytest.mark.parametrize(("first", "second"), ["ab", "ba"])
def test_a_promotion_at_work_on_one_ledger_does_not_hold_up_another(two, first, second):
    with carry_out.alone(two.folder / f"{first}.db", 0):
        two("promote", "E2", "--yes", *of(second))
        assert two("status", *of(second)).stderr == ""


@pytest.mark.parametrize(
    ("order", "step", "artifacts"),
    [
        ("ab", "put_in_place", "own"),
        ("ba", "put_in_place", "shared"),
        ("ab", "record_promotion", "shared"),
        ("ba", "record_promotion", "own"),
    ],
)
def test_a_promotion_cut_short_is_not_taken_for_one_of_another_ledger(
    two, monkeypatch, order, step, artifacts
):
    here, there = map(of, order)
    if artifacts == "shared":
        there = (*there[:2], *here[2:])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(carry_out, step, killed)
        patched.setattr(carry_out, "_clear_unrecorded", lambda *_: None)
        two("promote", "E1", "--yes", *here, code=130)
    assert "interrupted" in two("status", *here).stderr
    assert two("status", *there).stderr == ""
    two("promote", "E2", "--yes", *there)
    assert default_of(two)[0] == "E2"
    said = two("promote", "--finish", *here).stdout
    assert ("the default is E1" if step == "put_in_place" else "nothing has changed") in said
    assert default_of(two)[0] == ("E1" if step == "put_in_place" else "E2")
    assert list(two.folder.rglob("*.part")) == list(two.folder.rglob("*.promoting")) == []
