"""The command line: registers every command; each has its own file.

Research use only, not for clinical use.
"""

import os
from typing import Annotated

import typer

import boneexp
from boneexp.cli import output
from boneexp.cli.backup import backup
from boneexp.cli.cancel import cancel
from boneexp.cli.compare import compare
from boneexp.cli.decisions import decisions
from boneexp.cli.doctor import doctor
from boneexp.cli.export import export
from boneexp.cli.gradcam import gradcam
from boneexp.cli.init import init
from boneexp.cli.options import Command, Commands
from boneexp.cli.phantom import phantom
from boneexp.cli.promote import promote
from boneexp.cli.queue import queue
from boneexp.cli.report import report
from boneexp.cli.reproduce import reproduce
from boneexp.cli.retry import retry
from boneexp.cli.rollback import rollback
from boneexp.cli.run import run
from boneexp.cli.show import show
from boneexp.cli.status import status
from boneexp.cli.upgrade import upgrade_ledger
from boneexp.cli.verify_resume import verify_resume
from boneexp.text.labels import RESEARCH_ONLY

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help as plain text: drawing it with rich doubles the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, compare and document a grid of bone-radiograph classifiers, all in one SQLite ledger.\n\n"
    + RESEARCH_ONLY,
)


data_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Datasets: write a synthetic dataset for trying things out.",
)


app.add_typer(data_app, name="data")

app.command(cls=Command)(init)
app.command(cls=Command)(queue)
app.command(cls=Command)(run)
app.command(cls=Command)(status)
app.command(cls=Command)(show)
app.command(cls=Command)(compare)
app.command(cls=Command)(promote)
app.command(cls=Command)(rollback)
app.command(cls=Command)(decisions)
app.command(cls=Command)(gradcam)
app.command(cls=Command)(report)
app.command(cls=Command)(export)
app.command(cls=Command)(reproduce)
app.command(cls=Command)(retry)
app.command(cls=Command)(cancel)
app.command("upgrade", cls=Command)(upgrade_ledger)
app.command(cls=Command)(doctor)
app.command(cls=Command)(backup)
app.command(cls=Command)(verify_resume)
data_app.command(cls=Command)(phantom)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        output.data(f"boneexp {boneexp.__version__}")
        raise typer.Exit


def main() -> None:
    """Start the program."""
    app()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
