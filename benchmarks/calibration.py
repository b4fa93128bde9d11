"""Do the intervals hold as often as they say, and do the tests reject as seldom? Models of known worth tell.

    python benchmarks/calibration.py            about two minutes on two cores
    python benchmarks/calibration.py --full     ten minutes; as in benchmarks/results/calibration.md

Prints Markdown. Every trial has a seed of its own, so the number of workers changes nothing.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from simulated import SIZES, models_of, test_set, truth

import boneexp
from boneexp.evaluation.bca import bca_interval
from boneexp.evaluation.differences import paired_differences, permuted_differences
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import wilson_interval
from boneexp.evaluation.metrics import accelerations, evaluate, figures_of, metric_columns, resampled_figures
from boneexp.evaluation.paired import auroc_covariance, delong_differences, mcnemar_differences
from boneexp.evaluation.statistics import percentile_interval
from boneexp.evaluation.winner import Criterion, winners_curse
from boneexp.results import CLASS_NAMES

COLUMNS = metric_columns(CLASS_NAMES)
COVERED = (
    *(("accuracy", ""), ("balanced_accuracy", ""), ("macro_auroc", ""), ("macro_f1", "")),
    *(
        ("matthews_correlation", ""),
        ("log_loss", ""),
        ("brier_score", ""),
        ("expected_calibration_error", ""),
    ),
    *((metric, "Malignant") for metric in ("sensitivity", "specificity", "precision", "f1")),
    *((metric, "Malignant") for metric in ("auroc", "average_precision")),
)
TESTED = (
    *(("accuracy", ""), ("balanced_accuracy", ""), ("macro_auroc", "")),
    *(("sensitivity", "Malignant"), ("auroc", "Malignant")),
)
SMALLER = ((110, 90, 20), (55, 45, 10))
CURSED = {"4 alike": (0.0, 0.0, 0.0, 0.0), "4, each 0.05 better": (0.0, 0.05, 0.1, 0.15)}
LEVEL = 0.05


@dataclass(frozen=True)
class Effort:
    """How much is simulated."""

    trials: int
    tests: int
    selections: int
    resamples: int


SHORT = Effort(trials=100, tests=60, selections=30, resamples=500)
FULL = Effort(trials=600, tests=400, selections=120, resamples=1000)


def main() -> None:
    """Simulate, and print what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="many more trials")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    arguments = parser.parse_args()
    effort = FULL if arguments.full else SHORT
    began = time.perf_counter()
    with ProcessPoolExecutor(arguments.workers) as pool:
        for line in report(pool, effort):
            print(line, flush=True)
    print(f"\nTook {(time.perf_counter() - began) / 60:.0f} min with {arguments.workers} workers.")


def report(pool: ProcessPoolExecutor, effort: Effort) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Calibration of the intervals and tests"
    yield "\nResearch use only, not for clinical use.\n"
    yield (
        f"Written by `benchmarks/calibration.py` with boneexp {boneexp.__version__}, Python "
        f"{platform.python_version()}, numpy {np.__version__}. Models of known worth "
        f"(`benchmarks/simulated.py`); {effort.resamples:,} resamples or swaps each. ± is one Monte-Carlo "
        "standard error."
    )
    yield f"\n## Coverage of 95 % intervals: {effort.trials:,} test sets\n"
    for sizes in (SIZES, *SMALLER):
        yield f"\n### Independent images, {' / '.join(map(str, sizes))} by class\n"
        yield from coverage_table(pool, partial(coverage, sizes, effort.resamples), effort.trials, sizes)
    yield f"\n### Patients with one to four views, {' / '.join(map(str, SIZES))} by class\n"
    yield from coverage_table(pool, partial(clustered_coverage, effort.resamples), effort.trials, SIZES)
    for patients in (False, True):
        who = "patients with one to four views" if patients else "independent images"
        yield f"\n## Type-I error at {LEVEL}, {who}: {effort.tests:,} pairs of models alike in worth\n"
        yield from rejection_table(pool, partial(rejections, patients, effort.resamples), effort.tests)
    yield f"\n## The winner's curse: accuracy of the best of four, {effort.selections:,} studies\n"
    yield from curse_table(pool, effort)
    yield "\n## Speed\n"
    yield speed()


def coverage(sizes: tuple[int, ...], resamples: int, trial: int) -> dict[str, np.ndarray]:
    """Return, by method, each metric's interval (2, m) on one test set of independent images."""
    generator = np.random.default_rng([1, trial])
    (model,) = models_of(generator, test_set(generator, sizes))
    return {**bootstrapped(model, resamples, trial), "Wilson": wilson(model), "DeLong, logit": logit(model)}


