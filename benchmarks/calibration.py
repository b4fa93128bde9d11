"""Do the intervals hold as often as they say, and do the tests reject as seldom? Models of known worth tell.

    python benchmarks/calibration.py            about a minute on two cores
    python benchmarks/calibration.py --full     minutes; as in benchmarks/results/calibration.md

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
from boneexp.evaluation.differences import Model, paired_differences, permuted_differences
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.metrics import evaluated, metric_columns
from boneexp.evaluation.winner import Criterion, winners_curse
from boneexp.results import CLASS_NAMES, INTERVAL_METHODS, MetricValue

COLUMNS = metric_columns(CLASS_NAMES)
SHOWN = tuple(column for column in COLUMNS if column[1] in ("", "Malignant"))
SMALLER = ((110, 90, 20), (55, 45, 10))
BETTER = 0.4  # of the second model, where a difference is to be covered
CURSED = {"4 alike": (0.0, 0.0, 0.0, 0.0), "4, each 0.05 better": (0.0, 0.05, 0.1, 0.15)}
LEVEL = 0.05
Ends = dict[str, np.ndarray]  # by method, (2, m) floats
GOAL = (0.93, 0.97)


@dataclass(frozen=True)
class Effort:
    """How much is simulated."""

    trials: int  # test sets of the printed intervals
    resampled: int  # test sets of the bootstrap's, and of fixed numbers of each class
    grouped: int  # test sets, and pairs, of patients with several views
    pairs: int  # of models alike in worth
    selections: int
    resamples: int


SHORT = Effort(trials=200, resampled=40, grouped=40, pairs=200, selections=20, resamples=300)
FULL = Effort(trials=2000, resampled=400, grouped=400, pairs=3000, selections=100, resamples=500)


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
        "(`benchmarks/simulated.py`). ± is one Monte-Carlo standard error. **Bold** is outside of 93 to 97 % "
        "(intervals) or 4 to 6 % (tests) by more than two of them."
    )
    yield (
        f"\n## Coverage of 95 % intervals: {effort.trials:,} test sets; {effort.resampled:,} for the last "
        f"three columns, with {effort.resamples:,} resamples\n"
    )
    yield (
        "The printed intervals, on test sets whose numbers of each class are drawn and on those whose "
        "numbers are fixed; and the bootstrap's, which `boneexp compare --intervals` gives."
    )
    for sizes in (SIZES, *SMALLER):
        yield f"\n### Independent images, {' / '.join(map(str, sizes))} by class\n"
        yield from coverage_table(pool, sizes, effort)
    yield f"\n### Patients with one to four views, {' / '.join(map(str, SIZES))} by class\n"
    yield f"{effort.grouped:,} test sets.\n"
    found = list(pool.map(grouped_coverage, range(effort.grouped), chunksize=5))
    yield from ends_table(found, truth(SIZES))
    yield from difference_sections(pool, effort)
    yield f"\n## The winner's curse: accuracy of the best of four, {effort.selections:,} studies\n"
    yield from curse_table(pool, effort)
    yield "\n## Speed\n"
    yield speed()


def coverage_table(pool: ProcessPoolExecutor, sizes: tuple[int, ...], effort: Effort) -> Iterator[str]:
    """Yield a table of how often each metric's intervals hold its truth."""
    found = list(pool.map(partial(coverage, sizes), range(effort.trials), chunksize=20))
    drawn = partial(bootstrapped, sizes, effort.resamples)
    for each, more in zip(found, pool.map(drawn, range(effort.resampled), chunksize=5), strict=False):
        each |= more
    yield from ends_table(found, truth(sizes))


def coverage(sizes: tuple[int, ...], trial: int) -> Ends:
    """Return every metric's printed interval on a test set whose numbers of each class are drawn."""
    generator = np.random.default_rng([1, 0, trial])
    (model,) = models_of(generator, test_set(generator, sizes, varied=True))
    return {"printed": ends_of(model)}


def bootstrapped(sizes: tuple[int, ...], resamples: int, trial: int) -> Ends:
    """Return the printed intervals with fixed numbers of each class, and those of the bootstrap."""
    generator = np.random.default_rng([1, 1, trial])
    (fixed,) = models_of(generator, test_set(generator, sizes))
    (model,) = models_of(generator, test_set(generator, sizes, varied=True))
    drawn = {method: ends_of(model, method, resamples, trial) for method in ("percentile", "bca")}
    return {"printed, class numbers fixed": ends_of(fixed), **drawn}


def grouped_coverage(trial: int) -> Ends:
    """Return the printed intervals where patients have several views, by patients and as if by images."""
    generator = np.random.default_rng([2, trial])
    (model,) = models_of(generator, test_set(generator, views=True))
    return {"images taken as independent": ends_of(replace(model, groups=None)), "patients": ends_of(model)}


def ends_of(model: Predictions, method: str = "analytic", resamples: int = 0, seed: int = 0) -> np.ndarray:
    """Return (2, m) interval ends, nan where there is none."""
    values = evaluated(model, seed=seed, resamples=resamples, method=method)
    return np.array([(value.low, value.high) for value in values], float).T


def ends_table(found: Sequence[Ends], true: np.ndarray) -> Iterator[str]:
    """Yield a table: the share of intervals that hold the truth, and how wide they are."""
    methods = list(found[0])  # the first trials have them all
    ends = {method: np.array([each[method] for each in found if method in each]) for method in methods}
    named = {(value.metric, value.class_name): value.interval_method for value in typical_values()}
    yield table_row(["metric", "interval", "truth", *(f"{method} (mean width)" for method in methods)])
    yield "|---|---|---:|" + "---|" * len(methods)
    for name in SHOWN:
        if named[name]:
            place = COLUMNS.index(name)
            cells = [held(ends[method][:, :, place], float(true[place])) for method in methods]
            yield table_row([words(name), INTERVAL_METHODS[named[name]], f"{true[place]:.3f}", *cells])


