"""experiments.toml and its overrides -> Grid: every experiment with every setting filled in.

`[data]`, `[model]`, `[training]` and `[evaluation]` are defaults; `[experiments.E1]` overrides them with
dotted keys; `--set` overrides both. A mistake is reported with its line and the nearest key that exists.
"""

import copy
import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from boneexp.artifacts import write_text
from boneexp.config import (
    EXPERIMENT_ID,
    REFERENCE_FIGURES,
    SPLITS,
    CenterHoldoutSettings,
    ExperimentSettings,
    Seed,
    SelectionSettings,
    Settings,
    Share,
    SplitSpec,
    SplitsSettings,
    StratifiedSettings,
)
from boneexp.errors import GridInvalid

DEFAULT_SECTIONS = ("data", "model", "training", "evaluation")
LARGEST_FILE_BYTES = 16_000_000

Kind = TypeVar("Kind", bound=BaseModel)
Model = type[BaseModel]
ExperimentId = Annotated[str, StringConstraints(pattern=EXPERIMENT_ID)]


class PromotedSettings(Settings):
    """The default model; written by `boneexp promote`."""

    experiment: str = ""
    backbone: str = ""
    image_size: int = 0
    batch_size: int = 0
    dropout: float = 0.0
    attn_layer: str = ""
    checkpoint: str = ""
    checkpoint_stratified: str = ""
    checkpoint_center: str = ""
    digest_stratified: str = ""
    digest_center: str = ""


