"""`boneexp report --check`: one changed digit is found at its line, and own words are a person's."""

import json
import re
import shutil
import sqlite3

import pytest
from conftest import Study
from sealed_again import seal_again
from settled_ledger import settled_ledger
from settled_study import settled_study

from boneexp.ledger.database import reading
from boneexp.ledger.queries.promotions import promotion_rows
from boneexp.reports.check import LONG_AGO, MOST_LETTERS, MOST_LINES, differences
from boneexp.reports.facts import gather
from boneexp.reports.markers import begin_marker, placed_blocks_of

NAMES = ("model_card.md", "poc_report.md")


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    """A study with a decision, its documents and its comparison; tests must not change it."""
    study = settled_study(tmp_path_factory.mktemp("promoted") / "study")
    study("promote", "E2", "--yes", "--reason", "the best")
    study("compare")
    return study


@pytest.fixture
def copy(promoted, tmp_path):
    shutil.copytree(promoted.folder, tmp_path / "study")
    return Study(tmp_path / "study")


def json_of(study, code):
    return json.loads(study("report", "--check", "--json", code=code).stdout)


def found_in(study, code=7):
    result = json_of(study, code)
    assert result["agrees"] == (code == 0)
    return [(each["document"], each["block"], each["line"]) for each in result["differences"]]


def document(study, name):
    return study.folder / "docs" / name


def with_line(path, number, line):
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[number - 1] = line
    path.write_text("\n".join(lines), encoding="utf-8")


def with_digit_changed(line):
    """Return the line with its last digit made another one."""
    head, digit, tail = re.fullmatch(r"(.*)(\d)(\D*)", line).groups()
    return f"{head}{(int(digit) + 1) % 10}{tail}"


def table_rows(text):
    """Yield block, line number and line of the last row with a digit of every table in the blocks."""
    for block, (first, inside) in placed_blocks_of(text).items():
        lines = inside.split("\n")
        ends = [at for at, line in enumerate(lines) if line[:1] == "|" and lines[at + 1][:1] != "|"]
        yield from ((block, first + at, lines[at]) for at in ends if re.search(r"\d", lines[at]))


def test_what_was_just_written_agrees_whatever_the_time(copy):
    assert found_in(copy, code=0) == []
    copy("report")
    assert found_in(copy, code=0) == []


def test_one_changed_digit_in_any_table_is_found_at_its_line(promoted, copy):
    with reading(promoted.ledger) as connection:
        facts = gather(connection, promotion_rows(connection)[-1], LONG_AGO)
    changed = []
    for name in NAMES:
        path = document(copy, name)
        for block, number, line in table_rows(path.read_text(encoding="utf-8")):
            with_line(path, number, with_digit_changed(line))
            changed.append((str(path), block, number, (with_digit_changed(line),), (line,)))
    found = differences(document(copy, NAMES[0]).parent, copy.artifacts, facts)
    assert [(each.document, each.block, each.line, each.found, each.expected) for each in found] == changed
    assert len(changed) > 30


def test_the_command_shows_both_lines_and_where(copy):
    path = document(copy, NAMES[1])
    text = path.read_text(encoding="utf-8")
    block, number, line = next(row for row in table_rows(text) if row[0] == "targets")
    with_line(path, number, with_digit_changed(line))
    shown = copy("report", "--check", code=7).stdout.splitlines()
    assert shown == [
        f"docs/{NAMES[1]}, block {block}, line {number}: differs",
        f"  - {with_digit_changed(line)}",
        f"  + {line}",
    ]


def test_a_sentence_changed_in_the_line_with_the_time_is_found(copy):
    path = document(copy, NAMES[0])
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("everything else is yours", "nothing else is yours"), encoding="utf-8")
    ((_, block, _),) = found_in(copy)
    assert block == "notice"


def test_a_ledger_that_went_on_is_found(copy):
    settled_ledger(copy.ledger, experiments=("E1", "E2", "E3"))
    found = found_in(copy)
    assert {(f"docs/{NAMES[1]}", "results"), (f"docs/{NAMES[1]}", "experiments")} <= {
        (document, block) for document, block, _ in found
    }
    assert "artifacts/comparison.csv" in {document for document, _, _ in found}
    copy("report")
    copy("compare")
    assert found_in(copy, code=0) == []


def test_a_figure_changed_in_the_ledger_is_found(copy):
    with sqlite3.connect(copy.ledger) as connection:
        connection.execute(
            "UPDATE metrics SET value = value - 0.01 WHERE run_id = 3 AND metric = 'auroc' AND part = 'test'"
        )
    seal_again(copy.ledger)
    assert {block for _, block, _ in found_in(copy)} == {"quantitative-analyses"}


def test_own_words_line_ends_and_the_order_of_blocks_are_a_persons(copy):
    path = document(copy, NAMES[0])
    text = path.read_bytes().decode()
    marker = begin_marker("metrics")
    changed = text.replace("Our own words.", "Consent was waived for 3,746 images.")
    changed = changed.replace(marker, f"We measured 0.999.\n\n{marker}")
    assert "Consent was waived" in changed
    path.write_bytes(changed.replace("\n", "\r\n").encode())
    assert found_in(copy, code=0) == []


