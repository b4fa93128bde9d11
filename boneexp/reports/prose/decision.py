"""Facts -> what a decision rested on: its conditions, an override, and what a kept baseline was kept over.

All of it was recorded with the decision, and is told as it was then, whatever has been run since.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from boneexp.reports.facts import Facts
from boneexp.text.labels import UNKNOWN, label
from boneexp.text.markdown import Table, table
from boneexp.text.numbers import counted, format_estimate, listed, signed

NOT_COMPARABLE = "not comparable"
VERDICTS = {True: "met", False: "not met", None: "not known"}
EFFECTS = {
    "binds": "binding",
    "warns": "a warning",
    "overridden": "binding, overridden",
    "informs": "for information",
}


def conditions_table(facts: Facts) -> Table:
    """Return each condition with what was found and what followed; "not reported" by older decisions."""
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
    """Return what the conditions were held against, and whether the statistical ones bound."""
    gate, promotion = _gate(facts), facts.promotion or {}
    if not gate:
        return "The ledger has no conditions of this decision."
    experiment = gate.get("experiment") or "no experiment"
    if promotion["experiment"] is None:
        return f"Held against {experiment}, the candidate then; nothing is promoted, so little of it binds."
    as_then = (
        ", as they were recorded when it was first promoted" if promotion["action"] == "rollback" else ""
    )
    enforced = gate.get("policy", {}).get("enforce")
    statistical = "bound" if enforced else "were warnings (promotion.enforce is false)"
    return f"Held against {experiment}{as_then}. Integrity always binds; the statistical ones {statistical}."


def overridden(facts: Facts) -> list[str]:
    """Return the names of the conditions that a person overrode; [] where there were none."""
    return list((_gate(facts).get("override") or {}).get("conditions", []))


def override_note(facts: Facts) -> str:
    """Return who went on although conditions that bind were not met, and why; "" where nobody did."""
    found, names = _gate(facts).get("override") or {}, overridden(facts)
    if not names:
        return ""
    bound = f"{counted(len(names), 'condition')} that bound {'was' if len(names) == 1 else 'were'} not met"
    return f"{bound} ({listed(names)}). {found.get('by')} went on all the same; reason: {found.get('reason')}"


def kept_note(facts: Facts) -> str:
    """Return whether anything was better than the baseline that was kept; "" for other decisions."""
    rows = _gate(facts).get("reached")
    if rows is None:
        return ""
    if not rows:
        return "Whether anything was better than the baseline is not known: no figure is known of both sides."
    rows = [row for row in rows if row["above"] is not None]
    if not rows:
        return "Whether anything was better than the baseline cannot be said: it is of other images."
    if sure := [row for row in rows if row["surely"]]:
        return f"Something was better, and the baseline was kept all the same: {_who(sure)}."
    if above := [row for row in rows if row["above"]]:
        return f"Nothing was surely better than the baseline; above it, but not surely: {_who(above)}."
    return "Nothing was better than the baseline: no figure of any experiment lies above it."


def kept_table(facts: Facts) -> Table:
    """Return, for each figure of the baseline, the experiment that came highest, and how far."""
    highest: dict[str, Mapping[str, Any]] = {}
    for row in _gate(facts).get("reached") or ():
        former = highest.setdefault(row["figure"], row)
        if row["value"] > former["value"]:
            highest[row["figure"]] = row
    rows = (
        [
            label(figure),
            format_estimate(row["baseline"]),
            row["experiment"],
            format_estimate(row["value"], row["low"], row["high"]),
            signed(row["value"] - row["baseline"]) if row["above"] is not None else NOT_COMPARABLE,
        ]
        for figure, row in highest.items()
    )
    return table(["Figure", "Baseline", "Highest", "Reached", "Difference"], rows)


def _who(rows: Iterable[Mapping[str, Any]]) -> str:
    figures: dict[str, list[str]] = {}
    for row in rows:
        figures.setdefault(row["experiment"], []).append(label(row["figure"]))
    return "; ".join(f"{experiment} in {listed(names)}" for experiment, names in figures.items())


def _gate(facts: Facts) -> Mapping[str, Any]:
    """Return what was recorded of the decision's conditions; empty for decisions of before there were any."""
    evidence = (facts.promotion or {}).get("evidence") or {}
    found: Mapping[str, Any] = evidence.get("gate") or {}
    return found
