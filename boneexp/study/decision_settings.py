"""What a study decides by: how the best is picked, what a promotion must show, targets and baseline."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from boneexp.results import COMPARED, SPLITS
from boneexp.study.settings import OpenShare, Settings, Share, ShortText

REFERENCE_FIGURES = (
    *(f"{split}_{metric.key}" for split in SPLITS for metric in COMPARED),
    *(f"{split}_malignant_specificity" for split in SPLITS),
    "gradcam_iou",
)

ImageCount = Annotated[int, Field(ge=1, le=10_000_000)]
Figure = Literal[
    "stratified_accuracy",
    "stratified_macro_auroc",
    "stratified_malignant_sensitivity",
    "center_holdout_accuracy",
    "center_holdout_macro_auroc",
    "center_holdout_malignant_sensitivity",
]
GatedFigure = Literal[
    Figure, "stratified_malignant_specificity", "center_holdout_malignant_specificity"
]  # all that have a baseline and an interval
Attribute = Literal["centre", "site", "region", "view", "subtype", "sex", "age band"]


class SelectionSettings(Settings):
    """Which figure decides, which breaks a tie, and so on; and on which part of the images."""

    order: Annotated[tuple[Figure, ...], Field(strict=False, min_length=1, max_length=3)] = (
        "stratified_accuracy",
        "stratified_malignant_sensitivity",
        "center_holdout_accuracy",
    )
    part: Literal["test", "val"] = "test"


class PromotionSettings(Settings):
    """What an experiment must show before it is promoted; without `enforce`, the rest is a warning."""

    enforce: bool = False
    above_baseline: Annotated[tuple[GatedFigure, ...], Field(strict=False)] = (
        "stratified_accuracy",
        "stratified_malignant_sensitivity",
        "center_holdout_accuracy",
    )
    subgroups: Annotated[tuple[Attribute, ...], Field(strict=False)] = ("centre", "site", "sex", "age band")
    smallest_subgroup: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    least_accuracy: Share = 0.5
    least_malignant_sensitivity: Share = 0.5
    calibration_metric: Literal["", "expected_calibration_error", "log_loss", "brier_score"] = (
        "expected_calibration_error"
    )
    calibration_at_most: Annotated[float, Field(ge=0)] = 0.0
    temperature_scaling: bool = False
    non_inferiority_margin: OpenShare = 0.0
    leakage: bool = True


class ReferenceSettings(Settings):
    """Published or wanted figures, and the images that they are of."""

    comparable_to: ShortText = ""
    stratified_accuracy: Share | None = None
    stratified_macro_auroc: Share | None = None
    stratified_malignant_sensitivity: Share | None = None
    stratified_malignant_specificity: Share | None = None
    center_holdout_accuracy: Share | None = None
    center_holdout_macro_auroc: Share | None = None
    center_holdout_malignant_sensitivity: Share | None = None
    center_holdout_malignant_specificity: Share | None = None
    gradcam_iou: Share | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The figures that are given, by name."""
        given = {figure: getattr(self, figure) for figure in REFERENCE_FIGURES}
        return {figure: value for figure, value in given.items() if value is not None}


class ImageCounts(Settings):
    """How many images a study's test parts have; None where that is not known."""

    stratified: ImageCount | None = None
    center_holdout: ImageCount | None = None


class BaselineSettings(ReferenceSettings):
    """What went before, and on how many test images: then its own uncertainty counts, too."""

    images: ImageCounts = ImageCounts()
    malignant_images: ImageCounts = ImageCounts()

    @model_validator(mode="after")
    def _malignant_images_are_among_them(self) -> Self:
        for split in SPLITS:
            images, malignant = getattr(self.images, split), getattr(self.malignant_images, split)
            if images is not None and malignant is not None and malignant >= images:
                raise ValueError(f"{split} has {malignant} malignant images of {images}")
        return self

    @property
    def sizes(self) -> dict[str, int]:
        """On how many images each proportion of the baseline rests, as far as that is given."""
        found: dict[str, int] = {}
        for split in SPLITS:
            images, malignant = getattr(self.images, split), getattr(self.malignant_images, split)
            others = None if images is None or malignant is None else images - malignant
            named = {"accuracy": images, "malignant_sensitivity": malignant, "malignant_specificity": others}
            found |= {f"{split}_{metric}": count for metric, count in named.items() if count is not None}
        return {figure: count for figure, count in found.items() if figure in self.figures}


class PromotedSettings(Settings):
    """The default model; written by `boneexp promote`."""

    experiment: str = ""
    backbone: str = ""
    image_size: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    batch_size: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    dropout: float = 0.0
    attn_layer: str = ""
    checkpoint: str = ""
    checkpoint_stratified: str = ""
    checkpoint_center: str = ""
    digest_stratified: str = ""
    digest_center: str = ""
