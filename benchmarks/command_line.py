"""How long a person waits for `boneexp --help`, completion and `status`, beside an empty Python and Guild.

python benchmarks/command_line.py
"""

import sys
import tempfile
from pathlib import Path

from measuring import HOME, Call, Goal, Row, in_turn, process, run_script

GUILD = HOME / "build" / "guild" / "bin" / "guild"
EXPERIMENTS = ("E1", "E2", "E3", "E4")


def measured(full: bool) -> list[Row]:
    """Time each command as a process, in turn with the others."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        _ledger_of_8_runs(folder / "ledger.db")
        seconds = in_turn(_commands(folder), 21 if full else 5)
    ms = {name: 1000 * value for name, value in seconds.items()}
    empty, guild = ms["python -c pass"], ms.get("guild runs")
    why = "" if guild else "the yardstick was skipped: Guild is not installed in build/guild"
    within = Goal("difference", at_most=150)
    return [
        Row("boneexp --help", ms["boneexp --help"], "ms", "python -c pass", empty, within),
        Row("completion of a command's name", ms["completion"], "ms", "python -c pass", empty, within),
        Row(
            "boneexp status, 8 runs",
            ms["boneexp status"],
            "ms",
            "python -c pass",
            empty,
            Goal("difference", at_most=350),
        ),
        Row(
            "boneexp status, 8 runs", ms["boneexp status"], "ms", "guild runs", guild, Goal(at_most=0.75), why
        ),
        Row("boneexp compare, 4 experiments", ms["boneexp compare"], "ms", "python -c pass", empty),
    ]


def _commands(folder: Path) -> dict[str, Call]:
    boneexp = str(Path(sys.executable).with_name("boneexp"))
    asked = {"_BONEEXP_COMPLETE": "complete_bash", "COMP_WORDS": "boneexp sta", "COMP_CWORD": "1"}
    commands = {
        "python -c pass": process(sys.executable, "-c", "pass"),
        "boneexp --help": process(boneexp, "--help"),
        "completion": process(boneexp, env=asked),
        "boneexp status": process(boneexp, "status", cwd=folder),
        "boneexp compare": process(boneexp, "compare", cwd=folder),
    }
    if GUILD.is_file():
        commands["guild runs"] = process(str(GUILD), "runs", cwd=folder, env=_guild_of_8_runs(folder))
    return commands


def _ledger_of_8_runs(path: Path) -> None:
    from settled_ledger import settled_ledger

    settled_ledger(path, EXPERIMENTS)


def _guild_of_8_runs(folder: Path) -> dict[str, str]:
    """Let Guild run a script of one line eight times; return the environment in which it knows them."""
    env = {"GUILD_HOME": str(folder / "guild")}
    code = folder / "code"  # Guild copies what lies beside the script
    code.mkdir()
    (code / "train.py").write_text('print("accuracy: 0.5")\n')
    for _ in range(2 * len(EXPERIMENTS)):
        process(str(GUILD), "run", "-y", "train.py", cwd=code, env=env)()
    return env


if __name__ == "__main__":
    run_script("The command line", __doc__, measured)
