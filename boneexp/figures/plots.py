"""Four figures of one run: ROC, precision and recall, confusion, losses.

Each function writes one PNG, whole, and the same input gives the same bytes. No pyplot: it would keep every
figure and a current one. A user's matplotlibrc changes nothing, and text is shown as it is given, `$` and
underscores included. One thread at a time: matplotlib's settings are the process's while a figure is drawn.
"""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from boneexp.evaluation.curves import precision_recall_points, roc_points
from boneexp.evaluation.inputs import predictions_of
from boneexp.evaluation.metrics import defined, metric_columns, metrics_of
from boneexp.evaluation.ranks import ratio
from boneexp.files.atomic import write_bytes
from boneexp.results import EpochRecord
from boneexp.text.labels import RESEARCH_ONLY

DPI = 150

# Okabe and Ito's palette, ordered so that the first three stay apart in every kind of colour blindness; the
# line styles tell them apart in grey, too.
CLASS_COLOURS = ("#0072B2", "#E69F00", "#000000", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
CLASS_LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 1.2)),
    (0, (5, 1.2, 1.2, 1.2)),
    (0, (1.2, 1.2)),
)
TRAIN_COLOUR, VAL_COLOUR, QUIET = "#56B4E9", "#D55E00", "#6E6E6E"

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the bytes do not depend on the machine's fonts
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 3.0,
    "text.parse_math": False,
}


def draw_roc(
    path: Path, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], title: str
) -> None:
    """Write the ROC curve of each class against the rest, with AUROC and number of images, to `path`.

    Args:
        path: of the PNG; its folder is created.
        labels: (n,) ints, positions in `class_names`.
        probabilities: (n, classes) floats; rows sum to 1.
        class_names: at least two different names.
        title: any text; it is wrapped, not interpreted.

    Raises:
        ValueError: as `boneexp.evaluation.inputs.predictions_of`.
    """
    metrics = _metrics(labels, probabilities, class_names)
    with _figure(path, (4.9, 6.4), title) as figure:
        axes, below = _unit_square(
            figure, "False positive rate (1 − specificity)", "True positive rate (sensitivity)"
        )
        for label, name in enumerate(class_names):
            entry = _legend_entry(name, labels == label, "AUROC", metrics["auroc", name])
            curve = roc_points(labels == label, probabilities[:, label])
            axes.plot(*curve.T, label=entry, zorder=3, color=_colour(label), linestyle=_dashes(label))
        macro = metrics["macro_auroc", ""]
        chance = "Chance" if macro is None else f"Chance 0.5 (macro AUROC of the model: {macro:.3f})"
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label=chance)
        _legend_below(axes, below)


def draw_precision_recall(
    path: Path, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], title: str
) -> None:
    """Write the precision-recall curve of each class, with average precision, to `path`.

    The chance line of a class lies at its fraction of the images, so these curves do not compare between sets
    of different composition.

    Args: as `draw_roc`.

    Raises:
        ValueError: as `boneexp.evaluation.inputs.predictions_of`.
    """
    metrics = _metrics(labels, probabilities, class_names)
    with _figure(path, (4.9, 6.4), title) as figure:
        axes, below = _unit_square(figure, "Recall (sensitivity)", "Precision (positive predictive value)")
        for label, name in enumerate(class_names):
            positive = labels == label
            entry = _legend_entry(name, positive, "AP", metrics["average_precision", name])
            if not positive.any():
                axes.plot([], [], label=entry, color=_colour(label), linestyle=_dashes(label))
                continue
            # Steps, as average precision sums them: the area below the line is the number in the legend.
            corners = precision_recall_points(positive, probabilities[:, label])
            axes.step(
                *corners.T, where="pre", label=entry, zorder=3, color=_colour(label), linestyle=_dashes(label)
            )
            axes.axhline(positive.mean(), color=_colour(label), linewidth=1, linestyle=":")
        axes.plot(
            [], [], color=QUIET, linewidth=1, linestyle=":", label="Chance: the class's fraction of images"
        )
        _legend_below(axes, below)


def draw_confusion(path: Path, matrix: np.ndarray, class_names: Sequence[str], title: str) -> None:
    """Write the confusion matrix to `path` twice side by side: as counts and as fractions of each true class.

    Args:
        path: of the PNG; its folder is created.
        matrix: (classes, classes) ints >= 0, true class by predicted class.
        class_names: a name for each row.
        title: any text; it is wrapped, not interpreted.

    Raises:
        ValueError: the matrix is not square, or does not fit the names.
    """
    if matrix.shape != (len(class_names), len(class_names)):
        raise ValueError(
            f"matrix is {matrix.shape}, not square with one row for each of {len(class_names)} names"
        )
    support = matrix.sum(axis=1)
    fractions = ratio(matrix, np.broadcast_to(support[:, None], matrix.shape))
    counts_text = [[f"{count:,}" for count in row] for row in matrix]
    fractions_text = [
        ["–" if np.isnan(fraction) else f"{fraction:.1%}" for fraction in row] for row in fractions
    ]
    row_labels = [
        f"{name}\n({count:,} images)" if count else f"{name}\n(no such image)"
        for name, count in zip(class_names, support, strict=True)
    ]
    with _figure(path, (8.6, 4.9), title) as figure:
        left, right = figure.subplots(1, 2)
        _draw_cells(left, matrix / max(matrix.max(), 1), counts_text, class_names)
        _draw_cells(right, fractions, fractions_text, class_names)
        left.set_title(f"Counts ({support.sum():,} images)")
        right.set_title("Fraction of each true class (diagonal: sensitivity)")
        left.set_yticks(range(len(class_names)), row_labels)
        left.set_ylabel("True class")
        right.set_yticks(range(len(class_names)), [""] * len(class_names))