def clustered_coverage(resamples: int, trial: int) -> dict[str, np.ndarray]:
    """Return the same where patients have several views, with images and with patients drawn."""
    generator = np.random.default_rng([2, trial])
    (model,) = models_of(generator, test_set(generator, views=True))
    plain = bootstrapped(replace(model, groups=None), resamples, trial)
    drawn = bootstrapped(model, resamples, trial)
    return {
        **{f"{method}, images": ends for method, ends in plain.items()},
        "Wilson, images": wilson(model),
        **{f"{method}, patients": ends for method, ends in drawn.items()},
    }


def bootstrapped(model: Predictions, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Return the percentile and the BCa interval of every metric, (2, m) floats each."""
    drawn, figures, skews = resampled_figures(model, resamples, seed), figures_of(model), accelerations(model)
    percentile = [percentile_interval(column, 0.95) for column in drawn.T]
    bca = [
        bca_interval(column, figure, skew, 0.95)
        for column, figure, skew in zip(drawn.T, figures, skews, strict=True)
    ]
    return {"percentile": np.array(percentile, float).T, "BCa": np.array(bca, float).T}


def wilson(model: Predictions) -> np.ndarray:
    """Return Wilson's interval of the proportions, nan for other metrics, (2, m) floats."""
    called, found = model.probabilities.argmax(axis=1), []
    right = called == model.labels
    for metric, name in COLUMNS:
        truth_of_class = model.labels == (CLASS_NAMES.index(name) if name else -1)
        called_class = called == (CLASS_NAMES.index(name) if name else -1)
        among = {
            "accuracy": (right, np.ones_like(right)),
            "sensitivity": (called_class, truth_of_class),
            "specificity": (~called_class, ~truth_of_class),
            "precision": (truth_of_class, called_class),
        }.get(metric)
        hits, total = (0, 0) if among is None else ((among[0] & among[1]).sum(), among[1].sum())
        found.append(wilson_interval(float(hits), float(total), 0.95))
    return np.array(found, float).T


def logit(model: Predictions) -> np.ndarray:
    """Return DeLong's interval of each AUROC, symmetric in its logit, nan for other metrics, (2, m) floats.

    Not in boneexp: it is here to be compared with (Pepe, The Statistical Evaluation of Medical Tests, 2003).
    """
    found = []
    for metric, name in COLUMNS:
        area = error = np.nan
        if metric == "auroc":
            label = CLASS_NAMES.index(name)
            areas, covariance = auroc_covariance(model.labels == label, model.probabilities[:, [label]].T)
            area, error = float(areas[0]), float(covariance[0, 0]) ** 0.5
        if area in (0.0, 1.0):
            found.append([area, area])
            continue
        middle, reach = np.log(area / (1 - area)), 1.96 * error / (area * (1 - area))
        found.append([1 / (1 + np.exp(reach - middle)), 1 / (1 + np.exp(-reach - middle))])
    return np.array(found, float).T


def coverage_table(
    pool: ProcessPoolExecutor,
    trial: Callable[[int], dict[str, np.ndarray]],
    trials: int,
    sizes: tuple[int, ...],
) -> Iterator[str]:
    """Yield a table: the share of intervals that hold the truth, and how wide they are."""
    found = list(pool.map(trial, range(trials), chunksize=10))
    methods = list(found[0])
    ends = {method: np.array([each[method] for each in found]) for method in methods}
    yield table_row(["metric", "truth", *(f"{method} (mean width)" for method in methods)])
    yield "|---|---:|" + "---|" * len(methods)
    for name in COVERED:
        column, true = COLUMNS.index(name), truth(sizes)[COLUMNS.index(name)]
        cells = [held(ends[method][:, :, column], true) for method in methods]
        yield table_row([f"{name[1]} {name[0]}".strip().replace("_", " "), f"{true:.3f}", *cells])


def held(ends: np.ndarray, true: float) -> str:
    """Return "94.9 ± 0.3 % (0.054)", of (trials, 2) interval ends; "" where there are none."""
    known = ends[~np.isnan(ends).any(axis=1)]
    if len(known) == 0:
        return ""
    share = float(((known[:, 0] <= true) & (true <= known[:, 1])).mean())
    width = float((known[:, 1] - known[:, 0]).mean())
    return f"{with_error(share, len(known))} ({width:.3f})"


def rejections(patients: bool, resamples: int, trial: int) -> dict[str, dict[tuple[str, str], float]]:
    """Return, by test, the p-value of each metric's difference between two models alike in worth."""
    generator = np.random.default_rng([3, patients, trial])
    first, second = models_of(generator, test_set(generator, views=patients), (0.0, 0.0))
    alone = replace(first, groups=None), replace(second, groups=None)
    found = {
        "DeLong": delong_differences(first, second),
        "McNemar": mcnemar_differences(first, second),
        "bootstrap": paired_differences(*alone, seed=trial, resamples=resamples),
        "permutation": permuted_differences(*alone, seed=trial, permutations=resamples),
    }
    if patients:
        found["bootstrap, patients"] = paired_differences(first, second, seed=trial, resamples=resamples)
        found["permutation, patients"] = permuted_differences(
            first, second, seed=trial, permutations=resamples
        )
    return {
        test: {
            (each.metric, each.class_name): each.p_value for each in differences if each.p_value is not None
        }
        for test, differences in found.items()
    }


def rejection_table(
    pool: ProcessPoolExecutor, trial: Callable[[int], dict[str, dict[tuple[str, str], float]]], trials: int
) -> Iterator[str]:
    """Yield a table: the share of pairs that each test calls different."""
    found = list(pool.map(trial, range(trials), chunksize=5))
    yield table_row(["metric", *found[0]])
    yield "|---|" + "---|" * len(found[0])
    for name in TESTED:
        cells = []
        for test in found[0]:
            p_values = [each[test][name] for each in found if name in each[test]]
            share = float(np.mean(np.array(p_values) <= LEVEL)) if p_values else 0.0
            cells.append(with_error(share, len(p_values)) if p_values else "")
        yield table_row([f"{name[1]} {name[0]}".strip().replace("_", " "), *cells])


def curse(better: tuple[float, ...], resamples: int, trial: int) -> tuple[float, ...]:
    """Return what choosing the best of several costs, by the truth and by the estimate."""
    candidates: dict[str, dict[tuple[str, str], list[Predictions]]] = {}
    for number, part in enumerate(("test", "val")):
        generator = np.random.default_rng([4, number, trial])
        for place, model in enumerate(models_of(generator, test_set(generator), better)):
            candidates.setdefault(f"E{place}", {})["stratified", part] = [model]
    study = winners_curse(candidates, [Criterion("stratified", "accuracy")], seed=trial, resamples=resamples)
    (figure,) = study.figures
    true = [truth(SIZES, step)[0] for step in better]
    worth, by_val = (
        float(np.mean([true[int(name[1:])] for name in choice.winners]))
        for choice in (study.by_test, study.by_validation)
    )
    assert (
        figure.apparent is not None
        and figure.optimism is not None
        and figure.of_validation_choice is not None
    )
    return (
        figure.apparent - worth,
        figure.optimism,
        figure.apparent - figure.optimism - worth,
        figure.of_validation_choice - by_val,
        max(study.by_test.wins.values()),
    )


def curse_table(pool: ProcessPoolExecutor, effort: Effort) -> Iterator[str]:
    """Yield a table: how optimistic the winner's accuracy is, how much the bootstrap says, what is left."""
    yield table_row(
        [
            "experiments",
            "winner's figure less its truth",
            "optimism estimated",
            "corrected figure less the truth",
            "figure of validation's choice less its truth",
            "winner's share of resamples",
        ]
    )
    yield "|---|" + "---|" * 5
    for name, better in CURSED.items():
        trial = partial(curse, better, effort.resamples // 2)
        found = np.array(list(pool.map(trial, range(effort.selections), chunksize=5)))
        errors = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        yield table_row(
            [
                name,
                *(
                    f"{mean:+.4f} ± {error:.4f}"
                    for mean, error in zip(found.mean(axis=0), errors, strict=True)
                ),
            ]
        )


def speed() -> str:
    """Return how long one run's intervals take here."""
    generator = np.random.default_rng(0)
    (model,) = models_of(generator, test_set(generator))
    taken = {}
    for method in ("percentile", "bca"):
        best = []
        for _ in range(3):
            began = time.perf_counter()
            evaluate(model.labels, model.probabilities, CLASS_NAMES, seed=0, resamples=10_000, method=method)
            best.append(time.perf_counter() - began)
        taken[method] = min(best)
    return (
        f"All {len(COLUMNS)} figures of one run, n = {sum(SIZES)}, 10,000 resamples, one core, best of "
        f"three: {taken['percentile']:.2f} s with percentile intervals, {taken['bca']:.2f} s with BCa."
    )


def with_error(share: float, trials: int) -> str:
    """Return "94.9 ± 0.3 %"."""
    error = (share * (1 - share) / trials) ** 0.5
    return f"{100 * share:.1f} ± {100 * error:.1f} %"


def table_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
