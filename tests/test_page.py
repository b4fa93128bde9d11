"""artifacts/report.html as text: every figure the ledger's, nothing from outside obeyed, nothing fetched."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from conftest import Study
from page_study import HARM, OVERLAYS, page_study
from settled_ledger import settled_ledger

from boneexp.comparison.compared import compared
from boneexp.comparison.files import shown
from boneexp.comparison.paired_tests import paired_tests
from boneexp.comparison.predictions import evaluated_runs
from boneexp.evaluation.subgroups import FEWEST
from boneexp.ledger.database import reading
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.ledger.queries.runs import run_rows
from boneexp.reports.facts import gather
from boneexp.reports.page.facts import gather_page
from boneexp.reports.page.forest import panels
from boneexp.reports.page.render import report_page

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The page's elements, its text, and its tables by caption as lists of rows."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.tables, self.text = [], [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "caption":
            self.caption = ""
        if tag == "tr":
            self.row = []
        if tag in ("td", "th"):
            self.row.append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        if tag == "caption":
            self.tables[self.caption] = []
        if tag == "tr":
            self.tables[self.caption].append([" ".join(cell.split()) for cell in self.row])

    def handle_data(self, data):
        self.text += data
        if "caption" in self.open:
            self.caption += data
        elif "td" in self.open or "th" in self.open:
            self.row[-1] += data

    def all(self, tag, key):
        return [attributes[key] for name, attributes in self.elements if name == tag and key in attributes]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return page_study(tmp_path_factory.mktemp("page") / "study")


def page_of(study, now=1.76e9):
    with reading(study.ledger) as connection:
        decided = promotion_rows(connection)
        facts = gather(connection, decided[-1] if decided else None, now)
        return report_page(gather_page(connection, facts), study.artifacts)


@pytest.fixture(scope="module")
def page(study):
    return Page(page_of(study))


def test_the_page_is_whole_and_opens_with_research_use_only(page):
    assert page.open == []
    assert page.text.index("Research use only, not for clinical use.") < page.text.index("Summary")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.all("a", "href")} <= set(ids)
    labels = page.all("svg", "aria-labelledby") + page.all("section", "aria-labelledby")
    assert {name for label in labels for name in label.split()} <= set(ids)


def test_the_comparison_has_the_ledgers_figures_in_its_ten_columns(study, page):
    with reading(study.ledger) as connection:
        comparison = compared(connection)
    rows = page.tables["Results on the test sets, with intervals"]
    assert len(rows[0]) == 10
    for row, cells in zip(comparison.rows, rows[1:], strict=True):
        assert cells[0] == row.experiment_id
        assert cells[7] == shown(comparison, row.experiment_id, "center_holdout_accuracy")


def test_every_run_stands_in_the_table_of_runs_and_finished_ones_lead_to_their_curves(study, page):
    with reading(study.ledger) as connection:
        runs = run_rows(connection)
    rows = page.tables["Every run of the ledger"][1:]
    assert [int(cells[0]) for cells in rows] == [row.run for row in runs]
    assert [cells[5] for cells in rows] == [row.state for row in runs]
    assert {"succeeded", "failed", "queued"} <= {row.state for row in runs}
    finished = {f"#run-{row.run}" for row in runs if row.state == "succeeded" and row.is_current}
    assert {target for target in page.all("a", "href") if target.startswith("#run-")} >= finished


def test_nothing_is_fetched_and_only_the_pages_own_script_may_run(page):
    (policy,) = [value for value in page.all("meta", "content") if "default-src" in value]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'; form-action 'none'$", policy)
    assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "base")] == []
    assert page.all("script", "src") == []
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.all("img", "src"))
    assert all(target.startswith("#") for tag in ("a", "use") for target in page.all(tag, "href"))
    assert not any(name.startswith("on") or name == "style" for _, each in page.elements for name in each)


def test_names_and_reasons_that_mean_harm_are_shown_and_not_obeyed(page):
    visible = HARM.replace("\u202e", "\\u202e")
    assert f"Reason: {visible}" in page.text
    assert any(f"ValueError: {visible}" in row[-1] for row in page.tables["Every run of the ledger"])
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert len(page.all("img", "src")) == OVERLAYS


def test_on_btxrd_the_differences_to_the_baseline_are_shown(page):
    (caption,) = [caption for caption in page.tables if caption.startswith("Difference to the baseline")]
    header, *rows = page.tables[caption]
    assert header[1] == "stratified accuracy (baseline 0.679, target above 0.750)"
    assert re.fullmatch(r"[+-]0\.\d{3} \(target (not met|met|met by the point estimate only)\)", rows[0][1])
    assert "baseline 0.679" in page.text
    assert "NOT BTXRD" not in page.text


def test_on_other_images_every_section_says_so_and_no_baseline_is_drawn(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, ("E1",), kind="phantom", data_name="BTXRD")
    page = Page(page_of(study))
    sections = page.text.count("NOT BTXRD RESULTS.")
    assert sections == 1 + len(page.all("section", "id"))
    assert not any(caption.startswith("Difference to the baseline") for caption in page.tables)
    drawn = [each.get("class") for tag, each in page.elements if tag == "path"]
    assert "baseline" not in drawn
    assert "target" not in drawn


def test_an_overlay_that_is_missing_a_link_or_no_picture_is_said(tmp_path):
    study = page_study(tmp_path / "study")
    missing, linked, broken = sorted(study.artifacts.rglob("gradcam/*.png"))
    secret = tmp_path / "secret.png"
    linked.rename(secret)
    linked.symlink_to(secret)
    missing.unlink()
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture")
    page = Page(page_of(study))
    assert page.all("img", "src") == []
    said = [
        "0.png cannot be read (No such file",
        "1.png is behind a symbolic link",
        "2.png is not a whole PNG",
    ]
    assert [words for words in said if words not in page.text] == []
    assert str(tmp_path) not in page.text


def test_a_ledger_without_a_finished_run_gives_a_page_that_says_so(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, settle=False)
    page = Page(page_of(study))
    assert "No run has finished." in page.text
    assert page.open == []


def test_experiments_of_different_test_sets_stand_in_different_panels(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, ("E1",), splits=("stratified",))
    with reading(study.ledger) as connection:
        facts = gather(connection, None, 0)
    (row,) = facts.comparison.results.values()
    other = replace(row, experiment="E9", test_set="other")
    facts.comparison.results["E9", "stratified"] = other
    assert [[line.name for line in panel.lines] for panel in panels(facts)] == [["E1"], ["E9"]] * 3
    (panel, other_panel, *_) = panels(facts)
    assert other_panel.title == "Stratified accuracy, test set other"
    assert other_panel.lines[0].shown.endswith("‡")
    assert (
        panel.ticks[0].x <= panel.lines[0].low <= panel.lines[0].x <= panel.lines[0].high <= panel.ticks[-1].x
    )


def test_several_seeds_are_drawn_as_a_range(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, ("E1",), (42, 43), splits=("stratified",))
    text = page_of(study)
    assert 'class="whisker seeds"' in text
    assert "Spread over seeds" in text


def test_paired_tests_and_the_gap_are_those_of_compare(study, page):
    with reading(study.ledger) as connection:
        tests = paired_tests(evaluated_runs(connection))
    rows = page.tables["Every pair of experiments on the same test images"][1:]
    assert len(tests) == len(rows) > 0
    for test, cells in zip(tests, rows, strict=True):
        assert cells[2:4] == [test.first, test.second]
        assert cells[5] == f"{test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f})"
        assert cells[-1] == test.verdict
    assert len(page.tables["Centre-holdout test set minus stratified test set"]) == 1 + 3


def test_subgroups_are_those_of_the_model_described_and_small_ones_have_no_figures(page):
    rows = page.tables["Subgroups of the stratified test set, with intervals"][1:]
    assert {cells[0] for cells in rows} >= {"centre"}
    for cells in rows:
        assert (cells[4] == "not reported") == (int(cells[2]) < FEWEST)


def test_of_a_grid_too_large_for_every_pair_the_best_is_held_against_each_other(study, monkeypatch):
    monkeypatch.setattr("boneexp.reports.analyses.MOST_PAIRED", 3)
    page = Page(page_of(study))
    assert "boneexp compare --paired" in page.text
    assert len(page.tables["The best against each other experiment, in the metric that decides"]) == 1 + 3
