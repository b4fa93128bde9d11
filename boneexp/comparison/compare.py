"""`compare`: the comparison with what stands behind its best, or the answer to a narrower request.

Experiments whose rows are not as they were sealed are struck out: shown without metrics, and used nowhere.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from boneexp.comparison.answers import ANSWERS, evaluated_for
from boneexp.comparison.compared import Comparison, compared, interval_notes
from boneexp.comparison.intervals import refined
from boneexp.comparison.requests import STORED, Compared, Request
from boneexp.comparison.verdict import MOST_RUNS, verdict_of
from boneexp.errors import NothingToDo
from boneexp.ledger.quarantine import OF_EACH_RUN, quarantined, refuse, without
from boneexp.ledger.queries.comparison import ComparedExperiment
from boneexp.ledger.queries.runs import count_current_runs


def quarantine(connection: sqlite3.Connection, request: Request) -> dict[str, tuple[str, ...]]:
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
    request: Request,
    struck_out: Mapping[str, tuple[str, ...]] | None = None,
) -> Compared:
    """Return the comparison with what stands behind its best, or the answer to the request.

    Args:
        connection: to the ledger.
        request: what to compare.
        struck_out: why which experiments are struck out; None: checked here.

    Raises:
        Damaged: an experiment that was asked for by name, or every one, is struck out.
        NothingToDo, MetricUnknown, RunNotFound, BoneexpError: as without them.
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
    """Return the comparison with a row without metrics for each experiment that is struck out."""
    empty = [ComparedExperiment(name, None, None, None, {}) for name in reasons]
    rows = sorted((*found.rows, *empty), key=lambda row: (len(row.experiment_id), row.experiment_id))
    return replace(found, rows=tuple(rows), struck_out=dict(reasons))


def _as_asked(connection: sqlite3.Connection, request: Request) -> Compared:
    """Return what was asked for, of a ledger in which every run that is compared can be trusted.

    Raises:
        NothingToDo: no experiment is in the ledger.
        MetricUnknown: the request's metric is unknown, or not one that can be asked for like this.
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
        found = _with_intervals(connection, found, request)
    return Compared(found, verdict, None)


def _with_intervals(connection: sqlite3.Connection, found: Comparison, request: Request) -> Comparison:
    """Return the comparison with intervals of another kind, computed from the prediction rows."""
    evaluated = evaluated_for(connection, found, request)
    new = refined(found.results, evaluated, found.part, request.intervals)
    of_stored = interval_notes(found.interval_methods)
    warnings = tuple(warning for warning in found.warnings if warning not in of_stored)
    return replace(found, results=new.results, interval_methods=new.methods, warnings=warnings)
