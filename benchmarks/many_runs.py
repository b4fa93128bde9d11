"""A ledger of thousands of finished runs in seconds: a few real ones, and copies of their rows made by SQL.

Every run has its attempt, 80 epochs, all metrics of both parts, summaries, files and events. Predictions are
left out, which no command reads of so many runs. Every event is chained, and the rows that `compare` reads of
so many runs are sealed; a copy's other digests are those of its original, which nobody looks at.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from measuring import HOME

from boneexp.ledger.chain import event_hash
from boneexp.ledger.history import record_event
from boneexp.ledger.quarantine import OF_EACH_RUN
from boneexp.ledger.sealed_rows import RULE, RULES
from boneexp.ledger.seals import rows_digest, standing_seals
from boneexp.ledger.transaction import close_idle
from boneexp.study.settings import canonical_json

EPOCHS = 80
SEEDS = 5
RUNS_OF_ONE = 2 * SEEDS  # each experiment on both splits
RUN_ID = f"run_id + n * {RUNS_OF_ONE}"
# What of each row is another one's in the n-th copy; later experiments are a little worse.
COPIED = {
    "experiments": {"id": "id + n", "experiment": "'E' || (n + 1)", "config_digest": "printf('%064x', n)"},
    "runs": {
        "id": f"id + n * {RUNS_OF_ONE}",
        "experiment_ref": "experiment_ref + n",
        "config_hash": f"printf('%064x', id + n * {RUNS_OF_ONE})",
        "folder": "folder || '-copy' || n",
    },
    "attempts": {"run_id": RUN_ID},
    "epochs": {"run_id": RUN_ID},
    "metrics": {"run_id": RUN_ID, "value": "value - n * 1e-7"},
    "run_summaries": {"run_id": RUN_ID, "accuracy": "accuracy - n * 1e-7"},
    "files": {"run_id": RUN_ID, "path": "path || '-copy' || n"},
}
NUMBERS = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {last}) "
MORE_EPOCHS = f"""
WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < {EPOCHS} - 1)
INSERT OR IGNORE INTO epochs SELECT run_id, n, attempt, train_loss, val_loss, val_accuracy, val_macro_auroc,
       learning_rate, duration_s, ended_at FROM number CROSS JOIN epochs WHERE epoch = 0"""


def ledger_of(path: Path, runs: int) -> Path:
    """Make a ledger of at least so many runs, all of them finished; return its path."""
    sys.path.insert(0, str(HOME / "tests"))
    from settled_ledger import settled_ledger

    settled_ledger(path, ("E1",), range(SEEDS))
    close_idle()  # nobody else may have it open when its log is taken away
    copies = -(-runs // RUNS_OF_ONE) - 1
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("BEGIN")
        if copies:
            connection.execute("DELETE FROM predictions")
        connection.execute(MORE_EPOCHS)
        for table in COPIED if copies else ():
            _copy(connection, table, copies)
        _settle(connection)
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def _copy(connection: sqlite3.Connection, table: str, copies: int) -> None:
    connection.execute(f"CREATE TEMP TABLE original_{table} AS SELECT * FROM {table}")
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    columns = ", ".join(COPIED[table].get(name, name) for name in names)
    numbers = NUMBERS.format(last=copies)
    connection.execute(
        f"{numbers} INSERT INTO {table} SELECT {columns} FROM number CROSS JOIN original_{table}"
    )


def _settle(connection: sqlite3.Connection) -> None:
    """Write the events of the copies, seal what was changed of the originals, and which runs are current."""
    now = 2_000_000_000.0
    for run in range(1, RUNS_OF_ONE + 1):
        record_event(connection, now, "sealed", subject="run", run_id=run)
    originals = {
        subject.key[0]: seal for subject, seal in standing_seals(connection).items() if subject.kind == "run"
    }
    query = "SELECT id FROM runs WHERE id > ? ORDER BY id"
    last = connection.execute("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    event, previous = last
    rows = []
    for (run,) in connection.execute(query, (RUNS_OF_ONE,)).fetchall():
        seal = dict(originals[(run - 1) % RUNS_OF_ONE + 1].digests)
        for table in OF_EACH_RUN:
            seal[table] = rows_digest(connection, RULE, RULES[RULE]["run"][table], (run,))
        for kind, details in (("claimed", {"worker": "w"}), ("succeeded", {"rule": RULE, "seal": seal})):
            event, text = event + 1, canonical_json(details)
            digest = event_hash(previous, now, kind, (run, 1), text)
            rows.append((event, now, kind, run, 1, text, previous, digest))
            previous = digest
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    record_event(connection, now, "grid")
