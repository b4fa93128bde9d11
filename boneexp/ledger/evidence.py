"""What the documents need of the ledger beyond its views. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Row = dict[str, Any]


@contextmanager
def one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Let every query of the block see the same ledger, whatever workers write meanwhile."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def run_origin(connection: sqlite3.Connection, run_id: int) -> Row | None:
    """Return which settings (experiment_ref), split and deal a run has; None if there is no such run."""
    query = "SELECT id AS run, experiment_ref, split, split_digest FROM runs WHERE id = ?"
    return next(iter(_rows(connection, query, (run_id,))), None)


def experiment_row(connection: sqlite3.Connection, experiment_ref: int) -> Row:
    """Return one experiment with its resolved settings, and the dataset behind it."""
    query = """SELECT e.*, d.name AS data_name, d.kind AS data_kind, d.images, d.counts_json, d.notes_json
               FROM experiments e JOIN datasets d ON d.fingerprint = e.data_fingerprint WHERE e.id = ?"""
    return _rows(connection, query, (experiment_ref,))[0]


def finished_runs(connection: sqlite3.Connection, experiment_ref: int) -> list[Row]:
    """Return the succeeded runs of these settings, the stratified ones first, with digests and specs."""
    return _rows(
        connection,
        """SELECT s.*, r.split_digest, r.checkpoint_sha256, r.spec_json, a.versions_json,
                  o.images AS test_images, o.images_of_shared_groups, o.images_of_shared_pictures,
                  o.images_without_group
           FROM runs r JOIN run_status s ON s.run = r.id
           JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           LEFT JOIN split_overlaps o ON o.split_digest = r.split_digest
                AND o.data_fingerprint = e.data_fingerprint
                AND o.first_part = 'train' AND o.second_part = 'test'
           WHERE r.experiment_ref = ? AND r.state = 'succeeded'
           ORDER BY r.split DESC, r.seed""",
        (experiment_ref,),
    )


def grid_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return the experiments of the grid that was queued last: settings, data, splits, seeds, runs."""
    return _rows(
        connection,
        """SELECT e.id AS experiment_ref, e.experiment, e.name, e.settings_json,
                  d.name AS data_name, d.kind AS data_kind, COUNT(*) AS runs,
                  SUM(r.state = 'succeeded') AS finished_runs,
                  COUNT(DISTINCT r.split) AS splits, COUNT(DISTINCT r.seed) AS seeds
           FROM experiments e
           JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           GROUP BY e.id ORDER BY e.experiment""",
    )


def answer_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return how many images of each part, centre and class were called what; of equals the first class."""
    return _rows(
        connection,
        """SELECT part, center, label,
                  CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
                       WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END AS predicted,
                  COUNT(*) AS images
           FROM predictions WHERE run_id = ? GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
        (run_id,),
    )


