"""The [promoted] table of the grid file: rewritten line by line, everything else left byte for byte."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boneexp.errors import GridInvalid
from boneexp.files.reading import content_of
from boneexp.study.toml import LARGEST_FILE_BYTES, grid_text, tables_of, toml_value


def with_promoted(path: Path, values: Mapping[str, Any]) -> str:
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
    changed = _rewritten(text, values)
    try:
        after = tomllib.loads(changed.replace("\r\n", "\n"))
    except ValueError:  # a table ["promoted"], say, which now stands there twice
        after = {}
    if after.pop("promoted", {}) != dict(values) or after != _without_promoted(before):
        raise GridInvalid(
            f"{path}: write the default model as a plain [promoted] table at the end, then promote again"
        )
    return changed


def promoted_of(path: Path) -> dict[str, Any]:
    """Return the [promoted] table of a grid file, unchecked; {} where it has none.

    Raises:
        GridInvalid: the file is missing, or not TOML.
    """
    found = tables_of(grid_text(path), str(path)).get("promoted", {})
    return found if isinstance(found, dict) else {"": found}


def _rewritten(text: str, values: Mapping[str, Any]) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    lines = re.findall(
        r"[^\n]*\n|[^\n]+", text
    )  # what else Python takes for the end of a line, TOML does not
    header = next(
        (place for place, line in enumerate(lines) if re.match(r"\s*\[\s*promoted\s*\]", line)), None
    )
    body = [f"{key} = {toml_value(value)}{end}" for key, value in values.items()]
    if header is None:
        gap = [] if not lines or not lines[-1].strip() else [end]
        whole = [*lines[:-1], lines[-1].rstrip("\r\n") + end] if lines else []
        return "".join([*whole, *gap, f"[promoted]{end}", *body]) if values else text
    following = range(header + 1, len(lines))
    stop = next((place for place in following if lines[place].lstrip().startswith("[")), len(lines))
    kept = [line for line in lines[header + 1 : stop] if not line.strip() or line.lstrip().startswith("#")]
    title = lines[header] if lines[header].endswith("\n") else lines[header] + end
    return "".join([*lines[:header], title, *body, *kept, *lines[stop:]])


def _without_promoted(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "promoted"}
