"""`--set KEY=VALUE`: read as TOML, and laid over what the grid file says.

A setting of one experiment (`experiments.E1.training.epochs`) is laid over that of all (`training.epochs`),
whichever comes first; of two of the same reach the later counts.
"""

import copy
from collections.abc import Sequence
from typing import Any

from boneexp.errors import GridInvalid
from boneexp.study.toml import DEEPEST, Document, dotted, tables_of

DEFAULT_SECTIONS = ("data", "model", "training", "evaluation")


def lay_over(override: str, document: Document, forced: Document) -> None:
    """Lay an override over the document; one of settings goes into `forced`, which is laid over those."""
    key, equals, value = override.partition("=")
    keys = dotted(key)
    if not equals or not all(keys) or len(keys) > DEEPEST:
        raise GridInvalid(
            f"--set {shortened(override)} is not KEY=VALUE; write for example: --set training.batch_size=8"
        )
    read = _value(keys, value.strip())
    for tables in (document, forced):
        _require_tables(key, keys, tables)
    of_one = keys[0] == "experiments" and (len(keys) > 2 or isinstance(read, dict))
    if of_one or keys[0] in DEFAULT_SECTIONS:
        for step in reversed(keys):
            read = {step: read}
        forced |= merged(forced, read)
        return
    target = document
    for step in keys[:-1]:
        target = target.setdefault(step, {})
    target[keys[-1]] = read


def _require_tables(key: str, keys: Sequence[str], tables: Any) -> None:
    for step in keys[:-1]:
        tables = tables.get(step, {})
        if not isinstance(tables, dict):
            raise GridInvalid(f"--set {key}: {step} is a value, not a table of keys")


def add_experiments(document: Document, forced: Document) -> None:
    """Add experiments that only an override names; one that is no table is left to be refused."""
    for identifier, table in forced.items():
        known = document.setdefault("experiments", {})
        if not isinstance(known, dict):
            known = document["experiments"] = {}
        if isinstance(table, dict):
            known.setdefault(identifier, {})
        else:
            known[identifier] = table


def _value(keys: tuple[str, ...], text: str) -> Any:
    """Read an override as TOML; what is not TOML is a string, so that paths need no quotes."""
    try:
        value = tables_of(f"value = {text}", "--set")["value"]
    except GridInvalid:
        return text
    plain = isinstance(value, str | bool | int | float | list | dict)
    return text if not plain or (keys[-1] in ("root", "name") and not isinstance(value, str)) else value


def merged(*tables: Any) -> Document:
    """Return tables laid over one another, the last on top; no part is shared with them."""
    result: Document = {}
    for table in tables:
        for key, value in table.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def shortened(value: Any) -> str:
    """Return a value as a message shows it."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a number without end"
    return text if len(text) <= 60 else f"{text[:57]}..."
