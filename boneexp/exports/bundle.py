"""`export --bundle`: a BagIt bag in one archive, with all that a reader needs to check a study.

Everything but documents and grid file comes from one copy of the ledger, so that it agrees. What a checksum
cannot tell is checked by the bundle's own verifier before the archive gets its name.
"""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import boneexp
from boneexp.errors import BoneexpError, Damaged, NothingToDo, PromotionRefused
from boneexp.exports import payload, verify
from boneexp.exports.bag import make_bag, write_archive
from boneexp.exports.crate import METADATA, crate_metadata
from boneexp.files.atomic import refuse_link, sha256_of, whole_file
from boneexp.files.folders import StudyPaths
from boneexp.ledger.database import reading
from boneexp.ledger.queries.events import last_event
from boneexp.ledger.queries.finished import exported_runs
from boneexp.ledger.schema import SCHEMA
from boneexp.ledger.slice import Withheld, machine_paths, slice_without_machine
from boneexp.promotion.carry_out import wrong_grid
from boneexp.text.labels import RESEARCH_ONLY


@dataclass(frozen=True)
class Bundled:
    """What was written: `altered` had paths or images taken out, `missing` was not there to be taken."""

    path: Path
    sha256: str
    size_bytes: int
    files: int
    last_event: str
    altered: tuple[str, ...]
    missing: tuple[str, ...]

    def sentence(self) -> str:
        """Return what to note, and what is not as it was in the study."""
        lines = [
            f"{self.files} files, every check holds; note elsewhere the last event's hash: {self.last_event}",
            f"Without paths or images of this machine: {', '.join(self.altered)}" if self.altered else "",
            f"Not there, so not in it: {', '.join(self.missing)}" if self.missing else "",
        ]
        return "\n".join(filter(None, lines))

    def as_json(self) -> dict[str, object]:
        """Return it, ready for json.dumps."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class _Payload:
    runs: int
    last_event: str
    altered: tuple[str, ...]
    missing: tuple[str, ...]


def write_bundle(place: StudyPaths, target: Path, *, with_checkpoints: bool, replace: bool) -> Bundled:
    """Write the archive, whole; return what is in it.

    Raises:
        NothingToDo: no run has finished.
        PromotionRefused: the grid file is not the one of this study.
        Damaged: the ledger, a split or a checkpoint is not what was recorded, or a link leads elsewhere.
        BoneexpError: `target` is there already and is not to be replaced, or cannot be written.
    """
    _require_free(target, replace)
    with reading(place.ledger) as connection:
        if not exported_runs(connection):
            raise NothingToDo("no run has finished yet, so there is nothing to export; see: boneexp status")
    try:
        with (
            whole_file(target) as part,
            tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.", suffix=".part") as bag,
        ):
            made = _write_payload(place, Path(bag) / "data", with_checkpoints)
            files = make_bag(Path(bag), _bag_info(made))
            write_archive(part, Path(bag), target.stem.strip(".") or "study")
            sha256, size_bytes = sha256_of(part), part.stat().st_size
    except OSError as error:
        raise BoneexpError(
            f"{target} cannot be written ({error.strerror or error}); free space there, or name another place"
        ) from error
    return Bundled(target, sha256, size_bytes, files, made.last_event, made.altered, made.missing)


def _require_free(target: Path, replace: bool) -> None:
    if target.is_dir():
        raise BoneexpError(f"{target} is a folder; name a file, such as {target}/study.zip")
    refuse_link(target)
    if target.exists() and not replace:
        raise BoneexpError(f"{target} is there already; name another file, or replace it with --yes")


def _write_payload(place: StudyPaths, data: Path, with_checkpoints: bool) -> _Payload:
    data.mkdir()
    with reading(place.ledger) as connection:
        withheld = slice_without_machine(connection, data / "ledger.db")
        if place.grid.is_file() and (wrong := wrong_grid(place, connection)) is not None:
            raise PromotionRefused(f"the grid file would go out as this study's, and is not: {wrong}")
        paths = machine_paths(connection)
    with reading(data / "ledger.db") as connection:
        texts = payload.write_texts(place, paths, data)
        missing = sorted([*payload.copy_splits(connection, place.artifacts, data), *texts.missing])
        if with_checkpoints:
            payload.copy_checkpoints(connection, place.artifacts, data)
        payload.write_tables(connection, data)
        last = last_event(connection)
        assert last is not None  # a run has finished
        about = {
            "boneexp": boneexp.__version__,
            "schema": SCHEMA,
            "as_of": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last.at)),
            "last_event": {"id": last.id, "hash": last.hash},
            "altered": texts.altered,
            "missing": missing,
            **_withheld(withheld),
        }
        payload.write_json(data / "export.json", about)
        payload.write_verifier(data)
        payload.write_readme(connection, data, last)
        (data / METADATA).write_text(crate_metadata(connection, data, last), encoding="utf-8", newline="")
        runs = len(exported_runs(connection))
    _require_verified(data)
    return _Payload(runs, last.hash, texts.altered, tuple(missing))


def _withheld(withheld: Withheld) -> dict[str, object]:
    seals = [[subject, table] for subject, tables in withheld.seals for table in tables]
    return {"withheld_events": withheld.events, "withheld": seals}


def _bag_info(made: _Payload) -> dict[str, str]:
    return {
        "External-Description": f"{RESEARCH_ONLY} A study of bone-radiograph classifiers: {made.runs} "
        "finished runs. The identifier is the hash of the last event; data/README.txt says how to check all.",
        "External-Identifier": made.last_event,
        "Bag-Software-Agent": f"boneexp {boneexp.__version__}",
    }


def _require_verified(data: Path) -> None:
    """Give nothing out that the reader's own check would find wrong."""
    for check, message, holds in verify.checked(data):
        if not holds:
            raise Damaged(
                f"nothing was exported, for its own check fails ({check}: {message}); "
                "see what is wrong with: boneexp doctor"
            )
