"""`compare` beyond its first table: paired tests, subgroups, seeds, any one figure, other intervals.

Each gives rows of plain values, the same for the terminal, JSON, CSV and Markdown.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from boneexp.comparison.calibration import PREVALENCES
from boneexp.comparison.calibration_tables import CALIBRATION_NOTES, calibration_tables
from boneexp.comparison.figure_names import Figure, figure_named
from boneexp.comparison.intervals import refined
from boneexp.comparison.paired_tests import COMPARED, LEVEL, PairedTest, paired_tests
from boneexp.comparison.predictions import Evaluated, evaluated_runs, on_one_test_set
from boneexp.comparison.ranking import ROW_COLUMNS, Comparison, compared, interval_notes
from boneexp.comparison.seeds import FigureSpread, seed_spreads
from boneexp.comparison.subgroups import generalisation_gaps, subgroup_figures
from boneexp.comparison.verdict import MOST_CANDIDATES, MOST_RUNS, Verdict, verdict_of
from boneexp.errors import BoneexpError, NothingToDo, RunNotFound
from boneexp.evaluation.intervals import FEW
from boneexp.evaluation.seeds import ONE_SEED
from boneexp.evaluation.subgroups import FEWEST_NEEDED
from boneexp.ledger.quarantine import OF_EACH_RUN, quarantined, refuse, without
from boneexp.ledger.queries.figures import metric_figures, metric_values
from boneexp.ledger.queries.runs import cancelled_note, count_current_runs
from boneexp.results import AT_BOUND, is_at_bound
from boneexp.text.labels import RESEARCH_ONLY, label

Row = dict[str, Any]
STORED = "stored"


@dataclass(frozen=True)
class Request:
    """What `compare` is asked: `kind` is one of ANSWERS, "" for the comparison itself."""

    kind: str = ""
    metric: str = ""
    part: str = "test"
    intervals: str = STORED  # or one of boneexp.evaluation.metrics.METHODS
    only: tuple[str, ...] = ()  # experiments to ask about; all where none is named
    prevalence: float | None = None  # of malignant images where a model is to be used, for "calibration"


@dataclass(frozen=True)
class Compared:
    """The comparison, and either what stands behind its best or the answer to something narrower."""

    comparison: Comparison
    verdict: Verdict | None
    answer: "Answer | None"


@dataclass(frozen=True)
class Answer:
    """What was asked for: tables of rows by title, and what must be said beside them."""

    tables: dict[str, tuple[Row, ...]]
    notes: tuple[str, ...]

    @property
    def rows(self) -> list[Row]:
        """The rows of the first table, for CSV and Markdown."""
        return list(next(iter(self.tables.values()), ()))

    def as_json(self) -> dict[str, Any]:
        """Return everything, ready for json.dumps."""
        tables = {title: list(rows) for title, rows in self.tables.items()}
        return {
            "note": RESEARCH_ONLY,
            "tables": tables,
            "notes": list(self.notes),
        }


def quarantine(connection: sqlite3.Connection, request: "Request") -> dict[str, tuple[str, ...]]:
    """Return why which experiments are struck out: rows that the request reads are not as they were sealed.

    Raises:
        Damaged: something that every experiment rests on is not.
    """
    named = set(request.only) or None
    few = count_current_runs(connection, named) <= MOST_RUNS  # of more no predictions are read
    tables = () if few else (*OF_EACH_RUN, *(("metrics",) if request.kind in ("seeds", "figure") else ()))
    return quarantined(connection, tables, named, with_attributes=request.kind == "subgroups")


def compare_as_asked(
    connection: sqlite3.Connection,
    request: "Request",
    struck_out: Mapping[str, tuple[str, ...]] | None = None,
) -> "Compared":
    """Return the comparison with what stands behind its best, or the answer that was asked for instead.

    Experiments that are struck out (None: looked for here) are shown without figures and enter nothing else.

    Raises:
        Damaged: an experiment that was asked for by name, or every one, is struck out.
        NothingToDo, FigureUnknown, RunNotFound, BoneexpError: as without them.
    """
    reasons = quarantine(connection, request) if struck_out is None else struck_out
    if not reasons:
        return _as_asked(connection, request)
    named = [name for name in request.only if name in reasons]
    with without(connection, reasons) as others:
        empty = count_current_runs(others) == 0
        if named or empty and request.kind:
            refuse(why for name in named or reasons for why in reasons[name])
        done = Compared(compared(others, request.part), None, None) if empty else _as_asked(others, request)
    shown = _with_struck_out(done.comparison, reasons)
    answer = done.answer and replace(done.answer, notes=(*done.answer.notes, *shown.struck_out_notes()))
    return Compared(shown, done.verdict, answer)


def _with_struck_out(found: Comparison, reasons: Mapping[str, tuple[str, ...]]) -> Comparison:
    """Return the comparison with a row without figures for each experiment that is struck out."""
    empty = [{**dict.fromkeys(ROW_COLUMNS), "experiment_id": name} for name in reasons]
    rows = sorted((*found.rows, *empty), key=lambda row: (len(row["experiment_id"]), row["experiment_id"]))
    return replace(found, rows=tuple(rows), struck_out=dict(reasons))


def _as_asked(connection: sqlite3.Connection, request: "Request") -> "Compared":
    """Return what was asked for, of a ledger in which every run that is compared can be trusted.

    Raises:
        NothingToDo: no experiment is in the ledger.
        FigureUnknown: the request's metric is no figure, or not one that can be asked for like this.
        RunNotFound: the request names an experiment that is not compared.
        BoneexpError: there are too many runs to read all their predictions.
    """
    found = compared(connection, request.part)
    if not found.rows:
        raise NothingToDo(
            "no experiment is in the ledger yet; queue one with: boneexp queue --grid experiments.toml"
        )
    if request.kind:
        return Compared(found, None, ANSWERS[request.kind](connection, found, request))
    verdict = verdict_of(connection, found)
    if request.intervals != STORED:
        found = with_intervals(connection, found, request)
    return Compared(found, verdict, None)


def paired_answer(connection: sqlite3.Connection, found: Comparison, request: Request) -> Answer:
    """Return every pair of experiments on the same images, with Holm-adjusted p-values."""
    evaluated = _evaluated(connection, found, request)
    tests = paired_tests(evaluated, _figures(request.metric), part=request.part)
    return answer_of_tests(evaluated, tests, request.part)


def answer_of_tests(evaluated: Evaluated, tests: Sequence[PairedTest], part: str) -> Answer:
    """Return paired tests that were made already as the answer to what they say."""
    rows = tuple(
        {
            "split": each.split,
            "figure": each.figure,
            "first": each.first,
            "second": each.second,
            "images": each.images,
            "difference": each.difference,
            "low": each.low,
            "high": each.high,
            "test": each.test,
            "p": each.p_value,
            "p_holm": each.adjusted_p,
            "false_claim": each.false_claim,
            "verdict": each.verdict,
        }
        for each in tests
    )
    notes = [
        f"Differences are the second less the first; the interval ({evaluated.confidence:.0%}) and p are of "
        "the same test.",
        "false_claim is the probability that the one that looks better is not, if nothing was known before "
        "(at most 0.5; not adjusted for the number of comparisons).",
        f"p_holm is adjusted over all pairs in the same figure on the same split; below {LEVEL} the two "
        "differ significantly. Without a p nothing is known, which is no tie.",
        *_of_what(evaluated),
        *_elsewhere(evaluated.elsewhere),
    ]
    return Answer({f"Paired tests, {_part(part)}": rows}, tuple(notes))


def _of_what(evaluated: Evaluated) -> list[str]:
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
    """Return the figures of subgroups, and what is lost at other centres."""
    evaluated = _evaluated(connection, found, request)
    figures, part = _figures(request.metric), request.part
    rows = tuple(
        {
            "split": each.split,
            "attribute": each.attribute,
            "value": each.value,
            "experiment": each.experiment,
            "run": each.run,
            "images": each.images,
            "malignant": each.malignant_images,
            **_estimates(figures, each.figures),
            f"fewer_than_{FEW}": ", ".join(each.few),
        }
        for each in subgroup_figures(connection, evaluated, figures, part=part)
    )
    gaps = tuple(vars(gap) for gap in generalisation_gaps(evaluated, figures))
    notes = [
        f"{FEWEST_NEEDED}.",
        f"Fewer than {FEW} images: estimates are unreliable, and intervals may under-cover.",
        "Many subgroups are many chances to find something: a gap in one of twenty is no finding.",
        *_elsewhere(evaluated.elsewhere),
    ]
    tables = {f"Subgroups, {_part(part)}": rows}
    if gaps:
        tables["Centre-holdout less stratified, test parts"] = gaps
    return Answer(tables, tuple(notes))


def seed_answer(connection: sqlite3.Connection, _found: Comparison, request: Request) -> Answer:
    """Return how far figures move with the seed, against how far experiments lie apart."""
    spreads = seed_spreads(connection, _figures(request.metric), part=request.part)
    rows = tuple(
        {"split": each.split, "figure": each.figure, **vars(spread)}
        for each in spreads
        for spread in each.study.spreads
    )
    variances = tuple(
        {
            "split": each.split,
            "figure": each.figure,
            "between_seeds_sd": each.study.seed_sd,
            "between_experiments_sd": each.study.experiment_sd,
            "experiment_share": each.study.experiment_share,
            "gap": each.study.gap if _has_best(each) else None,
            "gap_error": each.study.gap_error if _has_best(each) else None,
        }
        for each in spreads
    )
    tables = {f"Seeds, {_part(request.part)}": rows, "Where the spread comes from": variances}
    notes = [note for each in spreads for note in (*_seed_notes(each), *_elsewhere(each.elsewhere))]
    at_bound = _at_bound(connection, figure_named(request.metric), request.part) if request.metric else []
    return Answer(tables, tuple(dict.fromkeys([*notes, *at_bound])))


def figure_answer(connection: sqlite3.Connection, _found: Comparison, request: Request) -> Answer:
    """Return one figure of every experiment on every split, from the view metric_figures."""
    figure, part = figure_named(request.metric), request.part
    known = metric_figures(connection, part, figure.metric, figure.class_name)
    taken, elsewhere = on_one_test_set(known)
    shown = ("experiment", "split", "part", "runs", "value", "low", "high", "value_min", "value_max")
    rows = tuple({key: row[key] for key in shown} for row in taken)
    better = "lower is better" if figure.lower_is_better else "higher is better"
    if not figure.has_direction:
        better = "chosen on validation: neither higher nor lower is better"
    notes = [f"{better}; several seeds: their mean.", *_at_bound(connection, figure, part)]
    if figure.metric.startswith("expected_calibration_error"):
        notes.append(
            "It is not 0 for true probabilities either: see its mean then with compare --calibration."
        )
    notes += _elsewhere(elsewhere)
    return Answer({f"{label(figure.name)}, {_part(part)}": rows}, tuple(notes))


def calibration_answer(connection: sqlite3.Connection, found: Comparison, request: Request) -> Answer:
    """Return whether each experiment's probabilities can be believed, and what acting on them is worth."""
    evaluated = _evaluated(connection, found, request)
    stated = PREVALENCES if request.prevalence is None else (request.prevalence,)
    tables = calibration_tables(connection, evaluated, request.part, stated)
    titled = {f"{title}, {_part(request.part)}": rows for title, rows in tables.items()}
    return Answer(titled, (*CALIBRATION_NOTES, *_elsewhere(evaluated.elsewhere)))


