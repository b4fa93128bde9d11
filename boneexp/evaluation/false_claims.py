"""The probability that the ranking of two models is wrong: that the one that looks better is not."""

import math


def false_claim(only_first: int, only_second: int) -> float:
    """Return the posterior probability that the model that more images speak for is not the better one.

    Each image is correct for both models, for one of them, or for neither: a multinomial whose cells have a
    uniform Dirichlet prior. Images that both predict correctly, or neither, do not say which is better,
    so that P(worse or equal) is the weight below 1/2 of a beta distribution with one added to each discordant
    count.

    Args:
        only_first: images that only the first model predicts correctly.
        only_second: images that only the second predicts correctly.

    Returns:
        At most 0.5, which it is where as many images speak for the one as for the other.

    Source: Christodoulou et al., False Promises in Medical Imaging AI?, arXiv 2505.04720, 2025, for
    classification; the beta distribution at 1/2 as a sum of binomial terms.
    """
    winner, loser = max(only_first, only_second) + 1, min(only_first, only_second) + 1
    draws = winner + loser - 1
    above = sum(math.comb(draws, count) for count in range(winner, draws + 1))
    return above / (1 << draws)


def false_claim_of_test(p_value: float | None) -> float | None:
    """Return the same from a two-sided test of a difference, for metrics that are no fraction of images.

    With a flat prior the true difference is spread around the one found as the test's error is, normally or
    by Student's t; the correlation of the two models over the images is in that error. The weight on the
    other side of 0 is half the p-value.

    Returns:
        At most 0.5; None where there is no test.

    Source: Christodoulou et al. 2025, as for means of correlated scores of each case; one-sided p-values as
    posterior probabilities: Casella and Berger, JASA 1987.
    """
    return None if p_value is None else p_value / 2
