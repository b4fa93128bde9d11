"""Whether a run's probabilities can be believed, and what acting on them is worth."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from boneexp.comparison.predictions import predictions_of_run
from boneexp.evaluation.calibration import Consistency, consistency, scaled_brier
from boneexp.evaluation.decisions import NetBenefit, PredictiveValues, decision_curve, predictive_values
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.power import design_effect
from boneexp.evaluation.recalibration import Recalibration, recalibrations
from boneexp.evaluation.reported import WANTED_CLASS
from boneexp.evaluation.subgroups import FEWEST, support
from boneexp.evaluation.temperature import fit_temperature, tempered
from boneexp.results import is_at_bound

SEED = 42
PREVALENCES = (0.01, 0.05, 0.2)  # of malignant images where the model is to be used, unless one is named


@dataclass(frozen=True)
class Calibration:
    """One run on one part. Scaled is after the temperature that validation chose; the rest is as it is."""

    run: int
    images: int
    plain: Consistency  # of the expected calibration error
    scaled: Consistency
    temperature: float
    temperature_at_bound: bool
    scaled_brier: float | None
    scaled_brier_tempered: float | None
    classes: tuple[Recalibration, ...]
    prevalence: float  # of the class Malignant in the part
    curve: tuple[NetBenefit, ...]  # of the class Malignant; none where it rests on too few images
    predictive: tuple[PredictiveValues, ...]  # the same; first at the part's own prevalence


def calibration_of(
    connection: sqlite3.Connection,
    run_id: int,
    part: str = "test",
    prevalences: Sequence[float] = PREVALENCES,
) -> Calibration:
    """Return the calibration of a run on a part.

    Raises:
        Damaged: its rows of predictions are not what a finished run leaves.
    """
    validation, own = (predictions_of_run(connection, run_id, each) for each in ("val", part))
    temperature = fit_temperature(validation.labels, validation.probabilities)
    scaled = replace(own, probabilities=tempered(own.probabilities, temperature))
    positive, label = own.labels == own.class_names.index(WANTED_CLASS), own.class_names.index(WANTED_CLASS)
    frequency = float(positive.mean())
    enough = support(own)["auroc", WANTED_CLASS] >= FEWEST
    return Calibration(
        run=run_id,
        images=len(own.labels),
        plain=consistency(own, seed=SEED),
        scaled=consistency(scaled, seed=SEED),
        temperature=temperature,
        temperature_at_bound=is_at_bound("temperature", temperature),
        scaled_brier=scaled_brier(own),
        scaled_brier_tempered=scaled_brier(scaled),
        classes=recalibrations(own),
        prevalence=frequency,
        curve=decision_curve(positive, own.probabilities[:, label]) if enough else (),
        predictive=tuple(_predictive(own, label, each) for each in (frequency, *prevalences) if enough),
    )


def _predictive(predictions: Predictions, label: int, prevalence: float) -> PredictiveValues:
    predicted, positive = predictions.probabilities.argmax(axis=1) == label, predictions.labels == label
    units, correct = predictions.unit_numbers, (predicted == positive).astype(float)
    effects = [design_effect(correct[side], units[side]) for side in (positive, ~positive)]
    return predictive_values(predicted, positive, prevalence, design_effects=(effects[0], effects[1]))