def with_intervals(connection: sqlite3.Connection, found: Comparison, request: Request) -> Comparison:
    """Return the comparison with intervals of another kind, computed from the prediction rows."""
    evaluated = _evaluated(connection, found, request)
    figures, methods = refined(found.figures, evaluated, found.part, request.intervals)
    of_stored = interval_notes(found.interval_methods)
    warnings = tuple(warning for warning in found.warnings if warning not in of_stored)
    return replace(found, figures=figures, interval_methods=methods, warnings=warnings)


def _evaluated(connection: sqlite3.Connection, found: Comparison, request: Request) -> Evaluated:
    """Read the predictions of the experiments that are asked about."""
    known = [str(row["experiment_id"]) for row in found.rows]
    for name in request.only:
        if name not in known:
            see = cancelled_note(connection, name) or "see which are with: boneexp compare"
            raise RunNotFound(f"no experiment {name!r} is compared; {see}")
    names = request.only or known
    runs = sum(row["finished_runs"] for (name, _), row in found.figures.items() if name in set(names))
    if len(names) > MOST_CANDIDATES or runs > MOST_RUNS:
        raise BoneexpError(
            f"{len(names):,} experiments with {runs:,} finished runs are too many to read all predictions of "
            f"(at most {MOST_CANDIDATES} and {MOST_RUNS}); ask about some: --paired or --subgroups with "
            "--only E1,E2"
        )
    return evaluated_runs(connection, names)


