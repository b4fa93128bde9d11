"""Runs, attempts and epochs. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence

from boneexp.errors import RunNotFound
from boneexp.ledger.statements import Facts, rows_of


def compared_runs(connection: sqlite3.Connection) -> list[Facts]:
    """Return the finished current runs of every experiment, with the digests of their images and deals."""
    query = """SELECT r.id AS run, e.experiment, r.split, e.data_fingerprint AS fingerprint, r.split_digest
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               WHERE r.is_current AND r.state = 'succeeded'
               ORDER BY r.split DESC, length(e.experiment), e.experiment, r.id"""
    return [dict(row) for row in connection.execute(query)]


def queued_settings(connection: sqlite3.Connection, run_ids: Sequence[int] | None) -> list[Facts]:
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


def cancelled_note(connection: sqlite3.Connection, experiment: str) -> str:
    """Say which runs of an experiment, as it was queued last, were cancelled; "" where none was."""
    query = """SELECT r.run FROM run_status r
               WHERE r.experiment = ? AND r.is_current AND r.state = 'cancelled' ORDER BY r.run"""
    runs = " ".join(str(row[0]) for row in connection.execute(query, (experiment,)))
    return f"runs of it were cancelled; queue them again with: boneexp retry {runs}" if runs else ""


def chosen_run(connection: sqlite3.Connection, run_id: int) -> Facts:
    """Return a run's split, the column that it keeps together, and facts about its dataset."""
    query = """SELECT r.id AS run, r.split, json_extract(r.spec_json, '$.split.group_column') AS group_column,
                      d.kind, d.name, d.fingerprint, d.images, d.notes_json, d.contradicting_images,
                      COALESCE(json_extract(e.settings_json, '$.evaluation.confidence'), 0.95) AS confidence,
                      s.only_class
               FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               JOIN datasets d ON d.fingerprint = e.data_fingerprint
               LEFT JOIN run_summaries s ON s.run_id = r.id AND s.part = 'test' WHERE r.id = ?"""
    return dict(connection.execute(query, (run_id,)).fetchone())


def run_origin(connection: sqlite3.Connection, run_id: int) -> Facts | None:
    """Return which settings (experiment_ref), split and deal a run has; None if there is no such run."""
    query = "SELECT id AS run, experiment_ref, split, split_digest FROM runs WHERE id = ?"
    return next(iter(rows_of(connection, query, (run_id,))), None)


def experiment_row(connection: sqlite3.Connection, experiment_ref: int) -> Facts:
    """Return one experiment with its resolved settings, and the dataset behind it."""
    query = """SELECT e.*, d.name AS data_name, d.kind AS data_kind, d.images, d.counts_json, d.notes_json
               FROM experiments e JOIN datasets d ON d.fingerprint = e.data_fingerprint WHERE e.id = ?"""
    return rows_of(connection, query, (experiment_ref,))[0]