def test_a_checklist_may_be_older_than_words_of_a_person_but_not_claim_words_that_are_gone(copy):
    path = document(copy, NAMES[1])
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("### Funding\n", "### Funding\n\nNobody paid.\n"), encoding="utf-8")
    assert found_in(copy, code=0) == []
    copy("report")
    assert found_in(copy, code=0) == []
    path.write_text(text, encoding="utf-8")
    assert {block for _, block, _ in found_in(copy)} == {"claim", "tripod-ai"}


def test_a_block_that_was_taken_out_is_named_and_so_is_one_that_nobody_writes(copy):
    path = document(copy, NAMES[0])
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("boneexp:begin factors", "boneexp:begin facts").replace(
            "boneexp:end factors", "boneexp:end facts"
        ),
        encoding="utf-8",
    )
    line = text.split("\n").index(begin_marker("factors")) + 2
    assert found_in(copy) == [(f"docs/{NAMES[0]}", "factors", None), (f"docs/{NAMES[0]}", "facts", line)]


def test_documents_that_are_missing_broken_or_unreadable_are_named_each(copy):
    document(copy, NAMES[0]).unlink()
    document(copy, NAMES[1]).write_text("<!-- boneexp:begin summary -->\n", encoding="utf-8")
    shown = copy("report", "--check", code=7).stdout
    assert f"docs/{NAMES[0]}: is not there" in shown
    assert f"docs/{NAMES[1]}: line 1: boneexp:begin summary has no end" in shown
    document(copy, NAMES[1]).write_bytes(b"caf\xe9")
    assert f"docs/{NAMES[1]}: is not UTF-8" in copy("report", "--check", code=7).stdout


def test_the_comparisons_files_are_held_against_the_ledger_if_they_are_there(copy):
    table = copy.artifacts / "comparison.csv"
    line = table.read_text(encoding="utf-8").split("\n")[1]
    with_line(table, 2, with_digit_changed(line))
    assert found_in(copy) == [("artifacts/comparison.csv", "", 2)]
    table.unlink()
    copy("promote", "--keep-baseline", "--yes")  # comparison.json counts the decisions before it
    (copy.artifacts / "comparison.json").unlink()
    assert found_in(copy, code=0) == []


def test_the_page_is_held_against_the_ledger_without_its_pictures(copy):
    copy("report")
    page = copy.artifacts / "report.html"
    text = page.read_text(encoding="utf-8")
    page.write_text(
        f'{text[:-200]}<img src="data:image/png;base64,AAAA" alt="x">{text[-200:]}', encoding="utf-8"
    )
    assert found_in(copy, code=0) == []
    figure = re.search(r"0\.\d{3}", text)[0]
    page.write_text(text.replace(figure, "0.999", 1), encoding="utf-8")
    ((where, _, line),) = found_in(copy)
    assert (where, line) == ("artifacts/report.html", text[: text.index(figure)].count("\n") + 1)
    longest = max(map(len, copy("report", "--check", code=7).stdout.splitlines()))
    assert longest <= MOST_LETTERS + 4
    copy("report")
    copy("promote", "E1", "--yes")  # writes the documents, and no page
    assert {where for where, _, _ in found_in(copy)} == {"artifacts/report.html"}


def test_a_long_place_is_cut_short_on_the_screen_and_whole_in_json(copy):
    path = document(copy, NAMES[0])
    text = path.read_text(encoding="utf-8")
    extra = "".join(f"line {number}\n" for number in range(MOST_LINES + 5))
    path.write_text(text.replace(begin_marker("metrics") + "\n", begin_marker("metrics") + "\n" + extra))
    shown = copy("report", "--check", code=7).stdout.splitlines()
    assert (len(shown), shown[-1]) == (MOST_LINES + 2, "  and 5 lines more")
    (found,) = json_of(copy, 7)["differences"]
    assert len(found["found"]) == MOST_LINES + 5


def test_what_a_terminal_would_obey_is_shown_and_not_obeyed(copy):
    path = document(copy, NAMES[0])
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\n\n> **Research", "\n\x1b[2J\n> **Research"), encoding="utf-8")
    assert "\\x1b[2J" in copy("report", "--check", code=7).stdout


def test_checking_writes_nothing_and_while_no_run_has_finished_there_is_nothing_to_check(copy, tmp_path):
    def files():
        return {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in copy.folder.rglob("*")
            if path.is_file() and not path.name.startswith("ledger.db-")
        }

    with_line(document(copy, NAMES[1]), 1, "# Our report")
    before = files()
    copy("report", "--check")
    assert files() == before
    empty = Study(tmp_path / "empty")
    empty.folder.mkdir()
    settled_ledger(empty.ledger, settle=False)
    assert "no run has finished" in empty("report", "--check", code=4).output


def test_a_read_only_study_can_be_checked(copy):
    for path in [copy.folder, *copy.folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert found_in(copy, code=0) == []
    finally:
        for path in [copy.folder, *copy.folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
