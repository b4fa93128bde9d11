"""Deciding on a promotion: what is to be done, and whether every condition that binds is met."""

import difflib
import getpass
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from boneexp.artifacts import sha256_of
from boneexp.documents import comparison as comparison_document
from boneexp.errors import PromotionRefused, RunNotFound
from boneexp.gridfile import nearest
from boneexp.ledger import views
from boneexp.ledger.database import reading
from boneexp.ledger.history import first_broken_event
from boneexp.ledger.promotions import Promotion, Standing, before_last
from boneexp.promoted_files import Place, runs_of, texts_of
from boneexp.selection import Comparison, compared


@dataclass(frozen=True)
class Decision:
    """What is to be done, checked: every condition that binds is met."""

    promotion: Promotion
    best: str | None
    why: str
    follows: int | None  # the decision that stood when this one was taken

    def sentence(self) -> str:
        """Say it in one line."""
        experiment = self.promotion.standing.experiment
        if self.promotion.action == "keep-baseline":
            return "the baseline stays the default; no experiment is promoted"
        if self.promotion.action == "rollback":
            return f"the last promotion is undone; the default is {experiment or 'the baseline'} again"
        beside = (
            "" if experiment == self.best else f" (by the study's rule the best is {self.best or 'none'})"
        )
        return f"{experiment} becomes the default model{beside}"

    def as_json(self) -> dict[str, Any]:
        """Return the decision, ready for json.dumps."""
        about = asdict(self.promotion.standing)
        return {
            "action": self.promotion.action,
            **about,
            "reason": self.promotion.reason,
            "decided_by": self.promotion.decided_by,
            "best": self.best,
            "why": self.why,
        }

    def preview(self, place: Place, now: float) -> str:
        """Return what would change in the grid file and the documents, as a diff; nothing is written."""
        with reading(place.ledger) as connection:
            texts = texts_of(place, connection, self.row(now))
        changes = [_diff(path, text) for path, text in texts.items()]
        return "\n".join([self.sentence(), *(change for change in changes if change)])

    def row(self, now: float) -> dict[str, Any]:
        """Return the row of `views.promotion_rows` that this decision will be."""
        about = {**vars(self.promotion), **vars(self.promotion.standing)}
        return {**about, "id": 0, "decided_at": now}


def decide(place: Place, action: str, experiment: str | None, reason: str) -> Decision:
    """Check a decision against the ledger and the files; nothing is written.

    Raises:
        PromotionRefused: a condition that binds is not met; the message lists all of them.
        RunNotFound: the ledger has no such experiment.
    """
    with reading(place.ledger) as connection:
        found = compared(connection)
        rows = views.promotion_rows(connection)
        undoes = None
        if action == "rollback":
            undone = before_last(rows)
            if undone is None:
                raise PromotionRefused("there is no promotion to undo")
            undoes, stands = undone
        elif action == "keep-baseline":
            stands = Standing()
        else:
            chosen = experiment or found.best
            if chosen is None:
                raise PromotionRefused(
                    f"there is no best experiment: {found.why}; name one: boneexp promote E3"
                )
            stands = _standing(connection, chosen, found)
        if stands.experiment is not None:
            _require(connection, stands, place.artifacts, restored=action == "rollback")
    evidence = comparison_document.as_json(found)
    promotion = Promotion(action, stands, reason, _person(), evidence, undoes)
    return Decision(promotion, found.best, found.why, rows[-1]["id"] if rows else None)


def _standing(connection: sqlite3.Connection, experiment: str, found: Comparison) -> Standing:
    known = [row["experiment_id"] for row in found.rows]
    if experiment not in known:
        raise RunNotFound(
            f"the ledger has no experiment {experiment!r}; {nearest(experiment, known or ['none'])}"
        )
    runs = views.promotable_runs(connection, experiment)
    chosen = {row["split"]: row["run"] for row in reversed(runs)}  # the first of each split: lowest loss
    return Standing(experiment, chosen.get("stratified"), chosen.get("center_holdout"))


def _require(connection: sqlite3.Connection, stands: Standing, artifacts: Path, *, restored: bool) -> None:
    """Raise PromotionRefused with all unmet conditions; what is restored was finished before."""
    unmet = [] if restored else _unfinished(connection, str(stands.experiment))
    run_ids = runs_of(vars(stands)).values()
    for run_id in run_ids:
        path, sha256 = views.checkpoint_of(connection, run_id)
        unmet += [] if restored else _wrong_digest(artifacts / path, sha256, run_id)
    if (broken := first_broken_event(connection)) is not None:
        unmet.append(f"the ledger's history was changed: event {broken} does not follow from those before it")
    if not run_ids:
        unmet.append("it has no finished run")
    if unmet:
        listed = "\n  - ".join(unmet)
        raise PromotionRefused(f"{stands.experiment} cannot be promoted:\n  - {listed}")


def _unfinished(connection: sqlite3.Connection, experiment: str) -> list[str]:
    return [
        f"run {row['id']} ({row['split']}, seed {row['seed']}) is {row['state']}; see: boneexp status"
        for row in views.current_runs(connection, experiment)
        if row["state"] != "succeeded"
    ]


def _wrong_digest(path: Path, sha256: str, run_id: int) -> list[str]:
    if not path.is_file():
        return [f"run {run_id}: its checkpoint {path} is gone"]
    found = sha256_of(path)
    if found == sha256:
        return []
    return [f"run {run_id}: {path} has SHA-256 {found[:12]}…, and the ledger recorded {sha256[:12]}…"]


def _diff(path: Path, text: str) -> str:
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), str(path), lineterm="")
    return "\n".join(lines)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
