"""The [promoted] table of the grid file: rewritten by tomlkit, everything else left byte for byte."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from boneexp.errors import GridInvalid
from boneexp.files.reading import content_of
from boneexp.study.toml import LARGEST_FILE_BYTES, Document, Scalar, grid_text, tables_of, toml_item


def with_promoted(path: Path, values: Mapping[str, Scalar]) -> str:
    """Return the grid file's text with `values` as its [promoted] table; comments in the table stay.

    Raises:
        GridInvalid: the file is missing, not TOML, or such that its table cannot be rewritten safely.
    """
    try:
        text = content_of(path, LARGEST_FILE_BYTES).decode("utf-8")
        before = tables_of(text.replace("\r\n", "\n"), str(path))
    except (OSError, UnicodeDecodeError, GridInvalid) as error:
        raise GridInvalid(
            f"{path} cannot be rewritten: {error}; name the grid file with --grid FILE"
        ) from error
    former = before.pop("promoted", {})
    if isinstance(former, dict) and not any(isinstance(each, dict | list) for each in former.values()):
        changed = _rewritten(text, values)
        after = tomllib.loads(changed.replace("\r\n", "\n"))
        if after.pop("promoted", {}) == dict(values) and after == before:
            return changed
    raise GridInvalid(
        f"{path}: write the default model as a plain [promoted] table at the end, then promote again"
    )


def promoted_of(path: Path) -> Document:
    """Return the [promoted] table of a grid file, unchecked; {} where it has none.

    Raises:
        GridInvalid: the file is missing, or not TOML.
    """
    found = tables_of(grid_text(path), str(path)).get("promoted", {})
    return found if isinstance(found, dict) else {"": found}


def _rewritten(text: str, values: Mapping[str, Scalar]) -> str:
    """Return the text with these values first in the table; a comment behind a value stays behind it."""
    import tomlkit
    from tomlkit.items import Comment, Table, Whitespace

    end = "\r\n" if "\r\n" in text else "\n"
    whole = text if not text or text.endswith("\n") else text + end
    document = tomlkit.parse(whole)
    former = document.get("promoted")
    if former is None and not values:
        return text
    if former is None and whole and whole.splitlines()[-1].strip():
        document.add(tomlkit.ws(end))
    before = former.value.body if isinstance(former, Table) else []
    comments = {key.key: item.trivia for key, item in before if key is not None}
    table = tomlkit.table()
    table.trivia.trail = end
    for key, value in values.items():
        item = toml_item(value)
        if key in comments:
            item.trivia.comment_ws, item.trivia.comment = comments[key].comment_ws, comments[key].comment
        item.trivia.trail = end
        table.add(key, item)
    for _, item in before:
        if isinstance(item, Comment | Whitespace):
            table.add(item)
    length = len(table.value.body)
    document["promoted"] = table
    del table.value.body[length:]  # a blank line that tomlkit puts before the table behind
    return tomlkit.dumps(document)
