"""The frame of `make bench`: what a row says, what a goal means, and that every script is known. No speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import bench  # noqa: E402
import performance_page  # noqa: E402
from measuring import Goal, Row, in_turn, installed, printed  # noqa: E402


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (Goal(at_most=0.5), True),
        (Goal(at_most=0.49), False),
        (Goal(at_least=0.5), True),
        (Goal(at_least=0.51), False),
        (Goal("figure", at_most=2), True),
        (Goal("figure", at_least=2.1), False),
        (Goal("difference", at_most=-2), True),
        (Goal("difference", at_most=-2.1), False),
        (None, None),
    ],
)
def test_a_goal_is_held_against_the_ratio_the_figure_or_the_difference(goal, reached):
    assert Row("status", 2.0, "ms", "an empty Python", 4.0, goal).reached is reached


def test_a_row_that_was_skipped_reaches_no_goal_and_says_why():
    for row in (Row("x", None, "s", goal=Goal(at_most=1)), Row("x", 1.0, "s", "y", None, Goal(at_most=1))):
        assert row.ratio is None
        assert row.reached is None
    why = installed("no-such-package")
    assert "no-such-package is not installed" in why
    assert f"- x: {why}" in printed("Title", [Row("x", None, "s", note=why)])


def test_calls_are_made_in_turn_and_the_first_of_each_is_not_counted():
    made = []
    seconds = in_turn({"a": lambda: made.append("a"), "b": lambda: made.append("b")}, 2)
    assert made == ["a", "b"] * 3
    assert set(seconds) == {"a", "b"}


def test_every_script_is_there_and_explained():
    explained = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for script in bench.SCRIPTS:
        assert (BENCHMARKS / f"{script}.py").is_file()
        assert f"`{script}.py`" in explained


def test_rows_come_back_from_json_as_they_were(tmp_path, monkeypatch):
    rows = [Row("x", 1.0, "s", "y", 2.0, Goal(at_most=1), "note"), Row("z", None, "s")]
    program = (
        "from measuring import Goal, Row, run_script\n"
        "rows = [Row('x', 1.0, 's', 'y', 2.0, Goal(at_most=1), 'note'), Row('z', None, 's')]\n"
        "run_script('T', None, lambda full: rows)"
    )
    kept = tmp_path / "rows.json"
    command = [sys.executable, "-c", program, "--json", str(kept)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("## T\n")
    assert bench.rows_from(json.loads(kept.read_text())["rows"]) == rows


def test_results_name_the_device_and_the_command_and_leave_other_scripts_alone(tmp_path):
    row = {
        "what": "x",
        "measured": 1.0,
        "unit": "s",
        "against": "",
        "yardstick": None,
        "goal": None,
        "note": "",
    }
    bench.keep(tmp_path / "speed_cpu", "a CPU, 2 cores, torch 2", {"growth": [row]}, True)
    bench.keep(tmp_path / "speed_cpu", "another CPU", {"command_line": [row]}, False)
    page = (tmp_path / "speed_cpu.md").read_text(encoding="utf-8")
    assert "By `python benchmarks/bench.py --full` on a CPU, 2 cores, torch 2." in page
    assert "By `make bench` on another CPU." in page
    assert "Research use only, not for clinical use." in page
    kept = json.loads((tmp_path / "speed_cpu.json").read_text(encoding="utf-8"))
    assert list(kept) == ["command_line", "growth"]
    assert [part["rows"] for part in kept.values()] == [[row], [row]]


def test_the_page_on_performance_has_the_figures_that_were_kept():
    page = performance_page.PAGE.read_text(encoding="utf-8")
    assert performance_page.with_tables(page) == page
    kept = performance_page.rows_of("speed_cpu")
    assert list(kept) == list(bench.SCRIPTS)
    for rows in kept.values():
        assert all(f"| {row.what} | {row.cells()[0]} |" in page for row in rows)


def test_boneexp_imports_no_benchmark():
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    for path in (BENCHMARKS.parent / "boneexp").rglob("*.py"):
        first_words = [
            line.split()[1].split(".")[0]
            for line in path.read_text().splitlines()
            if line.startswith(("import ", "from "))
        ]
        assert not names & set(first_words), path
