"""What training and test of a split share, in words: by the counts that were taken when it was queued."""

from boneexp.ledger.queries.datasets import SplitOverlap
from boneexp.text.labels import label
from boneexp.text.numbers import listed

NO_PATIENTS = (
    "No patient ids: views of one patient may lie on both sides of the stratified split, so its figures may "
    "be optimistic; a centre holdout is the harder test."
)


def leak_sentence(split: SplitOverlap) -> str:
    """Return what training and test of a split share, by the counts of its queueing; "" for nothing."""
    name, column = label(split.split), split.group_column or ""
    shared = {
        f"their {column}": split.images_of_shared_groups,
        "the picture": split.images_of_shared_pictures,
    }
    found = [
        f"{count} of {split.images} test images share {what} with a training image"
        for what, count in shared.items()
        if count
    ]
    if found:
        return f"In the {name} split {listed(found)}: its figures are optimistic."
    if not column:
        return NO_PATIENTS if split.split == "stratified" else ""
    if split.images is None:
        return (
            f"Whether training and test of the {name} split share a {column} was not counted when it was "
            "queued; queue it again: boneexp queue"
        )
    if split.images_without_group:
        return (
            f"{split.images_without_group} images of training and test of the {name} split have no "
            f"{column}: views of their patients may lie on both sides."
        )
    return ""
