"""How often the gate fails a model that it should not, and finds one that it should: calibration, subgroups.

    python benchmarks/gate_levels.py            some minutes; as in benchmarks/results/gate_levels.md

Prints Markdown.
"""

import argparse
import platform

import numpy as np

import boneexp
from boneexp.evaluation.inputs import Predictions, predictions_of
from boneexp.promotion.gate.calibration import is_calibrated, part_of
from boneexp.promotion.gate.subgroups import LEVEL, binomial_tail
from boneexp.results import CLASS_NAMES

METRIC = "expected_calibration_error"
FORMER_BOUND = 0.1
SPREAD = 1.5  # standard deviation of the logits that the labels are drawn from
SUBGROUPS = {"8 of 30 images": [30] * 8, "30 of 20": [20] * 30, "200, 60, 40 and 20": [200, 60, 40, 20]}


def main(trials: int) -> None:
    """Print both tables."""
    print("# What the gate fails\n\nResearch use only, not for clinical use.\n")
    made = f"boneexp {boneexp.__version__}, Python {platform.python_version()}, numpy {np.__version__}"
    print(f"Written by `benchmarks/gate_levels.py` with {made}; {trials:,} studies each.\n")
    print("## Calibration\n\nLabels are drawn from the probabilities, and the logits then multiplied.\n")
    print("| test parts | model | the test | calibration error above 0.1 |\n|---|---|---:|---:|")
    for sizes in ((110,), (110, 110), (564,)):
        for boldness in (1.0, 1.5):
            model = "true probabilities" if boldness == 1 else f"logits times {boldness:g}"
            row(f"{' and '.join(map(str, sizes))} images | {model}", *calibration(sizes, boldness, trials))
    row("110 images | class frequencies, one class called", *constant(trials))
    print(f"\n## Subgroups\n\nThe floor is 0.5 except where another stands. {trials * 40:,} studies each.\n")
    print("| subgroups | truth | the test | lowest figure below the floor |\n|---|---|---:|---:|")
    for name, sizes in SUBGROUPS.items():
        for shown, truth, floor in (
            ("0.5 in all", 0.5, 0.5),
            ("0.61 in all", 0.61, 0.5),
            ("0.9 in all, floor 0.9", 0.9, 0.9),
            ("0.61, and 0.2 in one", [*[0.61] * (len(sizes) - 1), 0.2], 0.5),
        ):
            row(f"{name} | {shown}", *subgroups(sizes, truth, floor, trials * 40))


def row(about: str, *failed: float) -> None:
    """Print one row; shares of studies that fail, in per cent."""
    print(f"| {about} | {' | '.join(f'{100 * each:.1f} %' for each in failed)} |", flush=True)


def calibration(sizes: tuple[int, ...], boldness: float, trials: int) -> tuple[float, float]:
    """Return how often the test fails a model, and how often the former bound does."""
    failed = np.zeros((trials, 2), bool)
    for trial in range(trials):
        parts = [
            part_of("", drawn((trial, place), size, boldness), METRIC) for place, size in enumerate(sizes)
        ]
        failed[trial] = (
            not is_calibrated(parts, METRIC, 0.0),
            any(p.tested.value > FORMER_BOUND for p in parts),
        )
    by_test, by_bound = failed.mean(axis=0)
    return float(by_test), float(by_bound)


def drawn(seed: tuple[int, int], images: int, boldness: float) -> Predictions:
    """Return predictions whose labels were drawn from them before they were made bolder."""
    generator = np.random.default_rng(seed)
    logits = SPREAD * generator.normal(size=(images, 3))
    edges = softmax(logits).cumsum(axis=1)[:, :-1]
    labels = (generator.random(images)[:, None] >= edges).sum(axis=1)
    return predictions_of(labels, softmax(boldness * logits), CLASS_NAMES)


def constant(trials: int) -> tuple[float, float]:
    """Return how often a model that says the true class frequencies of every image fails."""
    generator, failed = np.random.default_rng(1), np.zeros((trials, 2), bool)
    frequencies = np.array([0.5, 0.41, 0.09])
    for trial in range(trials):
        labels = generator.choice(3, 110, p=frequencies)
        part = part_of("", predictions_of(labels, np.tile(frequencies, (110, 1)), CLASS_NAMES), METRIC)
        failed[trial] = not is_calibrated([part], METRIC, 0.0), part.tested.value > FORMER_BOUND
    by_test, by_bound = failed.mean(axis=0)
    return float(by_test), float(by_bound)


def subgroups(sizes: list[int], truth: float | list[float], floor: float, trials: int) -> tuple[float, float]:
    """Return how often any subgroup fails by the test, and how often by its point estimate."""
    hits = np.random.default_rng(2).binomial(sizes, truth, size=(trials, len(sizes)))
    tails = {size: np.array([binomial_tail(k, size, floor) for k in range(size + 1)]) for size in set(sizes)}
    p_values = np.column_stack([tails[size][column] for size, column in zip(sizes, hits.T, strict=True)])
    by_test = p_values.min(axis=1) * len(sizes) < LEVEL  # Holm's smallest
    return float(by_test.mean()), float((hits / sizes < floor).any(axis=1).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, (n, classes) floats."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return shares


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=500)
    main(parser.parse_args().trials)
