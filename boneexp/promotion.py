"""Promotion: a person's decision becomes a row in the ledger, and then files that agree with it.

The row is the truth. The files at standard names, the [promoted] table of the grid file and the two
documents are made from it; if a kill comes in between, the next promotion command makes them first.
"""

import difflib
import getpass
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from boneexp.artifacts import sha256_of, whole_file, write_text
from boneexp.documents import comparison as comparison_document
from boneexp.documents.facts import gather
from boneexp.documents.written import render_documents
from boneexp.errors import Damaged, PromotionRefused, RunNotFound
from boneexp.gridfile import nearest
from boneexp.ledger import views
from boneexp.ledger.database import reading, writing
from boneexp.ledger.history import first_broken_event, record_event, record_files
from boneexp.ledger.promotions import Promotion, Standing, before_last, record_promotion, standing
from boneexp.promoted_table import with_promoted
from boneexp.results import WrittenFile
from boneexp.selection import Comparison, compared

STANDARD_NAMES = {"stratified": "best_stratified.pt", "center_holdout": "best_center.pt"}
FOLDER = "promoted"


@dataclass(frozen=True)
class Place:
    """Where everything of a study lies."""

    ledger: Path
    artifacts: Path
    grid: Path
    docs: Path


@dataclass(frozen=True)
class Decision:
    """What is to be done, checked: every condition that binds is met."""

    promotion: Promotion
    best: str | None
    why: str

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
        texts = _texts(place, self.promotion, now)
        changes = [_diff(path, text) for path, text in texts.items()]
        return "\n".join([self.sentence(), *(change for change in changes if change)])


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
    return Decision(promotion, found.best, found.why)


def carry_out(place: Place, decision: Decision, now: float) -> list[Path]:
    """Record the decision, then make every file agree with it; return the files written."""
    _texts(place, decision.promotion, now)  # what cannot be rendered must not be recorded
    with writing(place.ledger) as connection:
        record_promotion(connection, decision.promotion, now)
    return settle(place, now)


def settle(place: Place, now: float) -> list[Path]:
    """Make checkpoints, grid file and documents agree with the last promotion; safe to repeat."""
    with reading(place.ledger) as connection:
        rows = views.promotion_rows(connection)
        stands = standing(rows)
        sources = {
            split: views.checkpoint_of(connection, run_id) for split, run_id in _runs_of(stands).items()
        }
    written = [
        path
        for split, name in STANDARD_NAMES.items()
        if (path := _place_checkpoint(place.artifacts, name, sources.get(split))) is not None
    ]
    for path, text in _settled_texts(place, rows).items():
        write_text(path, text)
        written.append(path)
    with writing(place.ledger) as connection:
        files = [_written(place.artifacts, path) for path in written if path.suffix == ".pt"]
        record_files(connection, tuple(files), None, now)
        record_event(connection, now, "promotion-settled", promotion=rows[-1]["id"])
    return written


def refresh_documents(place: Place, now: float) -> list[Path]:
    """Write both documents anew from the ledger, if a promotion has written them; return their paths."""
    _finish_earlier(place)
    with reading(place.ledger) as connection:
        rows = views.promotion_rows(connection)
        texts = render_documents(place.docs, gather(connection, rows[-1], now)) if rows else {}
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def _finish_earlier(place: Place) -> None:
    """Complete the last promotion if it was cut short between its row and its files."""
    with reading(place.ledger) as connection:
        rows = views.promotion_rows(connection)
        settled = views.settled_promotions(connection)
    if rows and rows[-1]["id"] not in settled:
        settle(place, rows[-1]["decided_at"])


def _standing(connection: Any, experiment: str, found: Comparison) -> Standing:
    known = [row["experiment_id"] for row in found.rows]
    if experiment not in known:
        raise RunNotFound(
            f"the ledger has no experiment {experiment!r}; {nearest(experiment, known or ['none'])}"
        )
    runs = views.promotable_runs(connection, experiment)
    chosen = {row["split"]: row["run"] for row in reversed(runs)}  # the first of each split: lowest loss
    return Standing(experiment, chosen.get("stratified"), chosen.get("center_holdout"))


