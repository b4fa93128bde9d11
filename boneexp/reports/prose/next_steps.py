"""Facts -> the next steps that follow from the ledger; any others are for a person to add."""

from collections.abc import Iterator

from boneexp.reports.facts import Facts
from boneexp.reports.prose.certainty import few_malignant, most_seeds
from boneexp.text.labels import label
from boneexp.text.numbers import counted, listed


def next_steps(facts: Facts) -> list[str]:
    """Return the next steps, the nearest first."""
    return [*_in_this_study(facts), *_beyond_it(facts)]


def _in_this_study(facts: Facts) -> Iterator[str]:
    """Yield what the grid and the program can do."""
    if not facts.comparable:
        yield (
            "Run the grid on the images that its baseline and targets were measured on, or name those images "
            "in the grid file (comparable_to): the references do not apply to other images."
        )
    unfinished = sum(row.runs - row.finished_runs for row in facts.grid)
    if unfinished:
        yield f"Finish {counted(unfinished, 'run')} of the grid; boneexp status shows their state."
    if facts.promotion is None:
        yield "Decide which model to promote: boneexp promote."
    if most_seeds(facts) < 2:
        yield "Train every experiment with several seeds to see how much of a difference is chance."
    if facts.subject and not facts.subject.has_overlap:
        yield "Measure where the model looks: boneexp gradcam."


def _beyond_it(facts: Facts) -> Iterator[str]:
    """Yield what needs other data or another model."""
    missed = [label(each.figure) for each in facts.held if each.target and each.target.met is False]
    if missed:
        yield f"Improve on the missed targets: {listed(missed)}."
    runs = facts.subject.chosen.values() if facts.subject else ()
    if not all(run.assignment.group_column for run in runs):
        yield "Identify images of the same patient and keep them in one set (splits.group_column)."
    if few_malignant(facts):
        yield "Collect more malignant images: a test set has few, so its intervals are wide."
    yield "Validate the model on an external dataset from other hospitals and devices: none was used here."
