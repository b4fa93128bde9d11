"""Names of figures, as a person types them and a table shows them: "accuracy", "malignant_sensitivity"."""

from dataclasses import dataclass

from boneexp.errors import FigureUnknown
from boneexp.evaluation.metrics import LOWER_IS_BETTER
from boneexp.evaluation.reported import run_metric_columns
from boneexp.evaluation.thresholds import OPERATING
from boneexp.results import CLASS_NAMES
from boneexp.text.nearest import nearest

SETTINGS = ("temperature", *(metric for metric in OPERATING if metric.startswith("threshold_")))


@dataclass(frozen=True)
class Figure:
    """One metric, of all classes ("") or of one."""

    metric: str
    class_name: str = ""

    @property
    def name(self) -> str:
        """Its name: the metric, after the class in small letters where it is of one."""
        return f"{self.class_name.lower()}_{self.metric}" if self.class_name else self.metric

    @property
    def lower_is_better(self) -> bool:
        """Whether a small value is a good one."""
        return self.metric.removesuffix("_tempered") in LOWER_IS_BETTER

    @property
    def has_direction(self) -> bool:
        """Whether more or less of it is better at all; it is not of a threshold or a temperature."""
        return self.metric not in SETTINGS


def figure_named(name: str) -> Figure:
    """Return the figure of a name such as "malignant_sensitivity".

    Raises:
        FigureUnknown: there is none; the message names the nearest.
    """
    known = {figure.name: figure for figure in known_figures()}
    if name not in known:
        raise FigureUnknown(f"there is no figure {name!r}; {nearest(name, known, cutoff=0.5)}")
    return known[name]


def known_figures() -> tuple[Figure, ...]:
    """Return every figure that a run keeps."""
    return tuple(Figure(*column) for column in run_metric_columns(CLASS_NAMES))
