"""The dataset lies elsewhere now: every command that needs images can be told, and nothing else changes."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Study
from settled_ledger import NOW, settled_ledger
from specs import WORKER

from boneexp.cli.app import app
from boneexp.ledger.database import reading, writing
from boneexp.ledger.places import claimed_at, spec_now
from boneexp.ledger.queries.runs import spec_json
from boneexp.ledger.queue import claim_next
from boneexp.ledger.seals import broken_seals

NEEDS_IMAGES = ("queue", "run", "gradcam", "reproduce")


@pytest.fixture
def moved(finished_study, phantom, tmp_path):
    """A finished study whose data lie in tmp_path / "elsewhere" and not where they were queued from."""
    study = Study(Path(shutil.copytree(finished_study.folder, tmp_path / "study")))
    shutil.copytree(phantom, tmp_path / "elsewhere")
    study("queue", "--root", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").rename(tmp_path / "moved")
    return study


def test_gradcam_is_told_where_the_data_lie_by_option_or_by_queue(moved, tmp_path):
    asked = ("gradcam", "--experiment", "E1", "--count", "1")
    said = moved(*asked, code=1).output
    assert "elsewhere does not exist" in said
    assert "--root DIR" in said
    with_option = moved.json(*asked, "--root", str(tmp_path / "moved"))
    assert "0 queued, 4 already" in moved("queue", "--root", str(tmp_path / "moved")).stdout
    assert moved.json(*asked)["explanations"] == with_option["explanations"]
    with reading(moved.ledger) as connection:
        assert list(broken_seals(connection)) == []


def test_other_data_than_those_of_the_run_are_refused(moved, tmp_path):
    table = tmp_path / "moved" / "dataset.csv"
    header, first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([header, *rest]) + "\n")
    said = moved("gradcam", "--experiment", "E1", "--root", str(tmp_path / "moved"), code=1).output
    assert "have changed since this run was queued" in said
    assert "--root DIR" in said


@pytest.mark.parametrize("command", NEEDS_IMAGES)
def test_every_command_that_needs_images_takes_their_folder(command):
    from typer.main import get_command

    names = [name for option in get_command(app).commands[command].params for name in option.opts]
    assert "--root" in names


def test_a_finished_run_learns_where_its_data_and_weights_lie_and_stays_the_same_run(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", experiments=("E1",))
    designs = {"E1": {"data": {"root": "/new/place"}}}
    settled_ledger(ledger, experiments=("E1",), designs=designs, settle=False)
    with reading(ledger) as connection:
        kept = json.loads(spec_json(connection, 1))
        now = spec_now(connection, 1)
        assert list(broken_seals(connection)) == []
        assert spec_now(connection, 1, "/given").settings.data.root == "/given"
    assert kept["settings"]["data"]["root"] == "BTXRD"  # which is sealed
    assert now.settings.data.root == "/new/place"
    assert now.settings.model.pretrained is True
    kept["settings"]["data"]["root"] = "/new/place"
    assert json.loads(now.model_dump_json()) == kept


def test_a_run_that_begins_with_its_data_elsewhere_keeps_that_and_its_hash(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", experiments=("E1",), settle=False)
    with writing(ledger) as connection:
        claim = claim_next(connection, WORKER, NOW, 60)
        there = claimed_at(connection, claim, "/new/place")
        kept = json.loads(spec_json(connection, claim.run_id))
    assert there.spec.settings.data.root == kept["settings"]["data"]["root"] == "/new/place"
    assert there.spec.config_hash == claim.spec.config_hash
    assert (there.run_id, there.attempt) == (claim.run_id, claim.attempt)
