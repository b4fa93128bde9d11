"""The gate before a promotion: what it refuses, with which words, and that a refusal changes nothing."""

import json
import re
import shutil
import sqlite3
from contextlib import closing

import pytest
import settled_ledger as settled_module
from conftest import Study
from sealed_again import seal_again
from settled_ledger import NOW, settle_next, settled_ledger, specs
from settled_study import GRID, settled_study
from typer.testing import CliRunner

from boneexp.cli import app
from boneexp.comparison.compared import compared
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import reading, writing
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.promotion.gate.statistical import statistical_conditions
from boneexp.reports.markers import blocks_of
from boneexp.study.decision_settings import PromotionSettings

NAMES = ("model_card.md", "poc_report.md")
NOTHING = {"above_baseline": [], "subgroups": [], "calibration_metric": "", "leakage": False}


@pytest.fixture
def study(settled, tmp_path):
    shutil.copytree(settled, tmp_path / "study")
    return Study(tmp_path / "study")


def set_policy(study, **keys):
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    study.grid.write_text(GRID.replace("[promoted]", f"[promotion]\n{lines}\n[promoted]"))


def change(study, statement):
    with sqlite3.connect(study.ledger) as connection:
        assert connection.execute(statement).rowcount >= 1


def everything(study):
    """Return all that a decision could change: the ledger's content, and every other file."""
    with closing(sqlite3.connect(study.ledger)) as connection:
        rows = list(connection.iterdump())
    files = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    return rows, {path: content for path, content in files.items() if not path.name.startswith("ledger.db")}


def damaged(study, *command):
    """Promote a study with changed rows; return what is said, after seeing that nothing has changed."""
    before = everything(study)
    said = study("promote", *command, "--yes", code=7).output
    assert everything(study) == before
    return said


def refused(study, *command):
    before = everything(study)
    said = study("promote", *command, "--yes", code=6)
    assert everything(study) == before
    assert said.stdout == ""
    return said.stderr


def documents(study):
    return [(study.folder / "docs" / name).read_text() for name in NAMES]


def evidence(study):
    with reading(study.ledger) as connection:
        return promotion_rows(connection)[-1].evidence


def events(study, kind):
    with sqlite3.connect(study.ledger) as connection:
        found = connection.execute("SELECT details_json FROM events WHERE kind = ?", (kind,))
        return [json.loads(row[0]) for row in found]


def judged(ledger, run_ids, **keys):
    """Return the statistical conditions of a ledger by name."""
    policy = PromotionSettings.model_validate(NOTHING | keys)
    with reading(ledger) as connection:
        found = statistical_conditions(connection, run_ids, compared(connection), policy)
        return {each.name: each for each in found}


# What always binds.


def test_an_experiment_without_a_finished_run_is_refused(study):
    settled_ledger(study.ledger, ("E1", "E2", "E3"), settle=False)
    said = refused(study, "E3")
    assert (
        "E3 cannot be promoted:\n  - integrity: every current run of E3 is finished: not met; it has no"
        in said
    )
    assert "run 6 (center_holdout, seed 42) is queued; run 5 (stratified, seed 42) is queued" in said
    assert "Conditions of integrity always bind; nothing overrides them." in said


def test_an_experiment_of_which_one_run_waits_is_refused(study):
    settled_ledger(study.ledger, ("E1", "E2", "E3"), settle=False)
    settle_next(study.ledger, NOW + 50_000)
    said = refused(study, "E3")
    assert "every current run of E3 is finished: not met; run 6 (center_holdout, seed 42) is queued" in said


def test_a_checkpoint_that_is_not_the_recorded_one_is_refused(study):
    path = study.artifacts / "experiments" / "E2" / "stratified" / "best.pt"
    path.write_text("another")
    assert re.search(
        r"not met; run 3: .*best.pt has SHA-256 [0-9a-f]{12}…, and the ledger", refused(study, "E2")
    )
    path.unlink()
    assert re.search(r"not met; run 3: its checkpoint .*best.pt is gone", refused(study, "E2"))


