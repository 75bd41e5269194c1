"""Entropy, collisions, and the null draws that a registry needs."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from scorers.ghosts.planning import collision_odds, required_draws, smallest_level


@pytest.mark.parametrize(("words", "odds"), [(6, 2e-6), (8, 4e-14), (10, 6e-22)])
def test_collisions_in_a_billion_phrases_of_effs_list(words, odds):
    assert collision_odds(12.925 * words, 10**9) == pytest.approx(odds, rel=0.3)
    assert collision_odds(12.925 * words, 1) == 0
    assert collision_odds(1, 10**9) == 1


@pytest.mark.parametrize(("alpha", "draws"), [(0.05, 19), (0.01, 99), (1e-3, 999), (1e-4, 9999)])
def test_draws_of_a_single_test(alpha, draws):
    assert required_draws(1, alpha, "none") == draws


def test_a_correction_asks_for_more():
    assert required_draws(100, 0.05, "none") == 19
    assert required_draws(100, 0.05, "holm") == required_draws(100, 0.05, "bh") == 1999
    assert required_draws(100, 0.05, "by") > 10_000


@given(st.integers(1, 5000), st.floats(1e-6, 0.5), st.sampled_from(["none", "holm", "bh", "by"]))
def test_so_many_draws_reach_the_level_and_one_fewer_does_not(tests, alpha, correction):
    draws, level = required_draws(tests, alpha, correction), smallest_level(tests, alpha, correction)
    assert 1 / (draws + 1) <= level * (1 + 1e-9)
    assert draws == 1 or 1 / draws > level * (1 - 1e-9)
