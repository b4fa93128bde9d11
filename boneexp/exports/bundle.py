"""`export --bundle`: one archive with all that a reader needs to check a study, and what checks it.

Everything but documents and grid file comes from one copy of the ledger, so that it agrees. The archive is
checked by its own verifier before it gets its name.
"""

import hashlib
import json
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boneexp
from boneexp.errors import BoneexpError, Damaged, NothingToDo, PromotionRefused
from boneexp.exports import members, verify
from boneexp.exports.members import Content
from boneexp.files.atomic import refuse_link, sha256_of, whole_file
from boneexp.files.folders import Place
from boneexp.ledger.database import SCHEMA, reading
from boneexp.ledger.queries.datasets import all_datasets
from boneexp.ledger.queries.events import Event, last_event
from boneexp.ledger.queries.finished import exported_runs
from boneexp.ledger.slice import Withheld, machine_paths, slice_without_machine
from boneexp.ledger.statements import Facts
from boneexp.promotion.carry_out import wrong_grid
from boneexp.text.labels import RESEARCH_ONLY

MOMENT = (1980, 1, 1, 0, 0, 0)  # the same content gives the same archive


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
        """Say what to note, and what is not as it lay in the study."""
        lines = [
            f"{self.files} files, every check holds; note elsewhere the last event's hash: {self.last_event}",
            f"Without paths or images of this machine: {', '.join(self.altered)}" if self.altered else "",
            f"Not there, so not in it: {', '.join(self.missing)}" if self.missing else "",
        ]
        return "\n".join(filter(None, lines))

    def as_json(self) -> dict[str, Any]:
        """Return it, ready for json.dumps."""
        return {
            **vars(self),
            "path": str(self.path),
            "altered": list(self.altered),
            "missing": list(self.missing),
        }


def write_bundle(place: Place, target: Path, *, with_checkpoints: bool, replace: bool) -> Bundled:
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
            tempfile.TemporaryDirectory(
                dir=target.parent, prefix=f"{target.name}.", suffix=".part"
            ) as scratch,
        ):
            made = _gathered(place, Path(scratch), with_checkpoints)
            _write_archive(part, made.files)
            _require_verified(part)
            sha256, size_bytes = sha256_of(part), part.stat().st_size
    except OSError as error:
        raise BoneexpError(
            f"{target} cannot be written ({error.strerror or error}); free space there, or name another place"
        ) from error
    return Bundled(target, sha256, size_bytes, len(made.files), made.last_event, made.altered, made.missing)


@dataclass(frozen=True)
class _Gathered:
    files: Mapping[str, Content]
    last_event: str
    altered: tuple[str, ...]
    missing: tuple[str, ...]


def _require_free(target: Path, replace: bool) -> None:
    if target.is_dir():
        raise BoneexpError(f"{target} is a folder; name a file, such as {target}/study.zip")
    refuse_link(target)
    if target.exists() and not replace:
        raise BoneexpError(f"{target} is there already; name another file, or replace it with --yes")


def _gathered(place: Place, scratch: Path, with_checkpoints: bool) -> _Gathered:
    copy = scratch / verify.LEDGER
    with reading(place.ledger) as connection:
        withheld = slice_without_machine(connection, copy)
        if place.grid.is_file() and (wrong := wrong_grid(place, connection)) is not None:
            raise PromotionRefused(f"the grid file would go out as this study's, and is not: {wrong}")
        paths = machine_paths(connection)
    with reading(copy) as connection:
        texts = members.texts_of_study(place, paths)
        splits, missing = members.splits(connection, place.artifacts)
        files: dict[str, Content] = {
            verify.LEDGER: copy,
            **members.of_ledger(connection, scratch),
            **splits,
            **texts.files,
            **(members.checkpoints(connection, place.artifacts) if with_checkpoints else {}),
            "verify.py": Path(verify.__file__),
        }
        last = last_event(connection)
        assert last is not None  # a run has finished
        about = _about(all_datasets(connection), last, withheld)
        files["README.txt"] = members.readme(connection, about["last_event"]["hash"])
    gone = sorted([*missing, *texts.missing])
    about |= {"checkpoints": with_checkpoints, "altered": list(texts.altered), "missing": gone}
    about["files"] = {name: _noted(files[name]) for name in sorted(files)}
    manifest = (json.dumps(about, indent=2, allow_nan=False) + "\n").encode()
    files[verify.MANIFEST] = manifest
    digest = hashlib.sha256(manifest).hexdigest()
    files[verify.MANIFEST_DIGEST] = f"{digest}  {verify.MANIFEST}\n".encode()
    return _Gathered(files, about["last_event"]["hash"], texts.altered, tuple(gone))


def _about(datasets: list[Facts], last: Event, withheld: Withheld) -> dict[str, Any]:
    as_of = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last.at))
    return {
        "format": verify.FORMAT,
        "note": RESEARCH_ONLY,
        "boneexp": boneexp.__version__,
        "schema": SCHEMA,
        "as_of": as_of,
        "last_event": {"id": last.id, "hash": last.hash},
        "datasets": datasets,
        "withheld_events": withheld.events,
        "withheld": [{"subject": subject, "tables": list(tables)} for subject, tables in withheld.seals],
    }


def _noted(content: Content) -> dict[str, Any]:
    if isinstance(content, Path):
        return {"sha256": sha256_of(content), "size_bytes": content.stat().st_size}
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def _write_archive(path: Path, files: Mapping[str, Content]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.create_system = 3  # Unix, wherever it is written
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".pt") else zipfile.ZIP_DEFLATED
            content = files[name]
            with archive.open(entry, "w", force_zip64=True) as member:
                if isinstance(content, bytes):
                    member.write(content)
                    continue
                with content.open("rb") as source:
                    shutil.copyfileobj(source, member, 1 << 20)


def _require_verified(path: Path) -> None:
    """Give nothing out that the reader's own check would find wrong."""
    for check, said, holds in verify.checked(path):
        if not holds:
            raise Damaged(
                f"nothing was exported, for its own check fails ({check}: {said}); see what is wrong with: "
                "boneexp doctor"
            )
