"""What the child of an attempt does. It knows no ledger, so this module brings none into it."""

from typing import Any

from boneexp.files.folders import RunFolder
from boneexp.results import Computing, Outcome
from boneexp.study.settings import RunSpec


def work(spec: RunSpec, folder: RunFolder, computing: Computing, micro_batch: int, report: Any) -> Outcome:
    """Do the run."""
    from boneexp.experiment import run

    return run.run(spec, folder, computing, micro_batch, report)
