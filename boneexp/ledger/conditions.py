"""What the conditions of promotion are held against. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Sequence

from boneexp.ledger.views import Row


def compared_runs(connection: sqlite3.Connection) -> list[Row]:
    """Return the finished current runs of every experiment, with the digests of their images and deals."""
    query = """SELECT r.id AS run, e.experiment, r.split, e.data_fingerprint AS fingerprint, r.split_digest
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE r.is_current AND r.state = 'succeeded'
               ORDER BY r.split DESC, length(e.experiment), e.experiment, r.id"""
    return [dict(row) for row in connection.execute(query)]


def queued_settings(connection: sqlite3.Connection, run_ids: Sequence[int] | None) -> list[Row]:
    """Return the settings of the experiments behind these runs, or behind all that are current.

    `as_written` holds digests of what the grid file itself said of the experiment where `queue --set` gave
    other settings.
    """
    query = """SELECT e.experiment, e.settings_json, json_group_array(r.id) AS runs,
                      MAX(json_extract(r.spec_json, '$.weights_sha256')) AS weights_sha256
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE CASE WHEN :runs IS NULL THEN r.is_current
                     ELSE r.id IN (SELECT value FROM json_each(:runs)) END
               GROUP BY e.id ORDER BY e.id"""
    chosen = None if run_ids is None else json.dumps(list(run_ids))
    rows = [dict(row) for row in connection.execute(query, {"runs": chosen})]
    queued = """SELECT json_extract(details_json, '$.runs'), json_extract(details_json, '$.as_written')
                FROM events WHERE kind = 'queued' AND json_valid(details_json)
                AND json_type(details_json, '$.as_written') = 'object'"""
    written = [(set(json.loads(runs)), json.loads(said)) for runs, said in connection.execute(queued)]
    for row in rows:
        of_these = [said for runs, said in written if not runs.isdisjoint(json.loads(row["runs"]))]
        row["as_written"] = {said[row["experiment"]] for said in of_these if row["experiment"] in said}
    return rows


def fingerprints_of(connection: sqlite3.Connection, run_ids: Sequence[int]) -> list[str]:
    """Return the fingerprints of the data behind these runs."""
    query = """SELECT DISTINCT e.data_fingerprint FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE r.id IN (SELECT value FROM json_each(?)) ORDER BY 1"""
    return [row[0] for row in connection.execute(query, (json.dumps(list(run_ids)),))]


def cancelled_note(connection: sqlite3.Connection, experiment: str) -> str:
    """Say which runs of an experiment, as it was queued last, were cancelled; "" where none was."""
    query = """SELECT r.run FROM run_status r
               WHERE r.experiment = ? AND r.is_current AND r.state = 'cancelled' ORDER BY r.run"""
    runs = " ".join(str(row[0]) for row in connection.execute(query, (experiment,)))
    return f"runs of it were cancelled; queue them again with: boneexp retry {runs}" if runs else ""


def chosen_run(connection: sqlite3.Connection, run_id: int) -> Row:
    """Return a run's split, the column that it keeps together, and facts about its dataset."""
    query = """SELECT r.id AS run, r.split, json_extract(r.spec_json, '$.split.group_column') AS group_column,
                      d.kind, d.name, d.fingerprint, d.images, d.notes_json, d.contradicting_images,
                      COALESCE(json_extract(e.settings_json, '$.evaluation.confidence'), 0.95) AS confidence,
                      s.only_class
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               JOIN datasets d ON d.fingerprint = e.data_fingerprint
               LEFT JOIN run_summaries s ON s.run_id = r.id AND s.part = 'test' WHERE r.id = ?"""
    return dict(connection.execute(query, (run_id,)).fetchone())


def test_figures(connection: sqlite3.Connection, run_id: int) -> Row:
    """Return the row of the view run_metrics of a run's test part; empty where it has none."""
    query = "SELECT * FROM run_metrics WHERE run = ? AND part = 'test'"
    return dict(connection.execute(query, (run_id,)).fetchone() or {})


def test_metric(connection: sqlite3.Connection, run_id: int, metric: str) -> float | None:
    """Return a metric over all classes of a run's test part; None where it is not reported."""
    query = """SELECT value FROM metrics
               WHERE run_id = ? AND part = 'test' AND metric = ? AND class_name = ''"""
    row = connection.execute(query, (run_id, metric)).fetchone()
    return None if row is None else row[0]


def subgroup_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return what the view subgroup_figures has of a run's test part; the view itself reads every run."""
    query = """WITH called AS (
                 SELECT image_id, label,
                        CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
                             WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END AS predicted
                 FROM predictions WHERE run_id = :run AND part = 'test')
               SELECT r.split, a.attribute, a.value, COUNT(*) AS images,
                      SUM(c.label = 'Malignant') AS malignant_images, AVG(c.predicted = c.label) AS accuracy,
                      AVG(c.predicted = 'Malignant') FILTER (WHERE c.label = 'Malignant')
                        AS malignant_sensitivity
               FROM called c JOIN runs r ON r.id = :run
               JOIN predicted_attributes a ON a.run = :run AND a.part = 'test' AND a.image_id = c.image_id
               GROUP BY a.attribute, a.value ORDER BY a.attribute, a.value"""
    return [dict(row) for row in connection.execute(query, {"run": run_id})]


def part_overlaps(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return what each two parts of a run's split share; [] where that was not counted when it was queued."""
    query = """SELECT o.* FROM split_overlaps o
               JOIN runs r ON r.split_digest = o.split_digest
               JOIN experiments e ON e.id = r.experiment_ref AND e.data_fingerprint = o.data_fingerprint
               WHERE r.id = ? ORDER BY o.second_part, o.first_part"""
    return [dict(row) for row in connection.execute(query, (run_id,))]


def shared_by_parts(connection: sqlite3.Connection, run_id: int) -> Row:
    """Return how many images and groups a run predicted in both parts, and how many images have no group."""
    query = """WITH val AS (SELECT * FROM predictions WHERE run_id = :run AND part = 'val'),
                    test AS (SELECT * FROM predictions WHERE run_id = :run AND part = 'test')
               SELECT (SELECT COUNT(*) FROM test WHERE image_id IN (SELECT image_id FROM val)) AS images,
                      (SELECT COUNT(DISTINCT group_id) FROM test
                       WHERE group_id <> '' AND group_id IN (SELECT group_id FROM val)) AS groups,
                      (SELECT COUNT(*) FROM predictions
                       WHERE run_id = :run AND group_id = '') AS images_without_group"""
    return dict(connection.execute(query, {"run": run_id}).fetchone())
