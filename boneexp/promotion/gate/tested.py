"""What a run said of its test images, for conditions that need more than its stored figures."""

import sqlite3

from boneexp.errors import Damaged
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.reported import predictions_of_rows
from boneexp.ledger.queries.predictions import part_predictions


def test_predictions(connection: sqlite3.Connection, run_id: int) -> Predictions:
    """Return a run's predictions of its test part.

    Raises:
        Damaged: its rows are not what a finished run leaves.
    """
    try:
        return predictions_of_rows(part_predictions(connection, run_id, "test"))
    except (TypeError, ValueError) as error:
        raise Damaged(
            f"run {run_id} has predictions of its test part that no run leaves ({error}); see: boneexp doctor"
        ) from error
