"""Which differences are real, for the page: paired tests, subgroups of the model described, seeds.

All of it is computed from the ledger's prediction rows while the page is written, for as many experiments as
that takes seconds for.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from boneexp.analysis.choice import MOST_CANDIDATES, MOST_RUNS
from boneexp.analysis.evaluated import evaluated_runs
from boneexp.analysis.groups import GeneralisationGap, SubgroupFigures, generalisation_gaps
from boneexp.analysis.pairs import PairedTest, paired_tests
from boneexp.analysis.spread import FigureSpread, seed_spreads
from boneexp.documents.facts import Facts
from boneexp.documents.page_cells import Cell
from boneexp.documents.wording import UNKNOWN, Table, share, signed, split_label, table
from boneexp.evaluation.subgroups import FEWEST
from boneexp.ledger import evidence
from boneexp.selection import label


@dataclass(frozen=True)
class PageAnalysis:
    """What was found; empty where there was too much to compute, or nothing to compare."""

    tests: tuple[PairedTest, ...]
    subgroups: tuple[SubgroupFigures, ...]
    gaps: tuple[GeneralisationGap, ...]
    spreads: tuple[FigureSpread, ...]
    confidence: float
    left_out: str  # why something is missing; "" where nothing is
    elsewhere: tuple[str, ...]  # experiments that were tested on other images


def page_analysis(connection: sqlite3.Connection, facts: Facts) -> PageAnalysis:
    """Compute what the facts do not have yet; of subgroups there are only the subject's."""
    rows = evidence.evaluated_runs(connection)
    experiments = {row["experiment"] for row in rows}
    is_large = len(experiments) > MOST_CANDIDATES or len(rows) > MOST_RUNS
    everything = evaluated_runs(connection, set() if is_large else None)
    return PageAnalysis(
        tests=() if is_large else facts.analysed.tests or paired_tests(everything),
        subgroups=facts.analysed.subgroups,
        gaps=() if is_large else generalisation_gaps(everything),
        spreads=seed_spreads(connection),
        confidence=everything.confidence,
        left_out=_left_out(is_large),
        elsewhere=everything.elsewhere,
    )


def paired_table(found: PageAnalysis) -> Table:
    """Return every pair's difference in each figure, with its interval, p-value and verdict."""
    header = ["Figure", "Split", "First", "Second", "Images", "Second less first", "Test", "p", "p (Holm)"]
    return table([*header, "Verdict"], (_paired_row(test) for test in found.tests))


def subgroups_table(found: PageAnalysis) -> Table:
    """Return the figures of the subject's subgroups; figures of too few images are not reported."""
    header = ["Attribute", "Value", "Split", "Images", "Malignant images"]
    figures = ["Accuracy", "Macro AUROC", "Malignant sensitivity"]
    rows = (
        [
            each.attribute,
            each.value,
            split_label(each.split),
            each.images,
            each.malignant_images,
            *(share(figure.value, figure.low, figure.high) for figure in each.figures),
        ]
        for each in found.subgroups
    )
    return table([*header, *figures], rows)


def subgroup_rules() -> str:
    """Return what is shown of a small subgroup, and what many of them mean."""
    return (
        f"Below {FEWEST} images no figure is reported, and a figure of a class needs {FEWEST} images of the "
        "class. Many subgroups are many chances to find something: a gap in one of twenty is no finding."
    )


def gaps_table(found: PageAnalysis) -> Table:
    """Return what each experiment loses from the stratified to the centre-holdout test part."""
    header = ["Experiment", "Figure", "Stratified", "Centre-holdout", "Difference"]
    rows = (
        [
            each.experiment,
            label(each.figure),
            share(each.stratified),
            share(each.center_holdout),
            _difference(each.gap, each.low, each.high),
        ]
        for each in found.gaps
    )
    return table(header, rows)


def spreads_table(found: PageAnalysis) -> Table:
    """Return how far each figure moves with the seed, against how far the experiments lie apart."""
    header = ["Figure", "Split", "Between seeds, SD", "Between experiments, SD"]
    rows = (
        [
            label(each.figure),
            split_label(each.split),
            *(share(value) for value in (each.study.seed_sd, each.study.experiment_sd)),
            share(each.study.experiment_share),
            _with_error(each.study.gap, each.study.gap_error),
        ]
        for each in found.spreads
    )
    return table([*header, "Share due to the experiment", "Best mean less the next (standard error)"], rows)


def seed_warnings(found: PageAnalysis) -> list[str]:
    """Return what the seeds forbid to conclude."""
    notes = (
        f"{split_label(each.split).capitalize()} {label(each.figure)}: {warning}"
        for each in found.spreads
        for warning in each.study.warnings
    )
    return list(dict.fromkeys(notes))


def _left_out(is_large: bool) -> str:
    if not is_large:
        return ""
    return (
        f"Paired tests and gaps are computed here for up to {MOST_CANDIDATES} experiments and {MOST_RUNS} "
        "runs; this grid has more. See: boneexp compare --paired."
    )


def _paired_row(test: PairedTest) -> Iterator[object]:
    yield from (label(test.figure), split_label(test.split), test.first, test.second, test.images)
    yield _difference(test.difference, test.low, test.high)
    yield test.test
    yield from (_p_value(test.p_value), _p_value(test.adjusted_p))
    yield "differ" if test.is_significant else "cannot be told apart"


def _difference(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return signed(value)
    return f"{signed(value)} ({signed(low)} to {signed(high)})"


def _with_error(value: float | None, error: float | None) -> str:
    return share(value) if value is None or error is None else f"{share(value)} ({share(error)})"


def _p_value(p: float | None) -> Cell:
    text = UNKNOWN if p is None else "below 0.001" if p < 0.001 else f"{p:.3f}"
    return Cell(text, order=p)
