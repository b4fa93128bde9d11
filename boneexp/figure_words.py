"""Names of compared figures, such as "stratified_macro_auroc", and the words for them."""

from collections.abc import Sequence
from functools import lru_cache

from boneexp.results import SPLITS


def label(figure: str) -> str:
    """Return the words for a figure's name: "stratified_macro_auroc" -> "stratified macro AUROC"."""
    words = figure.replace("center_holdout", "centre-holdout").replace("_", " ")
    return words.replace("auroc", "AUROC").replace("iou", "IoU").replace("gradcam", "Grad-CAM")


@lru_cache(maxsize=256)
def split_of(figure: str) -> tuple[str, str]:
    """Return (split, metric) of a comparison figure."""
    split = next((name for name in SPLITS if figure.startswith(f"{name}_")), "")
    return split, figure.removeprefix(f"{split}_")


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b", or "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
