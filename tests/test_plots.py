"""The figures, looked at from inside: what is drawn, what is said, and that all of it can be read."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from evaluating import evaluate
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from boneexp.evaluation.confusions import confusion_matrix
from boneexp.figures import plots
from boneexp.figures.plots import draw_confusion, draw_losses, draw_precision_recall, draw_roc
from boneexp.results import CLASS_NAMES, EpochRecord

TITLE = "E3 b3_annotated, stratified, test"
AWKWARD = r"run $E_2$ of a_very_long_name \frac{1} 100 % " * 3 + "W" * 60
LABELS = np.repeat([0, 1, 2], [40, 30, 8])
EPOCHS = [
    EpochRecord(epoch, 1.2 - 0.1 * epoch, 1.0 + 0.01 * (epoch - 4) ** 2, 0.7, 0.8, 3e-4 / (epoch + 1), 9.5)
    for epoch in range(8)
]


def model_output(labels, seed=0):
    logits = np.random.default_rng(seed).normal(size=(len(labels), 3))
    logits[np.arange(len(labels)), labels] += 1.2
    odds = np.exp(logits).round(1) + 0.1  # some ties
    return odds / odds.sum(axis=1, keepdims=True)


PROBABILITIES = model_output(LABELS)
MATRIX = confusion_matrix(LABELS, PROBABILITIES.argmax(axis=1), 3)

FIGURES = {
    "roc": lambda path, title: draw_roc(path, LABELS, PROBABILITIES, CLASS_NAMES, title),
    "pr": lambda path, title: draw_precision_recall(path, LABELS, PROBABILITIES, CLASS_NAMES, title),
    "confusion": lambda path, title: draw_confusion(path, MATRIX, CLASS_NAMES, title),
    "losses": lambda path, title: draw_losses(path, EPOCHS, 4, title),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, each with `shown`: the texts that went into its file."""
    figures, save, draw = [], Figure.savefig, Text.draw

    def saved(figure, *args, **kwargs):
        figure.shown = []
        figures.append(figure)
        save(figure, *args, **kwargs)

    def drawn_text(text, renderer):
        if text.get_text() and text.get_visible() and text not in text.get_figure().shown:
            text.get_figure().shown.append(text)
        draw(text, renderer)

    monkeypatch.setattr(Figure, "savefig", saved)
    monkeypatch.setattr(Text, "draw", drawn_text)
    return figures


def said(figure):
    return [text.get_text() for text in figure.shown]


def legend_of(figure):
    return [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().texts]


def curves(figure):
    """The drawn class curves, (x, y) each; chance lines are dotted."""
    lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() != ":"]
    return [(np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)) for line in lines]


def metric(name, class_name, labels=LABELS, probabilities=PROBABILITIES):
    values = evaluate(labels, probabilities, CLASS_NAMES, seed=0, resamples=0)
    return next(v.value for v in values if (v.metric, v.class_name) == (name, class_name))


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("title", [TITLE, AWKWARD])
def test_all_text_is_shown_as_given_inside_the_figure_and_none_on_another(tmp_path, drawn, kind, title):
    FIGURES[kind](tmp_path / "figure.png", title)
    (figure,) = drawn
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.shown]
    assert len(boxes) > 10
    assert "".join(figure.get_suptitle().split()) == "".join(title.split())
    assert not any(text.get_parse_math() for text in figure.shown)
    for text, box in boxes:
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for position, (text, box) in enumerate(boxes):
        for other_text, other in boxes[position + 1 :]:
            assert not box.overlaps(other), (text, other_text)


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_is_a_png_with_the_caption_and_nothing_is_left_beside_it(tmp_path, drawn, kind):
    path = tmp_path / "made" / "on_the_way" / "figure.png"
    FIGURES[kind](path, TITLE)
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) >= 700
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert set(image.info) == {"dpi"}  # no program version, no date
    assert "Research use only, not for clinical use." in said(drawn[0])
    assert TITLE in said(drawn[0])


@pytest.mark.parametrize("kind", FIGURES)
def test_the_same_input_gives_the_same_bytes_whatever_the_users_matplotlib_settings(tmp_path, kind):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    FIGURES[kind](first, TITLE)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        FIGURES[kind](second, TITLE)
        assert matplotlib.rcParams["font.size"] == 20  # and they are left as they were
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_that_cannot_be_written_leaves_the_former_one(tmp_path, monkeypatch, kind):
    path = tmp_path / "figure.png"
    path.write_bytes(b"former")

    real = Path.write_bytes

    def half(part, content):
        real(part, content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="disk full"):
        FIGURES[kind](path, TITLE)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"former"]


