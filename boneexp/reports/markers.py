"""Documents that a program and a person write together.

What lies between `<!-- boneexp:begin NAME -->` and `<!-- boneexp:end NAME -->` is the program's, and replaced
at every writing; every other byte is the person's and stays. A marker stands alone on its line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from boneexp.errors import BoneexpError

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_MARKER = re.compile(r"\s*<!--\s*boneexp:(begin|end)\s+([a-z0-9-]+)\s*-->\s*")
_LIKE_A_MARKER = re.compile(r"\s*<!--\s*boneexp\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class _Marker:
    kind: str
    name: str
    line: int  # from 1
    start: int  # where its line begins in the text
    stop: int  # where the next line begins


@dataclass(frozen=True)
class _Block:
    begin: _Marker
    end: _Marker


def begin_marker(name: str) -> str:
    """Return the line that opens a block."""
    return f"<!-- boneexp:begin {name} -->"


def end_marker(name: str) -> str:
    """Return the line that closes a block."""
    return f"<!-- boneexp:end {name} -->"


def with_blocks(
    text: str, blocks: Mapping[str, str], document: str = "the document", on_top: str = ""
) -> str:
    """Return `text` with the insides of `blocks` in place of the former ones.

    A block that the text lacks is appended, markers and all; the one named `on_top` is put in front.
    A block that is not in `blocks` stays as it is. Line ends inside a block are those of its begin marker.

    Raises:
        BoneexpError: a marker lacks its partner, comes twice, or stands inside another block.
    """
    found = _blocks(text, document)
    pieces: list[str] = []
    at = 0
    for name, block in sorted(found.items(), key=lambda item: item[1].begin.start):
        if name in blocks:
            opening = text[block.begin.start : block.begin.stop]
            pieces += [text[at : block.begin.stop], _inside(name, blocks[name], _line_end(opening))]
            at = block.end.start
    pieces.append(text[at:])
    missing = {name: inside for name, inside in blocks.items() if name not in found}
    return _with_missing("".join(pieces), missing, on_top)


def blocks_of(text: str, document: str = "the document") -> dict[str, str]:
    """Return the insides of the text's blocks by name, in their order.

    Raises:
        BoneexpError: as `with_blocks`.
    """
    return {name: inside for name, (_, inside) in placed_blocks_of(text, document).items()}


def placed_blocks_of(text: str, document: str = "the document") -> dict[str, tuple[int, str]]:
    """Return the blocks as `blocks_of`, each inside with the number of its first line, from 1.

    Raises:
        BoneexpError: as `with_blocks`.
    """
    return {
        name: (block.begin.line + 1, text[block.begin.stop : block.end.start])
        for name, block in _blocks(text, document).items()
    }


def _with_missing(text: str, blocks: Mapping[str, str], on_top: str) -> str:
    line_end = _line_end(text)
    for name, inside in blocks.items():
        opening, closing = f"{begin_marker(name)}{line_end}", f"{end_marker(name)}{line_end}"
        block = f"{opening}{_inside(name, inside, line_end)}{closing}"
        if name == on_top:
            text = f"{block}{line_end if text else ''}{text}"
        else:
            text = f"{text}{_gap_after(text, line_end)}{block}"
    return text


def _gap_after(text: str, line_end: str) -> str:
    """Return what makes a blank line after the text."""
    if not text:
        return ""
    return line_end if text.endswith(("\n", "\r")) else 2 * line_end


def _inside(name: str, text: str, line_end: str) -> str:
    """Return a block's inside between two blank lines; a marker in there would end the block too early."""
    lines = ["", *text.strip("\n").split("\n"), ""]
    if any(_LIKE_A_MARKER.match(line) for line in lines):
        raise ValueError(f"the inside of block {name} holds a marker")
    return "".join(f"{line}{line_end}" for line in lines)


def _line_end(text: str) -> str:
    found = re.search(r"\r\n|\r|\n", text)
    return found[0] if found else "\n"


def _blocks(text: str, document: str) -> dict[str, _Block]:
    found: dict[str, _Block] = {}
    opened: _Marker | None = None
    for marker in _markers(text, document):
        _check(marker, opened, found, document)
        if opened is None:
            opened = marker
        else:
            found[marker.name] = _Block(opened, marker)
            opened = None
    if opened is not None:
        raise _broken(document, opened, f"has no end; write {end_marker(opened.name)} where the block ends")
    return found


def _check(marker: _Marker, opened: _Marker | None, found: Mapping[str, _Block], document: str) -> None:
    """Raise BoneexpError unless `marker` may stand where it stands."""
    if opened is None and marker.kind == "end":
        raise _broken(document, marker, "ends a block that has no begin; take the line out")
    if opened is None and marker.name in found:
        first = found[marker.name].begin.line
        raise _broken(document, marker, f"begins a block that is there already (line {first}); take one out")
    if opened is not None and (marker.kind, marker.name) != ("end", opened.name):
        ends = end_marker(opened.name)
        raise _broken(
            document, marker, f"stands inside the block begun in line {opened.line}; write {ends} before it"
        )


def _markers(text: str, document: str) -> list[_Marker]:
    markers = []
    start = 0
    for number, line in enumerate(_LINE.findall(text), start=1):
        bare = line.lstrip("\ufeff")
        if match := _MARKER.fullmatch(bare):
            markers.append(_Marker(match[1], match[2], number, start, start + len(line)))
        elif _LIKE_A_MARKER.match(bare):
            raise BoneexpError(
                f"{document}, line {number}: this looks like a marker and is none; mend it (a whole one is "
                f"{begin_marker('NAME')}, alone on its line) or take the line out"
            )
        start += len(line)
    return markers


def _broken(document: str, marker: _Marker, what: str) -> BoneexpError:
    return BoneexpError(f"{document}, line {marker.line}: boneexp:{marker.kind} {marker.name} {what}")
