"""How fast does artifacts/report.html of a large grid open, and sort its longest table?

    PYTHONPATH=.:tests python benchmarks/report_page.py > benchmarks/results/report_page.md

Makes a ledger of finished runs with made-up predictions (which takes minutes), writes the page, and opens it
in Debian's Chromium, from a file and several times. Nothing is asked of a network.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from browser import Browser, browser, missing
from settled_ledger import DESIGNS, settled_ledger

import boneexp
from boneexp.ledger.database import read_snapshot, reading

LOADED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
SORTED = """
const drawn = arguments[0];
const table = [...document.querySelectorAll("table")]
  .find((each) => each.caption.textContent === "Every run of the ledger");
const heading = [...table.tHead.rows[0].cells].find((each) => each.textContent === "Accuracy");
const before = performance.now();
heading.querySelector("button").click();
requestAnimationFrame(() => setTimeout(() => drawn(performance.now() - before)));
"""


def main() -> None:
    """Make the ledger and the page, open it, and print what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiments", type=int, default=250, help="each on both splits (250)")
    parser.add_argument("--times", type=int, default=9, help="how often the page is opened (9)")
    arguments = parser.parse_args()
    if missing():
        raise SystemExit(missing())
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        ledger = large_ledger(folder / "ledger.db", arguments.experiments)
        page, written_s = written_page(ledger, folder / "report.html")
        with browser(folder / "profile") as opened:
            version = opened.driver.capabilities["browserVersion"]
            times = [opened_and_sorted(opened, page) for _ in range(arguments.times)]
        print(report(2 * arguments.experiments, page, written_s, version, times))


def large_ledger(path: Path, experiments: int) -> Path:
    """Return a ledger in which so many experiments have finished on both splits."""
    names = [f"E{number}" for number in range(1, experiments + 1)]
    for number, name in enumerate(names):
        DESIGNS[name] = {"name": f"variant_{number}", "model": {"dropout": number / (2 * experiments)}}
    return settled_ledger(path, names)


def written_page(ledger: Path, page: Path) -> tuple[Path, float]:
    """Return where the page was written, and the seconds that took."""
    from boneexp.reports.facts import gather
    from boneexp.reports.page.facts import gather_page
    from boneexp.reports.page.render import report_page

    began = time.perf_counter()
    with reading(ledger) as connection, read_snapshot(connection):
        found = gather_page(connection, gather(connection, None, time.time()))
    page.write_text(report_page(found, page.parent), encoding="utf-8")
    return page, time.perf_counter() - began


def opened_and_sorted(opened: Browser, page: Path) -> tuple[float, float]:
    """Return milliseconds from the start to the end of the load event, and until a sort was drawn."""
    opened.open(page)
    return opened.js(LOADED), opened.driver.execute_async_script(SORTED)


def report(runs: int, page: Path, written_s: float, version: str, times: list[tuple[float, float]]) -> str:
    """Return the page of results."""
    rows = {
        "from the start to the end of the load event": [load for load, _ in times],
        f"the first sort of the {runs} rows, from the press to the drawn frame": [sort for _, sort in times],
    }
    lines = [
        f"| {what} | {statistics.median(found):.0f} ms | {max(found):.0f} ms |"
        for what, found in rows.items()
    ]
    return "\n".join(
        [
            "# Opening artifacts/report.html\n",
            "Research use only, not for clinical use.\n",
            f"Written by `benchmarks/report_page.py` with boneexp {boneexp.__version__}, Python "
            f"{platform.python_version()} and Chromium {version} without a window, on {os.cpu_count()} CPU "
            f"cores. A ledger of {runs} finished runs with made-up predictions; the page was opened "
            f"{len(times)} times.\n",
            "| what | median | slowest |",
            "|---|---|---|",
            *lines,
            f"\nThe page has {page.stat().st_size / 1e6:.2f} MB; reading the ledger and writing it took "
            f"{written_s:.1f} s.",
        ]
    )


if __name__ == "__main__":
    main()
