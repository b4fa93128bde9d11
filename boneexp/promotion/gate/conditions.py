"""What a condition of promotion is, which of them bind, and what is said when one that binds is not met.

Integrity always binds: figures of a changed ledger or of other images are no grounds for anything. What is
statistical binds only where the study says so, and can be overridden by a person who says why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from boneexp.study.decision_settings import PromotionSettings

Kind = Literal["integrity", "statistical"]
Effect = Literal["binds", "warns", "overridden", "informs"]
VERDICTS = {True: "met", False: "not met", None: "not known"}
HISTORY, SEALS, SUMMARIES, GRID_FILE = "history", "seals", "summaries", "grid-file"
ALWAYS = (
    HISTORY,
    SEALS,
    SUMMARIES,
    GRID_FILE,
)  # without these nothing can be decided, not even that the baseline stays


@dataclass(frozen=True)
class Condition:
    """One condition: what must be so, whether it is (None: not known), what was found, and what follows."""

    name: str
    kind: Kind
    asked: str
    met: bool | None
    found: str
    effect: Effect = "informs"

    @property
    def stops(self) -> bool:
        """Whether it refuses the decision; what is not known is not met."""
        return self.effect == "binds" and self.met is not True

    def sentence(self) -> str:
        """Say it in one line."""
        return f"{self.asked}: {VERDICTS[self.met]}; {self.found}"


def with_effects(
    conditions: Iterable[Condition], policy: PromotionSettings, *, promotes: bool, override: bool
) -> tuple[Condition, ...]:
    """Return the conditions with what follows from each.

    Args:
        conditions: as judged.
        policy: whether statistical ones bind.
        promotes: False where the baseline is kept: then only those of the ledger itself bind.
        override: whether a person goes on although statistical ones that bind are not met.
    """
    weighed = [replace(each, effect=_effect(each, policy, promotes)) for each in conditions]
    return tuple(
        replace(each, effect="overridden") if override and each.stops and each.kind == "statistical" else each
        for each in weighed
    )


def refusal(title: str, conditions: Sequence[Condition], go_on: str) -> str | None:
    """Return why a decision is refused, all of it, and what helps; None where nothing refuses it.

    Args:
        title: what cannot be done, "E3 cannot be promoted".
        conditions: with their effects.
        go_on: the command that overrides statistical conditions.
    """
    stopping = [each for each in conditions if each.stops]
    if not stopping:
        return None
    kinds = {each.kind for each in stopping}
    lines = [f"{title}:", *(f"  - {each.kind}: {each.sentence()}" for each in stopping)]
    if "integrity" in kinds:
        lines.append("Conditions of integrity always bind; nothing overrides them.")
    if "statistical" in kinds:
        lines.append(f"The statistical ones bind because of promotion.enforce; a person can go on: {go_on}")
    return "\n".join(lines)


def recorded(
    experiment: str | None,
    policy: PromotionSettings,
    conditions: Sequence[Condition],
    override: Mapping[str, str],
) -> dict[str, object]:
    """Return what the ledger keeps of a decision's conditions, ready for JSON.

    Args:
        experiment: which one was judged; None where there was none to judge.
        policy: what it was judged by.
        conditions: with their effects.
        override: who went on, and why; recorded only if a condition was overridden.
    """
    names = [each.name for each in conditions if each.effect == "overridden"]
    return {
        "experiment": experiment,
        "policy": policy.model_dump(mode="json"),
        "conditions": [asdict(each) for each in conditions],
        "override": {**override, "conditions": names} if names else None,
    }


def _effect(condition: Condition, policy: PromotionSettings, promotes: bool) -> Effect:
    if condition.name in ALWAYS:
        return "binds"
    if not promotes:
        return "informs"
    return "binds" if condition.kind == "integrity" or policy.enforce else "warns"
