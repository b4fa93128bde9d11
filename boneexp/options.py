"""What the commands take, and the one place where an error becomes a message and an exit code.

Every command takes `--ledger` and `--artifacts`, also one that needs neither, so that a script can pass both
to all of them.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

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
