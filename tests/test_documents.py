"""The model card and the report: every figure the ledger's, every word of a person kept, bad news in full."""

import re

import pytest
from decided_facts import both, facts_of, model_card, poc_report
from settled_ledger import BASELINE, settled_ledger

from boneexp.comparison.compared import compared
from boneexp.evaluation.metrics import OVERALL, PER_CLASS
from boneexp.evaluation.temperature import TEMPERED
from boneexp.evaluation.thresholds import OPERATING
from boneexp.ledger.database import reading
from boneexp.ledger.queries.figures import metric_rows
from boneexp.ledger.queries.files import checkpoint_of
from boneexp.ledger.queries.predictions import prediction_rows
from boneexp.reports.markers import blocks_of
from boneexp.reports.tables.grid import setting_shown
from boneexp.results import CLASS_NAMES
from boneexp.study.settings import ExperimentSettings
from boneexp.text.numbers import format_estimate, signed

BANNER = "> **NOT BTXRD RESULTS.**"
WITHOUT_NUMBERS = {"intended-use"}


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Two experiments, finished, and E2 promoted; read only."""
    ledger = settled_ledger(tmp_path_factory.mktemp("settled") / "ledger.db")
    return ledger, facts_of(ledger)


def test_the_model_card_has_the_sections_of_mitchell_et_al(settled):
    headings = re.findall(r"^## (.+)$", model_card(settled[1]), re.MULTILINE)
    assert headings == [
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats and recommendations",
        "Appendix: CLAIM 2024",
        "Appendix: TRIPOD+AI",
    ]


def test_the_report_tells_the_whole_study(settled):
    blocks = blocks_of(poc_report(settled[1]))
    told = ["notice", "summary", "experiments", "methods", "results", "differences", "operating", "subgroups"]
    then = ["decision", "baseline", "targets", "gradcam", "limitations", "next-steps", "provenance"]
    assert list(blocks) == [*told, *then]


def test_both_say_how_the_images_were_decoded(settled):
    for text in both(settled[1]):
        assert re.search(r"^\| Decoding.* \| at full size, then CLAHE \|$", text, re.MULTILINE)
    scaled = {"data": {"decoding": "scaled"}}
    assert setting_shown(scaled, "data.decoding").startswith("large JPEGs at 1/2, 1/4 or 1/8")


def test_both_open_with_research_use_only(settled):
    for text in both(settled[1]):
        assert "**Research use only, not for clinical use.**" in text.split("## ")[0]


def test_every_metric_of_the_promoted_runs_is_in_the_card_as_the_ledger_has_it(settled):
    ledger, facts = settled
    card = model_card(facts)
    with reading(ledger) as connection:
        for run, part in ((3, "test"), (3, "val"), (4, "test"), (4, "val")):
            rows = metric_rows(connection, run, part)
            chosen_on_validation = len(OPERATING) + len(TEMPERED) if part == "test" else 0
            assert len(rows) == len(OVERALL) + len(CLASS_NAMES) * len(PER_CLASS) + chosen_on_validation
            assert all(format_estimate(row.value, row.low, row.high) in card for row in rows)


def test_the_class_tables_have_the_ledgers_figures_in_the_right_cells(settled):
    ledger, facts = settled
    block = blocks_of(model_card(facts))["quantitative-analyses"]
    first = block[block.index("Test set, by class") :]
    with reading(ledger) as connection:
        rows = {(row.metric, row.class_name): row for row in metric_rows(connection, 3)}
    for name, images in zip(CLASS_NAMES, (30, 20, 10), strict=True):
        shown = [
            format_estimate(rows[metric, name].value, rows[metric, name].low, rows[metric, name].high)
            for metric in ("auroc", "average_precision", "sensitivity", "specificity", "precision", "f1")
        ]
        assert f"| {name} | {images} | {' | '.join(shown)} |" in first


def test_the_subjects_figures_and_deltas_are_those_of_the_comparison(settled):
    _, facts = settled
    deltas = facts.comparison.deltas("E2")
    held = {each.figure: each for each in facts.held}
    assert set(held) >= set(deltas)
    for figure, delta in deltas.items():
        assert held[figure].estimate.value == pytest.approx(
            facts.comparison.mean("E2", figure).value, abs=1e-12
        )
        assert held[figure].delta == pytest.approx(delta, abs=1e-12)
        mean = facts.comparison.mean("E2", figure)
        assert (held[figure].estimate.low, held[figure].estimate.high) == (mean.low, mean.high)
    block = blocks_of(poc_report(facts))["baseline"]
    for figure, base in BASELINE.items():
        each = held[figure]
        known = each.difference
        shown = signed(each.delta) if known is None else signed(known.value, known.low, known.high)
        assert f"| {format_estimate(base)} | {each.estimate.shown} | {shown} |" in block


def test_the_confusion_matrix_counts_the_predictions(settled):
    ledger, facts = settled
    with reading(ledger) as connection:
        predictions = [each for each in prediction_rows(connection, 3) if each.part == "test"]
    for label, name in enumerate(CLASS_NAMES):
        probabilities = [each.probabilities for each in predictions if each.label == label]
        predicted = [each.index(max(each)) for each in probabilities]
        counts = " | ".join(str(predicted.count(each)) for each in range(len(CLASS_NAMES)))
        assert f"| {name} | {counts} |" in model_card(facts)


def test_methods_name_every_shared_setting_and_the_grid_every_one_that_differs(settled):
    _, facts = settled
    blocks = blocks_of(poc_report(facts))
    defaults = ExperimentSettings().model_dump()
    keys = sum(len(defaults[section]) for section in ("data", "model", "training", "evaluation"))
    rows = [line for line in blocks["methods"].split("\n\n")[2].splitlines() if line.startswith("| ")]
    assert "| Learning rate (AdamW) | 0.0003 |" in rows
    # Six are columns of the grid; name and folder of the data and the time limit decide nothing.
    assert len(rows) - 1 == keys - 6 - 3
    assert "| Accepted images with damaged data | none |" in rows
    assert (
        "| E2 | b0_annotated | BTXRD | efficientnet_b0 | 224 | 32 | 0.2 | none | yes | 2 | 1 | 2 of 2 |"
        in blocks["experiments"]
    )


def test_a_setting_that_differs_becomes_a_column(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", designs={"E2": {"training": {"learning_rate": 1e-3}}})
    blocks = blocks_of(poc_report(facts_of(ledger)))
    assert "Learning rate" not in blocks["methods"]
    assert "Lesion annotations in training | Learning rate (AdamW) |" in blocks["experiments"]


def test_checkpoint_digest_device_and_software_are_those_of_the_run(settled):
    card = blocks_of(model_card(settled[1]))["model-details"]
    with reading(settled[0]) as connection:
        checkpoint = checkpoint_of(connection, 3)
    assert f"| 3 | {checkpoint.path} | {checkpoint.sha256} |" in card
    assert "| 3 | boneexp 0.1.0, timm 1.0.20, torch 2.14.0 |" in card
    assert (
        "| 3 | stratified | 42 | yes | 4 of at most 80 | 3 | 4 min 06 s | 32 | 1 | cpu | 2025-10-09" in card
    )


def test_a_choice_against_the_rule_is_called_one(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db")
    with reading(ledger) as connection:
        best = compared(connection).best
    other, runs = ("E1", (1, 2)) if best == "E2" else ("E2", (3, 4))
    report = poc_report(facts_of(ledger, experiment=other, runs=runs))
    assert f"The selection rule ranks {best} first" in report
    assert f"A person chose {other} instead." in report


def test_no_improvement_is_said_with_every_number(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", baseline=dict.fromkeys(BASELINE, 0.999))
    facts = facts_of(ledger)
    for text in both(facts):
        assert "**No metric of E2 exceeds the baseline**: stratified accuracy " in text
        for held in facts.held:
            if held.delta is not None:
                assert f"{held.estimate.shown} vs 0.999 ({signed(held.delta)})" in text
    said = "For no metric does the whole interval of the difference, adjusted for selecting the best of 2"
    assert said in poc_report(facts)


def test_improvement_in_everything_is_said_too(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", baseline=dict.fromkeys(BASELINE, 0.001))
    assert "**E2 exceeds the baseline in all 7 metrics**" in poc_report(facts_of(ledger))


def test_a_kept_baseline_names_who_why_and_what_the_best_candidate_reached(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", baseline=dict.fromkeys(BASELINE, 0.999))
    facts = facts_of(ledger, "keep-baseline", None, (), reason="no gain", by="mara")
    best = facts.comparison.best
    for text in both(facts):
        assert (
            "**The baseline is kept, and no model of this grid is promoted; decided by mara on 2025-10-09"
            in text
        )
        assert "Reason: no gain." in text
        assert f"The following describes {best} (" in text
        assert f"**No metric of {best} exceeds the baseline**: stratified accuracy " in text


@pytest.mark.parametrize(
    ("action", "experiment", "runs", "words"),
    [
        ("rollback", "E1", (1, 2), "**E1 (b0_baseline) is promoted again; decided by mara"),
        (
            "rollback",
            None,
            (),
            "**The last promotion was rolled back, and no model of this grid is promoted;",
        ),
        (None, None, (), "**No decision has been taken: no model of this grid is promoted.**"),
    ],
)
def test_every_decision_has_its_words(tmp_path, action, experiment, runs, words):
    ledger = settled_ledger(tmp_path / "ledger.db")
    for text in both(facts_of(ledger, action, experiment, runs)):
        assert words in text


@pytest.mark.parametrize("kind", ["phantom", "other"])
def test_numbers_of_other_data_stand_under_a_banner_and_are_not_compared(tmp_path, kind):
    facts = facts_of(settled_ledger(tmp_path / "ledger.db", kind=kind))
    for text in both(facts):
        for name, inside in blocks_of(text).items():
            assert name in WITHOUT_NUMBERS or BANNER in inside[: inside.index("\n\n", 20) + 400]
            first_number = re.search(r"\d\.\d{3}", inside)
            assert first_number is None or inside.index(BANNER) < first_number.start()
        assert "YOLOv8s" not in text
        assert "Guangxi" not in text
        assert "exceeds the baseline" not in text
        assert "The results of E2 are not comparable with the baseline" in text
    report = poc_report(facts)
    assert "| stratified accuracy | 0.679 |" in report
    assert len(re.findall(r"\| not comparable \| not comparable \|", report)) == len(BASELINE) + 3


def test_btxrd_itself_has_no_banner_and_says_why_the_papers_figures_differ(settled):
    for text in both(settled[1]):
        assert "NOT BTXRD" not in text
        assert "These results are **not comparable** with the ones here" in text
