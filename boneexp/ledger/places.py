"""Where the data and weights of a run lie now: that decides no result, and may change after the run."""

from dataclasses import replace
from sqlite3 import Connection

from boneexp.ledger.queue import Claim
from boneexp.study.settings import RunSpec

# The spec of a finished run is sealed with the folders of its time; its experiment has the newest ones.
SPEC_NOW = """SELECT json_set(r.spec_json,
                       '$.settings.data.root', json_extract(e.settings_json, '$.data.root'),
                       '$.settings.model.pretrained', json(e.settings_json -> '$.model.pretrained'))
              FROM runs r JOIN experiments e ON e.id = r.experiment_ref WHERE r.id = ?"""


def spec_now(connection: Connection, run_id: int, root: str = "") -> RunSpec:
    """Return a run's spec with data and weights where they were last queued from, or with the data at `root`.

    Neither hash nor fingerprint depend on it. There must be such a run.
    """
    (text,) = connection.execute(SPEC_NOW, (run_id,)).fetchone()
    spec = RunSpec.model_validate_json(text)
    return spec.with_data_at(root) if root else spec


def claimed_at(connection: Connection, claim: Claim, root: str) -> Claim:
    """Record that the dataset of a run that was just claimed is at `root` now; return the claim with that."""
    spec = claim.spec.with_data_at(root)
    changed = "UPDATE runs SET spec_json = ? WHERE id = ?"
    connection.execute(changed, (spec.model_dump_json(), claim.run_id))
    return replace(claim, spec=spec)
