"""Marked documents: the program's blocks are replaced, the person's words stay."""

import pytest

from boneexp.errors import BoneexpError
from boneexp.reports.markers import blocks_of, with_blocks

BEGIN_A, END_A = "<!-- boneexp:begin a -->", "<!-- boneexp:end a -->"
BEGIN_B, END_B = "<!-- boneexp:begin b -->", "<!-- boneexp:end b -->"
OWN = "# Mine  \n\n\tmine\n<!-- boneexp:begin a -->\nold\n<!-- boneexp:end a -->\nno newline at the end"


def test_only_the_inside_of_a_block_is_replaced():
    assert with_blocks(OWN, {"a": "new\n\nlines"}) == OWN.replace("\nold\n", "\n\nnew\n\nlines\n\n")


def test_writing_the_same_blocks_again_changes_nothing():
    blocks = {"a": "one", "b": "| t |\n|---|"}
    once = with_blocks(OWN, blocks)
    assert with_blocks(once, blocks) == once
    assert with_blocks(once, blocks_of(once)) == once


def test_a_document_with_crlf_keeps_it_and_its_blocks_get_it():
    written = with_blocks(OWN.replace("\n", "\r\n"), {"a": "new\nlines", "b": "more"})
    assert "\n" not in written.replace("\r\n", "")
    assert "new\r\nlines\r\n" in written


def test_a_missing_block_is_appended_and_another_one_put_on_top():
    written = with_blocks("mine", {"top": "first", "end": "last"}, on_top="top")
    assert list(blocks_of(written)) == ["top", "end"]
    assert written.startswith(
        "<!-- boneexp:begin top -->\n\nfirst\n\n<!-- boneexp:end top -->\n\nmine\n\n<!--"
    )
    assert written.endswith("last\n\n<!-- boneexp:end end -->\n")


def test_a_block_of_another_program_version_stays_as_it_is():
    assert with_blocks(OWN, {}) == OWN


def test_blocks_may_stand_in_any_order():
    text = "\n".join([BEGIN_B, END_B, "mine", BEGIN_A, END_A])
    written = with_blocks(text, {"a": "A", "b": "B"})
    assert written.index("B") < written.index("mine") < written.index("A")


def test_a_marker_inside_a_sentence_is_only_words():
    text = "Write `<!-- boneexp:begin a -->` to begin a block.\n"
    assert with_blocks(text, {}) == text


def test_an_inside_that_holds_a_marker_is_refused():
    with pytest.raises(ValueError, match="holds a marker"):
        with_blocks(OWN, {"a": "x\n<!-- boneexp:end a -->\ny"})


@pytest.mark.parametrize(
    ("lines", "line", "word"),
    [
        (["mine", BEGIN_A, "old"], 2, "has no end"),
        (["mine", "", END_A], 3, "take the line out"),
        ([BEGIN_A, END_A, BEGIN_A, END_A], 3, "there already (line 1)"),
        ([BEGIN_A, BEGIN_B, END_B, END_A], 2, "inside the block begun in line 1"),
        ([BEGIN_A, END_B], 2, "write <!-- boneexp:end a --> before it"),
        ([BEGIN_A, BEGIN_A, END_A], 2, "inside the block begun in line 1"),
        (["<!-- boneexp:begin -->"], 1, "looks like a marker"),
        (["mine", "<!-- boneexp:begin a -- >"], 2, "looks like a marker"),
        (["<!-- boneexp:begin a --> and words"], 1, "looks like a marker"),
    ],
)
def test_broken_markers_are_reported_with_document_line_and_mend(lines, line, word):
    with pytest.raises(BoneexpError) as caught:
        with_blocks("\n".join(lines), {"a": "new"}, "docs/x.md")
    assert str(caught.value).startswith(f"docs/x.md, line {line}: ")
    assert word in str(caught.value)
