"""Facts -> what is left to be done, as far as the ledger can tell; the rest is a person's to say."""

from collections.abc import Iterator

from boneexp.reports.facts import Facts
from boneexp.reports.prose.certainty import few_malignant, most_seeds
from boneexp.text.labels import label
from boneexp.text.numbers import counted, listed


def next_steps(facts: Facts) -> list[str]:
    """Return what is left to be done, the nearest first."""
    return [*_in_this_study(facts), *_beyond_it(facts)]


def _in_this_study(facts: Facts) -> Iterator[str]:
    """Yield what the grid and the program can do."""
    if not facts.comparable:
        yield (
            "Run the grid on the images of its baseline and targets, or name these images there "
            "(comparable_to): they say nothing about others."
        )
    unfinished = sum(row.runs - row.finished_runs for row in facts.grid)
    if unfinished:
        yield f"Finish {counted(unfinished, 'run')} of the grid; boneexp status says how they stand."
    if facts.promotion is None:
        yield "Decide: boneexp promote."
    if most_seeds(facts) < 2:
        yield "Train every experiment with several seeds, to see how much of a difference is chance."
    if facts.subject and not facts.subject.has_overlap:
        yield "Measure where the model looks: boneexp gradcam."


def _beyond_it(facts: Facts) -> Iterator[str]:
    """Yield what needs other data or another model."""
    missed = [label(each.figure) for each in facts.held if each.target and each.target.met is False]
    if missed:
        yield f"Reach what was missed: the target of {listed(missed)}."
    runs = facts.subject.chosen.values() if facts.subject else ()
    if not all(run.split.get("group_column") for run in runs):
        yield "Find out which images are of one patient, and keep these on one side (splits.group_column)."
    if few_malignant(facts):
        yield "Collect more malignant images: a test part has few, so its intervals are wide."
    yield "Test the model on another dataset, from other hospitals and machines: nothing here does."