@pytest.mark.parametrize("command", [["E2"], ["--best"], ["--keep-baseline"], ["--rollback"]])
def test_a_changed_history_is_refused_whatever_is_decided(study, command):
    study("promote", "E1", "--yes")
    change(study, "UPDATE events SET at = at + 1 WHERE id = 3")
    assert re.search(r"event 3 \(.*\) does not follow from those before it", damaged(study, *command))


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE metrics SET value = 0.99 WHERE run_id = 3 AND metric = 'accuracy'", "run 3: table metrics"),
        ("UPDATE predictions SET label = 'Normal' WHERE run_id = 1", "run 1: table predictions"),
        ("UPDATE image_attributes SET value = 'male' WHERE value = 'female'", "dataset .*: table image_attr"),
        ("UPDATE study_figures SET value = 0.1", "the study: table study_figures"),
    ],
)
def test_figures_or_images_changed_after_they_were_sealed_are_refused(study, statement, named):
    change(study, statement)
    said = damaged(study, "E2")
    assert re.search(rf"changed after it was sealed: {named}", said)
    assert "boneexp doctor" in said


def test_a_figure_of_the_comparison_that_the_metrics_do_not_give_is_refused(study):
    change(study, "UPDATE run_summaries SET accuracy = 0.99 WHERE run_id = 1")
    for command in (["E2"], ["--keep-baseline"]):
        assert "run 1: table run_summaries is not as event" in damaged(study, *command)


def test_experiments_on_different_images_are_refused(study):
    settled_ledger(study.ledger, ("E3",), kind="other")
    said = refused(study, "E1")
    assert re.search(r"have the same images: not met; E1, E2 [0-9a-f]{8}, E3 [0-9a-f]{8}; queue all", said)
    assert "boneexp queue --grid experiments.toml" in said


def test_experiments_on_another_deal_of_the_same_images_are_refused(study):
    with reading(study.ledger) as connection:
        fingerprint = connection.execute("SELECT fingerprint FROM datasets").fetchone()[0]
    dealt = specs({"E3": settled_module.DESIGNS["E3"]}, (42,), ("stratified",), fingerprint)
    dealt = [spec.model_copy(update={"split_digest": "d" * 64}) for spec in dealt]
    with writing(study.ledger) as connection:
        enqueue(connection, dealt, NOW)
    settle_next(study.ledger, NOW + 50_000)
    said = refused(study, "E1")
    assert re.search(
        r"deals the images out alike for all: not met; stratified E1, E2 [0-9a-f]{8}, E3 dddd", said
    )
    assert "have the same images" not in said


def test_every_condition_that_is_not_met_is_listed(study):
    (study.artifacts / "experiments" / "E2" / "stratified" / "best.pt").unlink()
    settled_ledger(study.ledger, ("E3",), kind="other")
    assert refused(study, "E2").count("\n  - integrity: ") >= 2


def test_what_stood_before_is_not_brought_back_if_its_rows_were_changed(study):
    study("promote", "E1", "--yes")
    study("promote", "E2", "--yes")
    change(study, "UPDATE metrics SET value = 0.99 WHERE run_id = 1")
    assert "run 1: table metrics" in damaged(study, "--rollback")


def test_nothing_to_undo_and_no_best_are_refused(study):
    assert "there is no promotion to undo" in refused(study, "--rollback")
    settled_ledger(study.ledger, ("E3",), kind="other")
    assert "there is no best experiment" in refused(study, "--best")


# What binds with enforce = true.

STATISTICAL = [
    (
        {"above_baseline": ["stratified_accuracy"]},
        "stratified accuracy: whole interval above the baseline of 0.679, at the level for the best of 2 "
        "(each end 1 - 0.025/2)",
    ),
    (
        {"subgroups": ["centre"], "least_accuracy": 0.9},
        "no subgroup's accuracy lies below 0.9 by more than chance",
    ),
    (
        {"subgroups": ["centre"], "smallest_subgroup": 1, "least_malignant_sensitivity": 1.0},
        "no subgroup's malignant sensitivity lies below 1 by more than chance",
    ),
    ({"calibration_metric": "log_loss", "calibration_at_most": 0.1}, "log loss: at most 0.1"),
    (
        {"calibration_metric": "brier_score", "calibration_at_most": 0.1, "temperature_scaling": True},
        "brier score after temperature scaling: at most 0.1",
    ),
    ({"leakage": True}, "no picture stands in the data twice under different classes"),
]


