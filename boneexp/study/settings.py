"""What decides a run: settings, the grid they span, and the hash that names the outcome.

Two runs with the same `config_hash` would give the same result, so the ledger holds it once. Where files
lie, names and notes decide nothing and stay outside the hash.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from boneexp.results import SplitName
from boneexp.study.toml import Document

HASH_VERSION = "boneexp-run-1"
Decoding = Literal["full", "scaled"]
Lesion = Literal["outline", "box", "union"]
LESION_BEFORE: Lesion = "union"  # before it was a setting
STEERS_ONLY = {"training": {"time_limit_hours"}}  # may change at any time: it decides no result
EXPERIMENT_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Center = Annotated[int, Field(ge=0, le=1_000_000)]
ShortText = Annotated[str, StringConstraints(max_length=100)]
FilePath = Annotated[str, StringConstraints(max_length=4096)]
Accepted = Annotated[str, StringConstraints(pattern=r"^damaged:.{1,200}$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Kind = TypeVar("Kind")
Channels = Annotated[tuple[float, float, float], Field(strict=False)]


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Settings(BaseModel):
    """Text from outside: unknown keys and wrong types are errors; a value once made stays."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataSettings(Settings):
    """Which radiographs, and what every one of them goes through."""

    root: FilePath = "BTXRD"
    name: ShortText = "BTXRD"
    image_size: Annotated[int, Field(ge=16, le=2048)] = 224
    decoding: Decoding = "full"
    lesion: Lesion = "outline"
    accept: Annotated[tuple[Accepted, ...], Field(strict=False)] = ()
    clahe_clip_limit: Positive = 2.0
    clahe_tiles: Annotated[int, Field(ge=1, le=64)] = 8
    mean: Channels = (0.485, 0.456, 0.406)
    std: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)] = (0.229, 0.224, 0.225)


class ModelSettings(Settings):
    """Which network, and from which weights it starts."""

    backbone: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "efficientnet_b0"
    pretrained: bool | FilePath = True
    dropout: OpenShare = 0.2
    attn_layer: ShortText = ""


class TrainingSettings(Settings):
    """The recipe."""

    epochs: Epochs = 80
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    annotations: bool = False
    dim_factor: Share = 0.5
    learning_rate: Positive = 3e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_epochs: Annotated[int, Field(ge=0, le=100_000)] = 3
    label_smoothing: OpenShare = 0.1
    class_weights: bool = True
    patience: Epochs = 15
    flip_probability: Share = 0.5
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    time_limit_hours: Annotated[float, Field(ge=0, le=100_000)] = 0.0  # 0: no limit


class EvaluationSettings(Settings):
    """How sure the figures are said to be."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 2000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class ExperimentSettings(Settings):
    """One experiment with every setting filled in."""

    name: ShortText = ""
    notes: Annotated[str, StringConstraints(max_length=10_000)] = ""
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


def decisive_settings(settings: ExperimentSettings) -> Document:
    """Return the settings that decide a result, by section: without name, notes and where the data lie."""
    return settings.model_dump(
        mode="json",
        exclude={"name": True, "notes": True, "data": {"root", "name", "accept"}, **STEERS_ONLY},
    )


def settings_digest(settings: ExperimentSettings) -> str:
    """Return the digest of the settings that decide a result; the path of a weights file decides none."""
    found = decisive_settings(settings)
    if isinstance(found["model"]["pretrained"], str):
        found["model"]["pretrained"] = "a file"
    return digest_of(found)


class StratifiedSettings(Settings):
    """Train, validation and test by class, all centres mixed."""

    ratios: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)] = (0.70, 0.15, 0.15)

    @model_validator(mode="after")
    def _ratios_make_a_whole(self) -> Self:
        return _checked_sum(self, self.ratios)


class CenterHoldoutSettings(Settings):
    """Train and validation from some centres, test on the others."""

    train_centers: Annotated[tuple[Center, ...], Field(strict=False, min_length=1)] = (1,)
    test_centers: Annotated[tuple[Center, ...], Field(strict=False, min_length=1)] = (2, 3)
    ratios: Annotated[tuple[Positive, Positive], Field(strict=False)] = (0.85, 0.15)

    @model_validator(mode="after")
    def _ratios_make_a_whole(self) -> Self:
        shared = sorted(set(self.train_centers) & set(self.test_centers))
        if shared:
            raise ValueError(f"centre {shared[0]} is in train_centers and in test_centers")
        return _checked_sum(self, self.ratios)


class SplitsSettings(Settings):
    """How the images are split; not by the seed of training, so that all seeds share one test set."""

    seed: Seed = 42
    group_column: ShortText = ""
    stratified: StratifiedSettings | None = None
    center_holdout: CenterHoldoutSettings | None = None


class SplitSpec(Settings):
    """One split of one run, with what it needs to be made again."""

    name: SplitName
    seed: Seed
    group_column: str
    settings: StratifiedSettings | CenterHoldoutSettings


class RunSpec(Settings):
    """One cell of the grid: everything an attempt needs, as the ledger keeps it."""

    experiment: Annotated[str, StringConstraints(pattern=EXPERIMENT_ID)]
    settings: ExperimentSettings
    split: SplitSpec
    seed: Seed
    data_fingerprint: str
    split_digest: str
    weights_sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_before_there_was_a_choice(cls, values: Any) -> Any:
        """Read a spec from before `data.lesion` was a setting: all shapes made up the lesion."""
        settings = values.get("settings") if isinstance(values, dict) else None
        if isinstance(settings, dict) and isinstance(settings.get("data"), dict):
            data = {"lesion": LESION_BEFORE, **settings["data"]}
            return {**values, "settings": {**settings, "data": data}}
        return values

    def with_data_at(self, root: str) -> Self:
        """Return the spec with its data elsewhere; that changes neither hash nor fingerprint."""
        data = self.settings.data.model_copy(update={"root": root})
        return self.model_copy(update={"settings": self.settings.model_copy(update={"data": data})})

    def experiment_identity(self) -> Document:
        """Return what all runs of this experiment share and what decides their results."""
        settings = decisive_settings(self.settings)
        if self.weights_sha256:
            settings["model"]["pretrained"] = self.weights_sha256
        if settings["data"]["decoding"] == "full":
            del settings["data"]["decoding"]  # was the only way once: runs from then keep their hash
        if settings["data"]["lesion"] == LESION_BEFORE or not settings["training"]["annotations"]:
            del settings["data"]["lesion"]  # the same; and without annotations it decides nothing
        return {
            "version": HASH_VERSION,
            "experiment": self.experiment,
            "settings": settings,
            "data_fingerprint": self.data_fingerprint,
        }

    @property
    def experiment_digest(self) -> str:
        """The digest of the experiment's resolved settings, whatever the split and seed."""
        return digest_of(self.experiment_identity())

    @property
    def config_hash(self) -> str:
        """The name of the outcome: 64 hex digits over all that decides it."""
        return digest_of({**self.experiment_identity(), "seed": self.seed, "split_digest": self.split_digest})


def _checked_sum(settings: Kind, ratios: tuple[float, ...]) -> Kind:
    if abs(sum(ratios) - 1) > 1e-6:
        raise ValueError(f"the ratios add up to {sum(ratios):g}, not to 1")
    return settings