def test_the_area_below_each_roc_curve_is_the_auroc_in_the_legend(tmp_path, drawn):
    FIGURES["roc"](tmp_path / "roc.png", TITLE)
    for (x, y), name, told in zip(curves(drawn[0]), CLASS_NAMES, legend_of(drawn[0])[:3], strict=True):
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert np.trapezoid(y, x) == pytest.approx(metric("auroc", name))
        count = list(LABELS).count(CLASS_NAMES.index(name))
        assert told == f"{name}: AUROC {metric('auroc', name):.3f} ({count} of 78 images)"
    assert f"{metric('macro_auroc', ''):.3f}" in legend_of(drawn[0])[3]


def test_the_roc_square_is_square_and_has_a_chance_line(tmp_path, drawn):
    FIGURES["roc"](tmp_path / "roc.png", TITLE)
    axes = drawn[0].axes[0]
    box = axes.get_window_extent()
    assert box.width == pytest.approx(box.height)
    chance = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert [line.get_xydata().tolist() for line in chance] == [[[0, 0], [1, 1]]]


def test_the_area_below_each_precision_recall_step_is_the_average_precision(tmp_path, drawn):
    FIGURES["pr"](tmp_path / "pr.png", TITLE)
    for (x, y), name, told in zip(curves(drawn[0])[:3], CLASS_NAMES, legend_of(drawn[0])[:3], strict=True):
        assert (np.diff(x) * y[1:]).sum() == pytest.approx(metric("average_precision", name))
        assert f"{name}: AP {metric('average_precision', name):.3f}" in told
    axes = drawn[0].axes[0]
    assert {line.get_drawstyle() for line in axes.get_lines()[:1]} == {"steps-pre"}
    chance = [
        line.get_ydata()[0]
        for line in axes.get_lines()
        if line.get_linestyle() == ":" and any(line.get_xdata())
    ]
    assert chance == pytest.approx([40 / 78, 30 / 78, 8 / 78])


@pytest.mark.parametrize("draw", [draw_roc, draw_precision_recall])
def test_a_class_without_images_is_said_to_have_none_and_gets_no_curve(tmp_path, drawn, draw):
    present = LABELS < 2
    draw(tmp_path / "figure.png", LABELS[present], PROBABILITIES[present], CLASS_NAMES, TITLE)
    assert legend_of(drawn[0])[2] == "Malignant: no such image"
    assert [len(x) > 0 for x, _ in curves(drawn[0])[:3]] == [True, True, False]
    assert "macro" not in " ".join(legend_of(drawn[0]))


def test_one_class_alone_has_no_roc_curve_and_a_flat_precision(tmp_path, drawn):
    alone = LABELS == 1
    draw_roc(tmp_path / "roc.png", LABELS[alone], PROBABILITIES[alone], CLASS_NAMES, TITLE)
    draw_precision_recall(tmp_path / "pr.png", LABELS[alone], PROBABILITIES[alone], CLASS_NAMES, TITLE)
    assert legend_of(drawn[0])[1] == "Benign: no other image"
    assert legend_of(drawn[1])[1] == "Benign: AP 1.000 (30 of 30 images)"
    assert "nan" not in " ".join(said(drawn[0]) + said(drawn[1])).split()
    assert not any(np.isnan(y).any() for figure in drawn for _, y in curves(figure))


def test_each_class_keeps_its_colour_and_line_in_every_figure(tmp_path, drawn):
    FIGURES["roc"](tmp_path / "roc.png", TITLE)
    FIGURES["pr"](tmp_path / "pr.png", TITLE)
    looks = [
        [(line.get_color(), line.get_linestyle()) for line in axes.get_lines() if line.get_zorder() == 3]
        for axes in (drawn[0].axes[0], drawn[1].axes[0])
    ]
    assert looks[0] == looks[1]
    assert [colour for colour, _ in looks[0]] == list(plots.CLASS_COLOURS[:3])


def test_the_confusion_matrix_shows_counts_and_shares_of_the_true_class(tmp_path, drawn):
    matrix = np.array([[1200, 300, 0], [5, 15, 20], [0, 0, 0]])
    draw_confusion(tmp_path / "confusion.png", matrix, CLASS_NAMES, TITLE)
    counts, shares = ([text.get_text() for text in axes.texts] for axes in drawn[0].axes)
    assert counts == ["1,200", "300", "0", "5", "15", "20", "0", "0", "0"]
    assert shares == ["80.0%", "20.0%", "0.0%", "12.5%", "37.5%", "50.0%", "–", "–", "–"]
    rows = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert rows == ["Normal\n(1,500 images)", "Benign\n(40 images)", "Malignant\n(no such image)"]
    assert "Counts (1,540 images)" in said(drawn[0])


