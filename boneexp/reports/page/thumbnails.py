"""The overlays of mistaken images, small enough to lie inside the page; no symbolic link is followed."""

import base64
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from boneexp.errors import Damaged
from boneexp.files.atomic import inside
from boneexp.files.reading import content_of
from boneexp.ledger.queries.predictions import WrongPrediction

LARGEST_BYTES = 8_000_000
MOST_PIXELS = 16_000_000
WIDTH_PX = 440
QUALITY = 72


@dataclass(frozen=True)
class Thumbnail:
    """An overlay as a data URI, or why there is none."""

    row: WrongPrediction
    uri: str
    width_px: int
    height_px: int
    missing: str


def thumbnail(artifacts: Path, row: WrongPrediction) -> Thumbnail:
    """Return the row's overlay, made smaller, or why it cannot be shown; nothing is raised."""
    try:
        picture = _read(inside(artifacts, row.overlay or ""))
    except (Damaged, OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        return Thumbnail(
            row, "", 0, 0, f"{row.overlay} {_reason(error)}; draw it again with: boneexp gradcam"
        )
    out = BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
    return Thumbnail(row, uri, *picture.size, "")


def _read(path: Path) -> Image.Image:
    with Image.open(BytesIO(content_of(path, LARGEST_BYTES)), formats=("PNG",)) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        small = picture.convert("RGB")
    small.thumbnail((WIDTH_PX, WIDTH_PX * 2))
    return small


def _reason(error: Exception) -> str:
    """Return what is wrong, without a folder of the machine, since the page may be passed on."""
    if isinstance(error, Damaged):
        return "is behind a symbolic link, or outside of the artifacts"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"is not a whole PNG of at most {MOST_PIXELS:,} pixels"
