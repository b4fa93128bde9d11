"""artifacts/report.html in a browser: it sorts, filters, shows curves, prints, and asks nobody."""

import pytest
from browser import browser, missing
from page_study import HARM, OVERLAYS, page_study

RUNS = "Every run of the ledger"
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page that `boneexp report` writes of a study with eight finished runs."""
    study = page_study(tmp_path_factory.mktemp("browser") / "study")
    assert "artifacts/report.html" in study("report").stdout.split()
    return study.artifacts / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(chromium, written):
    chromium.width(1280)
    chromium.media()
    chromium.open(written)
    yield chromium
    assert chromium.complaints() == []


def table(caption):
    """Return the script that finds a table."""
    return f"[...document.querySelectorAll('table')].find((each) => each.caption.textContent === '{caption}')"


def column(page, caption, title):
    """Return the texts of a column from top to bottom, hidden rows left out."""
    return page.js(
        f"""const table = {table(caption)};
        const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
        const rows = [...table.tBodies[0].rows].filter((row) => row.checkVisibility());
        return rows.map((row) => row.cells[titles.indexOf(arguments[0])].textContent);""",
        title,
    )


def press_heading(page, caption, title):
    return page.js(
        f"""const headings = [...{table(caption)}.tHead.rows[0].cells];
        const heading = headings.find((each) => each.textContent === arguments[0]);
        heading.querySelector("button").click();
        return heading.getAttribute("aria-sort");""",
        title,
    )


def test_a_table_sorts_both_ways_by_number_and_what_is_not_known_comes_last(page):
    before = column(page, RUNS, "Accuracy")
    known = sorted((text for text in before if text != "not reported"), key=float)
    unknown = ["not reported"] * (len(before) - len(known))
    assert len(known) == 8
    assert len(unknown) == 4
    assert press_heading(page, RUNS, "Accuracy") == "ascending"
    assert column(page, RUNS, "Accuracy") == known + unknown
    assert press_heading(page, RUNS, "Accuracy") == "descending"
    assert column(page, RUNS, "Accuracy") == known[::-1] + unknown
    assert press_heading(page, RUNS, "Run") == "ascending"
    assert column(page, RUNS, "Run") == [str(number) for number in range(1, 13)]
    assert column(page, RUNS, "Accuracy") == before


def test_a_filter_leaves_the_rows_that_have_every_word_and_says_how_many(page):
    typed = f"""const field = {table(RUNS)}.parentElement.previousElementSibling.querySelector("input");
        field.value = arguments[0];
        field.dispatchEvent(new Event("input"));
        return field.closest("p").querySelector("output").textContent;"""
    assert page.js(typed, "SUCCEEDED e2") == "2 of 12 rows"
    assert column(page, RUNS, "Experiment") == ["E2", "E2"]
    assert page.js(typed, "") == "12 rows"
    assert len(column(page, RUNS, "Experiment")) == 12


def test_the_chooser_shows_one_run_at_a_time_with_its_curves(page):
    visible = """return [...document.querySelectorAll("details.run")].filter((run) => run.checkVisibility())
        .map((run) => [run.id, run.open, run.querySelectorAll("path.curve").length,
                       run.querySelector("svg").getBoundingClientRect().height > 100]);"""
    (first,) = page.js(visible)
    assert first == ["run-5", True, 12, True]  # three classes, twice drawn and twice in the key
    titles = page.js(
        "return [...document.querySelectorAll('#curves option')].map((each) => each.textContent)"
    )
    assert len(titles) == 8
    assert titles[0] == "Run 5: E3, stratified, seed 42 (b3_annotated)"
    page.js(
        "[...document.querySelectorAll('#curves button')].find((each) => each.textContent === 'Next').click()"
    )
    assert [run for run, *_ in page.js(visible)] == ["run-6"]
    page.js("document.querySelector('a[href=\"#run-2\"]').click()")
    page.js("window.dispatchEvent(new HashChangeEvent('hashchange'))")
    assert [run for run, *_ in page.js(visible)] == ["run-2"]
    assert page.js("return document.querySelector('#curves select').value") == "run-2"


def test_the_overlays_load_and_no_request_leaves_the_page(page):
    widths = page.js("return [...document.images].map((image) => image.naturalWidth)")
    assert widths == [440] * OVERLAYS
    asked = page.js("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in asked if not name.startswith("data:")] == []


def test_a_name_that_is_a_script_does_nothing(page):
    assert page.js("return document.title") == "boneexp report: E3 (b3_annotated)"
    names = column(page, RUNS, "Name")
    assert names[0] == HARM.replace("\u202e", "\\u202e")
    page.js(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))"
    )
    assert page.js("return document.title") == "boneexp report: E3 (b3_annotated)"
    assert "violates the following Content Security Policy" in " ".join(page.complaints())


def test_with_the_keyboard_alone_a_table_is_reached_and_sorted(page):
    page.press("Tab")
    assert page.js("return document.activeElement.textContent") == "Skip to the results"
    page.press("Enter")
    assert page.js("return document.activeElement.id") == "main"
    for _ in range(10):
        page.press("Tab")
        if page.js("return document.activeElement.matches('th button')"):
            break
    outline = page.js("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.press("Enter")
    assert page.js("return document.activeElement.parentElement.getAttribute('aria-sort')") == "ascending"


def test_dark_is_dark_and_the_narrow_page_does_not_scroll_sideways(page):
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert page.js(ground) == "rgb(255, 255, 255)"
    page.media(scheme="dark")
    assert page.js(ground) == "rgb(20, 24, 29)"
    page.width(400)
    wide = """return [...document.querySelectorAll("body *")].filter((each) => !each.closest(".scroll, svg")
        && each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML.slice(0, 200))"""
    assert page.js(wide) == []


def test_on_paper_everything_is_unfolded_and_no_control_is_left(page):
    press_heading(page, RUNS, "Run")
    page.media("print", scheme="dark")
    hidden = """return [...document.querySelectorAll("details.run .charts, #mistakes details td")]
        .filter((each) => !each.checkVisibility({contentVisibilityAuto: true})).length"""
    assert page.js(hidden) == 0
    controls = (
        "return [...document.querySelectorAll('.tools, nav')].filter((each) => each.checkVisibility()).length"
    )
    assert page.js(controls) == 0
    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF-")


def test_without_javascript_everything_can_be_read(chromium, written):
    chromium.scripts(allowed=False)
    try:
        chromium.open(written)
        shown = chromium.driver.find_elements("css selector", "details.run > summary")
        assert [each.is_displayed() for each in shown] == [True] * 8
        assert chromium.driver.find_elements("css selector", ".tools, th button") == []
    finally:
        chromium.scripts(allowed=True)
