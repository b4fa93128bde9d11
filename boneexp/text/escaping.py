r"""Text from outside made harmless: on a terminal, and in a spreadsheet.

A name in a grid file, a table or an exception may hold anything. What a terminal would obey is shown as
`\x1b`, and a cell that a spreadsheet would run as a formula gets an apostrophe in front. Markdown has a place
of its own, `boneexp.text.markdown`.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

# Control characters but for tab and line feed, what turns the direction of writing, line separators, the byte
# order mark, and halves of characters, which no encoding can write.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|\t")  # the last four are of full width
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def visible(text: str) -> str:
    """Return the text with what a terminal would obey written out, so that it shows and does nothing."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def csv_text(header: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return a CSV with those columns, every cell harmless to a spreadsheet; None is an empty cell.

    Control characters are written out: csv does not quote a carriage return, which would begin a new row.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(row[column]) for column in header] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    """Put an apostrophe before text that a spreadsheet would run; a number is none, whatever its sign."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
