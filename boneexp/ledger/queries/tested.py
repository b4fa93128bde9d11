"""On which images finished runs were tested. sqlite3 alone, and nothing is changed.

Every query here can be pasted into `sqlite3 ledger.db`.
"""

import sqlite3
from dataclasses import dataclass

from boneexp.ledger.statements import read


@dataclass(frozen=True)
class TestedRun:
    """A finished current run: on which images it was tested, and its lowest validation loss."""

    __test__ = False  # no test of pytest's

    run: int
    experiment: str
    split: str
    seed: int
    test_set: str
    resamples: int
    confidence: float
    best_val_loss: float | None


def tested_runs(connection: sqlite3.Connection) -> list[TestedRun]:
    """Return the finished current runs, of each experiment and split the lowest validation loss first.

    Experiments come as the comparison orders them.
    """
    return read(
        connection,
        TestedRun,
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
