"""P-values keep their promise under simulated nulls, for odd distributions, ties and few draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.membership.pvalues import (
    adjusted,
    benjamini_hochberg,
    binomial_limit,
    binomial_tail,
    holm,
    last_k_bound,
    positions_p,
    rank_p,
    sequential_p,
    uniform_p,
)

LEVELS = (0.01, 0.05, 0.2)
TRIALS = 2000
DRAWN = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "skewed": lambda generator, shape: generator.lognormal(sigma=2, size=shape),
    "three values": lambda generator, shape: generator.integers(0, 3, shape).astype(float),
    "all equal": lambda generator, shape: np.ones(shape),
}


def keeps_its_bounds(p: np.ndarray) -> None:
    for alpha in LEVELS:
        assert (p <= alpha).sum() <= binomial_limit(len(p), alpha, 1e-6)


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("m", [1, 19, 100])
def test_a_rank_p_value_is_small_no_more_often_than_it_says(kind: str, m: int) -> None:
    values = DRAWN[kind](np.random.default_rng(m), (TRIALS, m + 1))
    keeps_its_bounds(np.array([rank_p(row[0], row[1:]) for row in values]))


@pytest.mark.parametrize("kind", DRAWN)
def test_a_sequential_p_value_is_small_no_more_often_than_it_says(kind: str) -> None:
    values = DRAWN[kind](np.random.default_rng(0), (TRIALS, 200))
    found = [sequential_p(row[0], row[1:], m=199, h=5) for row in values]
    assert None not in found
    keeps_its_bounds(np.array(found, np.float64))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 5))
def test_ranks_count_every_tie_against_the_target(draws: list[int], target: int) -> None:
    assert rank_p(target, draws) == (1 + sum(one <= target for one in draws)) / (len(draws) + 1)
    assert rank_p(target, draws, tie=1.0) >= rank_p(target, draws)


@given(st.lists(st.floats(0, 1), min_size=30, max_size=30), st.floats(0, 1), st.integers(1, 8))
def test_batches_do_not_move_a_sequential_p_value(draws: list[float], target: float, h: int) -> None:
    whole = sequential_p(target, draws, m=30, h=h)
    seen = (sequential_p(target, draws[:n], m=30, h=h) for n in range(1, 31))
    assert next(p for p in seen if p is not None) == whole
    if sum(one <= target for one in draws) < h:
        assert whole == rank_p(target, draws)


def test_a_rank_needs_finite_numbers() -> None:
    for target, draws in ((1.0, []), (float("nan"), [1.0]), (1.0, [float("inf")])):
        with pytest.raises(ValueError, match="finite"):
            rank_p(target, draws)


@pytest.mark.parametrize("replacement", [True, False])
def test_the_bound_of_last_words_is_the_share_of_tails_that_are_guessed(replacement: bool) -> None:
    words, length, k = 6, 3, 2
    phrases = list(itertools.product(range(words), repeat=length))
    if not replacement:
        phrases = [one for one in phrases if len(set(one)) == length]
    # After the first word every tail is as likely: count those that a set of guesses hits, for every first word.
    for guesses in ([(1, 2)], [(1, 2), (3, 4), (2, 1)]):
        after = [one for one in phrases if one[0] == 0]
        share = sum(one[1:] in guesses for one in after) / len(after)
        bound = last_k_bound(len(guesses), words, length, k, replacement)
        assert share == pytest.approx(bound) if not replacement else share <= bound + 1e-12
    assert last_k_bound(10**9, words, length, k, replacement) == 1.0
    assert last_k_bound(24, 7776, 12, 2, True) == pytest.approx(4.0e-7, rel=0.01)


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(0, 8))
def test_hits_by_position_have_the_poisson_binomial_tail(chances: list[float], hits: int) -> None:
    brute = sum(
        np.prod([c if hit else 1 - c for c, hit in zip(chances, pattern, strict=True)])
        for pattern in itertools.product([0, 1], repeat=len(chances))
        if sum(pattern) >= hits
    )
    assert positions_p(hits, chances) == pytest.approx(min(brute, 1.0), abs=1e-9)


def test_two_hits_in_ten_positions_are_evidence() -> None:
    assert positions_p(2, [1 / 7776] * 10) == pytest.approx(7.4e-7, rel=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrections_are_the_textbooks(p: list[float]) -> None:
    ranked = sorted(range(len(p)), key=lambda i: p[i])
    n = len(p)
    for alpha in (0.01, 0.05, 0.5):
        rejected = set()
        for place, i in enumerate(ranked):
            if p[i] * (n - place) > alpha:
                break
            rejected.add(i)
        assert {i for i in range(n) if holm(p)[i] <= alpha} == rejected
        last = max((place for place, i in enumerate(ranked) if p[i] * n / (place + 1) <= alpha), default=-1)
        assert {i for i in range(n) if benjamini_hochberg(p)[i] <= alpha} == set(ranked[: last + 1])
    assert (benjamini_hochberg(p, dependent=True) >= benjamini_hochberg(p) - 1e-12).all()
    assert (holm(p) >= np.array(p) - 1e-12).all()
    assert adjusted(p, "none").tolist() == p


def test_holm_keeps_the_chance_of_any_false_rejection_and_bh_the_share() -> None:
    generator = np.random.default_rng(1)
    any_false, shares = 0, []
    for _ in range(600):
        p = np.concatenate([generator.uniform(size=15), generator.uniform(size=5) ** 20])
        any_false += bool((holm(p)[:15] <= 0.1).any())
        found = benjamini_hochberg(p) <= 0.1
        shares.append(found[:15].sum() / max(1, found.sum()))
    assert any_false <= binomial_limit(600, 0.1, 1e-6)
    assert np.mean(shares) < 0.1


def test_binomial_limits_are_those_of_the_distribution() -> None:
    assert binomial_tail(0, 10, 0.3) == 1.0
    assert binomial_tail(10, 10, 0.3) == pytest.approx(0.3**10)
    for trials, chance in ((1000, 0.05), (1000, 0.01), (300, 0.001)):
        limit = binomial_limit(trials, chance)
        assert binomial_tail(limit + 1, trials, chance) <= 0.001 < binomial_tail(limit, trials, chance)


def test_uniform_p_values_pass_and_small_ones_do_not() -> None:
    generator = np.random.default_rng(2)
    assert uniform_p(generator.uniform(size=500)) > 0.01
    assert uniform_p(generator.uniform(size=500) ** 1.5) < 1e-4
    assert uniform_p(np.ones(20)) == pytest.approx(1.0)
