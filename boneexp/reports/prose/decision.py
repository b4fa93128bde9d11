"""Facts -> what a decision rested on: its conditions, an override, and what a kept baseline was kept over.

All of it was recorded with the decision and is reported as recorded, whatever has been run since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from boneexp.reports.facts import Facts
from boneexp.reports.numbers import difference, estimate
from boneexp.text.labels import UNKNOWN, label
from boneexp.text.markdown import Table, table
from boneexp.text.numbers import counted, listed

NOT_COMPARABLE = "not comparable"
VERDICTS = {True: "met", False: "not met", None: "unknown"}
EFFECTS = {
    "binds": "binding",
    "warns": "a warning",
    "overridden": "binding, overridden",
    "informs": "for information",
}

R = TypeVar("R")


@dataclass(frozen=True)
class Condition:
    """One condition of a promotion, as it was recorded."""

    asked: str | None
    kind: str | None
    met: bool | None
    found: str | None
    effect: str | None


@dataclass(frozen=True)
class Override:
    """Who overrode which conditions, and why."""

    by: str | None
    reason: str | None
    conditions: list[str]


@dataclass(frozen=True)
class Reached:
    """One metric of an experiment against the baseline that was kept; `above` is None if not comparable."""

    experiment: str
    figure: str
    value: float
    low: float | None
    high: float | None
    baseline: float
    above: bool | None
    surely: bool | None


@dataclass(frozen=True)
class Gate:
    """What was recorded of a decision's conditions."""

    experiment: str | None
    is_enforced: bool
    conditions: tuple[Condition, ...]
    override: Override | None
    reached: tuple[Reached, ...] | None  # of a kept baseline


def conditions_table(facts: Facts) -> Table:
    """Return each condition with its finding and effect; "not reported" for older decisions."""
    gate = _gate(facts)
    rows = (
        [each.asked, each.kind, VERDICTS[each.met], each.found, EFFECTS.get(each.effect or "", UNKNOWN)]
        for each in (gate.conditions if gate else ())
    )
    return table(["Condition", "Kind", "Met", "Found", "Effect"], rows)


def conditions_note(facts: Facts) -> str:
    """Return what the conditions were checked for, and whether the statistical ones were binding."""
    gate, promotion = _gate(facts), facts.promotion
    if gate is None or promotion is None:
        return "The ledger records no conditions for this decision."
    experiment = gate.experiment or "no experiment"
    if promotion.experiment is None:
        return (
            f"Checked for {experiment}, the candidate at the time; nothing is promoted, so few conditions "
            "are binding."
        )
    as_then = ", as recorded when it was first promoted" if promotion.action == "rollback" else ""
    statistical = "binding" if gate.is_enforced else "warnings (promotion.enforce is false)"
    return (
        f"Checked for {experiment}{as_then}. Integrity conditions are always binding; statistical conditions "
        f"were {statistical}."
    )


def overridden(facts: Facts) -> list[str]:
    """Return the names of the conditions that a person overrode; [] where there were none."""
    gate = _gate(facts)
    return gate.override.conditions if gate and gate.override else []


def override_note(facts: Facts) -> str:
    """Return who overrode binding conditions that were not met, and why; "" if nobody did."""
    gate, names = _gate(facts), overridden(facts)
    if gate is None or gate.override is None or not names:
        return ""
    unmet = f"{counted(len(names), 'binding condition')} {'was' if len(names) == 1 else 'were'} not met"
    return f"{unmet} ({listed(names)}). Overridden by {gate.override.by}; reason: {gate.override.reason}"


def kept_note(facts: Facts) -> str:
    """Return whether an experiment was better than the baseline that was kept; "" for other decisions."""
    gate = _gate(facts)
    if gate is None or gate.reached is None:
        return ""
    if not gate.reached:
        return "Whether an experiment was better than the baseline is unknown: no metric is known for both."
    rows = [row for row in gate.reached if row.above is not None]
    if not rows:
        return "No experiment can be compared with the baseline: it was measured on other images."
    if sure := [row for row in rows if row.surely]:
        return f"The baseline was kept although clearly exceeded (whole interval above it): {_who(sure)}."
    if above := [row for row in rows if row.above]:
        return f"No experiment clearly exceeded the baseline; above it by point estimate only: {_who(above)}."
    return "No experiment was better than the baseline in any metric."


def kept_table(facts: Facts) -> Table:
    """Return, for each metric of the baseline, the experiment with the highest value."""
    gate = _gate(facts)
    highest: dict[str, Reached] = {}
    for row in (gate.reached or ()) if gate else ():
        if row.figure not in highest or row.value > highest[row.figure].value:
            highest[row.figure] = row
    rows = (
        [
            label(figure),
            estimate(row.baseline),
            row.experiment,
            estimate(row.value, row.low, row.high),
            difference(row.value - row.baseline) if row.above is not None else NOT_COMPARABLE,
        ]
        for figure, row in highest.items()
    )
    return table(["Metric", "Baseline", "Best experiment", "Value", "Difference"], rows)


def _who(rows: Iterable[Reached]) -> str:
    figures: dict[str, list[str]] = {}
    for row in rows:
        figures.setdefault(row.experiment, []).append(label(row.figure))
    return "; ".join(f"{experiment} in {listed(names)}" for experiment, names in figures.items())


def _gate(facts: Facts) -> Gate | None:
    """Return what was recorded of the decision's conditions; None for decisions older than these."""
    evidence = facts.promotion.evidence if facts.promotion else {}
    gate = evidence.get("gate")
    if not gate:
        return None
    override, reached = gate.get("override"), gate.get("reached")
    return Gate(
        experiment=gate.get("experiment"),
        is_enforced=bool(gate.get("policy", {}).get("enforce")),
        conditions=tuple(_recorded(Condition, each) for each in gate.get("conditions", ())),
        override=_recorded(Override, override) if override else None,
        reached=None if reached is None else tuple(_recorded(Reached, each) for each in reached),
    )


def _recorded(kind: type[R], record: Mapping[str, object]) -> R:
    """Return a record as a `kind`; what an older version did not write is None."""
    return kind(**{field.name: record.get(field.name) for field in fields(kind)})  # type: ignore[arg-type]
