"""What a file is that was expected to be an image: by its first bytes, and what to do about it."""

READ = "JPEG and 8-bit grey or RGB PNG are read"
CONVERT = f"{READ}: convert it"
DOWNLOAD = "download or unpack it again"
HEAD_BYTES = 4096
_STARTS = (
    (b"\xff\xd8\xff", "a JPEG damaged at its start", DOWNLOAD),
    (b"\x89PNG\r\n\x1a\n", "a PNG damaged at its start", DOWNLOAD),
    (b"II*\0", "a TIFF", CONVERT),
    (b"MM\0*", "a TIFF", CONVERT),
    (b"II+\0", "a BigTIFF", CONVERT),
    (b"MM\0+", "a BigTIFF", CONVERT),
    (b"GIF8", "a GIF", CONVERT),
    (b"BM", "a BMP", CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000", CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000", CONVERT),
    (b"\xff\x0a", "a JPEG XL", CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL", CONVERT),
    (b"\x93NUMPY", "a NumPy array", CONVERT),
    (b"%PDF", "a PDF", "export its picture as JPEG or PNG"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer and not the image",
        "fetch the images with: git lfs pull",
    ),
    (b"/annex/objects/", "a git-annex pointer and not the image", "fetch the images with: git annex get"),
    (b"../.git/annex/", "a git-annex pointer and not the image", "fetch the images with: git annex get"),
)
_BOXES = {b"avif": "an AVIF", b"avis": "an AVIF", b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIF"}
_DICOM = f"export it as JPEG or 8-bit PNG, with the window in which it is to be read; {READ}"


def kind_of(content: bytes) -> str:
    """Return what bytes that are no readable image are, with the advice that fits: "a WebP; …"."""
    kind, advice = _kind_and_advice(content[:HEAD_BYTES], not content.strip(b"\0"))
    return f"{kind}; {advice}"


def _kind_and_advice(head: bytes, is_blank: bool) -> tuple[str, str]:
    if not head:
        return "an empty file", DOWNLOAD
    if is_blank:
        return "nothing but zero bytes", DOWNLOAD
    for start, kind, advice in _STARTS:
        if head.startswith(start):
            return kind, advice
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP", CONVERT
    if head[4:8] == b"ftyp":
        return _BOXES.get(head[8:12], "a film or picture in an ISO container"), CONVERT
    if head[128:132] == b"DICM" or head[:4] in (
        b"\x02\0\0\0",
        b"\x08\0\0\0",
        b"\x08\0\x05\0",
        b"\x08\0\x08\0",
    ):
        return "a DICOM file", _DICOM
    return _text_or_unknown(head)


def _text_or_unknown(head: bytes) -> tuple[str, str]:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text[:512]:
        return "an HTML page, as a download that failed leaves", DOWNLOAD
    if text.startswith((b"<?xml", b"<svg")):
        return ("an SVG" if b"<svg" in text else "an XML file"), CONVERT
    if text.startswith((b"{", b"[")):
        return "a JSON text, as a download that failed leaves", DOWNLOAD
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "a text file", DOWNLOAD
    return "no image in a format that is known here", CONVERT
