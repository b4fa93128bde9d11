"""The answers beside the comparison: paired tests, subgroups, seeds, any one metric, calibration."""

import sqlite3
from collections.abc import Callable, Sequence

from boneexp.comparison.calibration import PREVALENCES
from boneexp.comparison.calibration_tables import CALIBRATION_NOTES, calibration_tables
from boneexp.comparison.compared import Comparison
from boneexp.comparison.metric_names import has_direction, lower_is_better, metric_named
from boneexp.comparison.one_test_set import left_out_notes, on_one_test_set
from boneexp.comparison.paired_tests import LEVEL, PairedTest, paired_tests
from boneexp.comparison.predictions import Evaluated, evaluated_runs
from boneexp.comparison.requests import Answer, Cell, Request, TableRow
from boneexp.comparison.seeds import MetricSpread, seed_spreads
from boneexp.comparison.subgroups import SubgroupMetrics, generalisation_gaps, subgroup_metrics
from boneexp.comparison.verdict import MOST_CANDIDATES, MOST_RUNS
from boneexp.errors import BoneexpError, RunNotFound
from boneexp.evaluation.intervals import FEW
from boneexp.evaluation.subgroups import FEWEST_NEEDED
from boneexp.ledger.queries.figures import metric_means, metric_values
from boneexp.ledger.queries.runs import cancelled_note
from boneexp.results import AT_BOUND, COMPARED, Metric, is_at_bound
from boneexp.text.labels import label


def paired_answer(connection: sqlite3.Connection, found: Comparison, request: Request) -> Answer:
    """Return every pair of experiments on the same images, with Holm-adjusted p-values."""
    evaluated = evaluated_for(connection, found, request)
    tests = paired_tests(evaluated, _metrics(request.metric), part=request.part)
    rows = tuple(_paired_row(each) for each in tests)
    return Answer({f"Paired tests, {_part(request.part)}": rows}, paired_notes(evaluated))


def paired_notes(evaluated: Evaluated) -> tuple[str, ...]:
    """Return how to read paired tests of these runs."""
    return (
        f"Differences are the second less the first; the interval ({evaluated.confidence:.0%}) and p are of "
        "the same test.",
        "false_claim is the probability that the one that looks better is not, if nothing was known before "
        "(at most 0.5; not adjusted for the number of comparisons).",
        f"p_holm is adjusted over all pairs in the same figure on the same split; below {LEVEL} the two "
        "differ significantly. Without a p nothing is known, which is no tie.",
        *_about_models_or_recipes(evaluated),
        *left_out_notes(evaluated.elsewhere),
    )


def _paired_row(test: PairedTest) -> TableRow:
    return {
        "split": test.split,
        "figure": test.figure,
        "first": test.first,
        "second": test.second,
        "images": test.images,
        "difference": test.difference,
        "low": test.low,
        "high": test.high,
        "test": test.test,
        "p": test.p_value,
        "p_holm": test.adjusted_p,
        "false_claim": test.false_claim,
        "verdict": test.verdict,
    }


def _about_models_or_recipes(evaluated: Evaluated) -> list[str]:
    """Say for each split whether the tests are about trained models, or about what their recipes give."""
    notes = []
    for split in evaluated.splits:
        runs = [len(of) for name in evaluated.experiments if (of := evaluated.of(name, split))]
        if min(runs) > 1:
            notes.append(f"{label(split)}: the tests allow for other images and for other seeds.")
        else:
            one = "every experiment has one seed" if max(runs) == 1 else "some experiments have one seed"
            notes.append(
                f"{label(split)}: {one}, so a test between two of these is about these two trained models; "
                "what other seeds would give is not known."
            )
    return notes


def subgroup_answer(connection: sqlite3.Connection, found: Comparison, request: Request) -> Answer:
    """Return the metrics of subgroups, and what is lost at other centres."""
    evaluated = evaluated_for(connection, found, request)
    metrics = _metrics(request.metric)
    rows = tuple(
        _subgroup_row(each) for each in subgroup_metrics(connection, evaluated, metrics, part=request.part)
    )
    gaps = tuple(vars(gap) for gap in generalisation_gaps(evaluated, metrics))
    tables = {f"Subgroups, {_part(request.part)}": rows}
    if gaps:
        tables["Centre-holdout less stratified, test parts"] = gaps
    notes = (
        f"{FEWEST_NEEDED}.",
        f"Fewer than {FEW} images: estimates are unreliable, and intervals may under-cover.",
        "Many subgroups are many chances to find something: a gap in one of twenty is no finding.",
        *left_out_notes(evaluated.elsewhere),
    )
    return Answer(tables, notes)


def _subgroup_row(each: SubgroupMetrics) -> TableRow:
    row: dict[str, Cell] = {
        "split": each.split,
        "attribute": each.attribute,
        "value": each.value,
        "experiment": each.experiment,
        "run": each.run,
        "images": each.images,
        "malignant": each.malignant_images,
    }
    for value in each.metrics:
        key = Metric(value.metric, value.class_name).key
        row |= {key: value.value, f"{key}_low": value.low, f"{key}_high": value.high}
    return {**row, f"fewer_than_{FEW}": ", ".join(each.few)}


