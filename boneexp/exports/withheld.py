"""Text for others: without the machine's paths, and without images."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_QUOTED_PATH = re.compile(r"""(["'])([/~][^"'\n]*)\1""")
_EMBEDDED_IMAGE = re.compile(
    r"data:image/(?!svg)[a-z0-9.+-]+(?:;[a-z0-9=_-]+)*,[A-Za-z0-9+/=%_-]*", re.IGNORECASE
)
NO_IMAGE = (  # a drawing that says so, in a form that the page's own policy lets through
    "data:image/svg+xml,%3Csvg%20xmlns=%22http://www.w3.org/2000/svg%22%20viewBox=%220%200%20300%20180%22%3E"
    "%3Ctext%20x=%2260%22%20y=%2295%22%20fill=%22gray%22%3Eimage%20not%20passed%20on%3C/text%3E%3C/svg%3E"
)


def without_paths(text: str, paths: Iterable[str]) -> str:
    """Return the text with each of these absolute paths cut down to its last name, the longest first."""
    for path in sorted({path for path in paths if len(path) > 1}, key=len, reverse=True):
        text = text.replace(path, PurePosixPath(path).name)
    return text


def grid_without_paths(text: str, paths: Iterable[str]) -> str:
    """Return a grid file in which every quoted absolute path is its last name."""
    cut = without_paths(text, paths)
    return _QUOTED_PATH.sub(lambda found: found[1] + PurePosixPath(found[2]).name + found[1], cut)


def without_images(text: str) -> str:
    """Return a page without its embedded pixels: radiographs must not be passed on, nor copies of them."""
    return _EMBEDDED_IMAGE.sub(NO_IMAGE, text)


def paths_here(*files: Path) -> set[str]:
    """Return the absolute paths that may stand in a text made here: the folders of these files, and home."""
    folders = [folder for file in files for folder in (file.resolve(), file.resolve().parent)]
    return {str(folder) for folder in [*folders, Path.cwd(), Path.home()]}
