"""experiments.toml and its overrides -> Grid: every experiment with every setting filled in.

`[data]`, `[model]`, `[training]` and `[evaluation]` are defaults; `[experiments.E1]` overrides them with
dotted keys; `--set` overrides both, and of two `--set` the one of a single experiment overrides the one of
all. A mistake is reported with its line and the nearest key that exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from boneexp.errors import GridInvalid
from boneexp.files.atomic import write_text
from boneexp.results import SPLITS
from boneexp.study.decision_settings import (
    BaselineSettings,
    PromotedSettings,
    PromotionSettings,
    ReferenceSettings,
    SelectionSettings,
)
from boneexp.study.overrides import DEFAULT_SECTIONS, add_experiments, lay_over, merged, shortened
from boneexp.study.settings import (
    EXPERIMENT_ID,
    CenterHoldoutSettings,
    ExperimentSettings,
    Seed,
    Settings,
    SplitSpec,
    SplitsSettings,
    StratifiedSettings,
)
from boneexp.study.toml import Document, grid_text, key_lines, tables_of, toml_item
from boneexp.text.nearest import nearest

Kind = TypeVar("Kind", bound=BaseModel)


Model = type[BaseModel]


ExperimentId = Annotated[str, StringConstraints(pattern=EXPERIMENT_ID)]


class GridText(Settings):
    """The file's top level; the experiments' tables are checked one by one, over the defaults."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = [42]
    data: Document = {}
    model: Document = {}
    training: Document = {}
    evaluation: Document = {}
    splits: SplitsSettings = SplitsSettings()
    selection: SelectionSettings = SelectionSettings()
    promotion: PromotionSettings = PromotionSettings()
    targets: ReferenceSettings = ReferenceSettings()
    baseline: BaselineSettings = BaselineSettings()
    promoted: PromotedSettings = PromotedSettings()
    experiments: Annotated[dict[ExperimentId, Document], Field(min_length=1)]


@dataclass(frozen=True)
class Grid:
    """What a grid file says, checked: experiments by id, splits by name, seeds, and what to compare with."""

    path: Path
    experiments: Mapping[str, ExperimentSettings]
    splits: tuple[SplitSpec, ...]
    seeds: tuple[int, ...]
    selection: SelectionSettings
    promotion: PromotionSettings
    targets: ReferenceSettings
    baseline: BaselineSettings
    promoted: PromotedSettings


def load_grid(path: Path, overrides: Sequence[str] = ()) -> Grid:
    """Return the grid of the file at `path` with `overrides` ("training.batch_size=8") laid over it.

    Raises:
        GridInvalid: the file cannot be read or is not TOML, a key is unknown or a value does not fit. The
            message names the line.
    """
    text = grid_text(path)
    document = tables_of(text, str(path))
    forced: Document = {}
    for override in overrides:
        lay_over(override, document, forced)
    forced_alone = forced.pop("experiments", {})
    add_experiments(document, forced_alone)
    places = _Places(path, key_lines(text), tuple(overrides))
    top = _checked(GridText, document, (), places)
    laid_over = {
        identifier: merged(forced, forced_alone.get(identifier, {})) for identifier in top.experiments
    }
    experiments = {
        identifier: _experiment(identifier, table, document, laid_over[identifier], places)
        for identifier, table in top.experiments.items()
    }
    return Grid(
        path=path,
        experiments={
            identifier: _with_paths(identifier, settings, laid_over[identifier], places)
            for identifier, settings in experiments.items()
        },
        splits=_splits(top.splits),
        seeds=tuple(dict.fromkeys(top.seeds)),
        selection=top.selection,
        promotion=top.promotion,
        targets=top.targets,
        baseline=top.baseline,
        promoted=top.promoted,
    )


def promotion_policy(path: Path) -> PromotionSettings:
    """Return the [promotion] table of a grid file; what else stands in the file does not matter here.

    Raises:
        GridInvalid: as `load_grid`, of this table alone.
    """
    try:
        text = grid_text(path)
        table = tables_of(text, str(path)).get("promotion", {})
    except GridInvalid as error:
        if not path.exists():
            missing = (
                f"there is no grid file {path}; name the one that the runs were queued from with --grid FILE"
            )
            raise GridInvalid(missing) from None
        raise GridInvalid(f"{path} cannot be read: {error}; name the grid file with --grid FILE") from error
    return _checked(PromotionSettings, table, ("promotion",), _Places(path, key_lines(text), ()))


def write_study_grid(path: Path, root: str) -> None:
    """Write the grid file of the study, with `root` as its data root if one is given.

    Raises:
        GridInvalid: there is a file already, or `root` cannot stand in one.
    """
    if path.exists():
        raise GridInvalid(f"{path} is there already and stays as it is; name another with --grid FILE")
    package = Path(__file__).resolve().parents[1]
    inside = package / "experiments.toml"  # in the installed package; beside it in a checkout
    text = (inside if inside.is_file() else package.parent / "experiments.toml").read_text(encoding="utf-8")
    if root:
        text = _with_data_root(text, root)
    write_text(path, text)


def _with_data_root(text: str, root: str) -> str:
    import tomlkit

    document: Any = tomlkit.parse(text)
    document["data"]["root"] = toml_item(root)
    return tomlkit.dumps(document)


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


def _experiment(
    identifier: str,
    table: Document,
    document: Document,
    forced: Document,
    places: _Places,
) -> ExperimentSettings:
    defaults = {section: document[section] for section in DEFAULT_SECTIONS if section in document}
    return _checked(ExperimentSettings, merged(defaults, table, forced), ("experiments", identifier), places)


def _checked(model: type[Kind], value: Any, prefix: tuple[str, ...], places: _Places) -> Kind:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        sentences = [_sentence(detail, model, prefix, places) for detail in details[:10]]
        more = f" (and {len(details) - 10} more)" if len(details) > 10 else ""
        raise GridInvalid("\n".join(sentences) + more) from None


def _sentence(detail: ErrorDetails, model: Model, prefix: tuple[str, ...], places: _Places) -> str:
    keys = tuple(str(part) for part in detail["loc"] if part != "[key]")
    where, dotted = places.of(prefix + keys, keys)
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key {dotted!r}; {nearest(keys[-1], _fields_at(model, keys[:-1]))}"
    if detail["type"] == "missing":
        return f"{where}: {dotted!r} is missing"
    said = detail["msg"].removeprefix("Value error, ")
    return f"{where}: {dotted}: {said} (it is {shortened(detail['input'])})"


def _fields_at(model: Model, keys: Sequence[str]) -> list[str]:
    fields = model
    for key in keys:
        annotation = fields.model_fields[key].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        fields = next(
            option for option in options if isinstance(option, type) and issubclass(option, BaseModel)
        )
    return list(fields.model_fields)


def _with_paths(
    identifier: str, settings: ExperimentSettings, forced: Document, places: _Places
) -> ExperimentSettings:
    """Make the data root and a weights file absolute: from the file's folder, or from here if overridden."""

    def absolute(section: str, key: str, value: str) -> str:
        base = Path.cwd() if key in forced.get(section, {}) else places.path.parent
        try:
            return str((base / Path(value).expanduser()).resolve())
        except (OSError, RuntimeError, ValueError) as error:  # no such home, a loop of links, a NUL
            where, dotted_key = places.of(("experiments", identifier, section, key), (section, key))
            raise GridInvalid(f"{where}: {dotted_key}: {shortened(value)} is no path: {error}") from error

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
