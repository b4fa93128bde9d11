"""Facts -> what a decision rested on: its conditions, an override, and what a kept baseline was kept over.

All of it was recorded with the decision and is reported as recorded, whatever has been run since.
"""

from collections.abc import Iterable, Mapping
from typing import Any

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


def conditions_table(facts: Facts) -> Table:
    """Return each condition with its finding and effect; "not reported" for older decisions."""
    rows = (
        [
            each.get("asked"),
            each.get("kind"),
            VERDICTS.get(each.get("met"), UNKNOWN),
            each.get("found"),
            EFFECTS.get(each.get("effect"), UNKNOWN),
        ]
        for each in _gate(facts).get("conditions", [])
    )
    return table(["Condition", "Kind", "Met", "Found", "Effect"], rows)


def conditions_note(facts: Facts) -> str:
    """Return what the conditions were checked for, and whether the statistical ones were binding."""
    gate, promotion = _gate(facts), facts.promotion or {}
    if not gate:
        return "The ledger records no conditions for this decision."
    experiment = gate.get("experiment") or "no experiment"
    if promotion["experiment"] is None:
        return (
            f"Checked for {experiment}, the candidate at the time; nothing is promoted, so few conditions "
            "are binding."
        )
    as_then = ", as recorded when it was first promoted" if promotion["action"] == "rollback" else ""
    enforced = gate.get("policy", {}).get("enforce")
    statistical = "binding" if enforced else "warnings (promotion.enforce is false)"
    return (
        f"Checked for {experiment}{as_then}. Integrity conditions are always binding; statistical conditions "
        f"were {statistical}."
    )


def overridden(facts: Facts) -> list[str]:
    """Return the names of the conditions that a person overrode; [] where there were none."""
    return list((_gate(facts).get("override") or {}).get("conditions", []))


def override_note(facts: Facts) -> str:
    """Return who overrode binding conditions that were not met, and why; "" if nobody did."""
    found, names = _gate(facts).get("override") or {}, overridden(facts)
    if not names:
        return ""
    unmet = f"{counted(len(names), 'binding condition')} {'was' if len(names) == 1 else 'were'} not met"
    return f"{unmet} ({listed(names)}). Overridden by {found.get('by')}; reason: {found.get('reason')}"


def kept_note(facts: Facts) -> str:
    """Return whether an experiment was better than the baseline that was kept; "" for other decisions."""
    rows = _gate(facts).get("reached")
    if rows is None:
        return ""
    if not rows:
        return "Whether an experiment was better than the baseline is unknown: no metric is known for both."
    rows = [row for row in rows if row["above"] is not None]
    if not rows:
        return "No experiment can be compared with the baseline: it was measured on other images."
    if sure := [row for row in rows if row["surely"]]:
        return f"The baseline was kept although clearly exceeded (whole interval above it): {_who(sure)}."
    if above := [row for row in rows if row["above"]]:
        return f"No experiment clearly exceeded the baseline; above it by point estimate only: {_who(above)}."
    return "No experiment was better than the baseline in any metric."


def kept_table(facts: Facts) -> Table:
    """Return, for each metric of the baseline, the experiment with the highest value."""
    highest: dict[str, Mapping[str, Any]] = {}
    for row in _gate(facts).get("reached") or ():
        former = highest.setdefault(row["figure"], row)
        if row["value"] > former["value"]:
            highest[row["figure"]] = row
    rows = (
        [
            label(figure),
            estimate(row["baseline"]),
            row["experiment"],
            estimate(row["value"], row["low"], row["high"]),
            difference(row["value"] - row["baseline"]) if row["above"] is not None else NOT_COMPARABLE,
        ]
        for figure, row in highest.items()
    )
    return table(["Metric", "Baseline", "Best experiment", "Value", "Difference"], rows)


def _who(rows: Iterable[Mapping[str, Any]]) -> str:
    figures: dict[str, list[str]] = {}
    for row in rows:
        figures.setdefault(row["experiment"], []).append(label(row["figure"]))
    return "; ".join(f"{experiment} in {listed(names)}" for experiment, names in figures.items())


def _gate(facts: Facts) -> Mapping[str, Any]:
    """Return what was recorded of the decision's conditions; empty for decisions older than these."""
    evidence = (facts.promotion or {}).get("evidence") or {}
    found: Mapping[str, Any] = evidence.get("gate") or {}
    return found
