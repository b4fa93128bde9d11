"""The two documents as files: a person's words stay, and no text from outside does harm."""

import re
from dataclasses import replace

import pytest
from decided_facts import assert_tables_hold, both, facts_of, model_card, updated, write_documents
from markdown_it import MarkdownIt
from settled_ledger import NOW, settled_ledger

from boneexp.errors import BoneexpError
from boneexp.files.folders import MODEL_CARD, POC_REPORT
from boneexp.reports.documents import render_documents
from boneexp.reports.markers import blocks_of
from boneexp.text.markdown import escaped, printed, table
from boneexp.text.numbers import format_estimate


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Two experiments, finished, and E2 promoted; read only."""
    ledger = settled_ledger(tmp_path_factory.mktemp("settled") / "ledger.db")
    return ledger, facts_of(ledger)


def test_folders_of_the_machine_are_in_no_document(tmp_path):
    secret = {"data": {"root": "/home/mara/secret"}, "model": {"pretrained": "/home/mara/secret/weights.bin"}}
    ledger = settled_ledger(tmp_path / "ledger.db", designs={"E1": secret, "E2": secret})
    for text in both(facts_of(ledger)):
        assert "secret" not in text
        assert "the file weights.bin" in text


def test_own_words_stay_and_blocks_follow_the_ledger(settled, tmp_path):
    placeholder = "*(Your words: which committee"
    card = model_card(settled[1]).replace(placeholder, f"Consent was waived.\r\n{placeholder}")
    assert "Consent was waived." in card
    card = updated(MODEL_CARD, settled[1], card, tmp_path)
    other = updated(MODEL_CARD, replace(settled[1], now=NOW + 86400), card, tmp_path)
    outside = re.compile(r"(<!-- boneexp:begin (\S+) -->).*?(<!-- boneexp:end \2 -->)", re.DOTALL)
    assert outside.sub(r"\1\3", other) == outside.sub(r"\1\3", card)
    assert other != card
    assert updated(MODEL_CARD, settled[1], other, tmp_path) == card


def test_an_empty_document_is_written_anew_and_a_foreign_one_gets_its_notice_on_top(settled, tmp_path):
    assert updated(MODEL_CARD, settled[1], " \r\n", tmp_path) == model_card(settled[1])
    foreign = updated(POC_REPORT, settled[1], "My notes.\n", tmp_path)
    assert foreign.index("Research use only") < foreign.index("My notes.") < foreign.index("## Summary")


def test_nothing_is_written_when_one_document_is_broken(settled, tmp_path):
    (tmp_path / MODEL_CARD).write_text("mine\n", encoding="utf-8")
    (tmp_path / "poc_report.md").write_text("<!-- boneexp:begin summary -->\n", encoding="utf-8")
    with pytest.raises(BoneexpError, match=r"poc_report\.md, line 1"):
        write_documents(tmp_path, settled[1])
    assert (tmp_path / MODEL_CARD).read_text(encoding="utf-8") == "mine\n"


def test_written_documents_are_what_was_rendered_and_writing_again_changes_nothing(settled, tmp_path):
    rendered = render_documents(tmp_path, settled[1])
    paths = write_documents(tmp_path, settled[1])
    assert (
        {path: path.read_bytes().decode() for path in paths}
        == rendered
        == render_documents(tmp_path, settled[1])
    )


def test_crlf_documents_keep_their_line_ends(settled, tmp_path):
    paths = write_documents(tmp_path, settled[1])
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = [path.read_bytes() for path in paths]
    write_documents(tmp_path, settled[1])
    assert [path.read_bytes() for path in paths] == before


def test_a_document_that_is_not_utf8_is_refused_with_the_mend(settled, tmp_path):
    (tmp_path / MODEL_CARD).write_bytes(b"caf\xe9")
    with pytest.raises(BoneexpError, match="save it as UTF-8"):
        render_documents(tmp_path, settled[1])


HOSTILE = "x|y <script>alert(1)</script> `z` [a](javascript:b) **c**\n<!-- boneexp:end summary -->\n# d \\"
OPENING = "# h <img src=x onerror=alert(1)> https://evil.example www.evil.example | ![a](b)"


def test_hostile_names_break_no_table_no_block_and_inject_nothing(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", names={"E1": HOSTILE, "E2": HOSTILE}, data_name=HOSTILE)
    facts = facts_of(ledger, reason=HOSTILE, by=HOSTILE)
    plain = settled_ledger(tmp_path / "plain.db")
    for text, other in zip(both(facts), both(facts_of(plain)), strict=True):
        assert "<script" not in text
        assert "](javascript" not in text
        assert list(blocks_of(text)) == list(blocks_of(other))
        assert re.findall("^#+ .*", text, re.MULTILINE) == re.findall("^#+ .*", other, re.MULTILINE)
        assert_tables_hold(text)
    assert updated(MODEL_CARD, facts, model_card(facts), tmp_path) == model_card(facts)


def test_what_a_renderer_makes_of_hostile_names_is_plain_text(tmp_path):
    ledger = settled_ledger(tmp_path / "ledger.db", names={"E1": HOSTILE, "E2": HOSTILE}, data_name=HOSTILE)
    for text in both(facts_of(ledger, reason=HOSTILE, by=HOSTILE)):
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        inline = [child for token in tokens for child in token.children or ()]
        assert not {"html_inline", "link_open", "image"} & {token.type for token in inline}
        html = [token.content.strip() for token in tokens if token.type == "html_block"]
        assert all(re.fullmatch(r"<!-- boneexp:(begin|end) [a-z-]+ -->", each) for each in html)
        assert "**c** <!-- boneexp:end summary --> # d \\" in "".join(token.content for token in inline)


def test_notes_group_columns_and_image_ids_open_no_heading_no_list_and_no_link(settled, tmp_path):
    designs = {key: {"notes": OPENING} for key in ("E1", "E2")}
    facts = facts_of(settled_ledger(tmp_path / "ledger.db", designs=designs))
    notes = [f"{OPENING}.jpeg is 1 x 1", "1. a", "- b", "=", "+ c"]
    dataset = replace(facts.subject.dataset, notes=notes)
    chosen = {
        split: replace(run, assignment=replace(run.assignment, group_column=OPENING))
        for split, run in facts.subject.chosen.items()
    }
    facts = replace(facts, subject=replace(facts.subject, dataset=dataset, chosen=chosen))
    renderer = MarkdownIt("commonmark").enable("table")
    for text, other in zip(both(facts), both(settled[1]), strict=True):
        kinds = [token.type for token in renderer.parse(text)]
        plain = [token.type for token in renderer.parse(other)]
        for kind in ("heading_open", "ordered_list_open", "bullet_list_open", "html_block"):
            assert kinds.count(kind) == plain.count(kind)
        assert OPENING not in text
        assert "://evil" not in text
        assert "www.evil" not in text
        assert_tables_hold(text)


def test_every_table_holds(settled):
    for text in both(settled[1]):
        assert_tables_hold(text)
        assert "None" not in text
        assert "nan" not in text.split()


def test_escaping_leaves_plain_names_readable():
    assert escaped("b0_baseline, E3 (10 %) – ü") == "b0_baseline, E3 (10 %) – ü"
    assert escaped("_a_ *b*\u202e\x00\nc") == "&#95;a&#95; &#42;b&#42; c"


def test_what_is_not_known_is_not_reported():
    assert [str(printed(value)) for value in (None, "", [], 0, False)] == ["not reported"] * 3 + ["0", "no"]
    assert printed(table(["a"], [])) == "not reported"
    assert (format_estimate(None), format_estimate(0.5), format_estimate(0.5, 0.4, 0.6)) == (
        "not reported",
        "0.500",
        "0.500 (0.400-0.600)",
    )
