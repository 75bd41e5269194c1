"""Differences of loss and their standard errors: the formula in plain numpy, and noise whose true error is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.preselect.pairs import PairStatistics, from_sums, pair_statistics, steadied

settings.register_profile("scorers", deadline=None)  # the first call compiles
settings.load_profile("scorers")


def plain_error(differences, window):
    """Overlapping batch means, from the definition."""
    num = len(differences)
    means = np.array([differences[w : w + window].mean() for w in range(num - window + 1)])
    return np.sqrt(window / ((num - window + 1) * (num - window)) * ((means - differences.mean()) ** 2).sum())


def ar_noise(random, models, documents, length, correlation):
    """AR(1) noise of spread 1, (models, documents * length); the variance of a long mean is (1 + r) / (1 - r) / n."""
    noise = random.normal(size=(length, models, documents))
    for position in range(1, length):
        noise[position] = correlation * noise[position - 1] + np.sqrt(1 - correlation**2) * noise[position]
    return noise.transpose(1, 2, 0).reshape(models, -1).astype(np.float32)


@given(st.integers(2, 4), st.lists(st.integers(0, 40), max_size=5), st.none() | st.integers(1, 9), st.integers(0, 99))
def test_the_kernel_is_the_definition(models, lengths, window, seed):
    random = np.random.default_rng(seed)
    offsets = np.cumsum([3, *lengths])  # documents need not begin at the first token
    losses = (2 * random.normal(size=(models, offsets[-1] + 2)) + 3).astype(np.float32)
    found = pair_statistics(losses, offsets, window)
    assert found.difference.shape == found.error.shape == (len(lengths), models * (models - 1) // 2)
    for doc, num in enumerate(lengths):
        size = max(min(window or int(np.ceil(1.3 * np.cbrt(num))), num // 2), 1)
        for pair, (i, j) in enumerate(zip(*np.triu_indices(models, 1), strict=True)):
            own = losses[:, offsets[doc] : offsets[doc + 1]].astype(np.float64)
            expected = own[i] - own[j]
            if num == 0:
                assert np.isnan(found.difference[doc, pair])
            else:
                assert found.difference[doc, pair] == pytest.approx(expected.mean(), abs=1e-12)
            if num < 2:
                assert np.isnan(found.error[doc, pair])
            else:
                assert found.error[doc, pair] == pytest.approx(plain_error(expected, size), rel=1e-9, abs=1e-9)


def test_windows_of_one_token_give_the_textbook_standard_error():
    losses = np.random.default_rng(1).normal(size=(2, 30)).astype(np.float32)
    found = pair_statistics(losses, np.array([0, 30]), window=1)
    differences = losses[0].astype(np.float64) - losses[1]
    assert found.error[0, 0] == pytest.approx(differences.std(ddof=1) / np.sqrt(30))


@pytest.mark.parametrize(
    ("correlation", "length", "least", "most"),
    [
        (0.0, 30, 0.94, 1.04),
        (0.5, 30, 0.74, 0.90),
        (0.5, 667, 0.90, 1.0),
        (0.5, 2000, 0.93, 1.0),
        (-0.4, 667, 0.98, 1.1),
    ],
)
def test_the_error_of_correlated_noise_is_close_to_the_true_one(correlation, length, least, most):
    documents = 400
    losses = ar_noise(np.random.default_rng(7), 2, documents, length, correlation)
    offsets = np.arange(documents + 1) * length
    lags = np.arange(1, length)
    inflation = 1 + 2 * ((1 - lags / length) * correlation**lags).sum()
    true = np.sqrt(2 * inflation / length)
    found = pair_statistics(losses, offsets)
    assert found.difference.std() == pytest.approx(true, rel=0.12)  # the noise is what it is meant to be
    assert least < np.sqrt((found.error**2).mean()) / true < most
    if correlation > 0:
        independent = pair_statistics(losses, offsets, window=1)
        assert np.sqrt((independent.error**2).mean()) / true < 0.66


def test_equal_models_differ_by_exactly_nothing():
    losses = np.random.default_rng(2).normal(size=(1, 100)).astype(np.float32).repeat(2, axis=0)
    found = pair_statistics(losses, np.array([0, 40, 100]))
    assert (found.difference == 0).all()
    assert (found.error == 0).all()


def test_a_token_without_a_loss_leaves_its_document_alone_undefined():
    losses = np.random.default_rng(2).normal(size=(2, 60)).astype(np.float32)
    losses[1, 30] = np.nan
    found = pair_statistics(losses, np.array([0, 20, 40, 60]))
    assert np.isnan(found.difference[:, 0]).tolist() == [False, True, False]
    assert np.isnan(found.error[:, 0]).tolist() == [False, True, False]


def test_sums_give_what_windows_of_one_token_give():
    losses = np.random.default_rng(3).normal(size=(3, 50)).astype(np.float32)
    offsets = np.array([0, 20, 21, 50])
    i, j = np.triu_indices(3, 1)
    each = losses.astype(np.float64)[i] - losses[j]
    sums = np.add.reduceat(each, offsets[:-1], axis=1).T
    squares = np.add.reduceat(each**2, offsets[:-1], axis=1).T
    found, expected = from_sums(sums, squares, np.diff(offsets)), pair_statistics(losses, offsets, window=1)
    np.testing.assert_allclose(found.difference, expected.difference, atol=1e-12)
    np.testing.assert_allclose(found.error, expected.error, rtol=1e-9)
    np.testing.assert_allclose(from_sums(sums, squares, np.diff(offsets), 4.0).error, 2 * found.error)


def test_steadied_errors_lie_between_their_own_and_the_common_one():
    tokens = np.array([2, 10, 1000])
    own = np.array([[0.0], [9.0], [1.0]])  # variances per token
    pairs = PairStatistics(np.ones((3, 1)), np.sqrt(own / tokens[:, None]), tokens)
    common = (own[:, 0] * tokens).sum() / tokens.sum()
    found = steadied(pairs, 10).error ** 2 * tokens[:, None]
    np.testing.assert_allclose(found[:, 0], (tokens * own[:, 0] + 10 * common) / (tokens + 10))
    assert steadied(pairs, 0) is pairs


def test_a_document_without_a_standard_error_gets_the_common_one():
    pairs = PairStatistics(np.ones((2, 1)), np.array([[np.nan], [0.5]]), np.array([1, 16]))
    assert steadied(pairs, 8).error[0, 0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("losses", "offsets", "message"),
    [
        (np.zeros((2, 5)), [0, 6], "within 0 and the 5 tokens"),
        (np.zeros((2, 5)), [0, 4, 3], "must ascend"),
        (np.zeros((1, 5)), [0, 5], "two models or more"),
        (np.zeros((2, 5), np.int64), [0, 5], "expected float32 or float64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(losses, offsets, message):
    with pytest.raises(ValueError, match=message):
        pair_statistics(losses, np.array(offsets))