def test_without_patients_it_is_not_known_whether_their_views_lie_apart(study):
    set_policy(study, enforce=True, **(NOTHING | {"leakage": True}))
    assert "views of one patient lie in one part of each split: not known; no splits.group_column" in refused(
        study, "E2"
    )


@pytest.mark.parametrize(("keys", "asked"), STATISTICAL)
def test_a_statistical_condition_warns_by_default_and_refuses_where_it_is_enforced(study, keys, asked):
    set_policy(study, enforce=True, **(NOTHING | keys))
    said = refused(study, "E2")
    assert f"  - statistical: {asked}: not met; " in said
    assert 'a person can go on: boneexp promote E2 --override --reason "why"' in said
    assert "integrity" not in said
    set_policy(study, **(NOTHING | keys))
    assert f"Warning: {asked}: not met; " in study("promote", "E2", "--yes").stderr


def test_what_is_not_known_is_not_met_where_it_is_enforced(study):
    set_policy(
        study, enforce=True, **(NOTHING | {"above_baseline": ["center_holdout_malignant_specificity"]})
    )
    assert "above the baseline: not known; the study names no baseline for it" in refused(study, "E2")


def test_an_image_in_both_parts_is_refused_where_leaks_are_enforced(tmp_path, monkeypatch):
    monkeypatch.setattr(
        settled_module, "_image_id", lambda label, number, part: f"IMG{label}{number:05d}.jpeg"
    )
    study = settled_study(tmp_path / "study")
    set_policy(study, enforce=True, **(NOTHING | {"leakage": True}))
    said = refused(study, "E2")
    assert "run 3: 30 images and 0 groups were predicted in validation and in test" in said


def test_with_all_that_is_enforced_met_nothing_is_said(study):
    set_policy(
        study,
        enforce=True,
        **(
            NOTHING
            | {
                "subgroups": ["sex"],
                "least_accuracy": 0.1,
                "least_malignant_sensitivity": 0.1,
                "smallest_subgroup": 5,
            }
        ),
    )
    assert "Warning" not in study("promote", "E2", "--yes").stderr
    assert {each["effect"] for each in evidence(study)["gate"]["conditions"]} == {"binds"}


# How a condition is judged.


def test_the_worst_subgroup_is_the_lowest_that_the_predictions_give(study):
    with reading(study.ledger) as connection:
        tested = [each for each in prediction_rows(connection, 4) if each.part == "test"]
    right = {}
    for each in tested:
        predicted = each.probabilities.index(max(each.probabilities))
        right.setdefault(each.center, []).append(predicted == each.label)
    worst = min(right, key=lambda center: sum(right[center]) / len(right[center]))
    accuracy = sum(right[worst]) / len(right[worst])
    keys = {"subgroups": ["centre"], "smallest_subgroup": 30, "least_accuracy": round(accuracy, 6) - 0.001}
    found = judged(study.ledger, [4], **keys)["worst-subgroup accuracy"]
    assert found.met is True
    assert found.found.startswith(f"lowest {accuracy:.3f} (")
    assert (
        f"of {len(right[worst])} images, centre {worst} (centre-holdout); 2 subgroups judged" in found.found
    )
    higher = judged(study.ledger, [4], **keys | {"least_accuracy": 0.95})
    assert higher["worst-subgroup accuracy"].met is False


def test_subgroups_of_few_images_and_unknown_values_are_not_judged(study):
    found = judged(study.ledger, [3, 4], subgroups=["age band"], smallest_subgroup=30)[
        "worst-subgroup accuracy"
    ]
    assert found.met is None
    assert found.found == "no subgroup is large enough; 4 of fewer than 30 images or patients not judged"


