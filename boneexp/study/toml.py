"""The text of a grid file -> its tables, and the line on which each key stands.

A few kilobytes of TOML can nest without end, and a dotted key takes the square of its parts to parse: what no
grid has is refused before it costs anything.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boneexp.errors import GridInvalid
from boneexp.files.reading import content_of

if TYPE_CHECKING:
    from tomlkit.items import Item

LARGEST_FILE_BYTES = 16_000_000
Scalar = str | bool | int | float
Document = dict[str, Any]  # tables as a person wrote them, checked by nobody yet
DEEPEST = 10  # tables in tables, and parts of a key; experiments.E1.training.epochs is the deepest there is

# Comments and strings, in which a dot joins nothing; one that does not end goes on to where TOML gives up.
_OPAQUE = re.compile(
    r"""
    \#[^\n]*
    | "{3} (?:[^\\]|\\(?:.|\Z))*? (?:"{3}|\Z)
    | '{3} .*? (?:'{3}|\Z)
    | " (?:[^"\\\n]|\\.)* "?
    | ' [^'\n]* '?
    """,
    re.DOTALL | re.VERBOSE,
)


def grid_text(path: Path) -> str:
    """Return the file's text.

    Raises:
        GridInvalid: there is no such file, or it is no text, or larger than any grid.
    """
    try:
        return content_of(path, LARGEST_FILE_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise GridInvalid(
            f"there is no grid file {path}; name yours with --grid FILE, or write one with: "
            f"boneexp init --grid {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise GridInvalid(f"{path} cannot be read as a text file: {said}") from error


def tables_of(text: str, where: str) -> Document:
    """Return what a TOML text says; `where` names it in messages.

    Raises:
        GridInvalid: it is not TOML, or nested deeper than any grid.
    """
    for line, parts in _key_parts(text):
        if parts > DEEPEST:
            raise GridInvalid(f"{where}, line {line}: a key of {parts:,} parts; no key of a grid has so many")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise GridInvalid(f"{where} is nested too deeply to be a grid file") from None
    except ValueError as error:  # a number of thousands of digits is a plain one
        raise GridInvalid(f"{where} is not valid TOML: {error}") from error
    if _is_too_deep(tables):
        raise GridInvalid(f"{where} is nested too deeply to be a grid file")
    return tables


def _is_too_deep(value: Any) -> bool:
    """Return True if tables and arrays lie in one another deeper than in any grid."""
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [each for values in inner for each in values if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def toml_item(value: Scalar) -> "Item":
    """Return a value to set in a document of tomlkit.

    Raises:
        GridInvalid: it is text that no file in UTF-8 can hold, as a file name that is not UTF-8 is.
    """
    import tomlkit

    try:
        str(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise GridInvalid(f"{value!r} is not UTF-8, and so cannot stand in a grid file") from error
    return tomlkit.item(value)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line (from 1) on which each key and table header of a TOML text stands."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = dotted(header[1])[: DEEPEST + 1]
            lines.setdefault(table, number)
        elif re.fullmatch(r"""[A-Za-z0-9_."' \t-]+""", assigned := line.partition("=")[0]):
            key = table + dotted(assigned)[: DEEPEST + 1]
            for depth in range(len(table) + 1, len(key) + 1):
                lines.setdefault(key[:depth], number)
    return lines


def dotted(text: str) -> tuple[str, ...]:
    """Return the parts of a dotted key, without spaces and quotes."""
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _key_parts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the number of each line, from 1, and of how many parts its longest dotted key is at most."""
    bare = _OPAQUE.sub(lambda found: "x" + "\n" * found[0].count("\n"), text)
    for number, line in enumerate(bare.split("\n"), start=1):
        yield number, max(part.count(".") for part in re.split(r"[=,{}\[\]]", line)) + 1
