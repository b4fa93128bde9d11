"""Every check in order. Nothing is changed, not even the time of a file, and workers may run meanwhile."""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from functools import partial

from boneexp.doctor import file_checks, ledger_checks, surroundings
from boneexp.doctor.findings import DAMAGE, NONSENSE, RESTORE, Examination, Finding, without_vain_advice
from boneexp.doctor.promotion_check import promotion
from boneexp.doctor.remains import folders_of_runs
from boneexp.errors import BoneexpError, Damaged
from boneexp.ledger.database import examining, read_snapshot
from boneexp.ledger.queries.events import left_by_fix
from boneexp.ledger.schema import SCHEMA, schema_of

Check = Callable[[Examination, sqlite3.Connection], Iterator[Finding]]
LEDGER_CHECKS: dict[str, Check] = {
    "tables": ledger_checks.objects,
    "history": ledger_checks.history,
    "seals": ledger_checks.seals,
    "summaries": ledger_checks.summaries,
    "identity": ledger_checks.identity,
    "leases": ledger_checks.leases,
    "clock": ledger_checks.clock,
}
FILE_CHECKS: dict[str, Check] = {
    "files": file_checks.recorded,
    "overlays": file_checks.overlays,
    "promotion": promotion,
    "leftovers": file_checks.leftovers,
}
PLACE_CHECKS = {
    "cache": file_checks.caches,
    "disk": surroundings.room,
    "file system": surroundings.file_system,
}


def examine(examination: Examination) -> list[Finding]:
    """Return what every check found, sound or not; of a file that is no ledger any more, just that.

    Raises:
        LedgerUnusable: there is no ledger, it cannot be read, or it is newer than this program.
        Busy: another process held the ledger for longer than the timeout.
    """
    folders = folders_of_runs(examination.place.artifacts)  # before the ledger is asked whose they are
    try:
        with examining(examination.place.ledger) as connection:
            current = schema_of(connection) == SCHEMA
            found = [*ledger_checks.schema(examination, connection)]
            found += ledger_checks.integrity(examination, connection)
    except Damaged as error:
        return [_unreadable("integrity", examination, str(error), RESTORE)]
    checks = LEDGER_CHECKS if current else {"history": ledger_checks.history}
    for name, check in checks.items():
        found += _checked(name, check, examination)
    if current:
        orphans: Check = partial(file_checks.orphans, folders=folders)
        for name, check in {**FILE_CHECKS, "orphans": orphans}.items():
            found += _checked(name, check, examination, at_one_moment=False)
    for name, look in PLACE_CHECKS.items():
        found += _looked(name, look, examination)
    return without_vain_advice(found, _left_by_fix(examination) if current else ())


def _left_by_fix(examination: Examination) -> Collection[tuple[str, str, str]]:
    try:
        with examining(examination.place.ledger) as connection:
            return left_by_fix(connection)
    except (BoneexpError, *NONSENSE):
        return ()


def _checked(
    name: str, check: Check, examination: Examination, *, at_one_moment: bool = True
) -> list[Finding]:
    """Let one check look; files take long, and what promotions and workers do meanwhile must be seen."""
    try:
        with examining(examination.place.ledger) as connection:
            if not at_one_moment:
                return list(check(examination, connection))
            with read_snapshot(connection):
                return list(check(examination, connection))
    except Damaged as error:
        mend = f"fix what stands above; if that does not help, {RESTORE}"
        return [_unreadable(name, examination, str(error), mend)]
    except NONSENSE as error:
        what = f"rows of the ledger make no sense ({type(error).__name__}: {error})"
        return [_unreadable(name, examination, what, RESTORE)]
    except OSError as error:
        return [_unreachable(name, error)]


def _looked(
    name: str, check: Callable[[Examination], Iterator[Finding]], examination: Examination
) -> list[Finding]:
    """Let a check look that asks no ledger."""
    try:
        return list(check(examination))
    except OSError as error:
        return [_unreachable(name, error)]


def _unreachable(check: str, error: OSError) -> Finding:
    what = f"cannot be read: {error.strerror}"
    return Finding(check, DAMAGE, str(error.filename), what, "see to its rights, then run doctor again")


def _unreadable(check: str, examination: Examination, what: str, mend: str) -> Finding:
    return Finding(check, DAMAGE, str(examination.place.ledger), what, mend)
