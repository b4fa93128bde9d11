"""The probability that a ranking is wrong: against draws from the posterior, and as a promise kept."""

import numpy as np
import pytest
import scipy.stats

from boneexp.evaluation.false_claims import false_claim, false_claim_of_test


@pytest.mark.parametrize("cells", [(300, 30, 20, 50), (20, 5, 0, 3), (10, 0, 0, 2), (400, 3, 40, 10)])
def test_it_is_the_weight_of_the_posterior_on_the_other_side(cells):
    shares = np.random.default_rng(1).dirichlet(np.array(cells) + 1, 200_000)
    first_better = (shares[:, 1] > shares[:, 2]).mean()
    wrong = 1 - first_better if cells[1] >= cells[2] else first_better
    assert false_claim(cells[1], cells[2]) == pytest.approx(wrong, abs=0.005)
    assert false_claim(cells[2], cells[1]) == false_claim(cells[1], cells[2])


def test_of_claims_made_with_a_probability_that_many_are_false():
    generator = np.random.default_rng(2)
    shares = generator.dirichlet(np.ones(4), 40_000)  # the truth, as the prior has it
    counts = np.array([generator.multinomial(60, share) for share in shares])
    wrong, claimed = [], []
    for share, (_, one, other, _) in zip(shares, counts, strict=True):
        if one != other:
            claimed.append(false_claim(int(one), int(other)))
            wrong.append((share[1] > share[2]) != (one > other))
    claimed, wrong = np.array(claimed), np.array(wrong)
    for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.5)):
        inside = (claimed >= low) & (claimed < high)
        assert wrong[inside].mean() == pytest.approx(claimed[inside].mean(), abs=0.02)


def test_half_a_two_sided_p_is_the_weight_of_the_posterior_of_correlated_scores():
    generator = np.random.default_rng(3)
    scores = generator.multivariate_normal([0.80, 0.81], [[0.01, 0.008], [0.008, 0.01]], 100)
    difference = scores[:, 1] - scores[:, 0]
    tested = scipy.stats.ttest_1samp(difference, 0)
    # Flat in the mean and in the logarithm of the spread: draws of the spread, then of the mean.
    spread = difference.var(ddof=1) * 99 / generator.chisquare(99, 200_000)
    mean = generator.normal(difference.mean(), np.sqrt(spread / 100))
    wrong = min((mean <= 0).mean(), (mean >= 0).mean())
    assert false_claim_of_test(float(tested.pvalue)) == pytest.approx(wrong, abs=0.004)


def test_counts_and_half_a_p_agree_where_counts_are_large():
    score = (330 - 270) / 600**0.5
    assert false_claim_of_test(2 * scipy.stats.norm.sf(score)) == pytest.approx(
        false_claim(330, 270), abs=1e-3
    )


def test_equal_models_are_a_coin_and_without_a_test_nothing_is_known():
    assert false_claim(0, 0) == false_claim(7, 7) == false_claim_of_test(1.0) == 0.5
    assert false_claim_of_test(None) is None
    assert false_claim(0, 20_000) < 1e-300
