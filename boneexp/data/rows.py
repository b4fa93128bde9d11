"""One row of the table: its cells as checked facts about an image, and what is wrong with them."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from boneexp.results import CLASS_NAMES

NORMAL, BENIGN, MALIGNANT = range(len(CLASS_NAMES))
SITES = (
    *("hand", "ulna", "radius", "humerus", "foot", "tibia", "fibula", "femur", "hip bone", "ankle-joint"),
    *("knee-joint", "hip-joint", "wrist-joint", "elbow-joint", "shoulder-joint"),
)
BENIGN_SUBTYPES = (
    *("osteochondroma", "multiple osteochondromas", "simple bone cyst", "giant cell tumor", "osteofibroma"),
    *("synovial osteochondroma", "other bt"),
)
MALIGNANT_SUBTYPES = ("osteosarcoma", "other mt")
REGIONS = ("upper limb", "lower limb", "pelvis")
VIEWS = ("frontal", "lateral", "oblique")
FLAGS = (
    *(*SITES, "tumor", "benign", "malignant", *BENIGN_SUBTYPES, *MALIGNANT_SUBTYPES),
    *(*REGIONS, *VIEWS),
)
COLUMNS = ("image_id", "center", "age", "gender", *FLAGS)
# As the tables in the repository of BTXRD's authors spell them.
SYNONYMS = {
    "ankle": "ankle-joint",
    "knee": "knee-joint",
    "hip": "hip-joint",
    "wrist": "wrist-joint",
    "elbow": "elbow-joint",
    "shoulder": "shoulder-joint",
    "lower limbs": "lower limb",
}

LARGEST_CENTER = 1_000_000
LONGEST_NAME_BYTES = 200  # a file's name has 255, and boneexp adds to it

_FLAG = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_OLDEST = 130


def checked_row(line: int, cell: Mapping[str, str], group: str) -> tuple["Row", list[str]]:
    """Return what the row says and what is wrong with it; wrong cells leave a placeholder in the row."""
    wrong: list[str] = []
    image_id = one_spelling(cell["image_id"])
    if not is_plain_name(image_id):
        said = f"image_id is {shortened(image_id)!r}, not the plain name of a file"
        wrong.append(said if image_id else "image_id is blank")
    flags = dict(_flags(cell, wrong))
    row = Row(
        line=line,
        image_id=image_id,
        center=_center(cell["center"], wrong),
        label=_label(flags, wrong),
        age=_age(cell["age"], wrong),
        gender=_gender(cell["gender"], wrong),
        sites=tuple(name for name in SITES if flags.get(name)),
        regions=tuple(name for name in REGIONS if flags.get(name)),
        views=tuple(name for name in VIEWS if flags.get(name)),
        subtypes=tuple(name for name in (*BENIGN_SUBTYPES, *MALIGNANT_SUBTYPES) if flags.get(name)),
        group=group,
    )
    return row, wrong


def is_plain_name(image_id: str) -> bool:
    """Whether it can only name a file of images/, the same file wherever, and shows as what it is."""
    shows = image_id.isprintable() and not set("/\\:") & set(image_id)
    dotted = image_id.startswith(".") or image_id.endswith(".")
    return shows and not dotted and 0 < len(image_id.encode()) <= LONGEST_NAME_BYTES


def shortened(text: str) -> str:
    """Return a cell as a message shows it."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flags(cell: Mapping[str, str], wrong: list[str]) -> Iterator[tuple[str, bool]]:
    for column in FLAGS:
        flag = _FLAG.get(cell[column].lower())
        if flag is None:
            wrong.append(f"{column} is {shortened(cell[column])!r}, not 0 or 1")
        else:
            yield column, flag


def _center(text: str, wrong: list[str]) -> int:
    center = _whole(text)
    if center is None or center > LARGEST_CENTER:
        wrong.append(f"center is {shortened(text)!r}, not a whole number up to {LARGEST_CENTER:,}")
        return 0
    return center


def _age(text: str, wrong: list[str]) -> int | None:
    age = _whole(text)
    if text and (age is None or age > _OLDEST):
        wrong.append(f"age is {shortened(text)!r}, not whole years up to {_OLDEST} or blank")
    return age


def _gender(text: str, wrong: list[str]) -> str | None:
    if text.upper() not in ("", "M", "F"):
        wrong.append(f"gender is {shortened(text)!r}, not M, F or blank")
    return text.upper() or None


def _whole(text: str) -> int | None:
    return int(text.split(".")[0]) if re.fullmatch(r"[0-9]{1,9}(\.0*)?", text) else None


def _label(flags: dict[str, bool], wrong: list[str]) -> int:
    """Return the class, or -1 where flags are missing or contradict each other."""
    if not flags.keys() >= set(FLAGS):
        return -1
    conflicts = list(_conflicts(flags))
    wrong += [f"label conflict: {conflict}" for conflict in conflicts]
    if conflicts:
        return -1
    return MALIGNANT if flags["malignant"] else BENIGN if flags["benign"] else NORMAL


def _conflicts(flags: dict[str, bool]) -> Iterator[str]:
    if flags["benign"] and flags["malignant"]:
        yield "benign and malignant are both 1"
    if flags["tumor"] != (flags["benign"] or flags["malignant"]):
        yield "tumor is not 1 exactly where benign or malignant is"
    for kind, subtypes in (("benign", BENIGN_SUBTYPES), ("malignant", MALIGNANT_SUBTYPES)):
        for subtype in subtypes:
            if flags[subtype] and not flags[kind]:
                yield f"{subtype} is 1 and {kind} is 0"


def one_spelling(name: str) -> str:
    """Return the name with letters and accents composed: some systems store them apart, and show the same."""
    return unicodedata.normalize("NFC", name)


def stem_of(image_id: str) -> str:
    """Return the name that an image shares with its annotation: the id without its ending."""
    return re.sub(r"\.(jpe?g|png)$", "", image_id, flags=re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One image as the table has it; `line` is the row's number in the file."""

    line: int
    image_id: str
    center: int
    label: int
    age: int | None
    gender: str | None
    sites: tuple[str, ...]
    regions: tuple[str, ...]
    views: tuple[str, ...]
    subtypes: tuple[str, ...]
    group: str
