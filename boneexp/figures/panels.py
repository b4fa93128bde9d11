"""A radiograph beside its heat map, with the annotated lesion outlined: alone, or many on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from boneexp.files.atomic import write_bytes
from boneexp.text.labels import RESEARCH_ONLY


@dataclass(frozen=True)
class Panel:
    """One picture to draw."""

    image: np.ndarray  # (h, w) grey bytes, in the picture's own proportions
    heatmap: np.ndarray  # (s, s) floats in [0, 1], spread over the whole picture
    lesion: np.ndarray | None  # (s, s) bools
    caption: str


def draw_panel(path: Path, panel: Panel) -> None:
    """Write one PNG: the radiograph with the lesion's outline, and the heat map over it."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    plain, mapped = figure.subplots(1, 2)
    _draw_image(plain, panel)
    _draw_image(mapped, panel)
    _draw_heatmap(mapped, panel)
    figure.suptitle(_plain(panel.caption), fontsize=10)
    _save(figure, path)


def draw_gallery(path: Path, panels: Sequence[Panel], title: str, columns: int = 3) -> None:
    """Write one PNG with all panels, heat maps over the radiographs, `columns` in a row."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.7 * rows + 0.6), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        _draw_image(axes, panel)
        _draw_heatmap(axes, panel)
        axes.set_title(_plain(panel.caption), fontsize=7)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(_plain(title), fontsize=11)
    _save(figure, path)


def _draw_image(axes: Axes, panel: Panel) -> None:
    height, width = panel.image.shape
    axes.imshow(panel.image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    if panel.lesion is not None and panel.lesion.any() and not panel.lesion.all():
        across, down = _grid(panel.lesion, width, height)
        axes.contour(across, down, panel.lesion.astype(float), levels=[0.5], colors="#00e5ff", linewidths=1.2)
    axes.set_axis_off()


def _draw_heatmap(axes: Axes, panel: Panel) -> None:
    height, width = panel.image.shape
    shade = 0.55 * panel.heatmap  # where there is no evidence the picture stays clear
    axes.imshow(panel.heatmap, cmap="inferno", vmin=0, vmax=1, alpha=shade, extent=(0, width, height, 0))


def _grid(lesion: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = lesion.shape
    return (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows


def _plain(text: str) -> str:
    return text.replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, 0.03, 1, 0.97))  # type: ignore[call-arg]
    figure.text(0.995, 0.004, RESEARCH_ONLY, ha="right", va="bottom", fontsize=6, color="0.4")
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=130, metadata={"Software": None})
    write_bytes(path, drawn.getbuffer())
