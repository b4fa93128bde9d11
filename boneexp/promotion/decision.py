"""Deciding on a promotion: what is to be done, and what every condition of it says. Nothing is written."""

import difflib
import getpass
import sqlite3
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from boneexp.comparison import files as comparison_document
from boneexp.comparison.compared import Comparison, candidate, compared
from boneexp.errors import NothingToDo, PromotionRefused, RunNotFound
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import read_snapshot, reading
from boneexp.ledger.promotions import Promotion, Standing, decisions_in_force, noted_place, standing_of
from boneexp.ledger.quarantine import require_untouched
from boneexp.ledger.queries.finished import runs_to_promote
from boneexp.ledger.queries.promotions import PromotionRow, promotion_rows
from boneexp.ledger.queries.runs import cancelled_note
from boneexp.promotion.files import texts_of
from boneexp.promotion.gate.conditions import Condition, recorded, refusal, with_effects
from boneexp.promotion.gate.grid_file import belongs, describes
from boneexp.promotion.gate.integrity import integrity_conditions, ledger_conditions
from boneexp.promotion.gate.reached import reached
from boneexp.promotion.gate.statistical import statistical_conditions
from boneexp.study.decision_settings import PromotionSettings
from boneexp.study.grid import promotion_policy
from boneexp.study.settings import canonical_json
from boneexp.text.nearest import nearest


@dataclass(frozen=True)
class Request:
    """What a person asks for; without an experiment, to promote means the best by the rule."""

    action: str
    experiment: str | None = None
    reason: str = ""
    override: bool = False


@dataclass(frozen=True)
class Decision:
    """What is to be done, and whether it may be."""

    promotion: Promotion
    best: str | None
    equal_to: tuple[str, ...]  # by the rule, to the best
    why: str
    follows: int | None  # the decision that stood when this one was taken
    conditions: tuple[Condition, ...]
    refusal: str | None  # why it may not be done
    stands_already: bool = False  # then there is nothing to record

    def require(self) -> None:
        """Raise PromotionRefused, with every condition that binds and is not met, if there is one."""
        if self.refusal:
            raise PromotionRefused(self.refusal)

    def require_new(self) -> None:
        """Raise NothingToDo if the last decision says the same."""
        if self.stands_already:
            default = self.promotion.standing.experiment or "the baseline"
            raise NothingToDo(
                f"{default} is the default already, by the same runs: nothing is recorded; see it with: "
                "boneexp decisions, and whether its files are in place with: boneexp doctor"
            )

    def sentence(self) -> str:
        """Say it in one line."""
        experiment = self.promotion.standing.experiment
        if self.promotion.action == "keep-baseline":
            return "the baseline stays the default; no experiment is promoted"
        if self.promotion.action == "rollback":
            return f"the last promotion is undone; the default is {experiment or 'the baseline'} again"
        first = experiment in (self.best, *self.equal_to)
        beside = "" if first else f" (by the study's rule the best is {self.best or 'none'})"
        overridden = len(self.promotion.overrides)
        over = f", {overridden} unmet condition{'s' * (overridden > 1)} overridden" if overridden else ""
        return f"{experiment} becomes the default model{beside}{over}"

    def warnings(self) -> list[str]:
        """Return what is not met, or not known, and stops nothing."""
        words = {"warns": "Warning", "overridden": "Overridden"}
        unmet = [each for each in self.conditions if each.met is not True]
        return [f"{words[each.effect]}: {each.sentence()}" for each in unmet if each.effect in words]

    def as_json(self) -> dict[str, object]:
        """Return the decision, ready for json.dumps."""
        return {
            "action": self.promotion.action,
            **asdict(self.promotion.standing),
            "reason": self.promotion.reason,
            "decided_by": self.promotion.decided_by,
            "best": self.best,
            "equal_to": list(self.equal_to),
            "why": self.why,
            "conditions": [asdict(each) for each in self.conditions],
            "overridden": list(self.promotion.overrides),
            "refused": self.refusal,
            "stands_already": self.stands_already,
        }

    def diff(self, place: StudyPaths, now: float) -> str:
        """Return what would change in the grid file and the documents; "" for what has no run to show."""
        stands = self.promotion.standing
        if stands.experiment is not None and not stands.runs:
            return ""
        with reading(place.ledger) as connection:
            texts = texts_of(place, connection, self.row(now))
        return "\n".join(change for path, text in texts.items() if (change := _diff(path, text)))

    def preview(self, place: StudyPaths, now: float) -> str:
        """Return what would be done, how each condition stands, and the diff; nothing is written."""
        said = [f"  {each.effect}: {each.kind}: {each.sentence()}" for each in self.conditions]
        parts = [self.sentence(), "Conditions of promotion:", *said, self.diff(place, now)]
        return "\n".join(part for part in parts if part)

    def row(self, now: float) -> PromotionRow:
        """Return the row that this decision will be."""
        about, evidence = self.promotion, canonical_json(self.promotion.evidence)
        return PromotionRow(
            None,
            about.action,
            **vars(about.standing),
            reason=about.reason,
            decided_by=about.decided_by,
            decided_at=now,
            evidence_json=evidence,
            undoes_id=about.undoes_id,
        )


@dataclass(frozen=True)
class _Judged:
    """What is to stand, and how the conditions of it turned out; `gate` is what the ledger keeps of them."""

    title: str
    stands: Standing
    conditions: tuple[Condition, ...]
    gate: dict[str, object] | None
    undoes_id: int | None = None