def test_each_cell_is_written_in_the_colour_that_stands_out_more(tmp_path, drawn):
    matrix = np.zeros((11, 11), int)
    matrix[:, 0] = np.arange(0, 55, 5)
    matrix[:, 1] = 100 - matrix[:, 0]
    draw_confusion(tmp_path / "confusion.png", matrix, "ABCDEFGHIJK", TITLE)
    axes = drawn[0].axes[1]
    for text in axes.texts:
        column, row = text.get_position()
        shade = plots._luminance(axes.images[0].to_rgba(matrix[row, column] / 100))
        on_black, on_white = (shade + 0.05) / 0.05, 1.05 / (shade + 0.05)
        assert text.get_color() == ("black" if on_black > on_white else "white")
        assert max(on_black, on_white) > 4.5
    assert {text.get_color() for text in axes.texts} == {"black", "white"}


def test_an_empty_confusion_matrix_can_be_drawn_and_one_that_does_not_fit_is_refused(tmp_path):
    draw_confusion(tmp_path / "empty.png", np.zeros((3, 3), int), CLASS_NAMES, TITLE)
    with pytest.raises(ValueError, match=r"matrix is \(2, 3\), not square with one row for each of 3 names"):
        draw_confusion(tmp_path / "wrong.png", np.zeros((2, 3), int), CLASS_NAMES, TITLE)
    assert [p.name for p in tmp_path.iterdir()] == ["empty.png"]


def test_the_losses_are_drawn_by_epoch_counted_from_one_with_the_best_marked(tmp_path, drawn):
    FIGURES["losses"](tmp_path / "losses.png", TITLE)
    losses, rates = drawn[0].axes
    training, validation, best = losses.get_lines()[:3]
    assert training.get_xdata().tolist() == validation.get_xdata().tolist() == list(range(1, 9))
    assert training.get_ydata().tolist() == [e.train_loss for e in EPOCHS]
    assert validation.get_ydata().tolist() == [e.val_loss for e in EPOCHS]
    assert best.get_xydata().tolist() == [[5, 1.0]]
    assert legend_of(drawn[0]) == ["Training", "Validation", "Best: 1.0000 in epoch 5"]
    assert rates.get_lines()[0].get_ydata().tolist() == [e.learning_rate for e in EPOCHS]
    assert all(float(tick).is_integer() for tick in rates.get_xticks())


def test_one_epoch_alone_is_visible(tmp_path, drawn):
    draw_losses(tmp_path / "losses.png", EPOCHS[:1], 0, TITLE)
    losses, rates = drawn[0].axes
    for line in (*losses.get_lines()[:2], rates.get_lines()[0]):
        assert line.get_marker() == "o"
        assert line.get_markersize() > 2
    below = [text.get_text() for text in drawn[0].shown if text in rates.get_xticklabels()]
    assert below == ["1"]


@pytest.mark.parametrize("epochs", [80, 400])
def test_many_epochs_are_lines_without_markers(tmp_path, drawn, epochs):
    draw_losses(tmp_path / "losses.png", [replace(EPOCHS[0], epoch=e) for e in range(epochs)], 70, TITLE)
    assert drawn[0].axes[0].get_lines()[0].get_markersize() == 0


def test_a_loss_that_left_the_numbers_does_not_stop_the_figure(tmp_path):
    broken = [
        EPOCHS[0],
        replace(EPOCHS[1], val_loss=float("inf")),
        replace(EPOCHS[2], train_loss=float("nan")),
    ]
    draw_losses(tmp_path / "losses.png", broken, 0, TITLE)
    assert (tmp_path / "losses.png").stat().st_size > 10_000


@pytest.mark.parametrize(("epochs", "best"), [(EPOCHS, 8), (EPOCHS, -1), ([], 0)])
def test_a_best_epoch_that_is_none_of_them_is_refused(tmp_path, epochs, best):
    with pytest.raises(ValueError, match=f"best_epoch {best} is none of the {len(epochs)} epochs"):
        draw_losses(tmp_path / "losses.png", epochs, best, TITLE)
    assert not list(tmp_path.iterdir())


def test_drawing_loads_no_pyplot_and_no_torch():
    program = "import boneexp.figures.plots, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"matplotlib.pyplot", "torch", "pandas", "sklearn", "sqlalchemy"} & set(loaded.stdout.split())
