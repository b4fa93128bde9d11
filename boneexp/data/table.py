"""dataset.csv or dataset.xlsx in, one checked row per image out.

No cell is guessed at and no row is skipped: whatever is wrong becomes a problem with its row number, and all
problems come back together.
"""

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from boneexp.data.workbook import workbook_rows
from boneexp.errors import DataInvalid
from boneexp.files.reading import content_of
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

LARGEST_CSV_BYTES = 32_000_000
MOST_ROWS = 100_000
MOST_COLUMNS = 1_000
LAST_LINE = 1_048_576  # of a sheet; blank lines can go on for ever
LARGEST_CENTER = 1_000_000
LONGEST_NAME_BYTES = 200  # a file's name has 255, and boneexp adds to it

_FLAG = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_OLDEST = 130

Line = tuple[int, list[str]]  # the row's number in the file, counted from 1, and its cells


def table_path(root: Path) -> Path:
    """Return the dataset's table: dataset.csv, or dataset.xlsx where there is no csv.

    Raises:
        DataInvalid: neither is there.
    """
    for name in ("dataset.csv", "dataset.xlsx"):
        if (root / name).is_file():
            return root / name
    raise DataInvalid(
        f"{root} holds neither dataset.csv nor dataset.xlsx; BTXRD's zip brings the latter", [str(root)]
    )


def read_table(path: Path, group_column: str | None = None) -> "Table":
    """Return the rows with a usable image_id, and everything that is wrong with any row.

    Raises:
        DataInvalid: the file cannot be read, has no rows, or lacks a column or has it twice.
    """
    lines = _lines(path)
    if not lines:
        raise DataInvalid(
            f"{path} is empty; it should hold BTXRD's 37 columns and a row per image", [path.name]
        )
    needed = [*COLUMNS, *([group_column] if group_column else [])]
    header, notes = _with_usual_names(lines[0][1])
    _check_header(path, header, needed)
    place_of = {column: header.index(column) for column in needed}
    if len(lines) == 1:
        raise DataInvalid(f"{path} has a header and no rows", [path.name])
    rows: list[Row] = []
    problems: list[str] = []
    for line, cells in lines[1:]:
        cell = {column: cells[at] if at < len(cells) else "" for column, at in place_of.items()}
        row, wrong = _row(line, cell, cell[group_column] if group_column else "")
        if any(cells[len(header) :]):
            wrong.insert(0, f"{len(cells)} cells under {len(header)} columns")
        problems += [f"{path.name} row {line} ({_short(row.image_id)}): {reason}" for reason in wrong]
        rows.append(row)
    usable = tuple(row for row in rows if _is_plain_name(row.image_id))
    return Table(usable, problems + _repeated(path, rows), notes)


def one_spelling(name: str) -> str:
    """Return the name with letters and accents composed: some systems store them apart, and show the same."""
    return unicodedata.normalize("NFC", name)


def stem_of(image_id: str) -> str:
    """Return the name that an image shares with its annotation: the id without its ending."""
    return re.sub(r"\.(jpe?g|png)$", "", image_id, flags=re.IGNORECASE)


def _lines(path: Path) -> list[Line]:
    """Return all but blank lines, as many as a table of images can have."""
    lines: list[Line] = []
    for line, cells in workbook_rows(path) if path.suffix == ".xlsx" else _csv_rows(path):
        if len(cells) > MOST_COLUMNS or len(lines) > MOST_ROWS or line > LAST_LINE:
            raise DataInvalid(
                f"{path} row {line:,}: too large for a table of images; "
                f"at most {MOST_ROWS:,} rows and {MOST_COLUMNS:,} columns are read",
                [f"{path.name} row {line}"],
            )
        if any(cells):
            lines.append((line, cells))
    return lines


def _csv_rows(path: Path) -> Iterator[Line]:
    """Yield the rows of a csv; the separator is what the header has most of: comma, ; or tab."""
    text = io.StringIO(_csv_text(path), newline="")
    header = text.readline()
    text.seek(0)
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(text, delimiter=delimiter)
    start, open_quotes = 1, []
    try:
        for cells in reader:
            if any(_spans_rows(cell, delimiter) for cell in cells):
                open_quotes.append((start, reader.line_num))
            yield start, [cell.strip() for cell in cells[: MOST_COLUMNS + 1]]
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataInvalid(
            f"{path} row {start} cannot be read: {error}; is a quotation mark in it not closed?",
            [f"{path.name} row {start}"],
        ) from error
    if open_quotes:
        raise _open_quotes(path, open_quotes)


def _spans_rows(cell: str, delimiter: str) -> bool:
    """Whether a cell holds line breaks and separators: rows that a quotation mark swallowed, most likely."""
    return delimiter in cell and ("\n" in cell or "\r" in cell)


