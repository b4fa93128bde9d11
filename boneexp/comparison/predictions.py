"""The finished runs of the grid that was queued last, with what each predicted for every image."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from boneexp.comparison.one_test_set import Elsewhere, on_one_test_set
from boneexp.errors import Damaged
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.reported import predictions_of_part
from boneexp.ledger.queries.predictions import part_predictions
from boneexp.ledger.queries.tested import TestedRun, tested_runs
from boneexp.results import SPLITS


@dataclass(frozen=True)
class EvaluatedRun:
    """One finished run; `parts` are its predictions of "val" and "test"."""

    run: int
    experiment: str
    split: str
    seed: int
    test_set: str
    parts: Mapping[str, Predictions]


@dataclass(frozen=True)
class Evaluated:
    """Finished runs, those of a split on one test set, and what their settings ask of intervals."""

    runs: tuple[EvaluatedRun, ...]
    elsewhere: tuple[Elsewhere, ...]  # left out, since tested on other images
    resamples: int
    confidence: float

    @cached_property
    def experiments(self) -> tuple[str, ...]:
        """The experiments, as the comparison orders them."""
        return tuple(dict.fromkeys(run.experiment for run in self.runs))

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits of which there are runs."""
        return tuple(split for split in SPLITS if any(run.split == split for run in self.runs))

    def of(self, experiment: str, split: str) -> tuple[EvaluatedRun, ...]:
        """Return the runs of an experiment on a split, one per seed; the lowest validation loss first."""
        return tuple(run for run in self.runs if (run.experiment, run.split) == (experiment, split))


def evaluated_runs(connection: sqlite3.Connection, experiments: Collection[str] | None = None) -> Evaluated:
    """Read the current finished runs of `experiments`, or of all.

    Of each split those are taken that share the test set of most experiments (the first of equals).

    Raises:
        Damaged: rows of predictions are not what finished runs leave.
    """
    rows = [row for row in tested_runs(connection) if experiments is None or row.experiment in experiments]
    taken = on_one_test_set(rows)
    runs = tuple(_run(connection, row) for row in taken.rows)
    _require_same_images(runs)
    return Evaluated(
        runs=runs,
        elsewhere=taken.elsewhere,
        resamples=max((row.resamples for row in taken.rows), default=0),
        confidence=max((row.confidence for row in taken.rows), default=0.95),
    )


def _run(connection: sqlite3.Connection, row: TestedRun) -> EvaluatedRun:
    parts = {part: predictions_of_run(connection, row.run, part) for part in ("val", "test")}
    return EvaluatedRun(row.run, row.experiment, row.split, row.seed, row.test_set, parts)


def predictions_of_run(connection: sqlite3.Connection, run_id: int, part: str) -> Predictions:
    """Return what a run predicted for the images of a part.

    Raises:
        Damaged: its rows are not what a finished run leaves.
    """
    try:
        return predictions_of_part(part_predictions(connection, run_id, part))
    except (TypeError, ValueError) as error:
        raise Damaged(
            f"run {run_id} has predictions of its {part} part that no run leaves ({error}); "
            "see: boneexp doctor"
        ) from error


def _require_same_images(runs: Sequence[EvaluatedRun]) -> None:
    """Raise Damaged where runs of one split have predictions of different images."""
    first: dict[str, EvaluatedRun] = {}
    for run in runs:
        one = first.setdefault(run.split, run)
        for part, predictions in run.parts.items():
            other = one.parts[part]
            same = predictions.image_ids == other.image_ids and predictions.groups == other.groups
            if not same or not np.array_equal(predictions.labels, other.labels):
                raise Damaged(
                    f"runs {one.run} and {run.run} share one split of the images, and their predictions of "
                    f"the {part} part are of different ones; see: boneexp doctor"
                )
