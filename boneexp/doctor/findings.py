"""What a check found: a value, for a table, for JSON and for the exit code."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from boneexp.files.folders import StudyPaths

OK, WARNING, DAMAGE = "ok", "warning", "damage"
RESTORE = "put a backup in its place: docs/start.md, 'Backup and restore'"
FIX = "boneexp doctor --fix"
TRIED = f"doctor --fix was tried and did not fix it; {RESTORE}"
# What working on rows that a disk or a person has garbled can raise: no JSON, no text, a row that is gone.
NONSENSE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class Finding:
    """One thing that a check found, where, and the command or the deed that mends it."""

    check: str
    severity: str
    where: str
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Examination:
    """What is examined, at which moment, how thoroughly, and who hears how far it is (done, of all)."""

    place: StudyPaths
    now: float
    quick: bool = False
    progress: Callable[[int, int], None] = lambda done, total: None


def without_vain_advice(findings: Sequence[Finding], left: Collection[tuple[str, str, str]]) -> list[Finding]:
    """Return the findings; whoever has one that `--fix` left as it was is not told to use it again."""
    vain = [FIX in each.mend and (each.check, each.where, each.what) in left for each in findings]
    return [
        replace(each, mend=TRIED) if is_vain else each for each, is_vain in zip(findings, vain, strict=True)
    ]


def is_unreadable(findings: Sequence[Finding]) -> bool:
    """Return whether the file is no ledger any more, so that nothing else could be looked at."""
    return len(findings) == 1


def is_damaged(findings: Sequence[Finding]) -> bool:
    """Return whether anything is not what was recorded; warnings are no damage."""
    return any(finding.severity == DAMAGE for finding in findings)