def seed_answer(connection: sqlite3.Connection, _found: Comparison, request: Request) -> Answer:
    """Return how far metrics move with the seed, against how far experiments lie apart."""
    spreads = seed_spreads(connection, _metrics(request.metric), part=request.part)
    rows = tuple(
        {"split": each.split, "figure": each.metric.key, **vars(spread)}
        for each in spreads
        for spread in each.study.spreads
    )
    tables = {
        f"Seeds, {_part(request.part)}": rows,
        "Where the spread comes from": tuple(_variance_row(each) for each in spreads),
    }
    at_bound = _at_bound(connection, metric_named(request.metric), request.part) if request.metric else []
    return Answer(tables, tuple(dict.fromkeys([*seed_notes(spreads), *at_bound])))


def seed_notes(spreads: Sequence[MetricSpread]) -> tuple[str, ...]:
    """Return where the seeds make more of a difference than the experiments, and who was left out."""
    notes = [note for each in spreads for note in (*_seed_warnings(each), *left_out_notes(each.elsewhere))]
    return tuple(dict.fromkeys(notes))


def _variance_row(each: MetricSpread) -> TableRow:
    has_best = has_direction(each.metric)
    return {
        "split": each.split,
        "figure": each.metric.key,
        "between_seeds_sd": each.study.seed_sd,
        "between_experiments_sd": each.study.experiment_sd,
        "experiment_share": each.study.experiment_share,
        "gap": each.study.gap if has_best else None,
        "gap_error": each.study.gap_error if has_best else None,
    }


def _seed_warnings(each: MetricSpread) -> list[str]:
    """Return a study's warnings, for metrics in which one experiment can be ahead of another at all."""
    if not has_direction(each.metric):
        return []
    where = label(each.split)
    if each.study.gap_error is not None:  # else every experiment has one seed, whatever the metric
        where = f"{where} {label(each.metric.key)}"
    return [f"{where}: {warning}" for warning in each.study.warnings]


def metric_answer(connection: sqlite3.Connection, _found: Comparison, request: Request) -> Answer:
    """Return one metric of every experiment on every split, from the view metric_figures."""
    metric, part = metric_named(request.metric), request.part
    taken = on_one_test_set(metric_means(connection, part, metric.name, metric.class_name))
    rows: tuple[TableRow, ...] = tuple(
        {
            "experiment": each.experiment,
            "split": each.split,
            "part": each.part,
            "runs": each.runs,
            "value": each.value,
            "low": each.low,
            "high": each.high,
            "value_min": each.value_min,
            "value_max": each.value_max,
        }
        for each in taken.rows
    )
    better = "lower is better" if lower_is_better(metric) else "higher is better"
    if not has_direction(metric):
        better = "chosen on validation: neither higher nor lower is better"
    notes = [f"{better}; several seeds: their mean.", *_at_bound(connection, metric, part)]
    if metric.name.startswith("expected_calibration_error"):
        notes.append(
            "It is not 0 for true probabilities either: see its mean then with compare --calibration."
        )
    notes += left_out_notes(taken.elsewhere)
    return Answer({f"{label(metric.key)}, {_part(part)}": rows}, tuple(notes))


def calibration_answer(connection: sqlite3.Connection, found: Comparison, request: Request) -> Answer:
    """Return whether each experiment's probabilities can be believed, and what acting on them is worth."""
    evaluated = evaluated_for(connection, found, request)
    prevalences = PREVALENCES if request.prevalence is None else (request.prevalence,)
    tables = calibration_tables(connection, evaluated, request.part, prevalences)
    titled = {f"{title}, {_part(request.part)}": rows for title, rows in tables.items()}
    return Answer(titled, (*CALIBRATION_NOTES, *left_out_notes(evaluated.elsewhere)))


def evaluated_for(connection: sqlite3.Connection, found: Comparison, request: Request) -> Evaluated:
    """Read the predictions of the experiments that a request is about.

    Raises:
        RunNotFound: one that it names is not compared.
        BoneexpError: there are too many to read all their predictions.
    """
    known = [row.experiment_id for row in found.rows]
    for name in request.only:
        if name not in known:
            see = cancelled_note(connection, name) or "see which are with: boneexp compare"
            raise RunNotFound(f"no experiment {name!r} is compared; {see}")
    names = request.only or known
    runs = sum(each.finished_runs for (name, _), each in found.results.items() if name in set(names))
    if len(names) > MOST_CANDIDATES or runs > MOST_RUNS:
        raise BoneexpError(
            f"{len(names):,} experiments with {runs:,} finished runs are too many to read all predictions of "
            f"(at most {MOST_CANDIDATES} and {MOST_RUNS}); ask about some: --paired or --subgroups with "
            "--only E1,E2"
        )
    return evaluated_runs(connection, names)


def _metrics(key: str) -> Sequence[Metric]:
    return [metric_named(key)] if key else COMPARED


def _at_bound(connection: sqlite3.Connection, metric: Metric, part: str) -> list[str]:
    """Name every run whose temperature is an end of its search."""
    return [
        f"{each.experiment}, {label(each.split)}, seed {each.seed}: {each.value:.3f} {AT_BOUND}."
        for each in metric_values(connection, part, metric.name, metric.class_name)
        if is_at_bound(metric.name, each.value)
    ]


def _part(part: str) -> str:
    return "validation part" if part == "val" else "test part"


ANSWERS: dict[str, Callable[[sqlite3.Connection, Comparison, Request], Answer]] = {
    "paired": paired_answer,
    "subgroups": subgroup_answer,
    "seeds": seed_answer,
    "figure": metric_answer,
    "calibration": calibration_answer,
}
