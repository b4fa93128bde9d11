"""Which metric has which interval: from counts or from a standard error, never without a width.

| metric | interval |
|---|---|
| accuracy, sensitivity, specificity, precision | Wilson's; over groups with the design effect |
| F1 | Wilson's of hits / (hits + misses + false alarms), turned into F1 (Lam, arXiv:2309.14621) |
| balanced accuracy | the Wilson intervals of the sensitivities, squared and added (Zou and Donner 2008) |
| AUROC, macro AUROC | DeLong's variance, symmetric in the logit, Satterthwaite's t |
| average precision, macro F1 | the jackknife's variance, symmetric in the logit |
| Matthews correlation | the same, symmetric in Fisher's z |
| log loss, Brier score | the same, symmetric in the logarithm |
| expected calibration error | none: it is too high by an amount that no resample shows |
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from boneexp.evaluation.areas import ROUNDING, class_auroc_interval, macro_auroc_interval, stratum_variances
from boneexp.evaluation.inputs import Predictions
from boneexp.evaluation.intervals import (
    log_interval,
    logit_interval,
    proportion_design_effect,
    satterthwaite,
    t_interval,
    wilson_interval,
)
from boneexp.evaluation.ranks import ranked_metrics
from boneexp.evaluation.statistics import unit_strata

Ends = tuple[float | None, float | None, str]  # low, high, and the method's name
NONE: Ends = (None, None, "")
Proportion = tuple[np.ndarray, np.ndarray]  # (n,) bools: hits, and the images they are among


def proportions_of(predictions: Predictions) -> dict[tuple[str, str], Proportion]:
    """Return, for each metric that is a proportion, which images are hits and which they are among."""
    labels, predicted = predictions.labels, predictions.probabilities.argmax(axis=1)
    found = {("accuracy", ""): (labels == predicted, np.ones(len(labels), bool))}
    for label, name in enumerate(predictions.class_names):
        own, chosen = labels == label, predicted == label
        found["sensitivity", name] = (own & chosen, own)
        found["specificity", name] = (~own & ~chosen, ~own)
        found["precision", name] = (own & chosen, chosen)
    return found


def proportion_interval(
    proportion: Proportion, confidence: float, units: np.ndarray | None = None
) -> tuple[float | None, float | None]:
    """Return Wilson's interval of a fraction of images, with the design effect where they come in groups.

    Args:
        proportion: which images are hits, and which they are among.
        confidence: for example 0.95.
        units: (n,) ints that number the images' groups from 0; None where images are independent.
    """
    hits, among = proportion
    effect = proportion_effect(proportion, confidence, units)
    return wilson_interval(float((hits & among).sum()), float(among.sum()), confidence, effect)


def proportion_effect(proportion: Proportion, confidence: float, units: np.ndarray | None) -> float:
    """Return the design effect of a fraction of images; 1 where they are independent."""
    if units is None:
        return 1.0
    hits, among = proportion
    by_unit = [np.bincount(units, weights=each.astype(float)) for each in (hits & among, among)]
    return proportion_design_effect(by_unit[0], by_unit[1], confidence)


def jackknifed_interval(
    metric: str, value: float, left_out: np.ndarray, strata: np.ndarray, confidence: float
) -> Ends:
    """Return the interval of a metric from its values without each unit; none where they do not vary.

    Args:
        metric: tells the scale on which the interval is symmetric.
        value: the metric of all images.
        left_out: (units,) floats, the metric without each image, or each group of them.
        strata: (units,) ints, the class that each counts for.
        confidence: for example 0.95.

    Source: Efron and Tibshirani 1993, chapter 11; the degrees of freedom by class (Satterthwaite 1946).
    """
    variance, freedom = jackknife_variance(left_out, strata)
    if not variance > ROUNDING or math.isnan(value) or abs(value) == 1:
        return NONE
    error = math.sqrt(variance)
    if metric == "matthews_correlation":
        return (*_fisher_interval(value, error, freedom, confidence), "fisher-jackknife")
    if metric in ("log_loss", "brier_score"):
        return (*log_interval(value, error, freedom, confidence), "log-jackknife")
    return (*logit_interval(value, error, freedom, confidence), "logit-jackknife")


def jackknife_variance(left_out: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    """Return the variance of a metric and its degrees of freedom; nan where it is undefined without a unit.

    Args: as `jackknifed_interval`.
    """
    units = len(left_out)
    if units < 2 or np.isnan(left_out).any():
        return math.nan, math.nan
    sums = (left_out.mean() - left_out) * math.sqrt((units - 1) / units)
    parts, sizes = stratum_variances(sums, strata, int(strata.max()) + 1)
    several = [(part, size - 1) for part, size in zip(parts, sizes, strict=True) if size > 1]
    freedom = satterthwaite([part for part, _ in several], [free for _, free in several])
    return float((sums**2).sum()), min(freedom, units - 1)


def analytic_intervals(
    predictions: Predictions,
    columns: Sequence[tuple[str, str]],
    values: np.ndarray,
    left_out: np.ndarray,
    confidence: float,
) -> Iterator[Ends]:
    """Yield the interval of every metric, in the order of `columns`.

    Args:
        predictions: of one part.
        columns: (metric, class name) of each of the m metrics.
        values: (m,) floats, the metrics themselves; undefined ones (nan) have no interval.
        left_out: (units, m) floats, the metrics without each unit.
        confidence: for example 0.95.
    """
    strata = unit_strata(predictions.labels, predictions.unit_numbers)
    closed = dict(_closed_intervals(predictions, confidence))
    for name, value, column in zip(columns, values.tolist(), left_out.T, strict=True):
        if math.isnan(value) or name[0] == "expected_calibration_error":
            yield NONE
        elif name[0] in ("macro_f1", "average_precision"):
            found = jackknifed_interval(name[0], value, column, strata, confidence)
            yield found if found[2] else closed[name]
        else:
            yield closed.get(name) or jackknifed_interval(name[0], value, column, strata, confidence)


def _closed_intervals(predictions: Predictions, confidence: float) -> Iterator[tuple[tuple[str, str], Ends]]:
    """Yield (metric, class name) and the interval of what needs no image left out, or can do without."""
    units = predictions.drawn_units
    for key, proportion in proportions_of(predictions).items():
        yield key, (*proportion_interval(proportion, confidence, units), "wilson")
    yield (
        ("macro_auroc", ""),
        macro_auroc_interval(predictions.labels, predictions.probabilities, confidence, units),
    )
    yield ("balanced_accuracy", ""), _balanced_interval(predictions, confidence, units)
    f1 = [_f1_interval(predictions, label, confidence, units) for label in _present(predictions)]
    yield ("macro_f1", ""), (_mean(low for low, _, _ in f1), _mean(high for _, high, _ in f1), "wilson-f1")
    yield from (
        (("f1", predictions.class_names[label]), each)
        for label, each in zip(_present(predictions), f1, strict=True)
    )
    for label in _present(predictions):
        name, positive = predictions.class_names[label], predictions.labels == label
        scores = predictions.probabilities[:, label]
        yield ("auroc", name), class_auroc_interval(positive, scores, confidence, units)
        yield ("average_precision", name), _precision_interval(positive, scores, confidence, units)


def _present(predictions: Predictions) -> list[int]:
    return [int(label) for label in np.unique(predictions.labels)]


def _balanced_interval(predictions: Predictions, confidence: float, units: np.ndarray | None) -> Ends:
    below = above = total = 0.0
    present = _present(predictions)
    predicted = predictions.probabilities.argmax(axis=1)
    for label in present:
        own = predictions.labels == label
        fraction = float((predicted == label)[own].mean())
        low, high = proportion_interval((predicted == label, own), confidence, units)
        assert low is not None and high is not None
        below, above, total = below + (fraction - low) ** 2, above + (high - fraction) ** 2, total + fraction
    classes = len(present)
    return (total - math.sqrt(below)) / classes, (total + math.sqrt(above)) / classes, "mover"


def _mean(ends: Iterable[float | None]) -> float:
    return float(np.mean([end for end in ends if end is not None]))


def _f1_interval(predictions: Predictions, label: int, confidence: float, units: np.ndarray | None) -> Ends:
    own, chosen = predictions.labels == label, predictions.probabilities.argmax(axis=1) == label
    low, high = proportion_interval((own & chosen, own | chosen), confidence, units)
    assert low is not None and high is not None
    return 2 * low / (1 + low), 2 * high / (1 + high), "wilson-f1"


def _precision_interval(
    positive: np.ndarray, scores: np.ndarray, confidence: float, units: np.ndarray | None
) -> Ends:
    """Return the interval of an average precision that no image moves: as of a fraction of the positives.

    Source: the binomial interval of Boyd, Eng and Page, ECML PKDD 2013, with Wilson's ends.
    """
    once = np.ones((1, len(scores)), np.int32)
    value = float(ranked_metrics(positive, scores, once)[1][0])
    independent = len(np.unique(units[positive])) if units is not None else int(positive.sum())
    return (*wilson_interval(value * independent, independent, confidence), "wilson")


def _fisher_interval(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    low, high = t_interval(math.atanh(value), error / (1 - value**2), freedom, confidence)
    return math.tanh(low), math.tanh(high)
