"""Projections to sampling weights against bisection with exact fractions, and by what makes them optimal."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scorers.preselect.projection import project, token_caps

settings.register_profile("scorers", deadline=None)
settings.load_profile("scorers")


@st.composite
def problems(draw):
    """Estimates with ties and caps with zeros, (D,) each, with caps that sum to more than 1."""
    size = draw(st.integers(1, 12))
    coarse = st.integers(-4, 4).map(lambda value: value / 4)
    estimates = draw(st.lists(coarse | st.floats(-2, 2), min_size=size, max_size=size))
    caps = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 2), min_size=size, max_size=size))
    assume(sum(caps) > 1 + 1e-6)
    return np.array(estimates), np.array(caps)


def plain_l2(estimates, caps):
    """clip(estimate + c, 0, cap) with c by bisection in exact fractions, to 2^-80."""
    values, most = [Fraction(float(x)) for x in estimates], [Fraction(float(x)) for x in caps]

    def clipped(shift):
        return [min(max(value + shift, Fraction(0)), cap) for value, cap in zip(values, most, strict=True)]

    low, high = -max(values), max(cap - value for cap, value in zip(most, values, strict=True))
    for _ in range(90):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(clipped(middle)) < 1 else (low, middle)
    return np.array([float(weight) for weight in clipped(high)])


def plain_linear(estimates, caps):
    """Caps used up from the best estimate down; where the last group cannot have all, each has the same share."""
    weights, left = np.zeros(len(caps)), 1.0
    for level in sorted(set(estimates), reverse=True):
        group = estimates == level
        taken = min(left, caps[group].sum())
        if caps[group].sum() > 0:
            weights[group] = caps[group] * taken / caps[group].sum()
        left -= taken
    return weights


@given(problems(), st.sampled_from(["linear", "l2"]))
def test_weights_sum_to_one_within_their_caps(problem, method):
    weights = project(*problem, method)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()
    assert (weights <= problem[1]).all()


@given(problems())
def test_l2_is_the_closest_point(problem):
    estimates, caps = problem
    weights = project(estimates, caps, "l2")
    np.testing.assert_allclose(weights, plain_l2(estimates, caps), atol=1e-10)
    # Karush-Kuhn-Tucker: one shift for all that are free, no less than it at 0, no more at the cap.
    shift = weights - estimates
    free = (weights > 1e-9) & (weights < caps - 1e-9)
    if free.any():
        assert np.ptp(shift[free]) < 1e-9
        assert (shift[(weights <= 1e-9) & (caps > 1e-9)] >= shift[free].max() - 1e-9).all()
        assert (shift[(weights >= caps - 1e-9) & (caps > 1e-9)] <= shift[free].min() + 1e-9).all()


@given(problems())
def test_linear_uses_up_the_caps_from_the_best_down(problem):
    np.testing.assert_allclose(project(*problem), plain_linear(*problem), atol=1e-12)


@given(problems())
def test_linear_depends_on_ranks_only(problem):
    estimates, caps = problem
    _, ranks = np.unique(estimates, return_inverse=True)
    np.testing.assert_array_equal(project(ranks.astype(np.float64) ** 3 - 5, caps), project(estimates, caps))


@given(problems(), st.sampled_from(["linear", "l2"]), st.randoms(use_true_random=False))
def test_the_order_of_the_domains_does_not_matter(problem, method, random):
    estimates, caps = problem
    order = random.sample(range(len(caps)), len(caps))
    moved = project(estimates[order], caps[order], method)
    np.testing.assert_allclose(moved, project(estimates, caps, method)[order], atol=1e-12)


def test_a_million_domains_are_projected_as_exactly_as_five():
    random = np.random.default_rng(0)
    caps = token_caps(random.gamma(1.0, size=1_000_000), keep=0.1)
    for method in ("linear", "l2"):
        weights = project(random.random(1_000_000) * caps, caps, method)
        assert weights.sum() == pytest.approx(1, abs=1e-9)
        assert (weights <= caps).all()


def test_token_caps_spend_a_budget_without_repeating_a_token():
    tokens = np.array([100.0, 300.0, 0.0, 600.0])
    budget = 0.2 * tokens.sum()
    weights = project(np.array([0.9, 0.5, 1.0, 0.1]), token_caps(tokens, keep=0.2))
    assert (budget * weights).tolist() == pytest.approx([100, 100, 0, 0])


def test_caps_that_just_reach_one_are_the_weights():
    caps = np.full(10, 0.1)
    for method in ("linear", "l2"):
        np.testing.assert_allclose(project(np.arange(10.0), caps, method), caps)


@pytest.mark.parametrize(
    ("estimates", "caps", "message"),
    [
        ([1, 2], [0.5, 0.4], "caps sum to 0.9; expected 1 or more"),
        ([1, 2], [2, -0.1], "cap 1 is -0.1; expected 0 or more"),
        ([1, 2], [2, np.nan], "cap 1 is nan"),
        ([1, np.nan], [1, 1], "estimate 1 is not a finite number"),
        ([1, 2, 3], [1, 1], "expected two lists of one length"),
        ([], [], "caps sum to 0"),
    ],
)
@pytest.mark.parametrize("method", ["linear", "l2"])
def test_what_cannot_be_projected_is_refused(estimates, caps, message, method):
    with pytest.raises(ValueError, match=message):
        project(np.array(estimates), np.array(caps), method)


def test_token_caps_refuse_a_budget_beyond_the_tokens():
    with pytest.raises(ValueError, match=r"keep is 1\.5"):
        token_caps(np.ones(3), 1.5)
    with pytest.raises(ValueError, match="not all 0"):
        token_caps(np.zeros(3), 0.5)
