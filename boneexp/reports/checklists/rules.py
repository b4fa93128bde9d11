"""Reporting checklists: where the two documents report what an item asks for, if they do.

An item is answered from the facts, or by a person under one of their own headings. Nothing is claimed for the
person: while only the template's placeholder is there, the item is not reported.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from boneexp.reports.checklists.own_words import CARD, REPORT, Own
from boneexp.reports.facts import Facts
from boneexp.reports.prose.certainty import most_seeds
from boneexp.text.labels import UNKNOWN
from boneexp.text.markdown import Table, table
from boneexp.text.numbers import listed

Rule = Callable[[Facts], str | None]  # what to add to "reported in ..."; None if not reported


def always(_: Facts) -> str | None:
    """The documents report it whatever the ledger has."""
    return ""


@dataclass(frozen=True)
class Source:
    """A section that the program writes, and the rule of when it reports what an item asks for."""

    place: str
    rule: Rule


@dataclass(frozen=True)
class Item:
    """One item of a checklist; `topic` is a paraphrase."""

    number: str
    topic: str
    sources: tuple[Source, ...]
    own: tuple[str, ...]  # headings under which a person can report it

    def answer(self, facts: Facts, own: Own) -> str:
        """Return "reported in ...", or "not reported" and the headings under which a person can report it."""
        details = {source.place: source.rule(facts) for source in self.sources}
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
            return f"reported in {'; '.join(places)} (your text: check that it covers the item)"
        return f"{UNKNOWN}; left to you, under {listed(self.own)}" if self.own else UNKNOWN


def item(number: str, topic: str, *sources: Source, own: tuple[str, ...] = ()) -> Item:
    """Return an item that is reported in these sections, or by a person under these headings."""
    return Item(number, topic, sources, own)


def card(section: str, rule: Rule = always) -> Source:
    """Return a section of the model card, by its heading."""
    return Source(f"{CARD}, {section}", rule)


def report(section: str, rule: Rule = always) -> Source:
    """Return a section of the report, by its heading."""
    return Source(f"{REPORT}, {section}", rule)


def checklist_table(items: Iterable[Item], facts: Facts, own: Own) -> Table:
    """Return a checklist with an answer for each item."""
    return table(
        ["Item", "Topic", "Answer"], ([each.number, each.topic, each.answer(facts, own)] for each in items)
    )


def described(facts: Facts) -> str | None:
    """Whether the documents describe a model at all."""
    return "" if facts.subject and facts.subject.chosen else None


def has_grid(facts: Facts) -> str | None:
    """Whether there are experiments whose settings can be listed."""
    return "" if facts.grid else None


def of_images_at_hand(facts: Facts) -> str | None:
    """Whether the images existed before the study; synthetic ones were made for it."""
    real = facts.subject is not None and facts.subject.dataset.kind != "phantom"
    return "retrospective" if real else None


def of_btxrd(facts: Facts) -> str | None:
    """Whether the images are BTXRD, whose source the documents know."""
    return described(facts) if facts.of_btxrd else None


def level_of_sets(facts: Facts) -> str | None:
    """At which level the sets are disjoint."""
    if described(facts) is None or facts.subject is None:
        return None
    columns = {run.assignment.group_column for run in facts.subject.chosen.values()}
    named = sorted(columns - {""})
    return f"by {listed(named)}" if named and "" not in columns else "by image, not by patient"


def software_known(facts: Facts) -> str | None:
    """Whether the software of the runs is known."""
    runs = facts.subject.runs if facts.subject else ()
    return "" if any(run.versions for run in runs) else None


def has_intervals(facts: Facts) -> str | None:
    """Whether the metrics of the model have intervals."""
    known = [held.estimate.low for held in facts.held if held.estimate.low is not None]
    return "" if known else None


def several_seeds(facts: Facts) -> str | None:
    """With how many seeds the experiments were trained, if several."""
    seeds = most_seeds(facts)
    return f"over {seeds} seeds" if seeds > 1 else None


def paired_tests(facts: Facts) -> str | None:
    """Whether experiments were tested against each other."""
    return "" if facts.analysed.tests or facts.verdict.tests else None


def smallest_difference(facts: Facts) -> str | None:
    """Whether the power of the test sets is known; the reason for their size is for a person to give."""
    known = any(each.difference is not None for each in facts.verdict.detectable)
    return "smallest difference detectable with 80 % power, not how the size was decided" if known else None


def in_subgroups(facts: Facts) -> str | None:
    """By which attributes there are subgroup results."""
    known = list(dict.fromkeys(each.attribute for each in facts.analysed.subgroups))
    return f"by {listed(known)}" if known else None


def demographics(facts: Facts) -> str | None:
    """Whether numbers by sex or age are known; they are those of the test sets."""
    known = {each.attribute for each in facts.analysed.subgroups} & {"sex", "age band"}
    return f"by {listed(sorted(known))}, for the test sets" if known else None


def calibrated(facts: Facts) -> str | None:
    """Whether results at operating points and after temperature scaling are known."""
    runs = facts.subject.chosen.values() if facts.subject else ()
    known = [run.estimate("test", "temperature").value is not None for run in runs]
    return "" if known and all(known) else None


def heat_maps_measured(facts: Facts) -> str | None:
    """Whether heat maps were compared with annotated lesions."""
    return "" if facts.subject and facts.subject.has_overlap else None


def other_centres(facts: Facts) -> str | None:
    """Whether centres were held out of training; no other dataset is ever tested."""
    held_out = facts.subject is not None and "center_holdout" in facts.subject.chosen
    return "on held-out centres of the same dataset, and on no other dataset" if held_out else None


def misclassified_counted(facts: Facts) -> str | None:
    """Misclassified images are counted."""
    return None if described(facts) is None else "counted in confusion matrices; no case is discussed"


def images_not_patients(facts: Facts) -> str | None:
    """Numbers are of images."""
    return None if described(facts) is None else "as numbers of images by class"
