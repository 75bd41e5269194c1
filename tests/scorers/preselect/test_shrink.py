"""Shrinkage towards leave-one-out domain means: plain Python, and a planted truth that it must come closer to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.preselect.shrink import shrink

settings.register_profile("scorers", deadline=None)
settings.load_profile("scorers")

DOCUMENTS = st.lists(
    st.tuples(st.floats(0, 1) | st.just(float("nan")), st.integers(1, 500), st.integers(0, 3)), max_size=12
)


@given(DOCUMENTS, st.floats(0, 1000))
def test_each_document_meets_the_mean_of_the_others_of_its_domain(documents, kappa):
    found = shrink(
        np.array([one[0] for one in documents]),
        np.array([one[1] for one in documents]),
        np.array([one[2] for one in documents], np.int64),
        kappa,
    )
    for n, (value, tokens, domain) in enumerate(documents):
        others = [one[0] for m, one in enumerate(documents) if m != n and one[2] == domain and not np.isnan(one[0])]
        if np.isnan(value):
            assert np.isnan(found.value[n])
        elif not others:
            assert found.value[n] == value
            assert np.isnan(found.domain_mean[n])
        else:
            expected = (tokens * value + kappa * np.mean(others)) / (tokens + kappa)
            assert found.value[n] == pytest.approx(expected, abs=1e-9)


def planted(seed, spread, noise, domains=200):
    """(truth, seen, tokens, domain): truth varies by ``spread`` within domains, noise has variance noise^2 / tokens."""
    random = np.random.default_rng(seed)
    domain = random.integers(0, domains, 20_000)
    truth = random.normal(0.5, 0.2, domains)[domain] + random.normal(0, spread, len(domain))
    tokens = np.exp(random.uniform(np.log(10), np.log(1000), len(domain)))
    return truth, truth + noise * random.normal(size=len(domain)) / np.sqrt(tokens), tokens, domain


@pytest.mark.parametrize("domains", [200, 8000])  # of 100 and of 2 or 3 documents each
@pytest.mark.parametrize(("spread", "noise"), [(0.1, 1.0), (0.2, 0.6), (0.1, 1.5)])
def test_kappa_by_moments_finds_the_ratio_of_noise_to_spread(spread, noise, domains):
    _, seen, tokens, domain = planted(0, spread, noise, domains)
    assert shrink(seen, tokens, domain, None).kappa == pytest.approx((noise / spread) ** 2, rel=0.25)


def test_shrunk_strengths_are_closer_to_the_truth_than_both_of_their_parts():
    truth, seen, tokens, domain = planted(1, 0.1, 1.0)
    found = shrink(seen, tokens, domain, None)
    errors = [np.mean((guess - truth) ** 2) for guess in (found.value, seen, found.domain_mean)]
    assert errors[0] < 0.8 * min(errors[1:])


def test_without_noise_nothing_is_shrunk_and_with_nothing_else_all_is():
    _, seen, tokens, domain = planted(2, 0.1, 0.0)
    assert shrink(seen, tokens, domain, None).kappa < 1
    found = shrink(seen, tokens, domain, np.inf)
    np.testing.assert_array_equal(found.value, found.domain_mean)


@pytest.mark.parametrize(
    ("value", "tokens", "kappa", "message"),
    [
        ([0.1, 0.2, 0.3], [5, 5, 5], None, "kappa cannot be estimated"),
        ([0.1, 0.2, 0.3], [5, 0, 5], 1.0, "tokens must be above 0"),
        ([0.1, 0.2, 0.3], [5, 5, 5], -1.0, "expected 0 or more"),
        ([0.1, 0.2], [5, 5, 5], 1.0, "must be of one length"),
    ],
)
def test_what_does_not_fit_is_refused(value, tokens, kappa, message):
    with pytest.raises(ValueError, match=message):
        shrink(np.array(value), np.array(tokens), np.zeros(3, np.int64), kappa)
