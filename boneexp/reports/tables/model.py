"""Facts -> the tables about one experiment: its results, its images, its runs."""

from collections.abc import Iterator, Mapping, Sequence

from boneexp.evaluation.metrics import OVERALL, PER_CLASS
from boneexp.ledger.queries.datasets import CountedDataset
from boneexp.reports.subject import Assignment, RunFacts, Subject
from boneexp.reports.tables.grid import IN_THE_GRID, setting_shown
from boneexp.results import CLASS_NAMES
from boneexp.text.labels import UNKNOWN, data_label, metric_label, part_label, split_label
from boneexp.text.markdown import Table, table
from boneexp.text.numbers import duration, format_estimate, listed, moment

ALSO = {
    "model.pretrained": "Initial weights",
    "data.decoding": "Decoding of the images",
    "data.lesion": "Lesion",
}


def details_table(subject: Subject) -> Table:
    """Return what the model is."""
    shown = {words: setting_shown(subject.settings, key) for key, words in {**IN_THE_GRID, **ALSO}.items()}
    data = data_label(subject.dataset.name, subject.dataset.kind)
    about = {"Experiment": subject.experiment, "Name": subject.name, "Notes": subject.notes or "none"}
    rows = {**about, "Classes": list(CLASS_NAMES), **shown, "Images": data}
    return table(["Fact", "Value"], rows.items())


def splits_table(subject: Subject) -> Table:
    """Return how each split assigns the images to training, validation and test."""
    rows = (
        [
            split_label(split),
            _assigned(run.assignment),
            run.assignment.seed,
            _kept_together(run.assignment.group_column),
        ]
        for split, run in subject.chosen.items()
    )
    return table(["Split", "Training / validation / test", "Seed of the split", "Kept together"], rows)


def software_table(subject: Subject) -> Table:
    """Return the software versions of each run."""
    rows = (
        [run.row.run, [f"{name} {run.versions[name]}" for name in sorted(run.versions)]]
        for run in subject.runs
    )
    return table(["Run", "Software"], rows)


def overall_table(subject: Subject) -> Table:
    """Return the metrics over all classes of the chosen runs, test and validation."""
    columns = [(split, part) for split in subject.chosen for part in ("test", "val")]
    header = ["Metric", *(f"{split_label(split)}, {part_label(part)}" for split, part in columns)]
    return table(
        header,
        (
            [
                metric_label(metric),
                *(subject.chosen[split].estimate(part, metric).shown for split, part in columns),
            ]
            for metric in OVERALL
        ),
    )


def class_table(run: RunFacts, part: str) -> Table:
    """Return every metric per class of one set."""
    rows = (
        [
            name,
            run.images(part, label=name) or UNKNOWN,
            *(run.estimate(part, metric, name).shown for metric in PER_CLASS),
        ]
        for name in CLASS_NAMES
    )
    return table(["Class", "Images", *(metric_label(metric) for metric in PER_CLASS)], rows)


def center_table(run: RunFacts) -> Table:
    """Return how many test images of each centre were classified correctly."""
    centers = sorted({each.center for each in run.predicted if each.part == "test"})
    rows = (
        [
            center,
            _correct(run, center),
            *(_correct(run, center, name) for name in CLASS_NAMES),
        ]
        for center in centers
    )
    return table(["Centre", "All classes", *CLASS_NAMES], rows)


def confusion_table(run: RunFacts) -> Table:
    """Return the confusion matrix of the test set, counts."""
    rows = (
        [name, *(run.images("test", label=name, predicted=predicted) for predicted in CLASS_NAMES)]
        for name in CLASS_NAMES
    )
    return table(["Class", *(f"predicted {name}" for name in CLASS_NAMES)], rows if run.predicted else [])


def counts_table(dataset: CountedDataset) -> Table:
    """Return a dataset's images by centre and class."""
    counts = [
        (center, [by_class.get(name, 0) for name in CLASS_NAMES]) for center, by_class in _counts(dataset)
    ]
    rows = [[center, *_thousands(images)] for center, images in counts]
    total = [sum(images) for images in zip(*(images for _, images in counts), strict=True)]
    if rows:
        rows.append(["all", *_thousands(total)])
    return table(["Centre", *CLASS_NAMES, "All"], rows)


def parts_table(subject: Subject) -> Table:
    """Return how many images each split gave to training, validation and test."""
    return table(
        ["Split", "Part", *CLASS_NAMES, "All"],
        (row for run in subject.chosen.values() for row in _parts(subject, run)),
    )