def _open_quotes(path: Path, spans: Sequence[tuple[int, int]]) -> DataInvalid:
    """Say which cells swallow rows; `spans` are the first and the last line of each."""
    places = [f"{path.name} row {first}" for first, _ in spans]
    shown = [f"  row {first}: a cell runs on to row {last}" for first, last in spans[:10]]
    more = [f"  and {len(spans) - 10} more"] if len(spans) > 10 else []
    lines = "\n".join([*shown, *more])
    return DataInvalid(
        f"{path} has cells that hold line breaks and separators, so rows would be lost; close the quotation "
        f'mark that begins each, write a mark in a quoted cell as "", or take the break out:\n{lines}',
        places,
    )


def _csv_text(path: Path) -> str:
    try:
        content = content_of(path, LARGEST_CSV_BYTES)
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read: {error.strerror}", [path.name]) from error
    if b"\0" in content:
        raise DataInvalid(
            f"{path} has NUL bytes: it is UTF-16, or no text at all; save it as CSV in UTF-8", [path.name]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # Excel's plain "CSV" in Europe


def _with_usual_names(header: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the header with the authors' other spellings replaced by the published ones, and a note.

    A column that is there under its published name stays, and so does one beside it.
    """
    renamed = {name: usual for name, usual in SYNONYMS.items() if name in header and usual not in header}
    if not renamed:
        return list(header), ()
    pairs = ", ".join(f"{usual!r} from {name!r}" for name, usual in renamed.items())
    return [renamed.get(name, name) for name in header], (f"columns under another name: {pairs}",)


def _check_header(path: Path, header: Sequence[str], needed: Sequence[str]) -> None:
    problems = [
        f"{path.name}: the column {column!r} is {_absence(column, header)}"
        for column in dict.fromkeys(needed)
        if header.count(column) != 1
    ]
    if problems:
        unused = [repr(_short(name)) for name in dict.fromkeys(header) if name and name not in needed]
        others = [f"columns that nothing uses: {_few(unused)}"] if unused else []
        text = "\n  ".join([*problems[:10], *(["…"] if len(problems) > 10 else []), *others])
        raise DataInvalid(f"the header of {path} is not BTXRD's; rename the columns:\n  {text}", problems)


def _few(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _absence(column: str, header: Sequence[str]) -> str:
    if column in header:
        return f"there {header.count(column)} times"
    lowered = {name.lower(): name for name in header}
    nearest = difflib.get_close_matches(column.lower(), lowered, n=1)
    return f"missing (nearest: {lowered[nearest[0]]!r})" if nearest else "missing"


def _row(line: int, cell: Mapping[str, str], group: str) -> tuple["Row", list[str]]:
    """Return what the row says and what is wrong with it; wrong cells leave a placeholder in the row."""
    wrong: list[str] = []
    image_id = one_spelling(cell["image_id"])
    if not _is_plain_name(image_id):
        said = f"image_id is {_short(image_id)!r}, not the plain name of a file"
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


def _is_plain_name(image_id: str) -> bool:
    """Whether it can only name a file of images/, the same file wherever, and shows as what it is."""
    shows = image_id.isprintable() and not set("/\\:") & set(image_id)
    dotted = image_id.startswith(".") or image_id.endswith(".")
    return shows and not dotted and 0 < len(image_id.encode()) <= LONGEST_NAME_BYTES


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flags(cell: Mapping[str, str], wrong: list[str]) -> Iterator[tuple[str, bool]]:
    for column in FLAGS:
        flag = _FLAG.get(cell[column].lower())
        if flag is None:
            wrong.append(f"{column} is {_short(cell[column])!r}, not 0 or 1")
        else:
            yield column, flag


def _center(text: str, wrong: list[str]) -> int:
    center = _whole(text)
    if center is None or center > LARGEST_CENTER:
        wrong.append(f"center is {_short(text)!r}, not a whole number up to {LARGEST_CENTER:,}")
        return 0
    return center


def _age(text: str, wrong: list[str]) -> int | None:
    age = _whole(text)
    if text and (age is None or age > _OLDEST):
        wrong.append(f"age is {_short(text)!r}, not whole years up to {_OLDEST} or blank")
    return age


def _gender(text: str, wrong: list[str]) -> str | None:
    if text.upper() not in ("", "M", "F"):
        wrong.append(f"gender is {_short(text)!r}, not M, F or blank")
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


def _repeated(path: Path, rows: Sequence["Row"]) -> list[str]:
    first: dict[str, int] = {}
    return [
        f"{path.name} row {row.line} ({_short(row.image_id)}): the image of row {line} again"
        for row in rows
        if (line := first.setdefault(stem_of(row.image_id), row.line)) != row.line and row.image_id
    ]


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


@dataclass(frozen=True)
class Table:
    """The rows whose image_id can be a file, one line for each thing that is wrong, and what is only odd."""

    rows: tuple[Row, ...]
    problems: list[str]
    notes: tuple[str, ...] = ()
