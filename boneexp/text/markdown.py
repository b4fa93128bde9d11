"""Values -> Markdown: numbers the same way everywhere, and text from outside made harmless.

What a user typed (a name, a reason) may hold anything; here it loses the power to break a table, inject HTML
or pass for a block marker. What is not known is said to be "not reported", never left blank or made up.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from boneexp.text.labels import UNKNOWN

_ACTIVE = re.compile(
    r"[&<>|`*~$\\\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    r"|:(?=//)|(?<=\bwww)\."  # addresses that some renderers make links of
    r"|^[#+=-](?=[\s#+=-]|$)|^[0-9](?=[0-9]{0,8}[.)](?:\s|$))",  # what opens a heading or a list
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Table:
    """A table of values of any kind, not yet in any language; printed, it is Markdown."""

    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def markdown(self) -> Markup:
        """Return it as Markdown; a table without rows is "not reported"."""
        titles = _row([Markup(escaped(title)) for title in self.header])  # an empty title stays empty
        rule = Markup("|") + "---|" * len(self.header)
        return Markup("\n").join([titles, rule, *map(_row, self.rows)]) if self.rows else Markup(UNKNOWN)


def escaped(text: str) -> str:
    """Return text on one line, every character that Markdown or HTML would act on as an entity."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", " ".join(printable.split()))


def plain(value: object) -> str:
    """Return any value as a person writes it; None and empty text are "not reported"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or UNKNOWN
    return UNKNOWN if value is None or str(value).strip() == "" else str(value)


def printed(value: object) -> Markup:
    """Return any value as harmless Markdown; None and empty text are "not reported".

    The templates print everything through this, so nothing from outside is printed as it came.
    """
    if isinstance(value, Markup):
        return value
    if isinstance(value, Table):
        return value.markdown()
    return Markup(escaped(plain(value)) or UNKNOWN)


def table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table of these cells; every row has as many as the header."""
    return Table(tuple(header), tuple(map(tuple, rows)))


def bullets(sentences: Iterable[object]) -> Markup:
    """Return a Markdown list."""
    return Markup("\n").join([Markup("- ") + printed(sentence) for sentence in sentences])


def _row(cells: Sequence[object]) -> Markup:
    return Markup("| ") + Markup(" | ").join(printed(cell) for cell in cells) + Markup(" |")