def test_other_images_than_btxrd_are_not_held_against_the_baseline(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", kind="phantom")
    found = judged(ledger, [3, 4], above_baseline=["stratified_accuracy"])[
        "above-baseline stratified_accuracy"
    ]
    assert found.met is None
    assert "comparable to BTXRD alone" in found.found


def test_of_several_seeds_the_promoted_run_is_judged_by_its_own_interval(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", ("E2",), seeds=(1, 2), splits=("stratified",))
    found = judged(ledger, [2], above_baseline=["stratified_accuracy"])["above-baseline stratified_accuracy"]
    with sqlite3.connect(ledger) as connection:
        value, low, high = connection.execute(
            "SELECT value, low, high FROM metrics WHERE run_id = 2 AND part = 'test' AND metric = 'accuracy'"
        ).fetchone()
    assert found.found.startswith(
        f"{value:.3f} ({low:.3f}-{high:.3f}), run 2; difference {value - 0.679:+.3f}"
    )
    assert "the baseline taken as a fixed number" in found.found
    assert found.met is (low > 0.679)


def test_an_interval_without_width_and_a_figure_that_is_missing_prove_nothing(study):
    accuracy = "run_id = 3 AND part = 'test' AND metric = 'accuracy'"
    change(study, f"UPDATE metrics SET low = 1, high = 1 WHERE {accuracy}")
    wanted = {"above_baseline": ["stratified_accuracy"]}
    found = judged(study.ledger, [3], **wanted)["above-baseline stratified_accuracy"]
    assert (found.met, "without width" in found.found) == (False, True)
    change(study, f"UPDATE metrics SET value = NULL WHERE {accuracy}")
    change(study, "DELETE FROM metrics WHERE run_id = 3 AND metric = 'temperature'")
    assert judged(study.ledger, [3], **wanted)["above-baseline stratified_accuracy"].met is None
    scaled = {"calibration_metric": "log_loss", "temperature_scaling": True}
    calibration = judged(study.ledger, [3], **scaled)["calibration"]
    assert (calibration.met, calibration.found) == (None, "no temperature reported (stratified)")


def test_a_group_column_keeps_patients_apart_unless_images_lack_it_or_groups_are_in_both_parts(study):
    change(study, "UPDATE runs SET spec_json = json_set(spec_json, '$.split.group_column', 'patient_id')")
    patients = judged(study.ledger, [3], leakage=True)["leakage-patients"]
    assert (patients.met, patients.found.split(";")[0]) == (
        None,
        "2660 images of two parts have no patient_id",
    )
    change(study, "UPDATE split_overlaps SET images_without_group = 0")
    found = judged(study.ledger, [3], leakage=True)
    assert found["leakage-patients"].met is True
    assert found["leakage-parts"].met is True
    change(study, "UPDATE predictions SET group_id = substr(image_id, 1, 9)")
    parts = judged(study.ledger, [3], leakage=True)["leakage-parts"]
    assert parts.met is False
    assert parts.found == "run 3: 0 images and 30 groups were predicted in validation and in test"


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("train", "val"), ("val", "test")])
def test_training_is_held_against_test_and_validation(study, first, second):
    change(study, "UPDATE runs SET spec_json = json_set(spec_json, '$.split.group_column', 'patient_id')")
    where = f"WHERE first_part = '{first}' AND second_part = '{second}'"
    change(study, f"UPDATE split_overlaps SET images_of_shared_groups = 7 {where}")
    found = judged(study.ledger, [3], leakage=True)
    words = {"train": "training", "val": "validation", "test": "test"}
    images = {"val": 30, "test": 60}[second]
    said = f"7 of {images} {words[second]} images share their patient_id with {words[first]}"
    assert (found["leakage-patients"].met, found["leakage-patients"].found) == (False, said)
    assert found["leakage-parts"].met is False
    change(
        study, f"UPDATE split_overlaps SET images_of_shared_groups = 0, images_of_shared_pictures = 3 {where}"
    )
    parts = judged(study.ledger, [3], leakage=True)["leakage-parts"]
    assert parts.found == f"run 3: 3 of {images} {words[second]} images share the picture with {words[first]}"


