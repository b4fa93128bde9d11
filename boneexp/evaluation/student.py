"""Student's t without scipy: probabilities and quantiles of it, from the incomplete beta function.

The light commands print intervals, and scipy takes a second to import.
"""

import math
from functools import lru_cache
from statistics import NormalDist

CLOSE = 1e-15  # relative change at which the continued fraction has converged
TINY = 1e-300  # stands for 0 in a denominator


def two_sided_p(statistic: float, freedom: float) -> float:
    """Return the chance that |t| is at least |statistic|; `freedom` may be a fraction, or infinite."""
    if math.isinf(freedom):
        return math.erfc(abs(statistic) / math.sqrt(2))
    return incomplete_beta(freedom / (freedom + statistic**2), freedom / 2, 0.5)


@lru_cache(maxsize=4096)
def t_quantile(confidence: float, freedom: float) -> float:
    """Return how many standard errors a two-sided t interval reaches: 2.086 for 0.95 and 20 degrees.

    Args:
        confidence: between 0 and 1.
        freedom: degrees of freedom above 0; may be a fraction, or infinite.

    Raises:
        ValueError: an argument is not as described above.
    """
    if not 0 < confidence < 1 or not freedom > 0:
        raise ValueError(f"confidence {confidence}, degrees of freedom {freedom}")
    # From the normal quantile, which is too low, Newton's steps climb to it: the tail is convex.
    quantile = -NormalDist().inv_cdf((1 - confidence) / 2)
    for _ in range(100):
        step = (two_sided_p(quantile, freedom) - (1 - confidence)) / (2 * _density(quantile, freedom))
        quantile += step
        if abs(step) <= 1e-14 * quantile:
            break
    return quantile


def _density(statistic: float, freedom: float) -> float:
    if math.isinf(freedom):
        return NormalDist().pdf(statistic)
    front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    return math.exp(front - (freedom + 1) / 2 * math.log1p(statistic**2 / freedom))


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for x in [0, 1] and positive a and b.

    Source: the continued fraction DLMF 8.17.22, evaluated by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # beyond it the fraction converges slowly
        return 1 - incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return front * (_fraction(x, a, b) - 1) / a


def _fraction(x: float, a: float, b: float) -> float:
    found, top, bottom = 1.0, 1.0, 0.0
    for step in range(10_000):
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = half * (b - half) * x / ((a + step - 1) * (a + step))
        else:
            term = -(a + half) * (a + b + half) * x / ((a + step - 1) * (a + step))
        bottom = 1 / ((1 + term * bottom) or TINY)
        top = (1 + term / top) or TINY
        found *= top * bottom
        if abs(1 - top * bottom) < CLOSE:
            break
    return found
