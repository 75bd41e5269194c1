"""A tenth of the tokens is filled exactly, whatever the number of repeats, and the band is the published one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from experiments.repeated_data import PIECE, copies, pieces
from experiments.repeated_report import band


@given(st.lists(st.integers(1, 80), min_size=1, max_size=60), st.floats(1, 500), st.floats(0.1, 1), st.integers(0, 9))
def test_copies_fill_the_budget_and_come_about_as_often_as_asked_for(sizes, repeats, share, seed):
    tokens = np.array(sizes)
    budget = share * tokens.sum()
    order = np.random.default_rng(seed).permutation(len(tokens))
    found = copies(tokens, budget, repeats, order)
    assert (found * tokens).sum() == pytest.approx(budget)
    chosen = found > 0
    assert len(set(found[chosen])) == 1
    assert found.max() <= repeats * (1 + 1e-9)
    assert tokens[chosen].sum() - tokens[order[chosen.sum() - 1]] < budget / repeats  # no text more than needed


def test_fewer_repeats_keep_the_texts_of_more_repeats():
    tokens, order = np.full(100, 7), np.random.default_rng(0).permutation(100)
    many, few = (copies(tokens, 350, times, order) > 0 for times in (2, 20))
    assert few.sum() < many.sum()
    assert not (few & ~many).any()


def test_too_little_text_is_refused():
    with pytest.raises(ValueError, match="cut more text"):
        copies(np.array([3, 4]), 100, 10, np.arange(2))


def test_pieces_are_short_and_follow_each_other():
    text = "".join(f"line {n} of a manual\n" for n in range(100)) + "x" * 1000 + "\n"
    found = list(pieces(text))
    assert all(PIECE - 2 <= len(one.encode()) < 2 * PIECE for one in found)
    assert text.startswith("\n".join(found))
    assert not any("x" * 1000 in one for one in found)


def test_the_band_is_the_published_one_at_a_billion_parameters():
    assert band(1e9) == pytest.approx((38.3, 1612.8), rel=1e-3)
