"""What the experiments reached against a baseline that is kept, so that the documents can say it honestly."""

from dataclasses import dataclass

from boneexp.comparison.compared import Comparison


@dataclass(frozen=True)
class Reached:
    """One metric of one experiment beside the baseline.

    `above` and `surely` (by the whole interval of the difference, which allows for the best of several) are
    None where the images are not those of the baseline.
    """

    figure: str
    baseline: float
    experiment: str
    value: float
    low: float | None
    high: float | None
    above: bool | None
    surely: bool | None


def reached(comparison: Comparison) -> list[Reached]:
    """Return each experiment's metrics that have a baseline."""
    found = []
    for figure, baseline in comparison.baseline.items():
        for row in comparison.rows:
            mean, experiment = comparison.mean(row.experiment_id, figure), row.experiment_id
            if mean.value is None:
                continue
            delta, difference = (
                comparison.deltas(experiment)[figure],
                comparison.difference(experiment, figure),
            )
            each = Reached(
                figure=figure,
                baseline=baseline.value,
                experiment=experiment,
                value=mean.value,
                low=mean.low,
                high=mean.high,
                above=None if delta is None else delta > 0,
                surely=None if delta is None else difference is not None and difference.low > 0,
            )
            found.append(each)
    return found