def test_what_was_not_counted_is_not_known(study):
    change(study, "UPDATE runs SET spec_json = json_set(spec_json, '$.split.group_column', 'patient_id')")
    change(study, "DELETE FROM split_overlaps")
    change(study, "UPDATE datasets SET contradicting_images = NULL")
    found = judged(study.ledger, [3], leakage=True)
    leaks = [found[f"leakage-{name}"] for name in ("patients", "parts", "duplicates")]
    assert [each.met for each in leaks] == [None, None, None]
    assert all("queue them again: boneexp queue" in each.found for each in leaks)


def test_a_single_class_predictor_is_named(study):
    change(study, "UPDATE run_summaries SET only_class = 'Benign' WHERE run_id = 3 AND part = 'test'")
    found = judged(study.ledger, [3])["several-classes"]
    assert (found.met, found.found) == (False, "run 3 predicts Benign for every image")
    assert judged(study.ledger, [4])["several-classes"].met is True


@pytest.mark.usefixtures("terminal")
def test_what_is_not_met_is_said_before_the_person_is_asked(study, monkeypatch):
    monkeypatch.chdir(study.folder)
    before = everything(study)
    done = CliRunner().invoke(app.app, ["promote", "E2"], input="n\n")
    assert done.exit_code == 1
    assert everything(study) == before
    said = done.stderr
    assert (
        0 <= said.index("Warning: stratified accuracy") < said.index("E2 becomes") < said.index("Continue?")
    )


@pytest.mark.usefixtures("terminal")
def test_what_changes_while_the_person_is_asked_is_not_what_was_decided(study, monkeypatch):
    path = study.artifacts / "experiments" / "E2" / "stratified" / "best.pt"
    monkeypatch.setattr(app.typer, "confirm", lambda *_, **__: path.write_text("another"))
    assert "changed in the meantime" in study("promote", "E2", code=5).stderr
    assert events(study, "promotion-begun") == []
    monkeypatch.setattr(app.typer, "confirm", lambda *_, **__: None)
    study("promote", "E1")
    assert evidence(study)["gate"]["experiment"] == "E1"


# Going on all the same.

ENFORCED = NOTHING | {"enforce": True, "above_baseline": ["stratified_accuracy"], "leakage": True}


def test_an_override_needs_a_reason_and_something_to_promote(study):
    for command in (["E2", "--override"], ["E2", "--override", "--reason", "  "]):
        assert "--override needs --reason" in study("promote", *command, code=2).stderr
    for command in (["--keep-baseline"], ["--finish"]):
        said = study("promote", *command, "--override", "--reason", "because", code=2).stderr
        assert f"--override and {command[0]} contradict each other" in said


def test_an_override_is_recorded_and_every_document_shows_who_why_and_what(study):
    set_policy(study, **ENFORCED)
    done = study("promote", "E2", "--yes", "--override", "--reason", "<b>we need</b> | it")
    names = ["above-baseline stratified_accuracy", "leakage-patients", "leakage-duplicates"]
    assert "3 unmet conditions overridden" in done.stdout
    assert done.stderr.count("Overridden: ") == 3
    (event,) = events(study, "override")
    assert (event["conditions"], event["reason"]) == (names, "<b>we need</b> | it")
    override = evidence(study)["gate"]["override"]
    assert (override["conditions"], override["by"]) == (names, event["decided_by"])
    for text in documents(study):
        assert "> **PROMOTED BY OVERRIDE.** 3 binding conditions were not met" in text
        assert (
            f"Overridden by {event['decided_by']}; reason: &#60;b&#62;we need&#60;/b&#62; &#124; it" in text
        )
        assert "E2 (b0_annotated) is promoted despite 3 unmet conditions (override);" in text
        assert (
            len(re.findall(r"(?:not met|unknown) \| .* \| binding, overridden \|$", text, re.MULTILINE)) == 3
        )
    (row,) = study.json("decisions")
    assert row["overridden"] == ", ".join(names)
    with reading(study.ledger) as connection:
        assert first_broken_event(connection) is None


