"""Facts of ledgers in every state: several seeds, nothing finished, failures, former settings, heat maps."""

import json
import re

import pytest
from decided_facts import assert_tables_hold, both, facts_of, poc_report
from settled_ledger import NOW, settle_next, settled_ledger

from boneexp.comparison.leakage import NO_PATIENTS
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.explanations import record_explanations
from boneexp.ledger.queries.files import checkpoint_of
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.ledger.queue import Worker, claim_next
from boneexp.ledger.settling import fail
from boneexp.reports.facts import gather
from boneexp.reports.markers import blocks_of
from boneexp.results import Failed


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Two experiments, finished, and E2 promoted; read only."""
    ledger = settled_ledger(tmp_path_factory.mktemp("settled") / "ledger.db")
    return ledger, facts_of(ledger)


def test_several_seeds_show_mean_and_spread_and_no_interval(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", seeds=(1, 2))
    facts = facts_of(ledger, runs=(5, 7))
    report = poc_report(facts)
    mean = facts.comparison.mean("E2", "stratified_accuracy")
    assert f"| {mean.value:.3f} (2 seeds: " in report
    spread = f"{mean.value:.3f} (range {mean.lowest:.3f}-{mean.highest:.3f})"
    assert f"| E2 | stratified | 2 | {spread} |" in report
    assert "single seed" not in report
    assert "| 5 | stratified | 1 | yes |" in report
    assert "| 6 | stratified | 2 | no |" in report


def test_grad_cam_counts_images_explained_for_their_own_class_on_the_runs_checkpoint(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db")
    with reading(ledger) as connection:
        digest = checkpoint_of(connection, 3).sha256

    def explained(image, class_name, iou, threshold=0.5):
        about = {"part": "test", "image_id": image, "explained_class": class_name, "threshold": threshold}
        measured = {"iou": iou, "energy_inside": 0.25, "pointing_hit": iou is not None and iou > 0.15}
        return {**about, **measured, "layer": "bn2", "outcome": "TP", "overlay": "", "lesion": "outline"}

    malignant, benign = "IMG200000-test.jpeg", "IMG100000-test.jpeg"
    rows = [
        explained(malignant, "Malignant", 0.20),
        explained(malignant, "Malignant", 0.10, 0.25),
        explained(malignant, "Benign", 0.90),
        explained(benign, "Benign", 0.10),
        explained("IMG000000-test.jpeg", "Normal", None),
    ]
    with writing(ledger) as connection:
        record_explanations(connection, 3, digest, rows, NOW)
    facts = facts_of(ledger)
    report = poc_report(facts)
    assert "Mean IoU at threshold 0.5: 0.150 over 2 annotated images (stratified)." in report
    assert "| stratified | bn2 | outline | 0.5 | 2 | 0.150 | 0.250 | 0.500 |" in report
    assert "| Grad-CAM IoU | 0.070 | 0.150 | +0.080 | not reported |" in report
    with writing(ledger) as connection:
        record_explanations(connection, 3, "another checkpoint", rows, NOW)
    assert "Mean IoU at threshold 0.5: not reported" in poc_report(facts_of(ledger))


def test_a_ledger_without_a_finished_run_makes_documents_that_say_so(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", settle=False)
    for text in both(facts_of(ledger, None)):
        assert "No experiment has finished the runs that the selection rule needs" in text
        assert not re.search(r"\d\.\d{3} \(|None|do not apply", text)
        assert_tables_hold(text)
    assert "(4 queued)" in poc_report(facts_of(ledger, None))


def test_an_empty_ledger_makes_documents_too(tmp_path):
    for text in both(facts_of(open_ledger(tmp_path / "ledger.db"), None)):
        assert "not reported" in text


def test_one_split_alone_makes_documents_too(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", splits=("center_holdout",))
    facts = facts_of(ledger, runs=(None, 2))
    assert NO_PATIENTS not in poc_report(facts)
    assert list(facts.subject.chosen) == ["center_holdout"]


def test_a_promotion_of_former_settings_keeps_its_own_figures_and_says_that_the_grid_moved_on(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db")
    before = facts_of(ledger)
    settled_ledger(ledger, designs={"E2": {"training": {"epochs": 90}}}, skill=3.0)
    after = facts_of(ledger)
    assert [held.estimate for held in after.held] == [held.estimate for held in before.held]
    assert after.comparison.rows != before.comparison.rows
    for text in both(after):
        assert "The grid has been queued again since" in text


def test_out_of_memory_shows_as_failure_and_as_micro_batches(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", ("E2",), settle=False)
    worker = Worker("tester", "host", 1, "boot", "0", "cuda", {})
    with writing(ledger) as connection:
        claim = claim_next(connection, worker, NOW, lease_s=60)
        assert fail(connection, claim, Failed("oom", "out of memory", ""), NOW)
    for later in (10, 20):
        settle_next(ledger, NOW + later)
    facts = facts_of(ledger, runs=(1, 2))
    card, report = both(facts)
    assert "32, in micro-batches of 16 | 2 | cpu |" in card
    assert "in 3 attempts; failed or lost: 1." in report
    assert "| 1 | failed | oom |" in report
    assert "BatchNorm saw fewer images" in report


def test_data_that_are_not_btxrd_beside_btxrd_put_the_banner_everywhere(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db")
    settled_ledger(ledger, ("E3",), kind="phantom")
    facts = facts_of(ledger)
    assert facts.comparable
    for text in both(facts):
        assert all("NOT BTXRD RESULTS." in inside for inside in blocks_of(text).values())
    results = blocks_of(poc_report(facts))["results"]
    assert len(re.findall(r"^\| E[12] .* \| BTXRD \|$", results, re.MULTILINE)) == 2
    assert len(re.findall(r"^\| E3 .* \| a synthetic phantom \(called BTXRD", results, re.MULTILINE)) == 1


def test_gathering_changes_nothing_and_works_inside_a_transaction(settled):
    with reading(settled[0]) as connection:
        connection.execute("BEGIN")
        promotion = promotion_rows(connection)[-1]
        assert gather(connection, promotion, NOW) == settled[1]
        assert connection.in_transaction


def test_a_fact_that_an_older_ledger_lacks_is_not_reported(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db")
    with writing(ledger) as connection:
        (kept,) = connection.execute("SELECT settings_json FROM experiments LIMIT 1").fetchone()
        settings = json.loads(kept)
        del settings["evaluation"], settings["model"]["attn_layer"]
        connection.execute("UPDATE experiments SET settings_json = ?", (json.dumps(settings),))
    card, report = both(facts_of(ledger))
    assert "Intervals: not reported." in report
    assert "| Attention | not reported |" in card
