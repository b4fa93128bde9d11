"""A folder as a BagIt bag (RFC 8493, version 1.0), and the bag as an archive: same content, same bytes.

Not with the package bagit: it writes version 0.97, from before the RFC, and changes the working directory.
It checks the result in the tests.
"""

import shutil
import stat
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from boneexp.files.atomic import sha256_of

BAGIT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
ENTRY_TIME = (1980, 1, 1, 0, 0, 0)


def make_bag(bag: Path, info: Mapping[str, str]) -> int:
    """Add what makes a folder with the payload in `data/` a bag; return how many files it has."""
    payload = files_below(bag / "data")
    size = sum(path.stat().st_size for path in payload)
    tags = {
        "bagit.txt": BAGIT,
        "bag-info.txt": _fields({**info, "Payload-Oxum": f"{size}.{len(payload)}"}),
        "manifest-sha256.txt": _manifest(bag, payload),
    }
    for name, text in tags.items():
        (bag / name).write_text(text, encoding="utf-8", newline="")
    tagmanifest = _manifest(bag, [bag / name for name in sorted(tags)])
    (bag / "tagmanifest-sha256.txt").write_text(tagmanifest, encoding="utf-8", newline="")
    return len(payload) + len(tags) + 1


def write_archive(path: Path, bag: Path, name: str) -> None:
    """Write the bag as a ZIP archive that unpacks into the one folder `name`."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in files_below(bag):
            entry = zipfile.ZipInfo(f"{name}/{file.relative_to(bag).as_posix()}", ENTRY_TIME)
            entry.create_system = 3  # Unix, wherever it is written
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_STORED if file.suffix == ".pt" else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member, file.open("rb") as source:
                shutil.copyfileobj(source, member, 1 << 20)


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its folders, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fields(values: Mapping[str, str]) -> str:
    return "".join(f"{label}: {value}\n" for label, value in values.items())


def _manifest(bag: Path, paths: Iterable[Path]) -> str:
    return "".join(f"{sha256_of(path)}  {path.relative_to(bag).as_posix()}\n" for path in paths)