def test_integrity_is_never_overridden(study):
    set_policy(study, **ENFORCED)
    (study.artifacts / "experiments" / "E2" / "stratified" / "best.pt").unlink()
    said = refused(study, "E2", "--override", "--reason", "because")
    assert "Conditions of integrity always bind; nothing overrides them." in said
    assert "statistical" not in said


@pytest.mark.parametrize("keys", [{}, {**NOTHING, "enforce": True}])
def test_an_override_of_nothing_is_just_a_promotion(study, keys):
    set_policy(study, **keys)
    study("promote", "E2", "--yes", "--override", "--reason", "to be sure")
    assert evidence(study)["gate"]["override"] is None
    assert events(study, "override") == []
    assert all("OVERRIDE" not in text for text in documents(study))


# Looking first, and looking back.


@pytest.mark.parametrize(("enforce", "code"), [(False, 0), (True, 6)])
def test_a_dry_run_shows_every_condition_and_both_documents_and_changes_no_byte(study, enforce, code):
    set_policy(study, **ENFORCED | {"enforce": enforce})
    before = everything(study), study.ledger.read_bytes()
    done = study("promote", "E2", "--dry-run", code=code)
    assert study.ledger.read_bytes() == before[1]
    assert everything(study) == before[0]
    said = "binds" if enforce else "warns"
    assert f"  {said}: statistical: stratified accuracy: whole interval above the baseline" in done.stdout
    for added in ('+experiment = "E2"', "+++ docs/model_card.md", "+++ docs/poc_report.md"):
        assert f"\n{added}" in done.stdout
    assert ("E2 cannot be promoted" in done.stderr) == enforce


def test_a_dry_run_of_what_has_no_run_yet_shows_the_conditions_alone(study):
    settled_ledger(study.ledger, ("E1", "E2", "E3"), settle=False)
    done = study("promote", "E3", "--dry-run", code=6)
    assert "every current run of E3 is finished: not met" in done.stdout
    assert "+++" not in done.stdout


def test_json_has_the_conditions_the_diff_of_a_dry_run_and_why_it_is_refused(study):
    set_policy(study, **ENFORCED)
    told = json.loads(study("promote", "E2", "--dry-run", "--json", code=6).stdout)
    assert told["refused"].startswith("E2 cannot be promoted")
    assert "+++ docs/poc_report.md" in told["diff"]
    done = study.json("promote", "E2", "--yes", "--override", "--reason", "because")
    assert done["overridden"] == [
        each["name"] for each in done["conditions"] if each["effect"] == "overridden"
    ]
    assert done["conditions"] == evidence(study)["gate"]["conditions"]
    assert done["refused"] is None


def test_the_history_tells_every_decision_and_what_became_of_it(study):
    assert "no decision has been made yet" in study("decisions", code=4).stderr
    set_policy(study, **NOTHING)
    study("promote", "E1", "--yes", "--reason", "=first")
    set_policy(study, **ENFORCED)
    study("promote", "E2", "--yes", "--override", "--reason", "because")
    study("rollback", "--yes")
    study("promote", "--keep-baseline", "--yes", "--reason", "no gain")
    before = everything(study)
    rows = study.json("decisions")
    assert [row["action"] for row in rows] == ["promote", "promote", "rollback", "keep-baseline"]
    assert [row["experiment"] for row in rows] == ["E1", "E2", "E1", None]
    assert [(row["undoes"], row["undone_by"]) for row in rows] == [
        (None, None),
        (None, 3),
        (2, None),
        (None, None),
    ]
    assert [row["overridden"] != "none" for row in rows] == [False, True, False, False]
    assert [row["unmet"] for row in rows[::2]] == ["none", "none"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[0]["date"])
    assert "'=first" in study("decisions", "--csv").stdout
    assert study("decisions", "--md").stdout.count("\n") == 6
    table = study("decisions").stdout
    assert "the baseline" in table
    assert everything(study) == before


