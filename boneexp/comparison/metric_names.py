"""Names of metrics, as a person types them and a table shows them: "accuracy", "malignant_sensitivity"."""

from boneexp.errors import MetricUnknown
from boneexp.evaluation.metrics import LOWER_IS_BETTER
from boneexp.evaluation.reported import run_metric_columns
from boneexp.evaluation.thresholds import OPERATING
from boneexp.results import CLASS_NAMES, Metric
from boneexp.text.nearest import nearest

SETTINGS = ("temperature", *(metric for metric in OPERATING if metric.startswith("threshold_")))


def metric_named(key: str) -> Metric:
    """Return the metric of a key such as "malignant_sensitivity".

    Raises:
        MetricUnknown: there is none; the message names the nearest.
    """
    known = {metric.key: metric for metric in known_metrics()}
    if key not in known:
        raise MetricUnknown(f"there is no metric {key!r}; {nearest(key, known, cutoff=0.5)}")
    return known[key]


def known_metrics() -> tuple[Metric, ...]:
    """Return every metric that a run keeps."""
    return tuple(Metric(*column) for column in run_metric_columns(CLASS_NAMES))


def lower_is_better(metric: Metric) -> bool:
    """Whether a small value is a good one."""
    return metric.name.removesuffix("_tempered") in LOWER_IS_BETTER


def has_direction(metric: Metric) -> bool:
    """Whether more or less of it is better at all; it is not of a threshold or a temperature."""
    return metric.name not in SETTINGS
