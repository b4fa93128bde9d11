"""Which experiment is best by the study's rule, and why.

The ledger ranks (view leaderboard); this module says in words why the first comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.ledger.queries.comparison import RankedExperiment
from boneexp.text.labels import label
from boneexp.text.numbers import listed


@dataclass(frozen=True)
class Ranked:
    """Whom the rule ranks first: the best (the first of equals), why, and who is equal to it."""

    best: str | None
    why: str
    equal_to: tuple[str, ...] = ()


def choose(leaderboard: Sequence[RankedExperiment], order: Sequence[str], part: str = "test") -> Ranked:
    """Return the best experiment, its equals, and why; none where there is none, or where test sets differ.

    Metrics are those of the view, where equal means are equal floats.
    """
    if not leaderboard:
        return Ranked(None, "no experiment has finished the runs that the selection rule needs")
    if len({row.test_set for row in leaderboard}) > 1:
        return Ranked(
            None, "the experiments were tested on different images; such results are not ranked together"
        )
    first, *equals = [row.experiment_id for row in leaderboard if row.place == 1]
    rule = ", then ".join(map(label, order)) + _on(part)
    if equals:
        why = f"{listed([first, *equals])} are equal in {rule}; a person must decide"
        return Ranked(first, why, tuple(equals))
    if len(leaderboard) == 1:
        return Ranked(first, f"the only experiment that can be ranked ({rule})")
    return Ranked(first, _why(leaderboard, order) + _on(part))


def decided_at(winner: RankedExperiment, other: RankedExperiment) -> int:
    """Return the position in the rule, from 0, of the metric that ranks the winner above another.

    Of one that is equal to it in every metric it is 0.
    """
    pairs = enumerate(zip(winner.keys, other.keys, strict=True))
    return next((position for position, (first, second) in pairs if first != second), 0)


def _on(part: str) -> str:
    """Return on which part the rule compares, if that is not the test part."""
    return " on the validation part" if part == "val" else ""


def _why(leaderboard: Sequence[RankedExperiment], order: Sequence[str]) -> str:
    """Say by which metric the first of several wins, and who comes next; its equals until then are named."""
    winner, *others = leaderboard
    if leaders := _ahead_by_class(winner, others):
        return leaders
    others = [row for row in others if row.single_class == winner.single_class]
    decisive = max(decided_at(winner, row) for row in others)
    rivals = [row for row in others if decided_at(winner, row) == decisive]
    highest = rivals[0].keys[decisive]
    nearest = [row for row in rivals if row.keys[decisive] == highest]
    behind = "unknown" if highest is None else f"{highest:.3f}"
    shared = listed([label(figure) for figure in order[:decisive]])
    equal = f"equal to {_ids(rivals)} in {shared}, " if shared else ""
    ahead = f"{winner.experiment_id} has the highest {label(order[decisive])}: {winner.keys[decisive]:.3f}"
    return f"{equal}{ahead}, next {_ids(nearest)} with {behind}"


def _ahead_by_class(winner: RankedExperiment, others: Sequence[RankedExperiment]) -> str:
    """Return why the first wins where every other experiment predicts one class only; "" where not."""
    if winner.single_class or not all(row.single_class for row in others):
        return ""
    them = "every other experiment has a run that predicts" if len(others) > 1 else f"{_ids(others)} predicts"
    return f"{them} one class only, and is no candidate while {winner.experiment_id} is not one"


def _ids(rows: Sequence[RankedExperiment]) -> str:
    return listed([row.experiment_id for row in rows])
