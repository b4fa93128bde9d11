"""What the child of an attempt does. It knows no ledger, so this module brings none into it."""

from typing import Any

from boneexp.artifacts import RunFolder
from boneexp.computing import Computing
from boneexp.config import RunSpec
from boneexp.results import Outcome


def work(spec: RunSpec, folder: RunFolder, computing: Computing, micro_batch: int, report: Any) -> Outcome:
    """Do the run."""
    from boneexp import experiment

    return experiment.run(spec, folder, computing, micro_batch, report)
