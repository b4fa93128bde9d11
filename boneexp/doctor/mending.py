"""What `doctor --fix` does: steps that are named before, carried out one by one, and told of afterwards.

Every step looks again before it acts, since workers may have gone on meanwhile. Nothing that a person may
want is deleted: what is replaced or belongs to no run is put into artifacts/orphans. Of what the ledger says
only the leases of dead processes change; metrics and summaries come back as they were sealed, or stay as
they are.
"""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from boneexp.doctor import mended_files, remains
from boneexp.doctor.findings import FIX, NONSENSE, OK, TRIED, Examination, Finding, without_vain_advice
from boneexp.errors import BoneexpError, Damaged
from boneexp.files.folders import StudyPaths
from boneexp.ledger import soundness
from boneexp.ledger.backup import back_up
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.database import examining, writing
from boneexp.ledger.explanations import withdraw_explanations
from boneexp.ledger.history import record_event
from boneexp.ledger.queries.attempts import running_attempts
from boneexp.ledger.queries.events import left_by_fix
from boneexp.ledger.queries.files import recorded_files
from boneexp.ledger.queries.promotions import promotion_cut_short, promotion_rows
from boneexp.ledger.restoring import restorable_runs
from boneexp.ledger.schema import SCHEMA, schema_of
from boneexp.ledger.seals import broken_seals
from boneexp.ledger.summaries import wrong_summaries
from boneexp.promotion.carry_out import finish_cut_short, settle
from boneexp.runs.processes import free_dead_runs_here


@dataclass(frozen=True)
class Step:
    """One thing to do; `do` does it and says what came of it."""

    what: str
    do: Callable[[], str]


@dataclass(frozen=True)
class Done:
    """A step that was carried out, or could not be."""

    what: str
    outcome: str
    succeeded: bool


def steps(examination: Examination, findings: Sequence[Finding]) -> list[Step]:
    """Return what can be mended of what was found, in order; nothing for a ledger that must be restored."""
    wrong = [finding for finding in findings if finding.severity != OK]
    if any(finding.check == "integrity" and "index" not in finding.what for finding in wrong):
        return []
    try:
        with examining(examination.place.ledger) as connection:
            if schema_of(connection) != SCHEMA:
                return []
            return [
                *_of_the_ledger(examination, connection, wrong),
                *_of_leases(examination, connection),
                *_of_the_promotion(examination, connection, wrong),
                *_of_files(examination, connection, wrong),
                *_of_remains(examination, connection, wrong),
            ]
    except (Damaged, *NONSENSE):
        return []


def carry_out(
    examination: Examination, todo: Sequence[Step], tell: Callable[[str], None]
) -> tuple[Done, ...]:
    """Carry the steps out, telling of each before and after; the ledger keeps what was done as an event."""
    done: list[Done] = []
    for step in [*todo, Step("note in the ledger what was done", lambda: _note(examination, done))]:
        tell(step.what)
        done.append(_done(step))
        tell(f"  {done[-1].outcome}")
    return tuple(done)


def after_fix(examination: Examination, before: Sequence[Finding], after: Sequence[Finding]) -> list[Finding]:
    """Note what `--fix` was to mend and is still there, and return the findings without advising it again."""
    tried = [each for each in before if FIX in each.mend or each.mend == TRIED]
    still = {(each.check, each.where, each.what) for each in tried}
    left = sorted(still & {(each.check, each.where, each.what) for each in after})
    try:
        with examining(examination.place.ledger) as connection:
            known = schema_of(connection) != SCHEMA or left_by_fix(connection) == set(left)
        if not known:
            with writing(examination.place.ledger) as connection:
                record_event(connection, examination.now, "mended", left=left)
    except (BoneexpError, *NONSENSE):
        pass  # a ledger that cannot be written keeps no note
    return without_vain_advice(after, set(left))


def _note(examination: Examination, done: Sequence[Done]) -> str:
    mended = {each.what: each.outcome for each in done if each.succeeded}
    if not mended:
        return "nothing was"
    with writing(examination.place.ledger) as connection:
        record_event(connection, examination.now, "mended", steps=mended)
    return "noted as an event"


def _done(step: Step) -> Done:
    try:
        return Done(step.what, step.do(), True)
    except BoneexpError as error:
        return Done(step.what, f"could not be done: {error}", False)
    except OSError as error:
        return Done(step.what, f"could not be done: {error.strerror} ({error.filename})", False)
    except NONSENSE as error:
        what = f"could not be done: rows of the ledger make no sense ({type(error).__name__}: {error})"
        return Done(step.what, what, False)


