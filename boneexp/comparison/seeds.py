"""Several seeds: how far a figure moves with the seed, against how far the experiments lie apart."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.comparison.figure_names import Figure
from boneexp.comparison.paired_tests import COMPARED
from boneexp.comparison.predictions import on_one_test_set
from boneexp.evaluation.seeds import SeedStudy, seed_study
from boneexp.ledger.queries.figures import metric_values
from boneexp.results import SPLITS


@dataclass(frozen=True)
class FigureSpread:
    """One figure's spread over seeds and experiments on one split."""

    split: str
    part: str
    figure: str
    study: SeedStudy
    elsewhere: tuple[tuple[str, str], ...]  # (split, experiment) left out, since tested on other images


def seed_spreads(
    connection: sqlite3.Connection, figures: Sequence[Figure] = COMPARED, *, part: str = "test"
) -> tuple[FigureSpread, ...]:
    """Return the spread of each figure on each split, of the finished current runs that have a value.

    Of each split those are taken that share the test set of most experiments.
    """
    found = []
    for figure in figures:
        known = metric_values(connection, part, figure.metric, figure.class_name)
        rows, elsewhere = on_one_test_set(known)
        for split in SPLITS:
            values: dict[str, list[float]] = {}
            for row in rows:
                if row["split"] == split and row["value"] is not None:
                    values.setdefault(row["experiment"], []).append(row["value"])
            if values:
                study = seed_study(values, lower_is_better=figure.lower_is_better)
                others = tuple(each for each in elsewhere if each[0] == split)
                found.append(FigureSpread(split, part, figure.name, study, others))
    return tuple(found)