def runs_table(subject: Subject) -> Table:
    """Return the training of each of the subject's runs."""
    header = ["Run", "Split", "Seed", "Chosen", "Epochs", "Best epoch", "Training time", "Batch"]
    header += ["Attempts", "Device", "Finished"]
    return table(header, (_run_row(subject, run) for run in subject.runs))


def digests_table(subject: Subject) -> Table:
    """Return the subject's checkpoints with their digests and config hashes."""
    header = ["Run", "Checkpoint", "SHA-256 of the checkpoint", "Config hash"]
    rows = (
        [run.row.run, run.row.checkpoint, run.row.checkpoint_sha256, run.row.config_hash]
        for run in subject.runs
    )
    return table(header, rows)


def overlap_table(subject: Subject) -> Table:
    """Return the Grad-CAM overlap with annotated lesions, by split and threshold."""
    rows = (
        [
            split_label(split),
            each.layer,
            each.lesion,
            each.threshold,
            each.images,
            format_estimate(each.iou),
            format_estimate(each.energy_inside),
            format_estimate(each.pointing_hits),
        ]
        for split, run in subject.chosen.items()
        for each in run.overlaps
    )
    header = ["Split", "Layer", "Lesion", "Threshold", "Annotated images"]
    header += ["Mean IoU", "Mean energy inside", "Peak inside lesion"]
    return table(header, rows)


def _correct(run: RunFacts, center: int, label: str | None = None) -> str:
    """Return how many of a centre's test images were classified correctly: "45 of 51"."""
    images = run.images("test", center=center, label=label)
    names = CLASS_NAMES if label is None else [label]
    correct = sum(run.images("test", center=center, label=name, predicted=name) for name in names)
    return f"{correct} of {images}" if images else "no image"


def _counts(dataset: CountedDataset) -> list[tuple[str, Mapping[str, int]]]:
    return sorted(dataset.counts.items())


def _thousands(images: Sequence[int]) -> list[str]:
    """Return counts and their sum."""
    return [f"{count:,}" for count in (*images, sum(images))]


def _parts(subject: Subject, run: RunFacts) -> Iterator[list[object]]:
    """Yield training, validation and test; training is what is left, as the ledger has no row for it."""
    known = {part: [run.images(part, label=name) for name in CLASS_NAMES] for part in ("val", "test")}
    holdout = run.assignment.holds_out_centers
    centers = {str(center) for center in run.assignment.train_centers}
    counts = [by_class for center, by_class in _counts(subject.dataset) if not holdout or center in centers]
    taken = [known["val"]] if holdout else [known["val"], known["test"]]
    training = [
        sum(by_class.get(name, 0) for by_class in counts) - sum(images[place] for images in taken)
        for place, name in enumerate(CLASS_NAMES)
    ]
    most = "at most " if holdout else ""
    yield [
        split_label(run.row.split),
        "training",
        *(f"{most}{count}" for count in _thousands(training)),
    ]
    for part, images in known.items():
        yield [split_label(run.row.split), part_label(part), *_thousands(images)]


def _assigned(assignment: Assignment) -> str | None:
    ratios = " / ".join(f"{ratio * 100:g} %" for ratio in assignment.ratios)
    if not assignment.holds_out_centers:
        return f"{ratios}, stratified by class, all centres" if ratios else None
    training, test = (
        listed([str(center) for center in centers])
        for centers in (assignment.train_centers, assignment.test_centers)
    )
    return f"{ratios} of centre {training}; test: centre {test}"


def _kept_together(group_column: str) -> str:
    same = "images with the same perceptual hash"
    return f"{same} or the same {group_column}" if group_column else same


def _run_row(subject: Subject, run: RunFacts) -> list[object]:
    row = run.row
    batch = f"{row.batch_size}"
    if row.micro_batch < row.batch_size:
        batch = f"{batch}, in micro-batches of {row.micro_batch}"
    epochs = f"{row.epochs_done or UNKNOWN} of at most {row.epochs_planned}"
    device = run.versions.get("gpu") or row.device
    is_chosen = run in subject.chosen.values()
    about = [row.run, split_label(row.split), row.seed, is_chosen, epochs, row.best_epoch]
    return [*about, duration(row.training_s), batch, row.attempts, device, moment(row.settled_at)]
