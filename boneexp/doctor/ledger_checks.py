"""The ledger itself: sound as a database, as the migrations make it, and a history that nobody changed."""

import sqlite3
from collections.abc import Iterator

from boneexp.doctor.findings import DAMAGE, FIX, OK, RESTORE, WARNING, Examination, Finding
from boneexp.doctor.remains import is_known_dead
from boneexp.ledger import soundness
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.queries.attempts import running_attempts
from boneexp.ledger.queries.events import events_after, last_event
from boneexp.ledger.queries.experiments import StoredSpec, stored_specs
from boneexp.ledger.restoring import RESTORABLE
from boneexp.ledger.schema import SCHEMA, schema_of
from boneexp.ledger.seals import Broken, broken_seals, standing_seals
from boneexp.ledger.summaries import wrong_summaries
from boneexp.study.settings import RunSpec

AHEAD_S = 300.0  # so far clocks may differ, or a lease reach


def schema(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Check whether the ledger has today's schema."""
    found, where = schema_of(connection), str(examination.place.ledger)
    if found == SCHEMA:
        yield Finding("schema", OK, where, f"schema {found}")
    else:
        what = f"schema {found or 'none'}, and this boneexp needs {SCHEMA}; not everything can be checked"
        yield Finding("schema", WARNING, where, what, f"boneexp upgrade --ledger {where}")


def integrity(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find what SQLite finds wrong with the file: pages, indices, rows that name rows that are gone."""
    where = str(examination.place.ledger)
    problems = soundness.integrity_problems(connection)
    for problem in problems:
        mend = f"{FIX}, and if that does not help, {RESTORE}" if "index" in problem else RESTORE
        yield Finding("integrity", DAMAGE, where, problem, mend)
    dangling = soundness.foreign_key_problems(connection)
    for problem in dangling:
        yield Finding("integrity", DAMAGE, where, problem, RESTORE)
    if not problems + dangling:
        yield Finding("integrity", OK, where, "SQLite finds nothing wrong")


def objects(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find where tables, views, indices and triggers are not as the migrations make them."""
    where, wrong = str(examination.place.ledger), soundness.differences(connection)
    for each in wrong:
        yield _about(each, where)
    if not wrong:
        yield Finding("tables", OK, where, "tables, views and indices are those of the migrations")


def history(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Check whether the events still form a chain."""
    where, broken = str(examination.place.ledger), first_broken_event(connection)
    if broken is not None:
        what = f"event {broken} does not follow from those before it: the history was changed"
        yield Finding("history", DAMAGE, where, what, RESTORE)
    elif last := last_event(connection):
        what = f"{last.id} events in a whole chain that ends in {last.hash[:16]}; note that elsewhere"
        yield Finding("history", OK, where, what)
    else:
        yield Finding("history", OK, where, "no events yet")


def seals(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find which rows of something settled are not what they were when it was settled."""
    where, broken = str(examination.place.ledger), list(broken_seals(connection))
    for each in broken:
        if each.event is None:
            what = "is settled, and no event says so: events were removed, or rows put in by hand"
        else:
            what = f"was changed after event {each.event} sealed it: {', '.join(each.tables)}"
        yield Finding("seals", DAMAGE, str(each.subject), what, _mend_of(each))
    if not broken:
        yield Finding("seals", OK, where, f"{len(standing_seals(connection))} seals hold")


def summaries(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Check whether the summaries that are compared are what the sealed metrics give."""
    where, wrong = str(examination.place.ledger), wrong_summaries(connection)
    if wrong:
        named = ", ".join(map(str, wrong[:10])) + (", ..." if len(wrong) > 10 else "")
        what = f"table run_summaries does not say what the metrics of run {named} say"
        yield Finding("summaries", DAMAGE, where, what, FIX)
    else:
        yield Finding("summaries", OK, where, "every summary is what the metrics give")


def identity(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find which runs would not be run, or were not, with what their hash names."""
    rows = stored_specs(connection)
    found = [finding for row in rows if (finding := _misnamed(row)) is not None]
    yield from found
    if not found:
        yield Finding("identity", OK, str(examination.place.ledger), f"{len(rows)} specs give their hashes")


def leases(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find which runs are held by a worker that is gone or silent."""
    rows = running_attempts(connection)
    for row in rows:
        where, silent_s = f"run {row.run}", examination.now - (row.lease_until or 0)
        dead, goes_on = is_known_dead(row), "boneexp run --all goes on with it"
        if row.stop_requested:
            goes_on = f"it was cancelled; boneexp cancel {row.run} writes that down"
        if silent_s > 0:
            what = f"its worker {row.worker} is {'gone' if dead else 'silent'}; the lease is over"
            yield Finding("leases", WARNING, where, what, goes_on)
        elif dead:
            what = f"its worker {row.worker} is gone; the lease lasts {-silent_s:.0f} s more"
            yield Finding("leases", WARNING, where, what, f"{goes_on}; or {FIX}")
        else:
            yield Finding("leases", OK, where, f"held by {row.worker}")
    if not rows:
        yield Finding("leases", OK, str(examination.place.ledger), "no run is running")


def clock(examination: Examination, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Find what lies in the future."""
    where, latest = str(examination.place.ledger), examination.now + AHEAD_S
    ahead = events_after(connection, latest)
    if ahead:
        what = f"{len(ahead)} events lie in the future, the first of them event {ahead[0]}"
        yield Finding("clock", WARNING, where, what, "set this machine's clock; a past mistake does no harm")
    leases = [row for row in running_attempts(connection) if (row.lease_until or 0) > latest]
    for row in leases:
        what = (
            f"its lease ends in {(row.lease_until or 0) - examination.now:.0f} s: a clock was, or is, wrong"
        )
        mend = f"see whether {row.worker} still works; when it is gone: {FIX}"
        yield Finding("clock", WARNING, f"run {row.run}", what, mend)
    if not ahead and not leases:
        yield Finding("clock", OK, where, "nothing lies in the future")


def _mend_of(broken: Broken) -> str:
    """Return what helps: what `--fix` can bring back or take out, or what `queue` writes again."""
    kind, tables = broken.subject.kind, set(broken.tables)
    if kind == "run" and tables and tables <= set(RESTORABLE):
        return f"{FIX} computes it again, if the sealed predictions still give what was sealed; or {RESTORE}"
    if kind == "explanations":
        return f"{FIX} takes them out; measure them again with: boneexp gradcam"
    if kind in ("study", "grid", "dataset"):
        return f"boneexp queue, with the grid file and the data that are meant; or {RESTORE}"
    return RESTORE


def _about(difference: soundness.Difference, where: str) -> Finding:
    named = f"{difference.type} {difference.name}"
    if difference.how == "extra":
        harmful = difference.type == "trigger"  # it writes by itself, where nobody looks
        what = f"{named} is not of boneexp"
        mend = (
            f"ask who made it, then: sqlite3 {where} 'DROP {difference.type.upper()} \"{difference.name}\"'"
        )
        return Finding("tables", DAMAGE if harmful else WARNING, where, what, mend)
    words = {"missing": "is gone", "changed": "is not as the migrations make it"}
    mend = FIX if soundness.is_rebuildable(difference) else RESTORE
    return Finding("tables", DAMAGE, where, f"{named} {words[difference.how]}", mend)


def _misnamed(row: StoredSpec) -> Finding | None:
    where = f"run {row.run}"
    try:
        if RunSpec.model_validate_json(row.spec_json).config_hash == row.config_hash:
            return None
    except ValueError as error:
        what = f"its spec cannot be read: {str(error).splitlines()[0]}"
        return Finding("identity", DAMAGE, where, what, RESTORE)
    what = "its spec does not give its config hash: one was changed by hand, or an earlier version queued it"
    return Finding("identity", WARNING, where, what, "do not run it; queue the grid again")
