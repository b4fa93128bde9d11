"""`gradcam`: what is measured and what is looked at, and which model is the default; without a network."""

import shutil
import sqlite3
from types import SimpleNamespace

import pytest
from conftest import Study
from sealed_again import seal_again

from boneexp.explanations import gradcam
from boneexp.explanations.draw import Explained, Explanation
from boneexp.ledger import seals
from boneexp.ledger.database import reading
from boneexp.ledger.queries.comparison import overlap_ious
from boneexp.ledger.queries.figures import overlap_means
from boneexp.study.promoted_table import with_promoted

LOOKED_AT = "IMG100000-test.jpeg,IMG100001-test.jpeg,IMG200000-test.jpeg,IMG100000-val.jpeg"


@pytest.fixture
def study(settled, tmp_path, monkeypatch):
    """A study with E2 promoted, and heat maps that are made up: better where few images are asked for."""
    shutil.copytree(settled, tmp_path / "study")
    found = Study(tmp_path / "study")
    found.seen = []

    def explain(spec, folder, checkpoint, questions, *, lesion, device, progress, gallery):
        found.seen.append(SimpleNamespace(checkpoint=checkpoint, gallery=gallery))
        iou = 0.1 + 1 / len(questions)
        made = [Explanation(each, "bn2", {0.3: iou, 0.5: iou}, iou, True, "") for each in questions]
        return Explained(tuple(made), (), lesion)

    monkeypatch.setattr(gradcam, "explain", explain)
    found("promote", "E2", "--yes")
    return found


def published(study):
    """Return every figure of overlap that is shown anywhere, and the documents."""
    with reading(study.ledger) as connection:
        shown = overlap_means(connection, 3), overlap_ious(connection)
    return shown, [(study.folder / "docs" / name).read_text() for name in ("model_card.md", "poc_report.md")]


def rows(study, purpose):
    with sqlite3.connect(study.ledger) as connection:
        query = "SELECT image_id, threshold, iou FROM explanations WHERE purpose = ? ORDER BY 1, 2"
        return connection.execute(query, (purpose,)).fetchall()


def test_what_a_person_looks_at_changes_no_figure_and_no_document(study):
    measured = study.json("gradcam")
    assert measured["purpose"] == "measured"
    before, kept = published(study), rows(study, "measured")
    assert before[0][0][0].images >= 30  # every tumour image of the test part
    looked = study.json("gradcam", "--images", LOOKED_AT)
    assert looked["purpose"] == "looked-at"
    assert looked["overlap"]["iou"]["0.5"] != measured["overlap"]["iou"]["0.5"]
    assert "have no mean IoU" in study("gradcam", "--images", LOOKED_AT).stdout
    assert (published(study), rows(study, "measured")) == (before, kept)
    assert len(rows(study, "looked-at")) == 2 * 4
    assert [each.gallery for each in study.seen] == ["gallery", "looked-at", "looked-at"]
    with reading(study.ledger) as connection:
        assert list(seals.broken_seals(connection)) == []


def test_looking_first_measures_nothing(study):
    study("gradcam", "--images", LOOKED_AT)
    assert published(study)[0] == ([], {})
    assert rows(study, "measured") == []


def test_measuring_again_replaces_what_was_measured_whole(study):
    study("gradcam")
    with sqlite3.connect(study.ledger) as connection:
        connection.execute(
            "UPDATE explanations SET image_id = 'IMG999999.jpeg' WHERE image_id LIKE 'IMG100000%'"
        )
    seal_again(study.ledger)
    study("gradcam", "--images", LOOKED_AT)
    first, looked = published(study), rows(study, "looked-at")
    study("gradcam", "--count", "1")
    assert "IMG999999.jpeg" not in [row[0] for row in rows(study, "measured")]
    assert published(study) != first
    assert rows(study, "looked-at") == looked


# Where the default comes from.


def test_the_checkpoint_is_the_one_that_the_promoted_table_names(study):
    done = study.json("gradcam")
    assert done["checkpoint"] == "artifacts/promoted/best_stratified.pt"
    assert study.json("gradcam", "--split", "center_holdout")["checkpoint"].endswith("best_center.pt")
    assert "experiments/E1" in study.json("gradcam", "--experiment", "E1")["checkpoint"]
    assert study("gradcam").stderr.count("Warning") == 0


def rewritten(**keys):
    return lambda study: study.grid.write_text(with_promoted(study.grid, keys))


def changed(old, new):
    return lambda study: study.grid.write_text(study.grid.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (rewritten(experiment="E1"), "says otherwise: E1, not E2"),
        (rewritten(), "says otherwise: no model, not E2"),
        (changed("batch_size = 32", "batch_size = 64"), "says otherwise of batch_size"),
        (changed('digest_center = "', 'digest_center = "0'), "says otherwise of digest_center"),
        (lambda study: study.grid.unlink(), "there is no grid file experiments.toml"),
        (lambda study: study.grid.write_text("[promoted"), "is not valid TOML"),
        (
            lambda study: (study.artifacts / "promoted" / "best_stratified.pt").unlink(),
            "best_stratified.pt is gone",
        ),
    ],
)
def test_a_promoted_table_that_differs_is_said_and_the_ledger_decides(study, spoil, said):
    spoil(study)
    done = study("gradcam", "--json")
    assert said in done.stderr
    assert '"experiment": "E2"' in done.stdout
    assert study.seen[-1].checkpoint[0].as_posix() == "artifacts/experiments/E2/stratified/best.pt"
