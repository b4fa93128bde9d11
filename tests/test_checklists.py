"""The appendices of the model card: every item once, nothing claimed that is not there."""

import re
from dataclasses import replace

import pytest
from decided_facts import facts_of, model_card, poc_report
from settled_ledger import settled_ledger

from boneexp.files.folders import MODEL_CARD, POC_REPORT
from boneexp.ledger.queries.figures import OverlapMean
from boneexp.reports.analyses import Analysed
from boneexp.reports.checklists.items import CLAIM, TRIPOD_AI
from boneexp.reports.checklists.own_words import CARD, NOBODY, REPORT, own_words
from boneexp.reports.checklists.rules import checklist_table
from boneexp.reports.documents import render_documents
from boneexp.reports.markers import blocks_of

ITEMS = (*CLAIM, *TRIPOD_AI)
OWN_HEADINGS = sorted({heading for item in ITEMS for heading in item.own})
# The sub-items of TRIPOD+AI as the BMJ has them; the others have none.
PARTS = {
    3: "abc",
    5: "ab",
    6: "abc",
    8: "abc",
    9: "abc",
    12: "abcdefg",
    18: "abcdef",
    20: "abc",
    23: "ab",
    27: "abc",
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """Two experiments on BTXRD, finished, and E2 promoted."""
    return facts_of(settled_ledger(tmp_path_factory.mktemp("checklists") / "ledger.db"))


def headings(text):
    return set(re.findall(r"^#{2,3} (.+)$", text, re.MULTILINE))


def answers(items, facts, own=NOBODY):
    return {number: answer for number, _, answer in checklist_table(items, facts, own).rows}


def with_runs(facts, **changes):
    runs = {split: replace(run, **changes) for split, run in facts.subject.chosen.items()}
    return replace(facts, subject=replace(facts.subject, chosen=runs, runs=tuple(runs.values())))


def test_every_item_of_claim_is_there_once_and_in_order():
    assert [item.number for item in CLAIM] == [str(number) for number in range(1, 45)]


def test_every_item_of_tripod_ai_is_there_once_and_in_order():
    numbers = [f"{main}{part}" for main in range(1, 28) for part in PARTS.get(main, ("",))]
    assert [item.number for item in TRIPOD_AI] == numbers
    assert len(numbers) == 52


def test_the_card_has_both_checklists_as_they_are_answered_and_calls_them_an_aid(facts):
    blocks = blocks_of(model_card(facts))
    for name, items in (("claim", CLAIM), ("tripod-ai", TRIPOD_AI)):
        rows = re.findall(r"^\| (\d+[a-g]?) \| (.+) \| (.+) \|$", blocks[name], re.MULTILINE)
        assert [(number, answer) for number, _, answer in rows] == list(answers(items, facts).items())
        assert "A program-generated aid, not a substitute for the checklist" in blocks[name]


def test_what_is_said_to_be_reported_is_in_a_section_that_exists(facts):
    there = {CARD: headings(model_card(facts)), REPORT: headings(poc_report(facts))}
    for answer in [*answers(CLAIM, facts).values(), *answers(TRIPOD_AI, facts).values()]:
        if answer.startswith("reported in "):
            for place in answer.removeprefix("reported in ").split(": ")[0].split("; "):
                document, section = place.split(", ", 1)
                assert section in there[document], place
        else:
            assert re.fullmatch(r"not reported(; left to you, under .+)?", answer)


def test_every_heading_that_is_a_persons_is_in_a_document_and_has_a_placeholder(facts):
    both = model_card(facts) + poc_report(facts)
    assert len(OWN_HEADINGS) > 10
    for heading in OWN_HEADINGS:
        assert heading in headings(both)
    assert own_words(CARD, model_card(facts)) == own_words(REPORT, poc_report(facts)) == NOBODY


@pytest.mark.parametrize("heading", OWN_HEADINGS)
def test_a_persons_item_is_not_reported_until_words_stand_under_its_heading(facts, heading):
    facts = replace(facts, verdict=replace(facts.verdict, detectable=()))
    asked = [
        item
        for item in ITEMS
        if heading in item.own and all(source.rule(facts) is None for source in item.sources)
    ]
    assert asked
    for document in (CARD, REPORT):
        own = own_words(document, f"## {heading}\n\nWe say so.\n")
        for item in asked:
            assert item.answer(facts, NOBODY) == f"not reported; left to you, under {heading}"
            assert item.answer(facts, own).startswith(f"reported in {document}, {heading} (your text")


def test_words_count_only_outside_of_blocks_and_placeholders_and_under_their_own_heading():
    def found(text):
        return {heading for _, heading in own_words(CARD, text)}

    placeholder = "*(Your words: who paid,\nand why.)*\n"
    assert found(f"### Funding\n\n{placeholder}") == set()
    assert found(f"### Funding\n\n{placeholder}The state.\n") == {"funding"}
    assert found("### Funding\n\n<!-- later -->\n\n### Discussion ###\r\nWe see.\r\n") == {"discussion"}
    block = (
        "<!-- boneexp:begin use -->\n\n## Intended use\n\nWords of the program.\n\n<!-- boneexp:end use -->\n"
    )
    assert found(block) == set()
    assert found(f"{block}\nFor students.\n") == {"intended use"}


def test_writing_a_section_and_taking_it_out_again_flips_the_answer(facts, tmp_path):
    def written():
        for path, text in render_documents(tmp_path, facts).items():
            path.write_text(text, encoding="utf-8")
        return blocks_of((tmp_path / MODEL_CARD).read_text(encoding="utf-8"))["claim"]

    assert "| not reported; left to you, under Funding |" in written()
    report = (tmp_path / POC_REPORT).read_text(encoding="utf-8")
    (tmp_path / POC_REPORT).write_text(
        report.replace("### Funding\n", "### Funding\n\nNobody paid.\n"), encoding="utf-8"
    )
    assert "| reported in the report, Funding (your text: check that it covers the item) |" in written()
    (tmp_path / POC_REPORT).write_text(report, encoding="utf-8")
    assert "| not reported; left to you, under Funding |" in written()


def test_the_level_of_the_parts_follows_the_group_column(facts):
    assert answers(CLAIM, facts)["20"] == "reported in the report, Methods: by image, not by patient"
    grouped = with_runs(
        facts,
        assignment=replace(next(iter(facts.subject.chosen.values())).assignment, group_column="patient"),
    )
    assert answers(CLAIM, grouped)["20"] == "reported in the report, Methods: by patient"


def test_seeds_heat_maps_and_software_are_reported_only_where_there_are_some(facts, tmp_path):
    found = answers(CLAIM, facts)
    assert found["23"] == "reported in the model card, Model details"
    assert found["31"] == "not reported"
    assert answers(CLAIM, with_runs(facts, versions={}))["23"] == "not reported"
    seeded = facts_of(settled_ledger(tmp_path / "seeded.db", seeds=(42, 43)))
    assert "Results: over 2 seeds" in answers(CLAIM, seeded)["30"]
    assert "seeds" not in found["30"]
    overlap = OverlapMean(0.5, 3, 0.1, 0.2, 0.5, "bn2", "outline")
    looked = with_runs(facts, overlaps=(overlap,))
    assert answers(CLAIM, looked)["31"] == "reported in the report, Grad-CAM overlap with annotated lesions"


def test_tests_subgroups_demographics_and_calibration_are_reported_only_where_they_are_known(facts):
    claim, tripod = answers(CLAIM, facts), answers(TRIPOD_AI, facts)
    assert claim["29"].endswith("the report, Differences between experiments")
    assert (
        claim["30"]
        == "reported in the report, Subgroups and other centres: by centre, site, sex and age band"
    )
    assert (
        claim["36"]
        == "reported in the model card, Quantitative analyses: by age band and sex, for the test sets"
    )
    assert tripod["15"].endswith("the report, Calibration and operating points")
    assert (
        claim["21"] == tripod["10"] == "reported in the report, Differences between experiments: "
        "smallest difference detectable with 80 % power, not how the size was decided"
    )
    alone = replace(facts, analysed=Analysed(), verdict=replace(facts.verdict, tests=(), detectable=()))
    alone = with_runs(alone, metrics={})
    claim, tripod = answers(CLAIM, alone), answers(TRIPOD_AI, alone)
    assert claim["29"] == claim["30"] == "not reported"
    assert claim["36"] == "not reported; left to you, under Data collection"
    assert tripod["15"] == "reported in the model card, Metrics"


def test_an_external_test_is_never_claimed_and_a_held_out_centre_is_called_what_it_is(facts, tmp_path):
    answer = answers(CLAIM, facts)["33"]
    assert "of the same dataset, and on no other dataset" in answer
    inside = facts_of(settled_ledger(tmp_path / "inside.db", splits=("stratified",)), runs=(2, None))
    assert answers(CLAIM, inside)["33"] == "not reported"


def test_other_data_than_btxrd_have_no_source_and_a_phantom_has_no_past(facts, tmp_path):
    phantom = facts_of(settled_ledger(tmp_path / "phantom.db", kind="phantom"))
    found, btxrd = answers(CLAIM, phantom), answers(CLAIM, facts)
    assert (btxrd["5"], btxrd["7"]) == (
        "reported in the report, Summary: retrospective",
        "reported in the model card, Training data",
    )
    assert (found["5"], found["7"]) == ("not reported", "not reported; left to you, under Data collection")
    assert "retrospective" not in poc_report(phantom)
    assert answers(TRIPOD_AI, phantom)["18e"].startswith("not reported; left to you")


def test_without_a_model_to_describe_only_the_fixed_parts_are_reported(facts):
    nothing = replace(
        facts, subject=None, analysed=Analysed(), verdict=replace(facts.verdict, tests=(), detectable=())
    )
    reported = [number for number, answer in answers(CLAIM, nothing).items() if answer.startswith("reported")]
    assert set(reported) == {"1", "6", "9", "10", "12", "25", "27", "28", "40"}
