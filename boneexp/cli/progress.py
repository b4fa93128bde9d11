"""Progress: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from boneexp.cli.output import console, escaped, talk
from boneexp.results import News
from boneexp.text.numbers import clock_time

if TYPE_CHECKING:
    from rich.console import RenderableType


def watch(render: Callable[[], tuple["RenderableType", bool]], every_s: float) -> None:
    """Refresh a table every `every_s` seconds until it is final; without a terminal, print it once."""
    from rich.live import Live

    terminal = console()
    if not terminal.is_terminal:
        terminal.print(render()[0])
        return
    with Live(console=terminal, auto_refresh=False) as live:
        while True:
            table, final = render()
            live.update(table, refresh=True)
            if final:
                return
            time.sleep(every_s)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that moves a bar on a terminal and does nothing elsewhere."""
    terminal = console(stderr=True)
    if not terminal.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import Progress

    with Progress(console=terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def run_progress() -> Iterator[Callable[[News], None]]:
    """Yield a function that shows the progress of runs: bars on a terminal, plain lines elsewhere."""
    terminal = console(stderr=True)
    if not terminal.is_terminal:
        yield _print_line
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[detail]}"))
    with Progress(*columns, console=terminal) as progress:
        yield _Bars(progress).show


def epoch_line(news: News) -> str:
    """Return one line about a finished epoch."""
    record = news.record
    if record is None:
        return news.text
    auroc = "" if record.val_macro_auroc is None else f", AUROC {record.val_macro_auroc:.3f}"
    left = "" if news.left_s is None else f", at most {clock_time(news.left_s)} left"
    losses = f"training loss {record.train_loss:.4f}, validation loss {record.val_loss:.4f}"
    epoch = f"epoch {record.epoch + 1}/{news.epochs_planned}"
    return f"{epoch}: {losses}, accuracy {record.val_accuracy:.3f}{auroc}, {record.duration_s:.1f} s{left}"


class _Bars:
    """One bar per active run; a settled run becomes a line above the bars."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[int, Any] = {}
        self._last: dict[int, str] = {}

    def show(self, news: News) -> None:
        if news.kind == "note":
            self._progress.console.print(news.text, markup=False)
            return
        if news.run_id not in self._tasks:
            title = f"run {news.run_id} {escaped(news.title)}"
            self._tasks[news.run_id] = self._progress.add_task(title, total=None, detail="")
        task = self._tasks[news.run_id]
        if news.kind == "settled":
            self._progress.console.print(escaped(f"run {news.run_id} {news.title}: {news.text}"))
            self._progress.remove_task(self._tasks.pop(news.run_id))
            return
        if news.kind == "epoch":
            self._last[news.run_id] = _brief(news)
        detail = news.text or self._last.get(news.run_id, "")
        if news.kind in ("step", "epoch"):
            epoch = f"epoch {news.epoch or news.done}/{news.epochs_planned}"
            detail = " · ".join(filter(None, [epoch, detail]))
        if news.left_s is not None:
            detail = f"{detail} · {clock_time(news.left_s)} left"
        counts = {"completed": news.done, "total": news.total} if news.total else {}
        self._progress.update(task, detail=escaped(detail), **counts)


def _brief(news: News) -> str:
    record = news.record
    if record is None:
        return ""
    return f"loss {record.train_loss:.3f}, val {record.val_loss:.3f}, acc {record.val_accuracy:.3f}"


def _print_line(news: News) -> None:
    if news.kind == "note":
        talk(news.text)
    elif news.kind not in ("step", "counted"):
        talk(f"run {news.run_id} {news.title}: {epoch_line(news)}")
