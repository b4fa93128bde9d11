"""The figures of docs/performance.md: its tables and plots, from the rows that `bench.py` has kept.

python benchmarks/performance_page.py            # after BENCH=full make bench

Nothing is measured here. The tables stand between markers; the words around them are a person's. A test holds
the page against the rows.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from bench import SCRIPTS, rows_from
from measuring import HOME, Row

RESULTS = HOME / "benchmarks" / "results"
PAGE = HOME / "docs" / "performance.md"
PICTURES = HOME / "docs" / "pictures"
MOST_SHOWN = 20.0  # times better than a goal: what is farther is drawn at the edge
BEGIN, END = "<!-- figures: {} -->", "<!-- end of figures -->"
Kept = dict[str, list[Row]]


def main() -> None:
    """Write tables and plots anew."""
    import matplotlib as mpl

    now, before = rows_of("speed_cpu"), rows_of("speed_before")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    mpl.rcParams["svg.hashsalt"] = "boneexp"  # the same figures, the same bytes
    draw_goals(now, before)
    draw_growth(now)


def with_tables(page: str) -> str:
    """Return the page with the block of every script filled from the kept rows."""
    tables = {name: rows_of(name) for name in ("speed_cpu", "speed_before", "speed_gpu")}
    for script in SCRIPTS:
        begin = BEGIN.format(script)
        if begin in page:
            head, _, rest = page.partition(begin)
            block = "\n".join(_block(script, tables))
            page = f"{head}{begin}\n{block}\n{END}{rest.partition(END)[2]}"
    return page


def rows_of(name: str) -> Kept:
    """Return the rows of each script that were kept under that name; none where there is no such file."""
    return {script: rows_from(part["rows"]) for script, part in _kept(name).items()}


def draw_goals(now: Kept, before: Kept) -> None:
    """Draw how far each figure is beyond its goal, before and after."""
    from matplotlib.figure import Figure

    goals = [(row, _past(row), _past(_former(row, before))) for row in _judged(now)]
    figure = Figure(figsize=(9, 0.34 * len(goals) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, (_, after, former) in enumerate(reversed(goals)):
        if former is not None:
            axes.plot([former, after], [place, place], color="0.7", zorder=1)
            axes.scatter(former, place, color="white", edgecolor="0.4", zorder=2)
        beyond = after is not None and after > MOST_SHOWN
        shown = MOST_SHOWN if beyond else after
        axes.scatter(shown, place, color="tab:blue", marker=">" if beyond else "o", zorder=3)
    axes.axvline(1, color="tab:green", linestyle="--")
    axes.set_xscale("log")
    axes.set_yticks(range(len(goals)), [_short(row) for row, *_ in reversed(goals)], fontsize=8)
    axes.set_xlim(0.4, 1.3 * MOST_SHOWN)
    axes.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    axes.set_xlabel("times better than the goal; white: before")
    figure.savefig(PICTURES / "speed_goals.svg", metadata={"Date": None})


def draw_growth(now: Kept) -> None:
    """Draw the time of each stage against the number of images, with growth in proportion beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for stage, points in _growth(now).items():
        counts, seconds = zip(*sorted(points), strict=True)
        line = axes.plot(counts, seconds, marker="o", label=stage)[0]
        straight = [seconds[0] * count / counts[0] for count in counts]
        axes.plot(counts, straight, linestyle=":", color=line.get_color())
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("images (dotted: in proportion)")
    axes.set_ylabel("seconds")
    axes.legend(fontsize=8)
    figure.savefig(PICTURES / "speed_growth.svg", metadata={"Date": None})


def _block(script: str, tables: dict[str, Kept]) -> Iterator[str]:
    yield ""
    for name, device in (("speed_cpu", "CPU"), ("speed_gpu", "GPU")):
        rows = tables[name].get(script, [])
        if not rows:
            continue
        part = _kept(name)[script]
        yield f"{device}: `{_command(script, part['form'])}` on {part['about']}.\n"
        yield "| what | measured | against | yardstick | ratio | before | goal | reached |"
        yield f"|{'---|' * 8}"
        for row in rows:
            measured, against, yardstick, ratio, goal, reached = row.cells()
            former = _former(row, tables["speed_before"]) if name == "speed_cpu" else None
            was = "" if former is None else former.cells()[3] or former.cells()[0]
            cells = [row.what, measured, against, yardstick, ratio, was, goal, reached]
            yield f"| {' | '.join(cells)} |"
        yield from ["", *(f"- {row.what}: {row.note}" for row in rows if row.note)]


def _command(script: str, form: str) -> str:
    return f"python benchmarks/{script}.py{' --full' if '--full' in form else ''}"


def _kept(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _judged(kept: Kept) -> Iterator[Row]:
    for script, rows in kept.items():
        yield from (row for row in rows if row.reached is not None and script != "growth")


def _past(row: Row | None) -> float | None:
    """Return how many times better than its goal a figure is; None without one."""
    if row is None or row.goal is None or row.reached is None:
        return None
    gap = None if row.yardstick is None or row.measured is None else row.measured - row.yardstick
    value = {"ratio": row.ratio, "figure": row.measured, "difference": gap}[row.goal.of]
    if value is None or value <= 0:
        return None
    if row.goal.at_least is not None:
        return value / row.goal.at_least
    return math.inf if row.goal.at_most is None else row.goal.at_most / value


def _former(row: Row, before: Kept) -> Row | None:
    """Return the row of the same question as it was before."""
    alike = [each for rows in before.values() for each in rows if _name(each) == _name(row)]
    return alike[0] if alike else None


def _name(row: Row) -> str:
    return f"{row.what}, against {row.against}" if row.against else row.what


def _short(row: Row) -> str:
    """Return a name for the margin of a plot."""
    what, against = row.what.partition(":")[0], re.split("[:,(]", row.against)[0]
    return f"{what} / {against}" if against else what


def _growth(now: Kept) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for row in now.get("growth", []):
        named = re.fullmatch(r"(?P<stage>(?!memory).+), (?P<count>\d+) images", row.what)
        times = re.match(r"(\d+) x", row.against)
        if named and times and row.measured and row.yardstick:
            points = found.setdefault(named["stage"], [])
            points.append((int(named["count"]), row.measured))
            points.append((int(named["count"]) // int(times[1]), row.yardstick / int(times[1])))
    return {stage: sorted(set(points)) for stage, points in found.items()}


if __name__ == "__main__":
    main()
