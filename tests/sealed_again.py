"""A ledger that was changed by hand, sealed and chained as if its rows had been settled like that."""

import json
import sqlite3
from contextlib import closing

from boneexp.ledger.chain import FIRST_HASH, event_hash
from boneexp.ledger.seals import seal_of, standing_seals
from boneexp.study.settings import canonical_json


def seal_again(path):
    """Write every standing seal again as the rows are now, and every hash after it."""
    with closing(sqlite3.connect(path)) as connection:
        subjects = {seal.event: subject for subject, seal in standing_seals(connection).items()}
        previous = FIRST_HASH
        events = connection.execute(
            "SELECT id, at, kind, run_id, attempt, details_json FROM events ORDER BY id"
        )
        for event, at, kind, run, attempt, text in events.fetchall():
            if event in subjects:
                text = canonical_json({**json.loads(text), "seal": seal_of(connection, subjects[event])})
            digest = event_hash(previous, at, kind, (run, attempt), text)
            changed = "UPDATE events SET details_json = ?, previous_hash = ?, hash = ? WHERE id = ?"
            connection.execute(changed, (text, previous, digest, event))
            previous = digest
        connection.commit()