def test_a_decision_of_before_there_were_conditions_is_told_without_them(study):
    study("promote", "E2", "--yes")
    change(study, "UPDATE promotions SET evidence_json = json_remove(evidence_json, '$.gate')")
    seal_again(study.ledger)
    study("report")
    for text in documents(study):
        section = text[text.index("### Conditions of promotion\n\n") :]
        assert "\n\nThe ledger records no conditions for this decision.\n\nnot reported" in section[:120]
    assert "not reported" in study("decisions").stdout
    (row,) = study.json("decisions")
    assert (row["unmet"], row["overridden"]) == (None, None)


def conditions_in(study):
    """Return the report's lines about conditions and an override."""
    block = blocks_of(documents(study)[1])["decision"]
    return [
        line for line in block.splitlines() if re.search(r" integrity \| | statistical \| |^> \*\*", line)
    ]


def test_undoing_brings_the_conditions_and_the_override_back_that_were_recorded_then(study):
    set_policy(study, **ENFORCED)
    study("promote", "E2", "--yes", "--override", "--reason", "because")
    before = conditions_in(study), evidence(study)["gate"]
    assert any("PROMOTED BY OVERRIDE" in line for line in before[0])
    set_policy(study, **NOTHING)
    study("promote", "E1", "--yes")
    assert len(conditions_in(study)) < len(before[0])
    study("rollback", "--yes", "--reason", "after all")
    assert evidence(study)["gate"] == before[1]
    assert conditions_in(study) == before[0]
    for text in documents(study):
        assert "is promoted again despite 3 unmet conditions (override);" in text
        assert "as recorded when it was first promoted" in text
    assert len(events(study, "override")) == 1
    study("rollback", "--yes")
    assert evidence(study)["gate"] is None
    assert "The ledger records no conditions for this decision." in documents(study)[0]


def test_undoing_a_promotion_over_a_kept_baseline_tells_again_what_it_was_kept_over(study):
    study("promote", "--keep-baseline", "--yes")
    study("promote", "E2", "--yes")
    study("rollback", "--yes")
    for text in documents(study):
        assert "**The baseline was kept although clearly exceeded (whole interval above it): E1 in" in text
        assert "Checked for E1, the candidate at the time; nothing is promoted" in text


# Keeping the baseline.


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ({"stratified_accuracy": 0.999}, "No experiment was better than the baseline in any metric."),
        (
            {"stratified_accuracy": 0.75},
            "No experiment clearly exceeded the baseline; above it by point estimate only: E1 in",
        ),
        (
            {"stratified_accuracy": 0.1},
            "The baseline was kept although clearly exceeded (whole interval above it): E1 in stratified",
        ),
        ({}, "Whether an experiment was better than the baseline is unknown"),
    ],
)
def test_a_kept_baseline_is_told_with_the_numbers_whatever_they_are(tmp_path, baseline, said):
    study = settled_study(tmp_path / "study", baseline=baseline)
    study("promote", "--keep-baseline", "--yes", "--reason", "cautious")
    with reading(study.ledger) as connection:
        found = compared(connection)
    for text in documents(study):
        assert f"**{said}" in text
        for figure, value in baseline.items():
            mean = found.mean("E1", figure)
            assert mean.value == max(found.mean(each, figure).value for each in ("E1", "E2"))
            shown = f"{mean.value:.3f} ({mean.low:.3f}-{mean.high:.3f})"
            reached = f"| {value:.3f} | E1 | {shown} | {mean.value - value:+.3f} |"
            assert f"| stratified accuracy {reached}" in text
        assert "Checked for E1, the candidate at the time; nothing is promoted" in text


def test_of_other_images_nobody_says_whether_they_are_better(tmp_path):
    study = settled_study(tmp_path / "study", kind="phantom")
    study("promote", "--keep-baseline", "--yes")
    for text in documents(study):
        assert "No experiment can be compared with the baseline: it was measured on other images." in text
        assert "| not comparable |" in text