def overlap_means(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return the mean Grad-CAM overlap over annotated images, each explained for its own class, by threshold.

    What was measured over the test part with the run's own checkpoint counts, what a person looked at not.
    """
    return _rows(
        connection,
        """SELECT x.threshold, COUNT(*) AS images, AVG(x.iou) AS iou, AVG(x.energy_inside) AS energy_inside,
                  AVG(x.pointing_hit) AS pointing_hits, MIN(x.layer) AS layer,
                  MIN(x.lesion) AS lesion
           FROM explanations x
           JOIN runs r ON r.id = x.run_id AND r.checkpoint_sha256 = x.checkpoint_sha256
           JOIN predictions p ON p.run_id = x.run_id AND p.part = x.part AND p.image_id = x.image_id
                AND p.label = x.explained_class
           WHERE x.run_id = ? AND x.part = 'test' AND x.purpose = 'measured' AND x.iou IS NOT NULL
           GROUP BY x.threshold ORDER BY x.threshold""",
        (run_id,),
    )


def evaluated_runs(connection: sqlite3.Connection) -> list[Row]:
    """Return the finished current runs with the images they were tested on; the lowest validation loss first.

    Of each experiment and split, that is; experiments come as the comparison orders them.
    """
    return _rows(
        connection,
        """SELECT r.id AS run, e.experiment, r.split, r.seed,
                  substr(e.data_fingerprint, 1, 8) || '-' || substr(r.split_digest, 1, 8) AS test_set,
                  COALESCE(json_extract(e.settings_json, '$.evaluation.resamples'), 2000) AS resamples,
                  COALESCE(json_extract(e.settings_json, '$.evaluation.confidence'), 0.95) AS confidence,
                  MIN(h.val_loss) AS best_val_loss
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN epoch_history h ON h.run = r.id
           WHERE r.is_current AND r.state = 'succeeded'
           GROUP BY r.id
           ORDER BY length(e.experiment), e.experiment, r.split DESC, best_val_loss, r.seed""",
    )


def count_current_runs(connection: sqlite3.Connection, experiments: Collection[str] | None = None) -> int:
    """Count the runs that were queued last and not cancelled, of these experiments or of all."""
    query = "SELECT COUNT(*) FROM runs r WHERE r.is_current AND r.state <> 'cancelled'"
    if experiments is None:
        return int(connection.execute(query).fetchone()[0])
    named = """ AND r.experiment_ref IN (SELECT id FROM experiments
                WHERE experiment IN (SELECT value FROM json_each(?)))"""
    return int(connection.execute(query + named, (json.dumps(list(experiments)),)).fetchone()[0])


def part_predictions(connection: sqlite3.Connection, run_id: int, part: str) -> list[tuple[Any, ...]]:
    """Return (image, group, label, three probabilities) of each image of a part, in the order of the ids."""
    query = """SELECT image_id, group_id, label, p_normal, p_benign, p_malignant
               FROM predictions WHERE run_id = ? AND part = ? ORDER BY image_id"""
    return [tuple(row) for row in connection.execute(query, (run_id, part))]


def test_class_counts(connection: sqlite3.Connection) -> list[Row]:
    """Return how many images of each class every test set of the current runs has; one run tells.

    `units` are the groups among them, such as patients; an image without a group is one of its own.
    """
    return _rows(
        connection,
        """SELECT f.split, f.test_set, p.label, COUNT(*) AS images,
                  COUNT(DISTINCT CASE WHEN p.group_id = '' THEN 'i' || p.image_id ELSE 'g' || p.group_id END)
                    AS units
           FROM (SELECT r.split, MIN(r.id) AS run,
                        substr(e.data_fingerprint, 1, 8) || '-' || substr(r.split_digest, 1, 8) AS test_set
                 FROM runs r JOIN experiments e ON e.id = r.experiment_ref
                 WHERE r.is_current AND r.state = 'succeeded' GROUP BY r.split, test_set) f
           JOIN predictions p ON p.run_id = f.run AND p.part = 'test'
           GROUP BY f.split, f.test_set, p.label ORDER BY f.split DESC, f.test_set, p.label""",
    )


def attribute_members(connection: sqlite3.Connection, run_id: int, part: str) -> list[Row]:
    """Return which images of a run's part have which value of which attribute."""
    query = """SELECT attribute, value, image_id FROM predicted_attributes
               WHERE run = ? AND part = ? ORDER BY attribute, value, image_id"""
    return _rows(connection, query, (run_id, part))


def metric_values(connection: sqlite3.Connection, part: str, metric: str, class_name: str) -> list[Row]:
    """Return one figure of every finished current run."""
    return _rows(
        connection,
        """SELECT e.experiment, r.split, r.seed, m.value,
                  substr(e.data_fingerprint, 1, 8) || '-' || substr(r.split_digest, 1, 8) AS test_set
           FROM metrics m JOIN runs r ON r.id = m.run_id JOIN experiments e ON e.id = r.experiment_ref
           WHERE r.is_current AND r.state = 'succeeded' AND m.part = ? AND m.metric = ? AND m.class_name = ?
           ORDER BY length(e.experiment), e.experiment, r.split DESC, r.seed""",
        (part, metric, class_name),
    )


def metric_figures(connection: sqlite3.Connection, part: str, metric: str, class_name: str) -> list[Row]:
    """Return the view metric_figures of one figure."""
    return _rows(
        connection,
        """SELECT * FROM metric_figures WHERE part = ? AND metric = ? AND class_name = ?
           ORDER BY length(experiment), experiment, split DESC""",
        (part, metric, class_name),
    )


def test_part_uses(connection: sqlite3.Connection) -> list[Row]:
    """Return the view test_part_uses: how often each test part was evaluated, and used to choose."""
    return _rows(connection, "SELECT * FROM test_part_uses")


def run_tally(connection: sqlite3.Connection) -> Row:
    """Return how many runs the ledger has, by state, and how many are of the grid that was queued last."""
    return _rows(
        connection,
        """SELECT COUNT(*) AS runs, COALESCE(SUM(is_current), 0) AS current,
                  COALESCE(SUM(state = 'succeeded'), 0) AS succeeded,
                  COALESCE(SUM(state = 'failed'), 0) AS failed,
                  COALESCE(SUM(state = 'running'), 0) AS running,
                  COALESCE(SUM(state = 'queued'), 0) AS queued,
                  COALESCE(SUM(state = 'cancelled'), 0) AS cancelled
           FROM runs""",
    )[0]


def attempt_tally(connection: sqlite3.Connection) -> list[Row]:
    """Return how many attempts ended how, and of what kind the failures were; the most frequent first."""
    return _rows(
        connection,
        """SELECT COALESCE(outcome, 'running') AS outcome, failure_kind, COUNT(*) AS attempts
           FROM attempts GROUP BY 1, 2 ORDER BY attempts DESC, 1, 2""",
    )


def current_origins(connection: sqlite3.Connection) -> list[Row]:
    """Return where the figures of the grid that was queued last come from: one row per finished run."""
    return _rows(
        connection,
        """SELECT r.id AS run, e.experiment, r.split, r.seed, r.config_hash, r.split_digest,
                  e.data_fingerprint, r.checkpoint, r.checkpoint_sha256, a.device, a.versions_json
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.is_current AND r.state = 'succeeded'
           ORDER BY length(e.experiment), e.experiment, r.split DESC, r.seed""",
    )


def last_event(connection: sqlite3.Connection) -> Row | None:
    """Return the newest event; its hash stands for the whole history before it."""
    return next(iter(_rows(connection, "SELECT * FROM events ORDER BY id DESC LIMIT 1")), None)


def mistaken_rows(connection: sqlite3.Connection, run_id: int) -> list[Row]:
    """Return the test images that a run called wrongly, the surest mistake first; of equals by image.

    `overlay` is a heat map of the run's own checkpoint for the called class, or else for the image's own
    class; NULL where none was drawn.
    """
    return _rows(
        connection,
        """WITH called AS (
             SELECT p.*, MAX(p_normal, p_benign, p_malignant) AS p_called,
                    CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
                         WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END AS predicted
             FROM predictions p WHERE p.run_id = ? AND p.part = 'test'),
           drawn AS (
             SELECT x.image_id, x.explained_class, MAX(x.overlay) AS overlay
             FROM explanations x
             JOIN runs r ON r.id = x.run_id AND r.checkpoint_sha256 = x.checkpoint_sha256
             WHERE x.run_id = ? AND x.part = 'test' AND x.overlay <> ''
             GROUP BY x.image_id, x.explained_class)
           SELECT c.image_id, c.center, c.label, c.predicted, c.p_called,
                  COALESCE(said.overlay, own.overlay) AS overlay,
                  CASE WHEN said.overlay IS NOT NULL THEN c.predicted
                       WHEN own.overlay IS NOT NULL THEN c.label END AS explained_class
           FROM called c
           LEFT JOIN drawn said ON said.image_id = c.image_id AND said.explained_class = c.predicted
           LEFT JOIN drawn own ON own.image_id = c.image_id AND own.explained_class = c.label
           WHERE c.predicted <> c.label
           ORDER BY c.p_called DESC, c.image_id""",
        (run_id, run_id),
    )


def _rows(connection: sqlite3.Connection, query: str, values: Sequence[object] = ()) -> list[Row]:
    return [dict(row) for row in connection.execute(query, tuple(values))]
