"""The rows of `compare --calibration`: one table each for calibration, its slopes, decisions and PPV."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from boneexp.comparison.calibration import Calibration, calibration_of
from boneexp.comparison.predictions import Evaluated
from boneexp.evaluation.recalibration import Recalibration
from boneexp.evaluation.reported import WANTED_CLASS
from boneexp.results import AT_BOUND

Row = dict[str, Any]
CALIBRATION_NOTES = (
    "Of several seeds the run with the lowest validation loss. Beside the expected calibration error (ece) "
    "stands its mean if the probabilities were true, and the p-value of that (consistency resampling); "
    "scaled: after the temperature that validation chose.",
    "Slope 1 and intercept 0 are perfect; a slope below 1: probabilities too extreme; an intercept below 0: "
    "too high. Scaled Brier: 1 is perfect, 0 is what the class frequencies alone give.",
    "Net benefit is per image, at the part's own prevalence; acting on no image gives 0. PPV and NPV are of "
    "the most probable class, the prevalence taken as known.",
)


def calibration_tables(
    connection: sqlite3.Connection, evaluated: Evaluated, part: str, prevalences: Sequence[float]
) -> dict[str, tuple[Row, ...]]:
    """Return tables of rows by title, of the run of each experiment and split with the lowest loss."""
    runs = [
        (
            {"split": split, "experiment": name, "run": run.run},
            calibration_of(connection, run.run, part, prevalences),
        )
        for split in evaluated.splits
        for name in evaluated.experiments
        for run in evaluated.of(name, split)[:1]
    ]
    return {
        "Calibration": tuple({**about, **_calibration_row(each)} for about, each in runs),
        "Calibration slope and intercept": tuple(
            {**about, **_recalibration_row(one)} for about, each in runs for one in each.classes
        ),
        f"Net benefit of acting on {WANTED_CLASS}": tuple(
            {**about, **vars(one), "treat_none": 0.0} for about, each in runs for one in each.curve
        ),
        f"PPV and NPV of {WANTED_CLASS} by prevalence": tuple(
            {**about, **vars(one)} for about, each in runs for one in each.predictive
        ),
    }


def _calibration_row(each: Calibration) -> Row:
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


def _recalibration_row(one: Recalibration) -> Row:
    figures = {
        f"{name}{end}": getattr(estimate, key)
        for name, estimate in (("slope", one.slope), ("intercept", one.intercept))
        for key, end in (("value", ""), ("low", "_low"), ("high", "_high"))
    }
    return {"class": one.class_name, "images": one.images, **figures}
