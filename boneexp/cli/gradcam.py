"""`boneexp gradcam`: Grad-CAM heat maps of test images."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boneexp.cli import output
from boneexp.cli.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    Device,
    DocsPath,
    GridPath,
    Json,
    LedgerPath,
    Root,
    absolute,
    names,
    require_one_of,
)
from boneexp.cli.output import empty_table, escaped
from boneexp.cli.unfinished_promotion import finish_interrupted_promotion
from boneexp.files.folders import StudyPaths
from boneexp.text.labels import RESEARCH_ONLY
from boneexp.text.numbers import three_decimals

if TYPE_CHECKING:
    from boneexp.explanations.gradcam import Done


def gradcam(
    *,
    experiment: Annotated[str | None, typer.Option(help="An experiment other than the promoted one.")] = None,
    split: Annotated[
        str, typer.Option(help="Split of the run: stratified or center_holdout.")
    ] = "stratified",
    images: Annotated[str, typer.Option(help="Only these images: IMG000001.jpeg,IMG000002.jpeg.")] = "",
    count: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of overlays per class and outcome.")
    ] = 3,
    lesion: Annotated[
        str,
        typer.Option(help="Lesion mask for the overlap: outline, box or union; by default as in the run."),
    ] = "",
    root: Root = "",
    device: Device = "auto",
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Draw Grad-CAM heat maps of the promoted model and measure their overlap with annotated lesions."""
    require_one_of("lesion", lesion, ("", "outline", "box", "union"))
    finish_interrupted_promotion(StudyPaths(ledger, artifacts, grid, docs), required=experiment is None)
    from boneexp.cli.progress import counting
    from boneexp.explanations import gradcam as explaining
    from boneexp.reports import write

    paths = StudyPaths(ledger, artifacts, grid, docs)
    request = explaining.Request(experiment, split, names(images), count, device, absolute(root), lesion)
    with counting("Grad-CAM") as progress:
        done = explaining.explain_and_record(paths, request, progress, time.time())
    if done.notice:
        output.talk(f"Warning: {done.notice}")
    written = list(done.galleries)
    if experiment is None and not images:  # the documents show the overlap of the promoted model
        written += write.write_report(paths, time.time(), with_page=False)
    if json:
        return output.as_json(done.as_json())
    output.show(*overlap_parts(done))
    return output.talk("\n".join(["Written:", *(f"  {path}" for path in written)]))


def overlap_parts(done: "Done") -> "list[Any]":
    """Return the table of drawn images and the mean overlap with the annotated lesions."""
    from boneexp.explanations.gradcam import overlap_of
    from boneexp.results import CLASS_NAMES

    overlap = overlap_of(done.explained.explanations)
    table = empty_table("image", "class", "outcome", "true", "predicted", "IoU at 0.5", "overlay")
    for each in done.explained.explanations:
        if each.overlay:
            asked, iou = each.question, "" if each.iou is None else three_decimals(each.iou[0.5])
            explained, true, predicted = (
                CLASS_NAMES[index] for index in (asked.explained, asked.image.label, asked.predicted)
            )
            image, overlay = escaped(asked.image.image_id), escaped(each.overlay)
            table.add_row(image, explained, asked.outcome, true, predicted, iou, overlay)
    levels = ", ".join(f"{value:.3f} at {level}" for level, value in overlap.iou.items())
    mean = (
        f"Mean IoU with the lesion ({done.explained.lesion}) over {overlap.images} annotated test images: "
        f"{levels or 'not reported'}"
    )
    if done.purpose != "measured":
        mean = "Images chosen by --images have no mean IoU; measure it on the test set with: boneexp gradcam"
    return [table, mean, RESEARCH_ONLY]
