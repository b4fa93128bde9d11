"""Nothing that was changed after it was sealed is shown as if it were intact: whoever shows rows checks here.

A run whose seal does not hold is quarantined: nothing is made from its rows, and no one ranks it. A
comparison is made without it; whatever prints all that the ledger knows is refused.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager

from boneexp.errors import Damaged
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.held_before import held_before, note_that_held, state_of
from boneexp.ledger.sealed_rows import FIRST_RULE
from boneexp.ledger.seals import Seal, Subject, broken_among, broken_seals, standing_seals
from boneexp.ledger.summaries import wrong_summaries

OF_EACH_RUN = ("runs", "experiments", "run_summaries")  # tables of a run that every comparison reads
MOST_NAMED = 5
WAYS_BACK = (
    "the ways back: boneexp doctor --fix, where a run's predictions or files still say what was sealed, "
    "or a backup (docs/start.md); see: boneexp doctor"
)
Wanted = dict[Subject, tuple[str, ...]]


def require_untouched(connection: sqlite3.Connection) -> None:
    """Check the chain of events, every seal, and the summaries that are compared.

    Raises:
        Damaged: something is not as it was sealed; the message names it and its tables.
    """
    require_whole_chain(connection)
    refuse(all_broken(connection))


def require_sealed(connection: sqlite3.Connection, subjects: Iterable[Subject]) -> None:
    """Check the chain of events, and the seals of some subjects.

    Raises:
        Damaged: as `require_untouched`.
    """
    require_whole_chain(connection)
    wanted: Wanted = dict.fromkeys(subjects, ())
    refuse(map(str, broken_among(connection, standing_seals(connection), wanted)))


def require_whole_chain(connection: sqlite3.Connection) -> None:
    """Check that every event follows from the one before it; without that no seal is worth anything.

    Raises:
        Damaged: one does not; the message names it and the run that it is about.
    """
    broken = first_broken_event(connection)
    if broken is not None:
        row = connection.execute("SELECT kind, run_id FROM events WHERE id = ?", (broken,)).fetchone()
        about = f"{row['kind']}" + (f" of run {row['run_id']}" if row["run_id"] is not None else "")
        raise Damaged(
            f"table events: event {broken} ({about}) does not follow from those before it, so no seal can be "
            "trusted; put a backup in the ledger's place (docs/start.md); see: boneexp doctor"
        )


def all_broken(connection: sqlite3.Connection) -> list[str]:
    """Return in words what is not as it was sealed, whoever shows it."""
    found = list(broken_seals(connection))
    named = {each.subject for each in found}
    wrong = [run for run in wrong_summaries(connection) if Subject("run", (run,)) not in named]
    return [*map(str, found), *map(_of_summary, wrong)]


def refuse(broken: Iterable[str]) -> None:
    """Raise Damaged if anything is broken, naming the first of it, how much more there is, and what helps."""
    reasons = list(broken)
    if reasons:
        more = f" and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
        raise Damaged(f"changed after it was sealed: {'; '.join(reasons[:MOST_NAMED])}{more}; {WAYS_BACK}")


def quarantined(
    connection: sqlite3.Connection,
    tables: Collection[str] = (),
    of: Collection[str] | None = None,
    *,
    with_attributes: bool = False,
) -> dict[str, tuple[str, ...]]:
    """Return why which of the experiments that are compared rest on rows that are not as they were sealed.

    Args:
        connection: as at one moment.
        tables: those that are read of each run of `of`; all that its seal covers where none is named.
        of: experiments, all of them if None; nothing is read of the others.
        with_attributes: whether what is known of the images is read, too.

    Raises:
        Damaged: what everything rests on was changed: the chain, the study, the grid, a dataset, a decision.
    """
    what = json.dumps([sorted(tables), of and sorted(of), with_attributes])
    if held_before(connection, what):
        return {}
    state = state_of(connection)
    found = _looked_for(connection, tables, of, with_attributes)
    if not found:
        note_that_held(connection, what, state)
    return found


def _looked_for(
    connection: sqlite3.Connection, tables: Collection[str], of: Collection[str] | None, with_attributes: bool
) -> dict[str, tuple[str, ...]]:
    require_whole_chain(connection)
    standing = standing_seals(connection)
    shared = _shared(connection, standing, with_attributes)
    refuse(map(str, broken_among(connection, standing, shared)))
    runs, wanted = connection.execute(CURRENT).fetchall(), Wanted()
    for run, experiment, explained in runs:
        explanations = Subject("explanations", (run,))
        explained = explained or explanations in standing
        if of is not None and experiment not in of:
            continue
        read = tuple(tables)
        wanted[Subject("run", (run,))] = (*read, "predictions") if read and explained else read
        wanted |= {explanations: ()} if explained else {}
    reasons = _by_run(connection, standing, wanted)
    found: dict[str, tuple[str, ...]] = {}
    for run, experiment, _ in runs:
        if run in reasons:
            found[experiment] = (*found.get(experiment, ()), *reasons[run])
    return found


@contextmanager
def without(connection: sqlite3.Connection, experiments: Collection[str]) -> Iterator[sqlite3.Connection]:
    """Yield a copy of the ledger in memory in which no run of these experiments is current."""
    with closing(sqlite3.connect(":memory:")) as copy:
        connection.backup(copy)
        copy.row_factory = connection.row_factory
        copy.execute(SET_ASIDE, (json.dumps(list(experiments)),))
        yield copy


CURRENT = """SELECT r.id, e.experiment, EXISTS (SELECT 1 FROM explanations x WHERE x.run_id = r.id)
             FROM runs r JOIN experiments e ON e.id = r.experiment_ref WHERE r.is_current ORDER BY r.id"""
DATASETS = """SELECT DISTINCT e.data_fingerprint FROM runs r JOIN experiments e ON e.id = r.experiment_ref
              WHERE r.is_current"""
SET_ASIDE = """UPDATE runs SET is_current = 0 WHERE experiment_ref IN
               (SELECT id FROM experiments WHERE experiment IN (SELECT value FROM json_each(?)))"""


def _shared(connection: sqlite3.Connection, standing: Iterable[Subject], with_attributes: bool) -> Wanted:
    """Return what every comparison rests on."""
    of_dataset = ("datasets", "split_overlaps", *(("image_attributes",) if with_attributes else ()))
    wanted: Wanted = {Subject("study", ()): (), Subject("grid", ()): ()}
    wanted |= {Subject("dataset", tuple(row)): of_dataset for row in connection.execute(DATASETS)}
    decisions = connection.execute("SELECT id FROM promotions ORDER BY id")
    wanted |= {Subject("promotion", tuple(row)): () for row in decisions}
    return wanted | {subject: () for subject in standing if subject.kind == "promotion"}


def _by_run(
    connection: sqlite3.Connection, standing: Mapping[Subject, Seal], wanted: Wanted
) -> dict[int, tuple[str, ...]]:
    """Return what is broken, in words, by run."""
    old = {subject for subject in wanted if subject in standing and standing[subject].rule == FIRST_RULE}
    for subject in old:
        if subject.kind == "run" and wanted[subject]:  # its summary is held against the metrics, which were
            wanted[subject] = (*wanted[subject], "metrics")
    found: dict[int, tuple[str, ...]] = {}
    for each in broken_among(connection, standing, wanted):
        run = int(each.subject.key[0] or 0)
        found[run] = (*found.get(run, ()), str(each))
    if old:
        wrong = [run for run in wrong_summaries(connection) if Subject("run", (run,)) in old]
        found |= {run: (_of_summary(run),) for run in wrong if run not in found}
    return found


def _of_summary(run: int) -> str:
    return f"run {run}: table run_summaries does not say what its sealed metrics say"