def _require(connection: Any, stands: Standing, artifacts: Path, *, restored: bool) -> None:
    """Raise PromotionRefused with all unmet conditions; what is restored was finished before."""
    unmet = [] if restored else _unfinished(connection, str(stands.experiment))
    for run_id in _runs_of(stands).values():
        path, sha256 = views.checkpoint_of(connection, run_id)
        unmet += [] if restored else _wrong_digest(artifacts / path, sha256, run_id)
    if (broken := first_broken_event(connection)) is not None:
        unmet.append(f"the ledger's history was changed: event {broken} does not follow from those before it")
    if not _runs_of(stands):
        unmet.append("it has no finished run")
    if unmet:
        listed = "\n  - ".join(unmet)
        raise PromotionRefused(f"{stands.experiment} cannot be promoted:\n  - {listed}")


def _unfinished(connection: Any, experiment: str) -> list[str]:
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


def _runs_of(stands: Standing) -> dict[str, int]:
    runs = {"stratified": stands.stratified_run_id, "center_holdout": stands.center_run_id}
    return {split: run_id for split, run_id in runs.items() if run_id is not None}


def _place_checkpoint(artifacts: Path, name: str, source: tuple[str, str] | None) -> Path | None:
    """Put the run's checkpoint at its standard name; what was there before is kept under its digest."""
    target = artifacts / FOLDER / name
    wanted = source[1] if source else None
    if target.is_file():
        found = sha256_of(target)
        if found == wanted:
            return target
        _copy(target, _former(artifacts, name, found))
        if source is None:
            target.unlink()
    if source is None:
        return None
    original, kept = artifacts / source[0], _former(artifacts, name, source[1])
    for candidate in (original, kept):
        if candidate.is_file() and sha256_of(candidate) == wanted:
            _copy(candidate, target)
            return target
    raise Damaged(f"neither {original} nor {kept} is the checkpoint that the ledger recorded for {name}")


def _former(artifacts: Path, name: str, sha256: str) -> Path:
    return artifacts / FOLDER / "former" / f"{Path(name).stem}-{sha256[:16]}.pt"


def _copy(source: Path, target: Path) -> None:
    with whole_file(target) as part:
        part.write_bytes(source.read_bytes())


def _written(artifacts: Path, path: Path) -> WrittenFile:
    relative = path.relative_to(artifacts).as_posix()
    return WrittenFile("promoted checkpoint", relative, sha256_of(path), path.stat().st_size)


def _texts(place: Place, promotion: Promotion, now: float) -> Mapping[Path, str]:
    """Return the texts that the promotion would leave."""
    with reading(place.ledger) as connection:
        row = {
            "id": 0,
            "action": promotion.action,
            **vars(promotion.standing),
            "reason": promotion.reason,
            "decided_by": promotion.decided_by,
            "decided_at": now,
            "evidence": promotion.evidence,
            "undoes_id": promotion.undoes_id,
        }
        return texts_of(place, connection, row)


def _settled_texts(place: Place, rows: list[dict[str, Any]]) -> Mapping[Path, str]:
    with reading(place.ledger) as connection:
        return texts_of(place, connection, rows[-1])


def texts_of(place: Place, connection: Any, row: dict[str, Any]) -> Mapping[Path, str]:
    """Return what the grid file and both documents say by a promotion's row.

    Raises:
        GridInvalid: the grid file is missing, or cannot be rewritten safely.
        BoneexpError: a document that is there cannot be read, or its markers are broken.
    """
    texts = dict(render_documents(place.docs, gather(connection, row, row["decided_at"])))
    texts[place.grid] = with_promoted(place.grid, _promoted_values(place, connection, row))
    return texts


def _promoted_values(place: Place, connection: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of the [promoted] table; none when the baseline stands."""
    if row["experiment"] is None:
        return {}
    run_ids = _runs_of(Standing(row["experiment"], row["stratified_run_id"], row["center_run_id"]))
    settings = views.settings_of(connection, next(iter(run_ids.values())))
    folder = os.path.relpath(place.artifacts / FOLDER, place.grid.parent)
    paths = {split: Path(folder, STANDARD_NAMES[split]).as_posix() for split in run_ids}
    return {
        "experiment": row["experiment"],
        "backbone": settings["model"]["backbone"],
        "image_size": settings["data"]["image_size"],
        "batch_size": settings["training"]["batch_size"],
        "dropout": settings["model"]["dropout"],
        "attn_layer": settings["model"]["attn_layer"],
        "checkpoint": next(iter(paths.values())),
        "checkpoint_stratified": paths.get("stratified", ""),
        "checkpoint_center": paths.get("center_holdout", ""),
    }


def _diff(path: Path, text: str) -> str:
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), str(path), lineterm="")
    return "\n".join(lines)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
