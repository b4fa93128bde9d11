"""Names of metrics, splits, sets and classes, as a person reads them."""

from functools import lru_cache

UNKNOWN = "not reported"


RESEARCH_ONLY = "Research use only, not for clinical use."


_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_auroc": "Macro AUROC (one-vs-rest)",
    "macro_f1": "Macro F1",
    "matthews_correlation": "Matthews correlation",
    "log_loss": "Log loss",
    "brier_score": "Brier score",
    "expected_calibration_error": "Expected calibration error",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "threshold_at_90_specificity": "Threshold for 90 % specificity (from validation)",
    "sensitivity_at_90_specificity": "Sensitivity at the threshold for 90 % specificity",
    "specificity_at_90_specificity": "Specificity at the threshold for 90 % specificity",
    "threshold_at_95_specificity": "Threshold for 95 % specificity (from validation)",
    "sensitivity_at_95_specificity": "Sensitivity at the threshold for 95 % specificity",
    "specificity_at_95_specificity": "Specificity at the threshold for 95 % specificity",
    "temperature": "Temperature (fitted on validation)",
    "log_loss_tempered": "Log loss after temperature scaling",
    "brier_score_tempered": "Brier score after temperature scaling",
    "expected_calibration_error_tempered": "Expected calibration error after temperature scaling",
}


_SPLITS = {"stratified": "stratified", "center_holdout": "centre-holdout"}


_PARTS = {"train": "training", "val": "validation", "test": "test"}


def metric_label(metric: str) -> str:
    """Return the words for a metric's name in the ledger."""
    return _METRICS.get(metric, metric)


def split_label(split: str) -> str:
    """Return the words for a split's name."""
    return _SPLITS.get(split, split)


def part_label(part: str) -> str:
    """Return the words for a part's name."""
    return _PARTS.get(part, part)


def data_label(name: str, kind: str) -> str:
    """Return what to call a dataset; its name in the grid file is to be trusted only for BTXRD itself."""
    if kind == "BTXRD":
        return name if name == "BTXRD" else f"BTXRD (called {name} in the grid file)"
    what = "a synthetic phantom" if kind == "phantom" else "not those of BTXRD"
    return f"{what} (called {name} in the grid file)"


def label(figure: str) -> str:
    """Return the words for a figure's name: "stratified_macro_auroc" -> "stratified macro AUROC"."""
    words = figure.replace("center_holdout", "centre-holdout").replace("_", " ")
    return words.replace("auroc", "AUROC").replace("iou", "IoU").replace("gradcam", "Grad-CAM")


@lru_cache(maxsize=256)
def split_of(figure: str) -> tuple[str, str]:
    """Return (split, metric) of a comparison figure."""
    split = next((name for name in _SPLITS if figure.startswith(f"{name}_")), "")
    return split, figure.removeprefix(f"{split}_")