def _of_the_ledger(
    examination: Examination, connection: sqlite3.Connection, wrong: list[Finding]
) -> Iterator[Step]:
    ledger = examination.place.ledger
    objects = [each for each in soundness.differences(connection) if soundness.is_rebuildable(each)]
    indices = any(finding.check == "integrity" and "index" in finding.what for finding in wrong)
    runs = sorted({*restorable_runs(connection), *wrong_summaries(connection)})
    explained = [each.subject.key[0] for each in broken_seals(connection, ("explanations",))]
    if first_broken_event(connection) is not None:  # then no seal says what was right
        runs, explained = [], []
    if objects or indices or runs or explained:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(examination.now))
        backup = ledger.with_name(f"{ledger.name}.before-fix.{stamp}.backup")
        yield Step(f"copy the ledger to {backup} before it is changed", partial(_copy, ledger, backup))
    if indices:
        yield Step("make every index of the ledger again (REINDEX)", partial(_reindex, ledger))
    if objects:
        named = ", ".join(f"{each.type} {each.name}" for each in objects)
        yield Step(f"make again as the migrations do: {named}", partial(_rebuild, ledger, objects))
    for run_id in runs:
        what = f"compute metrics and summary of run {run_id} again, from its predictions as they were sealed"
        yield Step(what, partial(_compute_again, examination.place, run_id))
    for explained_run in explained:
        what = f"take out the explanations of run {explained_run}, which are not as they were sealed"
        yield Step(what, partial(_withdraw, examination, int(explained_run or 0)))


def _copy(ledger: Path, target: Path) -> str:
    with examining(ledger) as connection:
        return f"copied; SHA-256 {back_up(connection, target, even_if_damaged=True)}"


def _reindex(ledger: Path) -> str:
    with writing(ledger) as connection:
        soundness.rebuild_indices(connection)
    return "made again"


def _rebuild(ledger: Path, objects: list[soundness.Difference]) -> str:
    with writing(ledger) as connection:
        soundness.rebuild(connection, objects)
    return "made again"


def _compute_again(place: StudyPaths, run_id: int) -> str:
    from boneexp.doctor.restored_rows import compute_again  # loads what computes metrics

    return compute_again(place, run_id)


def _withdraw(examination: Examination, run_id: int) -> str:
    with writing(examination.place.ledger) as connection:
        withdraw_explanations(connection, run_id, examination.now)
    return "taken out; measure them again with: boneexp gradcam"


def _of_leases(examination: Examination, connection: sqlite3.Connection) -> Iterator[Step]:
    rows = running_attempts(connection)
    held = [row for row in rows if (row.lease_until or 0) >= examination.now]
    dead = [f"run {row.run} (by {row.worker})" for row in held if remains.is_known_dead(row)]
    if dead:
        what = f"let go of what a dead process holds: {', '.join(dead)}"
        yield Step(what, partial(_let_go, examination))


def _let_go(examination: Examination) -> str:
    freed = free_dead_runs_here(examination.place.ledger, examination.now)
    return f"let go of {len(freed)}; go on with: boneexp run --all"


def _of_the_promotion(
    examination: Examination, connection: sqlite3.Connection, wrong: list[Finding]
) -> Iterator[Step]:
    rows = promotion_rows(connection)
    if promotion_cut_short(connection) is not None:
        yield Step("finish the promotion that was cut short, or clear it away", partial(_finish, examination))
    elif rows and any(finding.check == "promotion" for finding in wrong):
        what = f"put checkpoints, grid file and documents in place as promotion {rows[-1].id} says"
        yield Step(what, partial(_settle, examination))


def _finish(examination: Examination) -> str:
    return finish_cut_short(examination.place, examination.now) or "it has been done meanwhile"


def _settle(examination: Examination) -> str:
    return f"{len(settle(examination.place, examination.now))} files are in place"


def _of_files(
    examination: Examination, connection: sqlite3.Connection, wrong: list[Finding]
) -> Iterator[Step]:
    place = examination.place
    paths = {finding.where for finding in wrong if finding.check == "files"}
    rows = [row for row in recorded_files(connection) if str(place.artifacts / row.path) in paths]
    for run_id, made in mended_files.remakeable(rows).items():
        names = ", ".join(Path(row.path).name for row in made)
        folder = (place.artifacts / made[0].path).parent
        what = f"make again in {folder}, from the ledger's rows: {names}"
        yield Step(what, partial(mended_files.remake, place, run_id, made))


def _of_remains(
    examination: Examination, connection: sqlite3.Connection, wrong: list[Finding]
) -> Iterator[Step]:
    place = examination.place
    for each in remains.leftovers(place, connection):
        yield Step(f"remove {each.path}, {each.what}", partial(_remove_leftover, examination, each.path))
    for finding in wrong:
        if finding.check == "cache":
            what = f"remove {finding.where}, which {finding.what}"
            yield Step(what, partial(_remove_cache, examination, Path(finding.where)))
    found = remains.folders_of_runs(place.artifacts)
    for each in remains.orphans(place, connection, found):
        target = mended_files.place_aside(place, each.path)
        what = f"move {each.path} to {target}: {each.what}"
        yield Step(what, partial(_move_orphan, examination, each.path))


def _remove_leftover(examination: Examination, path: Path) -> str:
    with examining(examination.place.ledger) as connection:
        if path not in [each.path for each in remains.leftovers(examination.place, connection)]:
            return "left alone: it is gone, or in use again"
    return _remove(examination, path)


def _remove_cache(examination: Examination, path: Path) -> str:
    if remains.is_sound_cache(path, examination.quick):
        return "left alone: it was made again meanwhile"
    return _remove(examination, path)


def _remove(examination: Examination, path: Path) -> str:
    mended_files.require_own(examination.place, path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return "removed"


def _move_orphan(examination: Examination, path: Path) -> str:
    with examining(examination.place.ledger) as connection:
        if not remains.orphans(examination.place, connection, [path]):
            return "left alone: it belongs to a run by now"
    return f"moved to {mended_files.set_aside(examination.place, path)}"
