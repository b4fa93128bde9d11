"""Files compared with what the ledger would write into them now; nothing is written.

Only the time of writing may differ, and in the two documents the text outside the marked blocks.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path

from boneexp.comparison.files import comparison_texts
from boneexp.errors import BoneexpError
from boneexp.reports.checklists.own_words import NOBODY
from boneexp.reports.documents import fresh_documents, standing_text, standing_words
from boneexp.reports.facts import Facts
from boneexp.reports.markers import blocks_of, placed_blocks_of
from boneexp.text.numbers import counted, moment

LONG_AGO = 0.0  # a time of writing that no file has
MOST_LINES = 20  # shown of one place, and
MOST_LETTERS = 400  # of one line; --json has all

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC")
_DECISIONS = re.compile(r'"decisions": \d+')
_PICTURE = re.compile(r'<img src="data:[^>]*>|<p class="missing">.*?</p>')
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Difference:
    """One place where a file does not say what the ledger says."""

    document: str
    block: str  # "" where the whole file is meant
    line: int | None  # of the file, from 1; None where there is none to point at
    what: str
    found: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it, ready for json.dumps."""
        return asdict(self)

    def shown(self) -> str:
        """Return it as a few lines of text: where, what stands there (-), and what should (+)."""
        block = f", block {self.block}" if self.block else ""
        line = f", line {self.line}" if self.line else ""
        lines = [f"  - {each}" for each in self.found] + [f"  + {each}" for each in self.expected]
        left_out = len(lines) - MOST_LINES
        rest = [f"  and {counted(left_out, 'line')} more"] if left_out > 0 else []
        cut = [
            each if len(each) <= MOST_LETTERS else f"{each[:MOST_LETTERS]} ..." for each in lines[:MOST_LINES]
        ]
        return "\n".join([f"{self.document}{block}{line}: {self.what}", *cut, *rest])


@dataclass(frozen=True)
class _Place:
    """Where a text begins: its file, its block and its line."""

    document: str
    block: str = ""
    line: int = 1


def differences(docs: Path, artifacts: Path, facts: Facts) -> list[Difference]:
    """Return every place where a file is not what `facts` make of it, document by document.

    Both documents must be there; the comparison's files are looked at if they are.

    Args:
        docs: the folder of the two documents.
        artifacts: the folder of comparison.csv and .json.
        facts: gathered for the moment LONG_AGO, so that the lines with the moment of writing are known.
    """
    found = in_documents(docs, facts)
    for path, text in comparison_texts(facts.comparison, facts.verdict, artifacts).items():
        found += _in_whole_file(path, text)
    return found


def in_documents(docs: Path, facts: Facts) -> list[Difference]:
    """Return where the two documents are not what `facts`, of the moment LONG_AGO, make of them."""
    fresh = fresh_documents(docs, facts, standing_words(docs))
    without_words = fresh_documents(docs, facts, NOBODY)  # a checklist may be older than a person's text
    return [each for path, text in fresh.items() for each in _in_document(path, text, without_words[path])]


def in_page(path: Path, right: str) -> list[Difference]:
    """Return where the page differs from `right`, that of the moment LONG_AGO; pictures are not compared."""
    return _in_whole_file(path, right, _PICTURE)


def _in_whole_file(path: Path, right: str, ignored: re.Pattern[str] | None = None) -> list[Difference]:
    """Return where a file, if there is one, differs from `right`, what matches `ignored` left out of both."""
    try:
        standing = standing_text(path)
    except BoneexpError as error:
        return [_unusable(path, error)]
    if standing is None:
        return []
    if ignored is not None:
        standing, right = ignored.sub("", standing), ignored.sub("", right)
    return list(_in_lines(_Place(str(path)), standing, right, right))


def _in_document(path: Path, fresh: str, without_words: str) -> Iterator[Difference]:
    """Yield where the blocks of a document differ from those of both texts."""
    right, also_right = blocks_of(fresh), blocks_of(without_words)
    try:
        standing = standing_text(path)
        blocks = placed_blocks_of(standing or "", str(path))
    except BoneexpError as error:
        yield _unusable(path, error)
        return
    if standing is None:
        yield Difference(str(path), "", None, "is not there")
        return
    yield from _missing_and_foreign(str(path), right, blocks)
    for name, (line, inside) in blocks.items():
        if name in right:
            yield from _in_lines(_Place(str(path), name, line), inside, right[name], also_right[name])


def _unusable(path: Path, error: BoneexpError) -> Difference:
    what = str(error).removeprefix(str(path)).lstrip(", ")
    return Difference(str(path), "", None, what)


def _missing_and_foreign(
    document: str, right: Mapping[str, str], blocks: Mapping[str, tuple[int, str]]
) -> Iterator[Difference]:
    for name in right:
        if name not in blocks:
            yield Difference(document, name, None, "the block is missing")
    for name, (line, _) in blocks.items():
        if name not in right:
            what = "this version of boneexp writes no such block, so nothing in it is checked; take it out"
            yield Difference(document, name, line, what)


def _in_lines(place: _Place, found: str, right: str, also_right: str) -> Iterator[Difference]:
    """Yield where the text found at a place differs from both others."""
    standing, expected = _LINE_END.split(found), _LINE_END.split(right)
    known = {_without_count(line): line for line in expected}
    known |= dict(zip(_LINE_END.split(also_right), expected, strict=True))
    known |= {line: line for line in expected}
    matcher = SequenceMatcher(None, [_known(line, known) for line in standing], expected, autojunk=False)
    for tag, start, stop, first, last in matcher.get_opcodes():
        if tag != "equal":
            lines = tuple(standing[start:stop]), tuple(expected[first:last])
            yield Difference(place.document, place.block, place.line + start, "differs", *lines)


def _known(line: str, known: Mapping[str, str]) -> str:
    """Return the expected line that a line stands for, whatever its time of writing; else itself."""
    return known.get(line) or known.get(_without_count(_MOMENT.sub(moment(LONG_AGO), line)), line)


def _without_count(line: str) -> str:
    """Return the line without the number of decisions: those taken since make no other number wrong."""
    return _DECISIONS.sub('"decisions":', line)
