"""The summary of each settled run, made from its metrics by the transaction that settles it.

It can be made again from metrics that are as they were sealed, and from no others.
"""

import sqlite3

from boneexp.results import CLASS_NAMES, WITH_INTERVALS, Metric

# What is compared of each run and part, so that comparing thousands of runs reads a row of each.
SUMMARISED = sorted(
    (*WITH_INTERVALS, Metric("balanced_accuracy"), Metric("macro_f1")), key=lambda each: each.key
)
SUMMARY_COLUMNS = tuple(
    (f"{metric.key}{end}", metric.name, metric.class_name, source)
    for metric in SUMMARISED
    for end, source in (("", "value"), ("_low", "low"), ("_high", "high"))
    if not end or metric in WITH_INTERVALS
)

_FIGURES = ", ".join(
    f"MAX({source}) FILTER (WHERE metric = '{metric}' AND class_name = '{class_name}')"
    for _, metric, class_name, source in SUMMARY_COLUMNS
)
# The class that every image was predicted as: all of its own are, and no other is predicted otherwise.
_ONLY_CLASS = " ".join(
    f"WHEN MAX(value) FILTER (WHERE metric = 'specificity' AND class_name = '{name}') = 0"
    f" AND COALESCE(MAX(value) FILTER (WHERE metric = 'sensitivity' AND class_name = '{name}'), 1) = 1"
    f" THEN '{name}'"
    for name in CLASS_NAMES
)
_PIVOT = f"{_FIGURES}, CASE {_ONLY_CLASS} END"
_FROM_METRICS = f"SELECT run_id, part, {_PIVOT} FROM metrics GROUP BY run_id, part"
_OF_ONE_RUN = f"SELECT run_id, part, {_PIVOT} FROM metrics WHERE run_id = ? GROUP BY run_id, part"
_COLUMNS = ", ".join(("run_id", "part", *(name for name, *_ in SUMMARY_COLUMNS), "only_class"))


def summarise(connection: sqlite3.Connection, run_id: int) -> None:
    """Write the summary of a run whose metrics are there."""
    connection.execute(f"INSERT INTO run_summaries ({_COLUMNS}) {_OF_ONE_RUN}", (run_id,))


def wrong_summaries(connection: sqlite3.Connection) -> list[int]:
    """Return the runs whose summary is not what their metrics give."""
    kept = f"SELECT {_COLUMNS} FROM run_summaries"
    query = f"""SELECT DISTINCT run_id FROM (
                  SELECT * FROM ({kept} EXCEPT {_FROM_METRICS})
                  UNION ALL SELECT * FROM ({_FROM_METRICS} EXCEPT {kept})) ORDER BY run_id"""
    return [int(row[0]) for row in connection.execute(query)]