def _figures(metric: str) -> Sequence[Figure]:
    return [figure_named(metric)] if metric else COMPARED


def _estimates(figures: Sequence[Figure], values: Sequence[Any]) -> Row:
    found: Row = {}
    for figure, value in zip(figures, values, strict=True):
        found |= {
            figure.name: value.value,
            f"{figure.name}_low": value.low,
            f"{figure.name}_high": value.high,
        }
    return found


def _seed_notes(each: FigureSpread) -> list[str]:
    if not _has_best(each):
        return []
    split, figure = label(each.split), label(each.figure)
    return [
        f"{split}: {note}" if note == ONE_SEED else f"{split} {figure}: {note}"
        for note in each.study.warnings
    ]


def _has_best(each: FigureSpread) -> bool:
    """Whether one experiment can be ahead of another in a figure at all."""
    return figure_named(each.figure).has_direction


def _at_bound(connection: sqlite3.Connection, figure: Figure, part: str) -> list[str]:
    """Name every run whose temperature is an end of its search."""
    rows = metric_values(connection, part, figure.metric, figure.class_name)
    return [
        f"{row['experiment']}, {label(row['split'])}, seed {row['seed']}: {row['value']:.3f} {AT_BOUND}."
        for row in rows
        if is_at_bound(figure.metric, row["value"])
    ]


def _elsewhere(left_out: Sequence[tuple[str, str]]) -> list[str]:
    """Return for each split who was tested on other images than most."""
    by_split: dict[str, list[str]] = {}
    for split, experiment in left_out:
        by_split.setdefault(split, []).append(experiment)
    return [
        f"Left out of the {label(split)} split, since tested on other images: {', '.join(names)}."
        for split, names in by_split.items()
    ]


def _part(part: str) -> str:
    return "validation part" if part == "val" else "test part"


ANSWERS: dict[str, Callable[[sqlite3.Connection, Comparison, Request], Answer]] = {
    "paired": paired_answer,
    "subgroups": subgroup_answer,
    "seeds": seed_answer,
    "figure": figure_answer,
    "calibration": calibration_answer,
}