def finished_runs(connection: sqlite3.Connection, experiment_ref: int) -> list[Facts]:
    """Return the succeeded runs of these settings, the stratified ones first, with digests and specs."""
    return rows_of(
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


def grid_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return the experiments of the grid that was queued last: settings, data, splits, seeds, runs."""
    return rows_of(
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


def evaluated_runs(connection: sqlite3.Connection) -> list[Facts]:
    """Return the finished current runs with the images they were tested on; the lowest validation loss first.

    Of each experiment and split, that is; experiments come as the comparison orders them.
    """
    return rows_of(
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


def run_tally(connection: sqlite3.Connection) -> Facts:
    """Return how many runs the ledger has, by state, and how many are of the grid that was queued last."""
    return rows_of(
        connection,
        """SELECT COUNT(*) AS runs, COALESCE(SUM(is_current), 0) AS current,
                  COALESCE(SUM(state = 'succeeded'), 0) AS succeeded,
                  COALESCE(SUM(state = 'failed'), 0) AS failed,
                  COALESCE(SUM(state = 'running'), 0) AS running,
                  COALESCE(SUM(state = 'queued'), 0) AS queued,
                  COALESCE(SUM(state = 'cancelled'), 0) AS cancelled
           FROM runs""",
    )[0]


def attempt_tally(connection: sqlite3.Connection) -> list[Facts]:
    """Return how many attempts ended how, and of what kind the failures were; the most frequent first."""
    return rows_of(
        connection,
        """SELECT COALESCE(outcome, 'running') AS outcome, failure_kind, COUNT(*) AS attempts
           FROM attempts GROUP BY 1, 2 ORDER BY attempts DESC, 1, 2""",
    )


def current_origins(connection: sqlite3.Connection) -> list[Facts]:
    """Return where the figures of the grid that was queued last come from: one row per finished run."""
    return rows_of(
        connection,
        """SELECT r.id AS run, e.experiment, r.split, r.seed, r.config_hash, r.split_digest,
                  e.data_fingerprint, r.checkpoint, r.checkpoint_sha256, a.device, a.versions_json
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.is_current AND r.state = 'succeeded'
           ORDER BY length(e.experiment), e.experiment, r.split DESC, r.seed""",
    )


def exported_runs(connection: sqlite3.Connection) -> list[Facts]:
    """Return the succeeded runs, of earlier settings too: spec, digests, and the best checkpoint."""
    return rows_of(
        connection,
        """SELECT r.id AS run, e.experiment, e.name, r.split, r.seed, r.config_hash, r.split_digest,
                  r.spec_json, r.is_current, r.checkpoint, r.checkpoint_sha256
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           WHERE r.state = 'succeeded' ORDER BY r.id""",
    )


def settled_runs(connection: sqlite3.Connection) -> list[Facts]:
    """Return every run that succeeded, failed or was cancelled, its data, and the event that settled it."""
    return rows_of(
        connection,
        """SELECT r.id AS run, e.experiment, e.name, r.split, r.seed, r.config_hash, r.spec_json,
                  r.is_current, r.state, r.failure_kind, r.failure, r.queued_at, r.settled_at,
                  r.best_epoch + 1 AS best_epoch, r.checkpoint_sha256,
                  d.name AS data_name, d.kind AS data_kind, d.images,
                  d.fingerprint AS data_fingerprint, a.device,
                  (SELECT MIN(first.started_at) FROM attempts first WHERE first.run_id = r.id) AS started_at,
                  (SELECT v.hash FROM events v WHERE v.run_id = r.id
                   AND v.kind IN ('succeeded', 'failed', 'cancelled')
                   ORDER BY v.id DESC LIMIT 1) AS settled_by
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.state IN ('succeeded', 'failed', 'cancelled') ORDER BY r.id""",
    )


def spec_of(row: Facts) -> Facts:
    """Return the resolved spec of a run's row."""
    found: Facts = json.loads(row["spec_json"])
    return found


def attempt_software(connection: sqlite3.Connection) -> list[Facts]:
    """Return on which device and with which software each attempt worked, and how it ended."""
    return rows_of(
        connection,
        """SELECT run_id AS run, number AS attempt, device, versions_json, outcome
           FROM attempts ORDER BY run_id, number""",
    )


def run_folders(connection: sqlite3.Connection) -> dict[str, Facts]:
    """Return each run's folder -> its number and state."""
    return {row["folder"]: row for row in rows_of(connection, "SELECT id AS run, folder, state FROM runs")}


def running_attempts(connection: sqlite3.Connection) -> list[Facts]:
    """Return which run is held until when and by which process, and whether somebody has cancelled it."""
    return rows_of(
        connection,
        """SELECT r.id AS run, r.folder, r.lease_until, r.stop_requested, a.number, a.worker, a.host,
                  a.pid, a.boot_id, a.process_started
           FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.state = 'running' ORDER BY r.id""",
    )


def attempt_process(connection: sqlite3.Connection, run_id: int, number: int) -> Facts | None:
    """Return by which process of which machine an attempt was made; None if there was no such attempt."""
    query = "SELECT host, pid, boot_id, process_started FROM attempts WHERE run_id = ? AND number = ?"
    return next(iter(rows_of(connection, query, (run_id, number))), None)


def specs(connection: sqlite3.Connection) -> list[Facts]:
    """Return every run's hash and the spec that it names."""
    return rows_of(connection, "SELECT id AS run, config_hash, spec_json FROM runs ORDER BY id")


def run_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return the view run_status: one row per run, oldest first."""
    return rows_of(connection, "SELECT * FROM run_status ORDER BY run")


def status_rows(connection: sqlite3.Connection, at_most: int) -> list[Facts]:
    """Return the rows of run_status that a person wants to see first: the unfinished, then the newest."""
    return rows_of(
        connection,
        """SELECT * FROM run_status WHERE run IN
             (SELECT id FROM runs ORDER BY state = 'succeeded', id DESC LIMIT ?) ORDER BY run""",
        (at_most,),
    )


def state_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many runs are in which state, as run_status has it."""
    counts = dict(map(tuple, connection.execute("SELECT state, COUNT(*) FROM runs GROUP BY state")))
    held = "SELECT id FROM runs WHERE state = 'running'"  # some may be cancelled, with no worker to say so
    shown = f"SELECT state, COUNT(*) FROM run_status WHERE run IN ({held}) GROUP BY state"
    counts.pop("running", None)
    for state, count in connection.execute(shown):
        counts[state] = counts.get(state, 0) + count
    return counts


def unfinished_rows(connection: sqlite3.Connection) -> list[Facts]:
    """Return the rows of run_status that wait or run."""
    known = "SELECT id FROM runs WHERE state IN ('queued', 'running')"
    query = f"SELECT * FROM run_status WHERE run IN ({known}) AND state <> 'cancelled' ORDER BY run"
    return rows_of(connection, query)


def known_hashes(connection: sqlite3.Connection) -> set[str]:
    """Return the hash of every run."""
    return {row[0] for row in connection.execute("SELECT config_hash FROM runs")}


def finished_folders(connection: sqlite3.Connection) -> list[str]:
    """Return where the files of the succeeded runs lie."""
    query = "SELECT folder FROM runs WHERE state = 'succeeded' ORDER BY id"
    return [row[0] for row in connection.execute(query)]


def run_row(connection: sqlite3.Connection, run_id: int) -> Facts:
    """Return one row of run_status.

    Raises:
        RunNotFound: the ledger has no such run.
    """
    found = rows_of(connection, "SELECT * FROM run_status WHERE run = ?", (run_id,))
    if not found:
        raise RunNotFound(f"the ledger has no run {run_id}; see which there are with: boneexp status")
    return found[0]


def waiting_settings(connection: sqlite3.Connection) -> list[Facts]:
    """Return the settings and data that runs wait for, with how many runs each."""
    return rows_of(
        connection,
        """SELECT e.settings_json, e.data_fingerprint AS fingerprint, d.images, COUNT(*) AS runs
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           JOIN datasets d ON d.fingerprint = e.data_fingerprint
           WHERE r.state IN ('queued', 'running') GROUP BY e.id ORDER BY e.id""",
    )


def attempt_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return a run's attempts, oldest first, with their tracebacks."""
    return rows_of(connection, "SELECT * FROM attempts WHERE run_id = ? ORDER BY number", (run_id,))


def epoch_rows(connection: sqlite3.Connection, run_id: int) -> list[Facts]:
    """Return a run's epochs as they count, oldest first; the first is epoch 1."""
    return rows_of(connection, "SELECT * FROM epoch_history WHERE run = ? ORDER BY epoch", (run_id,))


def spec_json(connection: sqlite3.Connection, run_id: int) -> str:
    """Return the run's resolved spec as JSON."""
    run_row(connection, run_id)
    return str(connection.execute("SELECT spec_json FROM runs WHERE id = ?", (run_id,)).fetchone()[0])


def current_runs(connection: sqlite3.Connection, experiment: str) -> list[Facts]:
    """Return the runs of an experiment that were queued last, with state, checkpoint and digests."""
    return rows_of(
        connection,
        """SELECT r.*, e.experiment, e.name, e.backbone, e.image_size, e.batch_size, e.annotations,
                  e.settings_json, e.data_fingerprint
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           WHERE e.experiment = ? AND r.is_current AND r.state <> 'cancelled'
           ORDER BY r.split, r.seed""",
        (experiment,),
    )


def runs_in_state(connection: sqlite3.Connection, states: Sequence[str]) -> list[int]:
    """Return the ids of the runs in one of `states`."""
    marks = ", ".join("?" * len(states))
    rows = rows_of(connection, f"SELECT id FROM runs WHERE state IN ({marks}) ORDER BY id", states)
    return [row["id"] for row in rows]


def promotable_runs(connection: sqlite3.Connection, experiment: str) -> list[Facts]:
    """Return an experiment's finished current runs per split, lowest validation loss first.

    Where several seeds were run, validation chooses among them; the test part is never asked.
    """
    return rows_of(
        connection,
        """SELECT r.id AS run, r.split, r.seed, MIN(h.val_loss) AS best_val_loss
           FROM runs r JOIN experiments e ON e.id = r.experiment_ref
           LEFT JOIN epoch_history h ON h.run = r.id
           WHERE e.experiment = ? AND r.is_current AND r.state = 'succeeded'
           GROUP BY r.id ORDER BY r.split, best_val_loss, r.seed""",
        (experiment,),
    )


def images_of(connection: sqlite3.Connection, run_id: int) -> int:
    """Return how many images the dataset of a run has."""
    query = """SELECT d.images FROM runs r JOIN experiments e ON e.id = r.experiment_ref
               JOIN datasets d ON d.fingerprint = e.data_fingerprint WHERE r.id = ?"""
    return int(connection.execute(query, (run_id,)).fetchone()[0])


def settings_of(connection: sqlite3.Connection, run_id: int) -> Facts:
    """Return the resolved settings of a run's experiment."""
    query = "SELECT e.settings_json FROM runs r JOIN experiments e ON e.id = r.experiment_ref WHERE r.id = ?"
    found: Facts = json.loads(connection.execute(query, (run_id,)).fetchone()[0])
    return found


def checkpoint_of(connection: sqlite3.Connection, run_id: int) -> tuple[str, str]:
    """Return path and SHA-256 of a finished run's best checkpoint."""
    query = "SELECT checkpoint, checkpoint_sha256 FROM runs WHERE id = ?"
    row = connection.execute(query, (run_id,)).fetchone()
    return str(row["checkpoint"]), str(row["checkpoint_sha256"])
