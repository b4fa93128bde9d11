"""Reporting checklists: where the two documents tell what an item asks for, if they do.

An item is answered from the facts, or by a person, under a heading of the document that is theirs. Nothing is
claimed for them: as long as only the template's placeholder stands there, the item is not reported.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from boneexp.reports.checklists.own_words import CARD, REPORT, Own
from boneexp.reports.facts import Facts
from boneexp.reports.prose.certainty import most_seeds
from boneexp.text.labels import UNKNOWN
from boneexp.text.markdown import Table, table
from boneexp.text.numbers import listed

Rule = Callable[[Facts], str | None]  # what to add to "reported in ..."; None where the facts do not tell it


def always(_: Facts) -> str | None:
    """Tell that the documents say it whatever the ledger has."""
    return ""


@dataclass(frozen=True)
class Told:
    """A place that the program writes, and the rule of when it tells what an item asks for."""

    place: str
    rule: Rule


@dataclass(frozen=True)
class Item:
    """One item of a checklist; `topic` is in our words, not the checklist's."""

    number: str
    topic: str
    told: tuple[Told, ...]
    own: tuple[str, ...]  # headings under which a person can tell it

    def answer(self, facts: Facts, own: Own) -> str:
        """Return "reported in ...", or "not reported" and under which heading it is a person's to tell."""
        details = {told.place: told.rule(facts) for told in self.told}
        known = [f"{place}: {more}" if more else place for place, more in details.items() if more is not None]
        if known:
            return f"reported in {'; '.join(known)}"
        places = [
            f"{document}, {heading}"
            for document in (CARD, REPORT)
            for heading in self.own
            if (document, heading.lower()) in own
        ]
        if places:
            return f"reported in {'; '.join(places)} (your words: check that they tell it)"
        return f"{UNKNOWN}; yours to tell under {listed(self.own)}" if self.own else UNKNOWN


def item(number: str, topic: str, *told: Told, own: tuple[str, ...] = ()) -> Item:
    """Return an item that is told in these places, or by a person under these headings."""
    return Item(number, topic, told, own)


def card(section: str, rule: Rule = always) -> Told:
    """Return a place in the model card, by its heading."""
    return Told(f"{CARD}, {section}", rule)


def report(section: str, rule: Rule = always) -> Told:
    """Return a place in the report, by its heading."""
    return Told(f"{REPORT}, {section}", rule)


def checklist_table(items: Iterable[Item], facts: Facts, own: Own) -> Table:
    """Return a checklist with an answer for each item."""
    return table(
        ["Item", "About", "Answer"], ([each.number, each.topic, each.answer(facts, own)] for each in items)
    )


def described(facts: Facts) -> str | None:
    """Tell whether the documents describe a model at all."""
    return "" if facts.subject and facts.subject.chosen else None


def has_grid(facts: Facts) -> str | None:
    """Tell whether there are experiments whose settings can be listed."""
    return "" if facts.grid else None


def of_images_at_hand(facts: Facts) -> str | None:
    """Tell whether the images existed before the study; synthetic ones were made for it."""
    real = facts.subject is not None and facts.subject.dataset["kind"] != "phantom"
    return "retrospective" if real else None


def of_btxrd(facts: Facts) -> str | None:
    """Tell whether the images are BTXRD, whose source the documents know."""
    return described(facts) if facts.of_btxrd else None


def level_of_parts(facts: Facts) -> str | None:
    """Return at which level the parts are disjoint."""
    if described(facts) is None or facts.subject is None:
        return None
    columns = {str(run.split.get("group_column") or "") for run in facts.subject.chosen.values()}
    named = sorted(columns - {""})
    return f"by {listed(named)}" if named and "" not in columns else "by image, not by patient"


def software_known(facts: Facts) -> str | None:
    """Tell whether the software of the runs is known."""
    runs = facts.subject.runs if facts.subject else ()
    return "" if any(run.versions for run in runs) else None


def has_intervals(facts: Facts) -> str | None:
    """Tell whether the figures of the model have intervals."""
    known = [held.estimate.low for held in facts.held if held.estimate.low is not None]
    return "" if known else None


def several_seeds(facts: Facts) -> str | None:
    """Tell with how many seeds the experiments were trained, where these are several."""
    seeds = most_seeds(facts)
    return f"over {seeds} seeds" if seeds > 1 else None


def paired_tests(facts: Facts) -> str | None:
    """Tell whether experiments were tested against each other."""
    return "" if facts.analysed.paired or facts.verdict.tests else None


def smallest_difference(facts: Facts) -> str | None:
    """Tell whether it is known what the test parts can show; why they are so large is a person's to tell."""
    known = any(each.difference is not None for each in facts.verdict.detectable)
    return "the smallest difference shown with 80 % power, not how the size was decided" if known else None


def in_subgroups(facts: Facts) -> str | None:
    """Return of which subgroups there are figures."""
    known = list(dict.fromkeys(each.attribute for each in facts.analysed.subgroups))
    return f"by {listed(known)}" if known else None


def demographics(facts: Facts) -> str | None:
    """Tell whether numbers by sex or age are known, which are those of test parts."""
    known = {each.attribute for each in facts.analysed.subgroups} & {"sex", "age band"}
    return f"by {listed(sorted(known))}, of the test parts" if known else None


def calibrated(facts: Facts) -> str | None:
    """Tell whether figures at thresholds and with a temperature are known."""
    runs = facts.subject.chosen.values() if facts.subject else ()
    known = [run.estimate("test", "temperature").value is not None for run in runs]
    return "" if known and all(known) else None


def heat_maps_measured(facts: Facts) -> str | None:
    """Tell whether heat maps were held against annotated lesions."""
    return "" if facts.subject and facts.subject.has_overlap else None


def other_centres(facts: Facts) -> str | None:
    """Tell whether centres were kept out of training; no other dataset is ever tested."""
    held_out = facts.subject is not None and "center_holdout" in facts.subject.chosen
    return (
        "on centres kept out of training, of the same dataset, and on no other dataset" if held_out else None
    )


def wrong_calls(facts: Facts) -> str | None:
    """Tell that wrong calls are counted."""
    return None if described(facts) is None else "counted in confusion matrices, no case is discussed"


def images_not_patients(facts: Facts) -> str | None:
    """Tell that numbers are of images."""
    return None if described(facts) is None else "as numbers of images, by class"