def typical_values() -> tuple[MetricValue, ...]:
    """Return the figures of one model, for the names of their methods."""
    generator = np.random.default_rng(0)
    (model,) = models_of(generator, test_set(generator))
    return evaluated(model, seed=0)


def held(ends: np.ndarray, true: float) -> str:
    """Return "94.9 ± 0.3 % (0.054)", of (trials, 2) interval ends; "" where there are none."""
    known = ends[~np.isnan(ends).any(axis=1)]
    if len(known) == 0:
        return ""
    share = float(((known[:, 0] <= true) & (true <= known[:, 1])).mean())
    width = float((known[:, 1] - known[:, 0]).mean())
    return f"{with_error(share, len(known), GOAL)} ({width:.3f})"


def difference_sections(pool: ProcessPoolExecutor, effort: Effort) -> Iterator[str]:
    """Yield, for each kind of test set, how often the tests reject and how often their intervals hold."""
    kinds = [(sizes, False, effort.pairs) for sizes in (SIZES, *SMALLER)]
    kinds.append((SIZES, True, effort.grouped))
    for sizes, views, pairs in kinds:
        who = "patients with one to four views" if views else "independent images"
        yield f"\n## Differences, {who}, {' / '.join(map(str, sizes))} by class\n"
        yield (
            f"Type-I error at {LEVEL} over {pairs:,} pairs of models alike in worth, and coverage of the "
            f"95 % interval over {pairs // 5:,} pairs of which the second is better. n is how many pairs had "
            "a p-value.\n"
        )
        alike = list(pool.map(partial(differences, sizes, views, 0.0), range(pairs), chunksize=10))
        apart = list(pool.map(partial(differences, sizes, views, BETTER), range(pairs // 5), chunksize=10))
        yield from difference_table(alike, apart, truth(sizes, BETTER) - truth(sizes), views)


def differences(sizes: tuple[int, ...], views: bool, better: float, trial: int) -> np.ndarray:
    """Return low, high and p of each metric's difference between two models, (3, shown) floats."""
    generator = np.random.default_rng([3, views, trial])
    first, second = models_of(generator, test_set(generator, sizes, views=views), (0.0, better))
    found = paired_differences(Model((first,)), Model((second,)), SHOWN, seed=trial, swaps=99)
    return np.array([(each.low, each.high, each.p_value) for each in found.values()], float).T


def difference_table(
    alike: Sequence[np.ndarray], apart: Sequence[np.ndarray], true: np.ndarray, views: bool
) -> Iterator[str]:
    """Yield a table: the share of alike pairs called different, and of intervals that hold the difference."""
    p_values, ends = np.array(alike)[:, 2], np.array(apart)[:, :2]
    generator = np.random.default_rng(0)
    pair = models_of(generator, test_set(generator, views=views), (0.0, 0.0))
    tests = paired_differences(*(Model((model,)) for model in pair), COLUMNS, seed=0, swaps=9)
    yield table_row(["metric", "test", "type-I error", "n", "difference", "coverage (mean width)"])
    yield "|---|---|---|---:|---:|---|"
    for place, name in enumerate(SHOWN):
        known = p_values[:, place][~np.isnan(p_values[:, place])]
        if len(known):
            share = with_error(float((known < LEVEL).mean()), len(known), (0.04, 0.06))
            held_ends = held(ends[:, :, place], float(true[COLUMNS.index(name)]))
            about = [words(name), tests[name].test, share, f"{len(known):,}"]
            yield table_row([*about, f"{true[COLUMNS.index(name)]:+.3f}", held_ends])


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
    """Return how long one run's intervals and one pair's tests take here."""
    generator = np.random.default_rng(0)
    first, second = models_of(generator, test_set(generator), (0.0, 0.0))
    for_run = {
        method: fastest(partial(evaluated, first, seed=0, method=method))
        for method in ("analytic", "percentile", "bca")
    }
    pair = Model((first,)), Model((second,))
    tested = fastest(lambda: paired_differences(*pair, COLUMNS, seed=0))
    swapped = fastest(lambda: permuted_differences(*pair, seed=0))
    said = ", ".join(f"{taken:.3f} s {method}" for method, taken in for_run.items())
    return (
        f"All {len(COLUMNS)} figures of one run with intervals, n = {sum(SIZES)}, one core, best of three: "
        f"{said} (2,000 resamples). All differences of a pair: {tested:.3f} s; 2,000 swaps, where there is "
        f"no variance: {swapped:.3f} s."
    )


def fastest(work: Callable[[], object]) -> float:
    """Return the shortest of three durations, in seconds."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def words(name: tuple[str, str]) -> str:
    """Return "Malignant average precision"."""
    return f"{name[1]} {name[0]}".strip().replace("_", " ")


def with_error(share: float, trials: int, goal: tuple[float, float]) -> str:
    """Return "94.9 ± 0.3 %", bold where it lies outside of the goal by more than two errors."""
    error = (share * (1 - share) / trials) ** 0.5
    text = f"{100 * share:.1f} ± {100 * error:.1f} %"
    outside = share < goal[0] - 2 * error or share > goal[1] + 2 * error
    return f"**{text}**" if outside else text


def table_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
