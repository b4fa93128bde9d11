"""Conditions of integrity: the runs are finished, unchanged, and were tried on the same images."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from boneexp.files.atomic import sha256_of
from boneexp.ledger.chain import first_broken_event
from boneexp.ledger.queries.files import Checkpoint, checkpoint_of
from boneexp.ledger.queries.finished import ComparedRun, compared_runs, current_runs
from boneexp.ledger.seals import broken_seals, standing_seals
from boneexp.ledger.summaries import wrong_summaries
from boneexp.promotion.gate.conditions import HISTORY, SEALS, SUMMARIES, Condition
from boneexp.text.numbers import counted, first_few

Digest = Callable[[ComparedRun], str]
SAME = "queue all of them on the same data and splits: boneexp queue --grid experiments.toml"


def integrity_conditions(
    connection: sqlite3.Connection, experiment: str, run_ids: Sequence[int], artifacts: Path
) -> Iterator[Condition]:
    """Yield every condition of integrity for promoting `run_ids` of an experiment."""
    compared = compared_runs(connection)
    yield _finished(connection, experiment, run_ids)
    yield _checkpoints(connection, run_ids, artifacts)
    yield from ledger_conditions(connection)
    yield _same(
        "same-data",
        "all experiments compared have the same images",
        {"": compared},
        lambda row: row.fingerprint,
    )
    by_split = {split: [row for row in compared if row.split == split] for split in _splits(compared)}
    yield _same(
        "same-splits", "each split deals the images out alike for all", by_split, lambda row: row.split_digest
    )


def ledger_conditions(connection: sqlite3.Connection) -> Iterator[Condition]:
    """Yield the conditions of the ledger itself: its chain, its seals, the summaries that are compared."""
    broken = first_broken_event(connection)
    found = "every event follows from the one before it"
    if broken is not None:
        found = f"event {broken} does not follow from those before it; see: boneexp doctor"
    yield Condition(HISTORY, "integrity", "the ledger's history is whole", broken is None, found)
    changed = [str(each) for each in broken_seals(connection)]
    found = f"{len(standing_seals(connection))} seals hold"
    if changed:
        found = f"{_few(changed)}; see: boneexp doctor"
    yield Condition(SEALS, "integrity", "all that is settled is as it was sealed", not changed, found)
    wrong = wrong_summaries(connection)
    found = "every summary is what the metrics give"
    if wrong:
        found = f"run {_few(wrong)}: table run_summaries is not what the metrics give; see: boneexp doctor"
    yield Condition(SUMMARIES, "integrity", "the figures compared are the sealed ones", not wrong, found)


def _finished(connection: sqlite3.Connection, experiment: str, run_ids: Sequence[int]) -> Condition:
    waiting = [
        f"run {row.run} ({row.split}, seed {row.seed}) is {row.state}"
        for row in current_runs(connection, experiment)
        if row.state != "succeeded"
    ]
    found = f"{'; '.join(waiting)}; see: boneexp status" if waiting else f"{len(run_ids)} to be promoted"
    if not run_ids:
        found = f"it has no finished run; {found}" if waiting else "it has no finished run"
    asked = f"every current run of {experiment} is finished"
    return Condition("runs-finished", "integrity", asked, bool(run_ids) and not waiting, found)


def _checkpoints(connection: sqlite3.Connection, run_ids: Sequence[int], artifacts: Path) -> Condition:
    found_wrong = (_wrong_digest(artifacts, checkpoint_of(connection, run_id), run_id) for run_id in run_ids)
    wrong = [problem for problem in found_wrong if problem]
    asked = "each checkpoint is the file that the ledger recorded"
    if not run_ids:
        return Condition("checkpoints", "integrity", asked, None, "there is none")
    found = "; ".join(wrong) or f"{len(run_ids)} have their SHA-256"
    return Condition("checkpoints", "integrity", asked, not wrong, found)


def _wrong_digest(artifacts: Path, recorded: Checkpoint, run_id: int) -> str:
    """Return what is wrong with a checkpoint, named as the ledger names it; "" for nothing."""
    path, sha256 = artifacts / recorded.path, recorded.sha256
    if not path.is_file():
        return f"run {run_id}: its checkpoint {recorded.path} is gone"
    found = sha256_of(path)
    if found == sha256:
        return ""
    return f"run {run_id}: {recorded.path} has SHA-256 {found[:12]}…, and the ledger recorded {sha256[:12]}…"


def _same(name: str, asked: str, groups: Mapping[str, Sequence[ComparedRun]], digest: Digest) -> Condition:
    """Hold the finished runs of each group against one another: all must have the same digest."""
    apart = [
        f"{split} {shown}".strip()
        for split, rows in groups.items()
        if (shown := _who_has_what(rows, digest)) is not None
    ]
    found = f"{'; '.join(apart)}; {SAME}" if apart else f"{_experiments(groups)} compared"
    return Condition(name, "integrity", asked, not apart, found)


def _who_has_what(rows: Sequence[ComparedRun], digest: Digest) -> str | None:
    """Return which experiments have which digest; None where all have the same."""
    who: dict[str, list[str]] = {}
    for row in rows:
        who.setdefault(digest(row), []).append(row.experiment)
    if len(who) < 2:
        return None
    return ", ".join(f"{_few(names)} {value[:8]}" for value, names in who.items())


def _experiments(groups: Mapping[str, Sequence[ComparedRun]]) -> str:
    names = {row.experiment for rows in groups.values() for row in rows}
    return counted(len(names), "experiment")


def _splits(rows: Sequence[ComparedRun]) -> list[str]:
    return list(dict.fromkeys(row.split for row in rows))


def _few(names: Iterable[object]) -> str:
    return first_few(list(dict.fromkeys(map(str, names))), most=5)
