"""What the commands take, and the one place where an error becomes a message and an exit code.

Every command takes `--ledger` and `--artifacts`, also one that needs neither, so that a script can pass both
to all of them.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from boneexp.contradictions import contradiction
from boneexp.errors import BoneexpError
from boneexp.harmless import visible
from boneexp.sharing import shared_with_group

LedgerPath = Annotated[
    Path,
    typer.Option(
        "--ledger", envvar="BONEEXP_LEDGER", help="The ledger, an SQLite file.", callback=shared_with_group
    ),
]
ArtifactsPath = Annotated[
    Path,
    typer.Option(
        "--artifacts",
        envvar="BONEEXP_ARTIFACTS",
        help="Folder of checkpoints, figures, tables.",
        callback=shared_with_group,
    ),
]
GridPath = Annotated[Path, typer.Option("--grid", envvar="BONEEXP_GRID", help="The grid file.")]
DocsPath = Annotated[Path, typer.Option("--docs", envvar="BONEEXP_DOCS", help="Folder of the two documents.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")]
Markdown = Annotated[bool, typer.Option("--md", help="Print a Markdown table on stdout.")]
Part = Annotated[str, typer.Option("--part", help="Of which part: test or val.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Root = Annotated[
    str,
    typer.Option("--root", help="Where the data lie now, if not where they lay when the grid was queued."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Device = Annotated[
    str, typer.Option("--device", envvar="BONEEXP_DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")
]
Kernels = Annotated[
    Literal["deterministic", "autotune"],  # as boneexp.computing says
    typer.Option(
        "--kernels",
        envvar="BONEEXP_KERNELS",
        help="On CUDA: deterministic, as exact resuming needs, or autotune, the fastest as tried out.",
    ),
]

LEDGER, ARTIFACTS, GRID, DOCS = Path("ledger.db"), Path("artifacts"), Path("experiments.toml"), Path("docs")


class Commands(TyperGroup):
    """The one place where an error becomes a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what the user can mend ends with one message and the error's own exit code."""
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
    """A command that refuses options which contradict each other."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; end with code 2 where two of the options given cannot both be meant."""
        given = [_shown(each) for each in self.params if _is_given(ctx, each)]
        if (wrong := contradiction(self.name or "", given)) is not None:
            raise typer.BadParameter(wrong, ctx)
        return super().invoke(ctx)


def require_agreement(yes: bool, what: str) -> None:
    """Refuse, with exit code 2, what asks before it replaces something where nobody can answer."""
    if not yes and not has_terminal():
        raise typer.BadParameter(f"{what} asks first, and there is no terminal to answer on; add --yes")


def has_terminal() -> bool:
    """Return True if somebody may answer a question; a pipe, a file or nothing as input cannot."""
    return sys.stdin is not None and sys.stdin.isatty()


def _is_given(ctx: Any, parameter: Any) -> bool:
    """Whether it stands on the command line; what an environment variable says contradicts nothing."""
    source = ctx.get_parameter_source(parameter.name)
    return source is not None and source.name == "COMMANDLINE"


def _shown(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper().strip("[].")
    return str(parameter.opts[0])