def decide(place: StudyPaths, request: Request) -> Decision:
    """Hold what is asked for against the ledger and the files; nothing is written.

    Raises:
        PromotionRefused: there is nothing to undo, or no best experiment, or the one that was named was
            cancelled. What the conditions refuse is said by the decision.
        Damaged: something in the ledger is not as it was sealed.
        RunNotFound: the ledger has no such experiment.
        GridInvalid: the table [promotion] of the grid file cannot be used.
    """
    with reading(place.ledger) as connection, read_snapshot(connection):
        require_untouched(connection)
        found, rows = compared(connection), promotion_rows(connection)
        if request.action == "rollback":
            judged = _undoing(connection, rows, place)
        else:
            judged = _weigh(connection, found, place, request)
    again = request.action != "rollback" and _stands(judged.stands, rows)
    evidence = {**comparison_document.as_json(found), "gate": judged.gate}
    overridden = tuple(each.name for each in judged.conditions if each.effect == "overridden")
    about = (request.action, judged.stands, request.reason, _person(), evidence)
    go_on = f'boneexp promote {judged.stands.experiment} --override --reason "why"'
    return Decision(
        promotion=Promotion(*about, judged.undoes_id, overridden),
        best=found.best,
        equal_to=found.equal_to,
        why=found.why,
        follows=rows[-1].id if rows else None,
        conditions=judged.conditions,
        refusal=refusal(judged.title, _stopping(judged.conditions, again), go_on),
        stands_already=again,
    )


def _weigh(connection: sqlite3.Connection, found: Comparison, place: StudyPaths, request: Request) -> _Judged:
    """Judge what is to be promoted; where the baseline is kept, the experiment that could have been."""
    policy, promotes = promotion_policy(place.grid), request.action == "promote"
    best = None if found.equal_to else found.best  # among equals a person decides
    experiment = _named(connection, request.experiment or best, found) if promotes else candidate(found)
    stands = _standing(connection, experiment)
    conditions = with_effects(
        _conditions(connection, stands, found, (place, policy), promotes=promotes),
        policy,
        promotes=promotes,
        override=request.override,
    )
    by = {"by": _person(), "reason": request.reason}
    gate = recorded(experiment, policy, conditions, by)
    if promotes:
        return _Judged(f"{experiment} cannot be promoted", stands, conditions, gate)
    title = "the decision to keep the baseline cannot be recorded"
    return _Judged(
        title, Standing(), conditions, {**gate, "reached": [asdict(each) for each in reached(found)]}
    )


def _conditions(
    connection: sqlite3.Connection,
    stands: Standing,
    found: Comparison,
    by: tuple[StudyPaths, PromotionSettings],
    *,
    promotes: bool,
) -> tuple[Condition, ...]:
    place, policy = by
    if stands.experiment is None:
        return (*ledger_conditions(connection), own_grid(connection, place, None))
    run_ids = list(stands.runs.values())
    integrity = tuple(integrity_conditions(connection, stands.experiment, run_ids, place.artifacts))
    if not run_ids:  # there is no figure to judge
        return integrity
    grid = describes(connection, place.grid, run_ids) if promotes else own_grid(connection, place, None)
    return (*integrity, grid, *statistical_conditions(connection, run_ids, found, policy))


def _undoing(connection: sqlite3.Connection, rows: list[PromotionRow], place: StudyPaths) -> _Judged:
    """Bring back what stood before, with the conditions that were recorded then."""
    decisions = decisions_in_force(rows)
    if not decisions:
        raise PromotionRefused("there is no promotion to undo")
    last, former = decisions[-1], decisions[-2] if len(decisions) > 1 else None
    stands = standing_of(former)
    judged = ledger_conditions(connection)
    grid = own_grid(connection, place, former)
    conditions = tuple(replace(each, effect="binds") for each in [*judged, grid])
    gate = former.evidence.get("gate") if former else None
    return _Judged("the last promotion cannot be undone", stands, conditions, gate, last.id)


def own_grid(connection: sqlite3.Connection, place: StudyPaths, row: PromotionRow | None) -> Condition:
    """Return whether `place` names the study's own grid file; `row` is the decision to stand in it."""
    noted = noted_place(connection)
    into = place.ledger.resolve().parent / noted["grid"] if noted else None
    return belongs(connection, place.grid, into, list(row.runs.values()) if row else [])


def _stands(wanted: Standing, rows: list[PromotionRow]) -> bool:
    """Whether the last decision that is not undone says the same."""
    decisions = decisions_in_force(rows)
    return bool(decisions) and standing_of(decisions[-1]) == wanted


def _stopping(conditions: tuple[Condition, ...], again: bool) -> tuple[Condition, ...]:
    """Return which conditions can refuse; of what stands already, figures were judged when it was decided."""
    return tuple(each for each in conditions if each.kind == "integrity") if again else conditions


def _named(connection: sqlite3.Connection, experiment: str | None, found: Comparison) -> str:
    if experiment is None:
        raise PromotionRefused(f"there is no best experiment: {found.why}; name one: boneexp promote E3")
    known = [row.experiment_id for row in found.rows]
    if experiment not in known:
        if cancelled := cancelled_note(connection, experiment):
            raise PromotionRefused(f"{experiment} cannot be promoted: {cancelled}")
        raise RunNotFound(
            f"the ledger has no experiment {experiment!r}; {nearest(experiment, known or ['none'])}"
        )
    return experiment


def _standing(connection: sqlite3.Connection, experiment: str | None) -> Standing:
    """Return an experiment with its run on each split, of several seeds the one of the lowest loss."""
    if experiment is None:
        return Standing()
    chosen = runs_to_promote(connection, experiment)
    return Standing(experiment, chosen.get("stratified"), chosen.get("center_holdout"))


def _diff(path: Path, text: str) -> str:
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), str(path), lineterm="")
    return "\n".join(lines)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
