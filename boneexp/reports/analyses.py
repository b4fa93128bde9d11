"""What `compare` tells beyond its table, for all documents: pairs, seeds, subgroups, other centres."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from boneexp.comparison.answers import paired_notes, seed_notes
from boneexp.comparison.calibration import Calibration, calibration_of
from boneexp.comparison.compared import Comparison
from boneexp.comparison.paired_tests import PairedTest, paired_tests
from boneexp.comparison.predictions import evaluated_runs
from boneexp.comparison.seeds import MetricSpread, seed_spreads
from boneexp.comparison.subgroups import (
    GeneralisationGap,
    SubgroupMetrics,
    generalisation_gaps,
    subgroup_metrics,
)
from boneexp.comparison.verdict import MOST_RUNS

MOST_PAIRED = 6  # experiments of which every pair is tested; each pair takes about a second


@dataclass(frozen=True)
class Analysed:
    """The answers that the documents print; what is empty is not known, or was too much to compute."""

    tests: tuple[PairedTest, ...] = ()  # of every pair, on the test sets
    paired_notes: tuple[str, ...] = ()  # how to read them
    spreads: tuple[MetricSpread, ...] = ()  # over several seeds
    seed_notes: tuple[str, ...] = ()
    subgroups: tuple[SubgroupMetrics, ...] = ()  # of the subject's chosen runs, on their test sets
    gaps: tuple[GeneralisationGap, ...] = ()  # of the subject
    calibration: tuple[Calibration, ...] = ()  # of the subject's chosen runs, on their test sets


def analysed(
    connection: sqlite3.Connection, comparison: Comparison, experiment: str | None, chosen: Collection[int]
) -> Analysed:
    """Return the answers about all experiments, and those about one.

    Args:
        connection: within `read_snapshot`.
        comparison: of the test set.
        experiment: the subject's; None where there is none.
        chosen: its chosen runs. Only runs of the grid that was queued last can be asked about.
    """
    finished = {key: each.finished_runs for key, each in comparison.results.items() if each.finished_runs}
    own = sum(runs for (name, _), runs in finished.items() if name == experiment)
    about_one = _about(connection, str(experiment), chosen) if 0 < own <= MOST_RUNS else ((), ())
    paired = 1 < len({name for name, _ in finished}) <= MOST_PAIRED and sum(finished.values()) <= MOST_RUNS
    evaluated = evaluated_runs(connection) if paired else None
    spreads = seed_spreads(connection) if comparison.most_seeds > 1 else ()
    return Analysed(
        paired_tests(evaluated) if evaluated else (),
        paired_notes(evaluated) if evaluated else (),
        spreads,
        seed_notes(spreads),
        *about_one,
        calibration=tuple(calibration_of(connection, run) for run in chosen),
    )


def _about(
    connection: sqlite3.Connection, experiment: str, chosen: Collection[int]
) -> tuple[tuple[SubgroupMetrics, ...], tuple[GeneralisationGap, ...]]:
    evaluated = evaluated_runs(connection, [experiment])
    if not set(chosen) <= {run.run for run in evaluated.runs}:
        return (), ()
    of_chosen = (each for each in subgroup_metrics(connection, evaluated) if each.run in chosen)
    return tuple(of_chosen), generalisation_gaps(evaluated)
