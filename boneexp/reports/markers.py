"""Documents that a program and a person write together.

What is between `<!-- boneexp:begin NAME -->` and `<!-- boneexp:end NAME -->` is the program's and is replaced
at every update; every other byte is the person's and is kept. A marker stands alone on its line.
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
    for name, block in reversed(found.items()):  # from the end, so that places before it stay
        if name in blocks:
            line_end = _line_end(text[block.begin.start : block.begin.stop])
            inside = _inside(name, blocks[name], line_end)
            text = f"{text[: block.begin.stop]}{inside}{text[block.end.start :]}"
    missing = {name: inside for name, inside in blocks.items() if name not in found}
    return _with_missing(text, missing, on_top)


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
        blank = line_end if text else ""
        if name == on_top:
            text = f"{block}{blank}{text}"
        else:
            unfinished = blank if not text.endswith(("\n", "\r")) else ""
            text = f"{text}{unfinished}{blank}{block}"
    return text


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
    if opened is not None and (marker.kind, marker.name) != ("end", opened.name):
        what = (
            f"stands inside the block begun in line {opened.line}; write {end_marker(opened.name)} before it"
        )
    elif opened is None and marker.kind == "end":
        what = "ends a block that has no begin; take the line out"
    elif opened is None and marker.name in found:
        first = found[marker.name].begin.line
        what = f"begins a block that is there already (line {first}); take one out"
    else:
        return
    raise _broken(document, marker, what)


def _markers(text: str, document: str) -> list[_Marker]:
    markers = []
    start = 0
    for number, line in enumerate(_LINE.findall(text), start=1):
        bare = line.lstrip("\ufeff")
        if match := _MARKER.fullmatch(bare):
            markers.append(_Marker(match[1], match[2], number, start, start + len(line)))
        elif _LIKE_A_MARKER.match(bare):
            raise BoneexpError(
                f"{document}, line {number}: this looks like a marker but is not; correct it (a marker is "
                f"{begin_marker('NAME')}, alone on its line) or delete the line"
            )
        start += len(line)
    return markers


def _broken(document: str, marker: _Marker, what: str) -> BoneexpError:
    return BoneexpError(f"{document}, line {marker.line}: boneexp:{marker.kind} {marker.name} {what}")
