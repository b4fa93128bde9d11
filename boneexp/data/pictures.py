"""An image file's bytes -> grey levels: JPEG, and PNG of 8 bits in grey or RGB.

A few bytes can stand for gigabytes of pixels: what a file says of its size is looked at first. Decoders fill
what is damaged and say nothing or print a line that names no file; `checked_thumbnail` hears them.
"""

import math
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL.ImageOps import exif_transpose
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from boneexp.data.file_kinds import CONVERT, kind_of

LARGEST_IMAGE_BYTES = 100_000_000
MOST_PIXELS = 100_000_000
LEAST_SIDE_PX = 16
MOST_SCANS = 32  # of a progressive JPEG, each of which goes over every pixel; about ten are usual
THUMBNAIL_PX = 128  # JPEGs are decoded to the smallest eighth that still covers this: several times faster

Grey = NDArray[np.uint8]  # (height, width)
Image = JpegImageFile | PngImageFile
PNG_START = b"\x89PNG\r\n\x1a\n"
BROKEN = (OSError, SyntaxError, ValueError, struct.error, zlib.error)  # what Pillow raises on damaged files
_REDUCED = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def grey_of(content: bytes, least_px: float = math.inf) -> Grey:
    """Return an image's bytes as (height, width) grey levels, turned as its EXIF orientation says.

    It may be smaller, where that leaves both sides `least_px`.

    A JPEG is stored as frequencies of blocks of 8 x 8 pixels; without the high ones it comes out at 1/2, 1/4
    or 1/8 of its size and in a fraction of the time. A PNG, or a JPEG too small for that, is decoded whole.

    Raises:
        ValueError: it cannot be decoded, or not within the limits of `opened`.
    """
    image = opened(content)
    if isinstance(image, PngImageFile):
        return _png_grey(image, turned=True)
    part = next((part for part in (8, 4, 2) if min(image.size) >= part * least_px), 1)
    try:
        grey = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), _REDUCED[part])
    except cv2.error as error:
        raise ValueError(f"not decoded ({error})") from error
    if grey is None:
        raise ValueError("not decoded")
    return np.asarray(grey, dtype=np.uint8)


def opened(content: bytes) -> Image:
    """Return the picture with its header read and nothing decoded.

    Raises:
        ValueError: neither a JPEG nor a PNG that is read, or one whose decoding would take absurdly long or
            much; the message says what it is and what to do.
    """
    decoder = PngImageFile if content.startswith(PNG_START) else JpegImageFile
    try:
        image = decoder(BytesIO(content))  # not Image.open: one decoder, whatever the bytes claim to be
    except BROKEN as error:
        raise ValueError(kind_of(content)) from error
    width, height = image.size
    if width * height > MOST_PIXELS or min(width, height) < LEAST_SIDE_PX:
        raise ValueError(f"absurd size {width} x {height}")
    if isinstance(image, PngImageFile):
        _require_8_bits(content)
    elif (scans := _scans(content)) > MOST_SCANS:
        raise ValueError(f"absurd number of scans: {scans:,}")
    return image


def checked_thumbnail(image: Image, content: bytes) -> "Thumbnail":
    """Return a small picture, decoded to the last byte, and what the decoder complained of on the way.

    It lies as stored, not turned by its EXIF orientation.

    Args:
        image: as `opened` returns it; it is used up.
        content: its bytes.

    Raises:
        ValueError: the file ends early, or cannot be decoded.
    """
    if isinstance(image, PngImageFile):
        return Thumbnail(_png_grey(image, turned=False), _png_damage(content))
    width, height = image.size
    part = next((part for part in (8, 4, 2) if min(width, height) >= part * THUMBNAIL_PX), 1)
    colours = "GRAY" if image.mode in ("L", "RGB") else "CMYK"
    least = {"min_height": math.ceil(height / part), "min_width": math.ceil(width / part)}
    try:
        pixels = simplejpeg.decode_jpeg(content, colours, strict=True, **least)
    except ValueError as error:
        return Thumbnail(_decoded(image), str(error) if _decodes(content, colours) else "")
    return Thumbnail(pixels[..., 0] if colours == "GRAY" else _decoded(image))


def _decodes(content: bytes, colours: str) -> bool:
    """Whether libjpeg gets to the end of a JPEG and complains at most."""
    try:
        simplejpeg.decode_jpeg(content, colours, min_height=1, min_width=1, strict=False)
    except ValueError:  # of a kind that it does not know, so nothing is known of damage
        return False
    return True


def _decoded(image: JpegImageFile) -> Grey:
    try:
        image.draft("L", (THUMBNAIL_PX, THUMBNAIL_PX))
        return np.asarray(image.convert("L"))
    except BROKEN as error:
        raise ValueError(f"truncated JPEG ({error})") from error


def _png_grey(image: PngImageFile, *, turned: bool) -> Grey:
    try:
        return np.asarray((exif_transpose(image) if turned else image).convert("L"))
    except BROKEN as error:
        raise ValueError(f"truncated or damaged PNG ({error})") from error


def _png_damage(content: bytes) -> str:
    """Return which chunk of a PNG has another checksum than it was written with; "" where all hold."""
    place = len(PNG_START)
    while place + 12 <= len(content):
        length, name = struct.unpack(">I4s", content[place : place + 8])
        end = place + 12 + length
        if content[end - 4 : end] != zlib.crc32(content[place + 4 : end - 4]).to_bytes(4):
            return f"the checksum of its chunk {name.decode('latin-1')!r} is wrong"
        if name == b"IEND":
            return ""
        place = end
    return "it has no end"


def _require_8_bits(content: bytes) -> None:
    """Raise ValueError for a PNG whose grey levels would have to be guessed."""
    bits, kind = content[24], content[25]
    if (bits, kind) in ((8, 0), (8, 2)):
        return
    kinds = {
        0: "grey",
        2: "RGB",
        3: "with a palette",
        4: "grey with transparency",
        6: "RGB with transparency",
    }
    described = f"a PNG of {bits} bit{'s' * (bits > 1)} per channel, {kinds.get(kind, 'of an unknown kind')}"
    raise ValueError(f"{described}; {CONVERT}")


def _scans(content: bytes) -> int:
    """Count the markers that begin a scan, as content.count(b"\xff\xda") does, in a quarter of its time."""
    pairs = (np.frombuffer(content, "<u2", (len(content) - first) // 2, first) for first in (0, 1))
    return sum(int(np.count_nonzero(each == 0xDAFF)) for each in pairs)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture, and what its decoder only complained of; "" for nothing."""

    grey: Grey
    damage: str = ""
