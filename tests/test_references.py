"""Baseline and targets: of which data they are, and that everything says the same about it."""

import json
import sqlite3
from dataclasses import replace
from io import StringIO

import pytest
from decided_facts import both, facts_of
from rich.console import Console
from settled_ledger import settled_ledger

from boneexp.cli.compared_tables import comparison_parts
from boneexp.comparison.compared import compared
from boneexp.comparison.files import as_json
from boneexp.comparison.references import Reference, is_of, reference_warning
from boneexp.ledger.database import reading
from boneexp.ledger.queries.datasets import Dataset
from boneexp.promotion.gate.reached import reached
from boneexp.study.settings import digest_of

OURS = Dataset(digest_of("other"), "ours", "other", 3746)
BASELINE = {"stratified_accuracy": 0.3, "stratified_macro_auroc": 0.6}


@pytest.mark.parametrize(
    ("comparable_to", "dataset", "expected"),
    [
        ("BTXRD", replace(OURS, kind="BTXRD"), True),
        ("BTXRD", replace(OURS, name="BTXRD"), False),  # a name alone makes no data BTXRD
        ("BTXRD", replace(OURS, kind="phantom", name="BTXRD"), False),
        ("ours", OURS, True),
        ("theirs", OURS, False),
        (OURS.fingerprint, OURS, True),
        (OURS.fingerprint[:8].upper(), OURS, True),
        (OURS.fingerprint[:7], OURS, False),
        ("0" * 8, OURS, False),
    ],
)
def test_data_are_named_by_their_name_or_their_fingerprint(comparable_to, dataset, expected):
    assert is_of(dataset, comparable_to) is expected
    warning = reference_warning(dataset, "baseline", [Reference(0.5, None, comparable_to)])
    assert (warning == "") is expected


def everywhere(ledger):
    """Return the comparison as JSON, the terminal's text, both documents, and what is kept of a decision."""
    with reading(ledger) as connection:
        found = compared(connection)
        console = Console(width=300, record=True, file=StringIO())
        for part in comparison_parts(found):
            console.print(part)
        shown = console.export_text()
        return json.loads(json.dumps(as_json(found))), shown, both(facts_of(ledger, None)), reached(found)


@pytest.mark.parametrize("comparable_to", ["ours", OURS.fingerprint[:8]])
def test_an_own_baseline_counts_for_own_data_everywhere(tmp_path, comparable_to):
    baseline = {**BASELINE, "comparable_to": comparable_to}
    ledger = settled_ledger(tmp_path / "ledger.db", kind="other", data_name="ours", baseline=baseline)
    told, shown, documents, kept = everywhere(ledger)
    for experiment in told["experiments"]:
        value = experiment["Stratified Accuracy"]
        assert experiment["delta_to_baseline"]["stratified_accuracy"] == pytest.approx(value - 0.3)
        assert experiment["difference_to_baseline"]["stratified_accuracy"]["with_reference"] is False
        assert {target["comparable"] for target in experiment["targets"]} == {True}
    assert "not comparable" not in shown
    assert "is comparable to" not in shown
    for text in documents:
        assert "not comparable with the baseline" not in text
        assert "are for other images" not in text
    assert {each.above for each in kept} == {True}


def test_a_baseline_of_other_data_is_held_against_nothing_anywhere(tmp_path):
    baseline = {**BASELINE, "comparable_to": "theirs"}
    ledger = settled_ledger(tmp_path / "ledger.db", kind="other", data_name="ours", baseline=baseline)
    told, shown, documents, kept = everywhere(ledger)
    for experiment in told["experiments"]:
        assert set(experiment["delta_to_baseline"].values()) == {None}
        assert experiment["difference_to_baseline"] == {}
        assert {(target["comparable"], target["met"]) for target in experiment["targets"]} == {(False, None)}
    assert "not comparable" in shown
    assert "The study's baseline is comparable to theirs alone" in shown
    assert all("not comparable with the baseline" in text for text in documents)
    assert {each.above for each in kept} == {None}


def test_what_the_baseline_rests_on_is_in_the_ledger_and_in_the_difference(tmp_path):
    sizes = {"images": {"stratified": 60}, "malignant_images": {"stratified": 10}}
    known = settled_ledger(tmp_path / "known.db", baseline={**BASELINE, **sizes})
    with reading(known) as connection:
        found = compared(connection)
    accuracy, area = (found.difference("E2", f"stratified_{name}") for name in ("accuracy", "macro_auroc"))
    assert (accuracy.with_reference, area.with_reference) == (True, False)
    with sqlite3.connect(known) as connection:
        connection.execute("UPDATE study_figures SET images = NULL")
    with reading(known) as connection:
        fixed = compared(connection).difference("E2", "stratified_accuracy")
    assert (accuracy.value, fixed.with_reference) == (fixed.value, False)
    assert accuracy.low < fixed.low
    _, shown, documents, _ = everywhere(known)
    for text in (shown, *documents):
        assert "uncertainty is unknown, so it is treated as a fixed number" in " ".join(text.split())


def test_the_level_follows_the_number_of_ranked_experiments(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", ("E1", "E2", "E3", "E4"), baseline=BASELINE)
    told, shown, documents, _ = everywhere(ledger)
    assert told["candidates"] == 4
    assert "intervals adjusted for selecting the best of 4" in " ".join(shown.split())
    assert "adjusted for selecting the best of 4 (each bound at 1 - 0.025/4)" in documents[1]
