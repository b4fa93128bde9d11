"""Every speed claim of boneexp, measured beside its yardstick: what `make bench` runs.

    python benchmarks/bench.py                         # the short form, five to six minutes on two cores
    python benchmarks/bench.py --full --into benchmarks/results
    python benchmarks/bench.py --only ledger_speed

Each script runs in a process of its own, one after the other, so that none slows another. A yardstick that is
not installed is skipped with a message. No figure here is of a bone-tumour model.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from measuring import HOME, Goal, Row, machine, printed

SCRIPTS = {
    "command_line": "The command line",
    "ledger_speed": "The ledger",
    "input_speed": "The input",
    "step_speed": "The training step",
    "busy_machine": "A busy machine",
    "side_by_side": "Several runs on one device",
    "overheads": "Overheads",
    "growth": "Growth",
}
PACKAGES = ("boneexp", "torch", "timm", "numpy", "opencv-python-headless", "sqlalchemy", "typer")
PEERS = ("albumentations", "lightning", "mlflow-skinny", "optuna")


def main() -> int:
    """Run the scripts and print one page; the exit code says whether all of them ran to their end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="take the longer form")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), metavar="SCRIPT")
    parser.add_argument("--into", type=Path, help="keep the figures as NAME.md and NAME.json in this folder")
    parser.add_argument("--name", default="", help="of the files; speed_cpu or speed_gpu if it is left out")
    arguments = parser.parse_args()
    began = time.monotonic()
    kept, failed = {}, []
    for script in arguments.only:
        found = rows_of(script, arguments.full)
        if found is None:
            failed.append(script)
            continue
        kept[script] = found
        print(printed(SCRIPTS[script], rows_from(found)), flush=True)
    about = f"{machine(*PACKAGES, *PEERS)}; {time.monotonic() - began:.0f} s"
    print(about)
    if arguments.into:
        name = arguments.name or f"speed_{'gpu' if 'NVIDIA' in about else 'cpu'}"
        keep(arguments.into / name, about, kept, arguments.full)
    if failed:
        print(f"not run to the end: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def rows_of(script: str, full: bool) -> list[dict[str, object]] | None:
    """Return the rows of one script, run in a process of its own; None if it failed."""
    print(f"{script}: measuring …", file=sys.stderr, flush=True)
    rows = HOME / "build" / "bench" / f"{script}.json"
    rows.parent.mkdir(parents=True, exist_ok=True)
    rows.unlink(missing_ok=True)
    command = [sys.executable, HOME / "benchmarks" / f"{script}.py", "--json", rows]
    done = subprocess.run([*command, *(["--full"] if full else [])], stdout=subprocess.DEVNULL, cwd=HOME)
    if done.returncode or not rows.is_file():
        return None
    found: list[dict[str, object]] = json.loads(rows.read_text(encoding="utf-8"))["rows"]
    return found


def rows_from(found: list[dict[str, object]]) -> list[Row]:
    """Return rows as they were before they were written as JSON."""
    return [Row(**{**row, "goal": Goal(**row["goal"]) if row["goal"] else None}) for row in found]  # type: ignore[arg-type]


def keep(path: Path, about: str, kept: dict[str, list[dict[str, object]]], full: bool) -> None:
    """Write the page and its rows, `path` with .md and .json at its end; other scripts' rows there stay."""
    form = "python benchmarks/bench.py --full" if full else "make bench"
    taken = {script: {"about": about, "form": form, "rows": rows} for script, rows in kept.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    rows_path = path.with_suffix(".json")
    former = json.loads(rows_path.read_text(encoding="utf-8")) if rows_path.is_file() else {}
    merged = {script: (former | taken)[script] for script in SCRIPTS if script in former | taken}
    rows_path.write_text(f"{json.dumps(merged, indent=1)}\n", encoding="utf-8")
    parts = ["# Speed\n\nResearch use only, not for clinical use.\n"]
    for script, part in merged.items():
        parts.append(printed(SCRIPTS[script], rows_from(part["rows"])))
        parts.append(f"By `{part['form']}` on {part['about']}.\n")
    path.with_suffix(".md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