class GridText(Settings):
    """The file's top level; the experiments' tables are checked one by one, over the defaults."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = [42]
    data: dict[str, Any] = {}
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    splits: SplitsSettings = SplitsSettings()
    selection: SelectionSettings = SelectionSettings()
    targets: dict[str, Share] = {}
    baseline: dict[str, Share] = {}
    promoted: PromotedSettings = PromotedSettings()
    experiments: Annotated[dict[ExperimentId, dict[str, Any]], Field(min_length=1)]


@dataclass(frozen=True)
class Grid:
    """What a grid file says, checked: experiments by id, splits by name, seeds, and what to compare with."""

    path: Path
    experiments: Mapping[str, ExperimentSettings]
    splits: tuple[SplitSpec, ...]
    seeds: tuple[int, ...]
    selection: SelectionSettings
    targets: Mapping[str, float]
    baseline: Mapping[str, float]
    promoted: PromotedSettings


def load_grid(path: Path, overrides: Sequence[str] = ()) -> Grid:
    """Return the grid of the file at `path` with `overrides` ("training.batch_size=8") laid over it.

    Raises:
        GridInvalid: the file cannot be read or is not TOML, a key is unknown or a value does not fit. The
            message names the line.
    """
    text = _read(path)
    document = _parsed(text, str(path))
    forced: dict[str, Any] = {}
    for override in overrides:
        _apply(override, document, forced)
    places = _Places(path, key_lines(text), tuple(overrides))
    top = _checked(GridText, document, (), places)
    _check_figures(top, places)
    experiments = {
        identifier: _experiment(identifier, table, document, forced, places)
        for identifier, table in top.experiments.items()
    }
    return Grid(
        path=path,
        experiments={key: _with_paths(value, path, forced) for key, value in experiments.items()},
        splits=_splits(top.splits),
        seeds=tuple(dict.fromkeys(top.seeds)),
        selection=top.selection,
        targets=top.targets,
        baseline=top.baseline,
        promoted=top.promoted,
    )


def write_study_grid(path: Path, root: str) -> None:
    """Write the grid file of the study, with `root` as its data root if one is given.

    Raises:
        GridInvalid: there is a file already.
    """
    if path.exists():
        raise GridInvalid(f"{path} is there already and stays as it is; name another with --grid FILE")
    package = Path(__file__).resolve().parent
    inside = package / "experiments.toml"  # in the installed package; beside it in a checkout
    text = (inside if inside.is_file() else package.parent / "experiments.toml").read_text(encoding="utf-8")
    if root:
        text = text.replace('root = "BTXRD" ', f"root = {json.dumps(root)} ", 1)
    write_text(path, text)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line (from 1) on which each key and table header of a TOML text stands."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = _dotted(header[1])
            lines.setdefault(table, number)
        elif assignment := re.match(r"""\s*([A-Za-z0-9_."' -]+?)\s*=""", line):
            key = table + _dotted(assignment[1])
            for depth in range(len(table) + 1, len(key) + 1):
                lines.setdefault(key[:depth], number)
    return lines


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint that names the known key nearest to `name`, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"


@dataclass(frozen=True)
class _Places:
    """Where a key was written: on a line of the file, or in an override."""

    path: Path
    lines: Mapping[tuple[str, ...], int]
    overrides: tuple[str, ...]

    def of(self, *candidates: tuple[str, ...]) -> tuple[str, str]:
        """Return where the first candidate that was written stands, and its dotted name."""
        for keys in candidates:
            dotted = ".".join(keys)
            for override in self.overrides:
                key = override.split("=", 1)[0].strip()
                if key == dotted or key.startswith(f"{dotted}."):
                    return f"--set {key}", dotted
        for keys in candidates:
            if keys in self.lines:
                return f"{self.path}, line {self.lines[keys]}", ".".join(keys)
        return self._table_of(candidates[0]), ".".join(candidates[0])

    def _table_of(self, keys: tuple[str, ...]) -> str:
        depths = range(len(keys) - 1, 0, -1)
        line = next((self.lines[keys[:depth]] for depth in depths if keys[:depth] in self.lines), None)
        return str(self.path) if line is None else f"{self.path}, line {line}"


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise GridInvalid(f"{path} has more than {LARGEST_FILE_BYTES:,} bytes; this is no grid file")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise GridInvalid(
            f"there is no grid file {path}; name yours with: boneexp queue --grid FILE"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise GridInvalid(f"{path} cannot be read as a text file: {error}") from error


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GridInvalid(f"{where} is not valid TOML: {error}") from error
    except RecursionError:
        raise GridInvalid(f"{where} is nested too deeply to be a grid file") from None


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _apply(override: str, document: dict[str, Any], forced: dict[str, Any]) -> None:
    key, equals, value = override.partition("=")
    keys = _dotted(key)
    if not equals or not all(keys):
        raise GridInvalid(
            f"--set {override} is not KEY=VALUE; write for example: --set training.batch_size=8"
        )
    target = forced if keys[0] in DEFAULT_SECTIONS else document
    for step in keys[:-1]:
        target = target.setdefault(step, {})
        if not isinstance(target, dict):
            raise GridInvalid(f"--set {key}: {step} is a value, not a table of keys")
    target[keys[-1]] = _value(keys, value.strip())


def _value(keys: tuple[str, ...], text: str) -> Any:
    """Read an override as TOML; what is not TOML is a string, so that paths need no quotes."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    plain = isinstance(value, str | bool | int | float | list | dict)
    return text if not plain or (keys[-1] in ("root", "name") and not isinstance(value, str)) else value


def _merged(*tables: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = _merged(result[key], value) if both else copy.deepcopy(value)
    return result


def _experiment(
    identifier: str,
    table: dict[str, Any],
    document: dict[str, Any],
    forced: dict[str, Any],
    places: _Places,
) -> ExperimentSettings:
    defaults = {section: document[section] for section in DEFAULT_SECTIONS if section in document}
    return _checked(ExperimentSettings, _merged(defaults, table, forced), ("experiments", identifier), places)


def _checked(model: type[Kind], value: Any, prefix: tuple[str, ...], places: _Places) -> Kind:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        sentences = [_sentence(detail, model, prefix, places) for detail in error.errors()]
        more = f" (and {len(sentences) - 10} more)" if len(sentences) > 10 else ""
        raise GridInvalid("\n".join(sentences[:10]) + more) from None


def _sentence(detail: ErrorDetails, model: Model, prefix: tuple[str, ...], places: _Places) -> str:
    keys = tuple(str(part) for part in detail["loc"] if part != "[key]")
    where, dotted = places.of(prefix + keys, keys)
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key {dotted!r}; {nearest(keys[-1], _fields_at(model, keys[:-1]))}"
    if detail["type"] == "missing":
        return f"{where}: {dotted!r} is missing"
    said = detail["msg"].removeprefix("Value error, ")
    return f"{where}: {dotted}: {said} (it is {_short(detail['input'])})"


def _fields_at(model: Model, keys: Sequence[str]) -> list[str]:
    fields = model
    for key in keys:
        annotation = fields.model_fields[key].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        fields = next(
            option for option in options if isinstance(option, type) and issubclass(option, BaseModel)
        )
    return list(fields.model_fields)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_figures(top: GridText, places: _Places) -> None:
    for section, figures in (("targets", top.targets), ("baseline", top.baseline)):
        for key in figures:
            if key not in REFERENCE_FIGURES:
                where, _ = places.of((section, key))
                raise GridInvalid(
                    f"{where}: unknown key '{section}.{key}'; {nearest(key, REFERENCE_FIGURES)}"
                )


def _with_paths(settings: ExperimentSettings, path: Path, forced: Mapping[str, Any]) -> ExperimentSettings:
    """Make the data root and a weights file absolute: from the file's folder, or from here if overridden."""

    def absolute(section: str, key: str, value: str) -> str:
        base = Path.cwd() if key in forced.get(section, {}) else path.parent
        return str((base / Path(value).expanduser()).resolve())

    data = settings.data.model_copy(update={"root": absolute("data", "root", settings.data.root)})
    model = settings.model
    if isinstance(model.pretrained, str):
        model = model.model_copy(update={"pretrained": absolute("model", "pretrained", model.pretrained)})
    return settings.model_copy(update={"data": data, "model": model})


def _splits(settings: SplitsSettings) -> tuple[SplitSpec, ...]:
    stratified, holdout = settings.stratified, settings.center_holdout
    if stratified is None and holdout is None:
        stratified, holdout = StratifiedSettings(), CenterHoldoutSettings()
    found = zip(SPLITS, (stratified, holdout), strict=True)
    return tuple(
        SplitSpec(name=name, seed=settings.seed, group_column=settings.group_column, settings=chosen)
        for name, chosen in found
        if chosen is not None
    )
