"""One model on chosen images: heat maps, their overlap with the annotated lesions, and panels to look at."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from boneexp.data.radiograph import Radiograph, lesion_mask, read_grey
from boneexp.data.study import dataset_of, study_images
from boneexp.errors import NoHeatMaps
from boneexp.evaluation.overlap import energy_inside, iou_at, pointing_hit
from boneexp.figures.panels import Panel, draw_gallery, draw_panel
from boneexp.files.folders import RunFolder
from boneexp.learning.checkpoint import load_best
from boneexp.learning.devices import resolved_device
from boneexp.learning.gradcam import heatmaps
from boneexp.learning.last_map import last_map
from boneexp.learning.models import build, on_device
from boneexp.results import CLASS_NAMES, Prediction
from boneexp.study.settings import Lesion, RunSpec

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
SIDE_PX = 512  # overlaps and panels; the squeeze to a square changes no overlap


@dataclass(frozen=True)
class Question:
    """One heat map that is wanted: of which predicted image, for which class, and whether to draw it."""

    image: Prediction
    explained: int
    drawn: bool

    @property
    def predicted(self) -> int:
        """The class that the image was predicted as."""
        return int(np.argmax(self.image.probabilities))

    @property
    def is_of_own_class(self) -> bool:
        """Whether the evidence is for the class that the image is of."""
        return self.explained == self.image.label

    @property
    def outcome(self) -> str:
        """How the prediction counts for the explained class: TP, FP, FN or TN."""
        if self.predicted == self.explained:
            return "TP" if self.is_of_own_class else "FP"
        return "FN" if self.is_of_own_class else "TN"


@dataclass(frozen=True)
class Explanation:
    """The answer: overlaps are None where the image has no annotated lesion."""

    question: Question
    layer: str
    iou: Mapping[float, float] | None
    energy_inside: float | None
    pointing_hit: bool | None
    overlay: str  # path relative to the artifacts folder; "" where none was drawn


@dataclass(frozen=True)
class Explained:
    """Every answer, the galleries that show them class by class, and which lesion they were held against."""

    explanations: tuple[Explanation, ...]
    galleries: tuple[Path, ...]
    lesion: Lesion


def explain(
    spec: RunSpec,
    folder: RunFolder,
    checkpoint: tuple[Path, str],
    questions: Sequence[Question],
    *,
    lesion: Lesion,
    device: str,
    progress: Callable[[int, int], None],
    gallery: str = "gallery",
) -> Explained:
    """Answer the questions with the checkpoint (path, SHA-256), and write overlays and galleries.

    `lesion` says which of the annotated shapes a heat map is held against.
    `gallery` begins the galleries' names, so that those of another choice of images stay.

    Raises:
        Damaged: the checkpoint is not the one that was recorded.
        DataInvalid: the data are not those that the run was trained on.
        NoHeatMaps: the network has no map before its pooling.
    """
    dataset, _ = dataset_of(spec, folder.artifacts)
    prepared = study_images(dataset, spec.settings.data, folder.artifacts)
    settings = spec.settings.model.model_copy(update={"pretrained": False})
    model = build(settings, spec.seed, spec.settings.data.image_size)
    load_best(*checkpoint, model)
    model = on_device(model, resolved_device(device))
    layer = _layer(model, spec)
    row_of = {radiograph.image_id: row for row, radiograph in enumerate(dataset.radiographs)}
    rows = np.array([row_of[question.image.image_id] for question in questions])
    classes = np.array([question.explained for question in questions])
    maps = heatmaps(model, prepared, rows, classes, spec.settings.data)
    answers = []
    panels: dict[tuple[str, str], list[Panel]] = {}
    for done, (question, row, heatmap) in enumerate(zip(questions, rows, maps, strict=True), start=1):
        radiograph = dataset.radiographs[row]
        explanation, panel = _answer(question, (radiograph, lesion), heatmap, layer, folder)
        answers.append(explanation)
        if panel is not None:
            panels.setdefault((CLASS_NAMES[question.explained], question.outcome), []).append(panel)
        progress(done, len(questions))
    return Explained(tuple(answers), tuple(_galleries(folder, spec, panels, gallery)), lesion)


def _layer(model: nn.Module, spec: RunSpec) -> str:
    try:
        return last_map(model, spec.settings.data.image_size).layer
    except NoHeatMaps as error:
        backbone = spec.settings.model.backbone
        raise NoHeatMaps(f"no heat maps of {spec.experiment} ({backbone}): {error}") from error


def _answer(
    question: Question,
    image: tuple[Radiograph, Lesion],
    heatmap: np.ndarray,
    layer: str,
    folder: RunFolder,
) -> tuple[Explanation, Panel | None]:
    radiograph, which = image
    large = np.clip(cv2.resize(heatmap, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR), 0, 1)
    lesion = None
    if radiograph.annotation_path is not None:
        lesion = lesion_mask(radiograph.annotation_path, SIDE_PX, SIDE_PX, which, radiograph)
    iou = None if lesion is None else {level: iou_at(large, lesion, level) for level in THRESHOLDS}
    energy = None if lesion is None or not large.any() else energy_inside(large, lesion)
    hit = None if lesion is None else pointing_hit(large, lesion)
    overlay, panel = "", None
    if question.drawn:
        panel = Panel(_resized(radiograph), large, lesion, _caption(question, iou))
        name = (
            f"{Path(question.image.image_id).stem}-{CLASS_NAMES[question.explained]}-{question.outcome}.png"
        )
        path = folder.file("gradcam") / name
        draw_panel(path, panel)
        overlay = path.relative_to(folder.artifacts).as_posix()
    return Explanation(question, layer, iou, energy, hit, overlay), panel


def _resized(radiograph: Radiograph) -> np.ndarray:
    """Return the picture at panel size in its own proportions: the longer side is SIDE_PX."""
    grey = read_grey(radiograph.image_path)
    scale = SIDE_PX / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


def _caption(question: Question, iou: Mapping[float, float] | None) -> str:
    image, overlap = question.image, "" if iou is None else f", IoU {iou[0.5]:.2f}"
    probability = image.probabilities[question.predicted]
    return (
        f"{image.image_id}: {question.outcome} for {CLASS_NAMES[question.explained]}\n"
        f"true {CLASS_NAMES[image.label]}, predicted {CLASS_NAMES[question.predicted]} "
        f"(p = {probability:.2f}){overlap}"
    )


def _galleries(
    folder: RunFolder, spec: RunSpec, panels: Mapping[tuple[str, str], list[Panel]], gallery: str
) -> Iterator[Path]:
    for (class_name, outcome), shown in panels.items():
        path = folder.file("gradcam") / f"{gallery}-{class_name}-{outcome}.png"
        words = {
            "TP": "true positives",
            "FP": "false positives",
            "FN": "false negatives",
            "TN": "true negatives",
        }
        title = (
            f"{spec.experiment} {spec.split.name}: {class_name}, {words[outcome]} ({spec.settings.data.name})"
        )
        draw_gallery(path, shown, title)
        yield path
