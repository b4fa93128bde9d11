"""The rows of `compare --calibration`: one table each for calibration, its slopes, decisions and PPV."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from boneexp.comparison.calibration import Calibration, calibration_of
from boneexp.comparison.predictions import Evaluated
from boneexp.comparison.requests import TableRow
from boneexp.evaluation.recalibration import Recalibration
from boneexp.evaluation.reported import WANTED_CLASS
from boneexp.results import AT_BOUND

CALIBRATION_NOTES = (
    "Of several seeds the run with the lowest validation loss. Beside the expected calibration error (ece) "
    "stands its mean if the probabilities were true, and the p-value of that (consistency resampling); "
    "scaled: after the temperature that validation chose.",
    "Slope 1 and intercept 0 are perfect; a slope below 1: probabilities too extreme; an intercept below 0: "
    "too high. Scaled Brier: 1 is perfect, 0 is what the class frequencies alone give.",
    "Net benefit is per image, at the part's own prevalence; acting on no image gives 0. PPV and NPV are of "
    "the most probable class, the prevalence taken as known.",
)


@dataclass(frozen=True)
class _CalibratedRun:
    """One run, and the columns that begin each of its rows."""

    about: TableRow
    calibration: Calibration


def calibration_tables(
    connection: sqlite3.Connection, evaluated: Evaluated, part: str, prevalences: Sequence[float]
) -> dict[str, tuple[TableRow, ...]]:
    """Return tables of rows by title, of the run of each experiment and split with the lowest loss."""
    runs = [
        _CalibratedRun(
            {"split": split, "experiment": name, "run": run.run},
            calibration_of(connection, run.run, part, prevalences),
        )
        for split in evaluated.splits
        for name in evaluated.experiments
        for run in evaluated.of(name, split)[:1]
    ]
    return {
        "Calibration": tuple({**run.about, **_calibration_row(run.calibration)} for run in runs),
        "Calibration slope and intercept": tuple(
            {**run.about, **_recalibration_row(each)} for run in runs for each in run.calibration.classes
        ),
        f"Net benefit of acting on {WANTED_CLASS}": tuple(
            {**run.about, **vars(each), "treat_none": 0.0} for run in runs for each in run.calibration.curve
        ),
        f"PPV and NPV of {WANTED_CLASS} by prevalence": tuple(
            {**run.about, **vars(each)} for run in runs for each in run.calibration.predictive
        ),
    }


def _calibration_row(each: Calibration) -> TableRow:
    return {
        "images": each.images,
        "ece": each.plain.value,
        "ece_if_calibrated": each.plain.expected,
        "p": each.plain.p_value,
        "scaled_brier": each.scaled_brier,
        "temperature": each.temperature,
        "at_bound": AT_BOUND.strip("()") if each.temperature_at_bound else "no",
        "scaled_ece": each.scaled.value,
        "scaled_ece_if_calibrated": each.scaled.expected,
        "scaled_p": each.scaled.p_value,
    }


def _recalibration_row(each: Recalibration) -> TableRow:
    return {
        "class": each.class_name,
        "images": each.images,
        "slope": each.slope.value,
        "slope_low": each.slope.low,
        "slope_high": each.slope.high,
        "intercept": each.intercept.value,
        "intercept_low": each.intercept.low,
        "intercept_high": each.intercept.high,
    }
