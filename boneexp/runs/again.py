"""A finished run once more, as the engine runs every run, and with nothing of it in the ledger."""

from logging import Logger

from boneexp.files.folders import RunFolder
from boneexp.ledger.queue import Claim
from boneexp.results import EpochRecord, Outcome
from boneexp.runs.attempt import outcome_of
from boneexp.runs.children.process import Child
from boneexp.runs.context import Workplace
from boneexp.runs.report import Report, run_log
from boneexp.runs.time_limit import TimeLimit
from boneexp.runs.workers import stop_on_signals


def run_again(place: Workplace, claim: Claim, folder: RunFolder) -> Outcome:
    """Do the run that `claim` describes in the new folder `folder`; return how it ended.

    Nobody holds a claim here: it only says what is to be run.
    """
    with run_log(folder, claim) as log, stop_on_signals(place.stop):
        report = _Unrecorded(place, claim, log)
        report.tell("claimed", "once more")
        child = Child(
            place.work,
            (claim.spec, folder, place.computing, claim.micro_batch),
            place.threads,
            folder.file("crash.txt"),
        )
        try:
            outcome = outcome_of(child, report, place.stop)
        finally:
            child.close()
        report.tell("settled", f"ended: {type(outcome).__name__.lower()}")
    return outcome


class _Unrecorded(Report):
    """Tells the watcher and the log, and not the ledger; it may take as long as it takes."""

    def __init__(self, place: Workplace, claim: Claim, log: Logger) -> None:
        """Begin with nothing heard, and no time limit."""
        super().__init__(place, claim, log)
        self.limit = TimeLimit()

    def _keep(self, record: EpochRecord) -> None:
        """Keep nothing."""
