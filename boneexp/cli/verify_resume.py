"""`boneexp verify-resume`: check exact resuming on this machine."""

import typer

from boneexp.cli import output
from boneexp.cli.options import ARTIFACTS, LEDGER, ArtifactsPath, Device, Json, Kernels, LedgerPath


def verify_resume(
    device: Device = "auto",
    kernels: Kernels = "deterministic",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Train a small network twice, kill one training midway, and compare the results."""
    from boneexp.cli.progress import run_progress
    from boneexp.results import Computing
    from boneexp.runs.resume_check import resume_check

    with run_progress() as announce:
        checked = resume_check(Computing(device, kernels), announce)
    if json:
        output.as_json(checked.as_json())
    else:
        output.data(checked.sentence())
    raise typer.Exit(0 if checked.passed else 7)
