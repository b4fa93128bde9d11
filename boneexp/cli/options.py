"""Options that commands share, and the one place where an error becomes a message and an exit code.

Every command accepts `--ledger` and `--artifacts`, even if it needs neither, so that a script can pass both
to all of them.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from boneexp.cli.contradictions import contradiction
from boneexp.errors import BoneexpError, NothingToDo
from boneexp.files.sharing import share_with_group
from boneexp.ledger.database import reading
from boneexp.ledger.queries.runs import runs_in_state
from boneexp.text.escaping import visible

LedgerPath = Annotated[
    Path, typer.Option("--ledger", envvar="BONEEXP_LEDGER", help="The ledger (an SQLite file).")
]
ArtifactsPath = Annotated[
    Path,
    typer.Option(
        "--artifacts", envvar="BONEEXP_ARTIFACTS", help="Folder for checkpoints, figures and tables."
    ),
]
GridPath = Annotated[Path, typer.Option("--grid", envvar="BONEEXP_GRID", help="The grid file.")]
DocsPath = Annotated[
    Path, typer.Option("--docs", envvar="BONEEXP_DOCS", help="Folder for model card and report.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV to stdout.")]
Markdown = Annotated[bool, typer.Option("--md", help="Print a Markdown table to stdout.")]
Part = Annotated[str, typer.Option("--part", help="Which set: test or val (validation).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, without doing it.")]
Root = Annotated[
    str,
    typer.Option("--root", help="Dataset folder, if it has moved since the runs were queued."),
]
Reason = Annotated[str, typer.Option("--reason", help="The reason; shown in model card and report.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Device = Annotated[
    str, typer.Option("--device", envvar="BONEEXP_DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")
]
Kernels = Annotated[
    Literal["deterministic", "autotune"],  # as in boneexp.results.Kernels
    typer.Option(
        "--kernels",
        envvar="BONEEXP_KERNELS",
        help="On CUDA: deterministic (needed for exact resuming), or autotune (the fastest, found by trial).",
    ),
]

LEDGER, ARTIFACTS, GRID, DOCS = Path("ledger.db"), Path("artifacts"), Path("experiments.toml"), Path("docs")

# Old spellings, kept for one release: (command, option) -> the command that replaced it.
FORMER = {
    ("promote", "--rollback"): "rollback",
    ("promote", "--history"): "decisions",
    ("doctor", "--backup"): "backup",
    ("doctor", "--verify-resume"): "verify-resume",
}


class Commands(TyperGroup):
    """The one place where an error becomes a message and an exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command to run; an old spelling leads to the command that replaced it."""
        for (command, option), successor in FORMER.items():
            if args[0] == command and option in args:
                args = [successor, *(each for each in args[1:] if each != option)]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error that the user can fix becomes one message and its exit code."""
        try:
            return super().invoke(ctx)
        except BoneexpError as error:
            typer.secho(f"Error: {visible(str(error))}", err=True, fg="red")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            where = f" ({error.filename})" if error.filename else ""
            typer.secho(f"Error: {visible(f'{error.strerror or error}{where}')}", err=True, fg="red")
            raise typer.Exit(1) from error


class Command(TyperCommand):
    """A command that refuses contradictory options and shares new files with the folder's group."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit with code 2 if two of the given options contradict each other."""
        given = [_shown(each) for each in self.params if _is_given(ctx, each)]
        if (wrong := contradiction(self.name or "", given)) is not None:
            raise typer.BadParameter(wrong, ctx)
        for folder in ("ledger", "artifacts"):
            share_with_group(Path(ctx.params[folder]))
        return super().invoke(ctx)


def require_confirmation(yes: bool, what: str) -> None:
    """Refuse, with exit code 2, a command that needs confirmation without a terminal to ask on."""
    if not yes and not has_terminal():
        raise typer.BadParameter(f"{what} needs confirmation, and there is no terminal to ask on; add --yes")


def has_terminal() -> bool:
    """Return True if stdin is a terminal, so that a user can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def _is_given(ctx: Any, parameter: Any) -> bool:
    """Whether it was given on the command line; environment variables do not contradict options."""
    source = ctx.get_parameter_source(parameter.name)
    return source is not None and source.name == "COMMANDLINE"


def _shown(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper().strip("[].")
    return str(parameter.opts[0])


def require_one_of(option: str, given: str, known: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the known ones."""
    if given not in known:
        raise typer.BadParameter(f"--{option} {given}: must be one of {', '.join(known)}")


def absolute(root: str) -> str:
    """Return the absolute path of the folder; "" if none is given."""
    return str(Path(root).expanduser().resolve()) if root else ""


def names(text: str) -> list[str]:
    """Return the names in a list such as "E1,E2"."""
    return [name.strip() for name in text.split(",") if name.strip()]


def exit_code(stopped_by: str, failed: int, succeeded: int) -> int:
    """Return the exit code: 128 + signal, 3 if a run failed, 4 if nothing was done, else 0."""
    if stopped_by:
        return {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}[stopped_by]
    if failed:
        return 3
    return 0 if succeeded else 4


def chosen_runs(ledger: Path, run_ids: list[int] | None, failed: bool) -> list[int]:
    """Return the given runs, or all failed ones."""
    if bool(run_ids) == failed:
        raise typer.BadParameter("choose one: run numbers, or --failed")
    if run_ids:
        return list(dict.fromkeys(run_ids))
    with reading(ledger) as connection:
        found = runs_in_state(connection, ("failed",))
    if not found:
        raise NothingToDo("no run has failed; list all runs with: boneexp status")
    return found
