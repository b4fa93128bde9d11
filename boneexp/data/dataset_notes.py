"""What is odd about a dataset and no error: accepted damage, equal pictures, images without a row."""

from collections.abc import Iterator, Sequence

from boneexp.data.radiograph import Radiograph
from boneexp.results import CLASS_NAMES
from boneexp.text.numbers import first_few, listed

_SHOWN = 10


def acceptance_notes(accepted: Sequence[str], needless: Sequence[str]) -> Iterator[str]:
    """Say what is damaged and accepted, and what is accepted and not damaged."""
    yield from (f"accepted all the same: {damage}" for damage in accepted)
    if needless:
        yield f"data.accept names what is not damaged: {', '.join(needless[:_SHOWN])}"


def same_pictures(radiographs: Sequence[Radiograph]) -> Iterator[str]:
    """Say which images show the same picture under different classes."""
    by_hash: dict[str, list[Radiograph]] = {}
    for one in radiographs:
        by_hash.setdefault(one.phash, []).append(one)
    for same in by_hash.values():
        if len({one.label for one in same}) > 1:
            likeness = "are the same picture" if len({one.sha256 for one in same}) == 1 else "look the same"
            classes = [CLASS_NAMES[one.label] for one in same]
            yield f"{listed([one.image_id for one in same])} {likeness} with classes {listed(classes)}"


def images_without_row(names: Sequence[str]) -> Iterator[str]:
    """Say how many images the table does not name."""
    if names:
        yield f"images that no row of the table names: {len(names)} ({first_few(names, _SHOWN)})"