def draw_losses(path: Path, epochs: Sequence[EpochRecord], best_epoch: int, title: str) -> None:
    """Write training and validation loss by epoch, with the learning rate below, to `path`.

    The two losses are not on one scale where training uses class weights or smoothing and validation none:
    read the course of each, not one against the other.

    Args:
        path: of the PNG; its folder is created.
        epochs: at least one; counted from 0 and shown from 1.
        best_epoch: the `epoch` of the record whose weights were kept.
        title: any text; it is wrapped, not interpreted.

    Raises:
        ValueError: there is no epoch, or the best is not among them.
    """
    best = next((record for record in epochs if record.epoch == best_epoch), None)
    if best is None:
        raise ValueError(f"best_epoch {best_epoch} is none of the {len(epochs)} epochs")
    number = [record.epoch + 1 for record in epochs]
    size = 3.5 if len(epochs) <= 40 else 0
    with _figure(path, (6.8, 5.2), title) as figure:
        losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        train, val = [record.train_loss for record in epochs], [record.val_loss for record in epochs]
        losses.plot(number, train, color=TRAIN_COLOUR, label="Training", marker="o", markersize=size)
        losses.plot(
            number, val, color=VAL_COLOUR, linestyle="--", label="Validation", marker="o", markersize=size
        )
        entry = f"Best: {best.val_loss:.4f} in epoch {best.epoch + 1}"
        losses.plot(best.epoch + 1, best.val_loss, "ko", fillstyle="none", markersize=11, label=entry)
        rates.plot(
            number, [record.learning_rate for record in epochs], color=QUIET, marker="o", markersize=size
        )
        for axes in (losses, rates):
            axes.axvline(best.epoch + 1, color="black", linewidth=0.8, linestyle=":")
            axes.grid(visible=True)
        losses.set_ylabel("Loss (mean per image)")
        losses.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        rates.set_ylabel("Learning\nrate")
        rates.set_xlabel("Epoch")
        rates.set_ylim(bottom=0)
        rates.yaxis.set_major_locator(MaxNLocator(nbins=3))
        rates.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        rates.set_xlim(0.5, number[-1] + 0.5)
        rates.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


@contextmanager
def _figure(path: Path, size_in: tuple[float, float], title: str) -> Iterator[Figure]:
    """Yield an empty figure; write it to `path`, with its title and caption, if the block succeeds."""
    with matplotlib.style.context(["default", STYLE]):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03)
        figure = Figure(figsize=size_in, dpi=DPI, layout=layout)
        _entitle(figure, title)
        figure.supxlabel(RESEARCH_ONLY, fontsize=8, color=QUIET)
        yield figure
        drawn = BytesIO()
        figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
        write_bytes(path, drawn.getbuffer())


def _entitle(figure: Figure, title: str) -> None:
    """Set `title` in as few lines as fit the figure's width, and as even; words too long are broken."""
    text = figure.suptitle("", fontsize=10.5, fontweight="bold")
    width_px: dict[str, float] = {}
    for characters in range(10, 120):
        text.set_text(textwrap.fill(title, characters))
        width_px[text.get_text()] = text.get_window_extent().width
    fitting = [wrapped for wrapped, width in width_px.items() if width <= 0.94 * figure.bbox.width]
    text.set_text(min(fitting, key=lambda wrapped: (wrapped.count("\n"), width_px[wrapped])))


def _metrics(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict[tuple[str, str], float | None]:
    values = metrics_of(predictions_of(labels, probabilities, class_names))
    return dict(zip(metric_columns(class_names), map(defined, values), strict=True))


def _legend_entry(name: str, positive: np.ndarray, metric: str, value: float | None) -> str:
    count = int(positive.sum())
    if value is None:
        return f"{name}: no {'such' if count == 0 else 'other'} image"
    return f"{name}: {metric} {value:.3f} ({count:,} of {len(positive):,} images)"


def _colour(label: int) -> str:
    return CLASS_COLOURS[label % len(CLASS_COLOURS)]


def _dashes(label: int) -> str | tuple[int, tuple[float, ...]]:
    return CLASS_LINES[label % len(CLASS_LINES)]


def _unit_square(figure: Figure, across: str, up: str) -> tuple[Axes, Axes]:
    """Return square axes from 0 to 1, and a strip below them for the legend."""
    axes, below = figure.subplots(2, 1, height_ratios=(5, 1))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up, aspect="equal")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(visible=True)
    below.set_axis_off()
    return axes, below


def _legend_below(axes: Axes, below: Axes) -> None:
    """Put the legend into the strip: inside the square it could hide a curve."""
    below.legend(*axes.get_legend_handles_labels(), loc="center", borderaxespad=0)


def _draw_cells(
    axes: Axes, darkness: np.ndarray, text: Sequence[Sequence[str]], class_names: Sequence[str]
) -> None:
    """Draw a square of cells, as dark as (classes, classes) floats in [0, 1]; nan is left grey."""
    axes.set_facecolor("#EFEFEF")
    painted = axes.imshow(np.ma.masked_invalid(darkness), cmap="Blues", vmin=0, vmax=1)
    for (row, column), dark in np.ndenumerate(darkness):
        colour = "black" if np.isnan(dark) or _luminance(painted.to_rgba(dark)) > 0.18 else "white"
        axes.text(column, row, text[row][column], ha="center", va="center", color=colour, fontsize=11)
    axes.set_xticks(range(len(class_names)), class_names)
    axes.set_xlabel("Predicted class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    edges = np.arange(1, len(class_names)) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(visible=True, which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)


def _luminance(rgba: np.ndarray) -> float:
    """Return WCAG's relative luminance; above 0.18, black has more contrast than white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
