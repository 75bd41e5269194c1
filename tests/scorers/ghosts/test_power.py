"""Power planning: the figures of the reference come out, and a simulation agrees."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from scorers.ghosts.power import (
    CURVES,
    at,
    identifiers_needed,
    levels,
    owner_power,
    shift_of,
    single_power,
)


@pytest.mark.parametrize(
    ("curve", "needed"),
    [
        ("gpt-neo-1.3b ratio", [119, 33, 16, 8, 5, 3]),
        ("gemma-2b ratio", [203, 64, 37, 13, 9, 6]),
        ("llama-3.2-1b ratio", [173, 56, 25, 13, 8, 5]),
        ("phi-2 ratio", [254, 93, 45, 24, 14, 10]),
        ("llama-3.2-1b loss", [254, 116, 66, 38, 25, 16]),
    ],
)
def test_identifiers_for_power_90_at_level_1_in_1000(curve, needed):
    found = levels(CURVES[curve], 1e-3, 0.9, 1e-3, 999)
    # Curves are rounded to three digits; the last identifier may go either way.
    assert all(abs(one.identifiers - n) <= max(1, 0.02 * n) for one, n in zip(found, needed, strict=True))
    assert [one.documents for one in found] == [one.identifiers * one.repetitions for one in found]


def test_more_repetitions_of_fewer_identifiers_take_fewer_documents():
    for curve in CURVES.values():
        documents = [one.documents for one in levels(curve, 1e-3, 0.9, 1e-3, 999)]
        assert documents[-1] < documents[0] * 0.7


@pytest.mark.parametrize(("alpha", "power", "needed"), [(0.05, 0.54, 3), (0.01, 0.28, 5), (1e-3, 0.09, 7)])
def test_the_papers_auc(alpha, power, needed):
    shift = shift_of(0.891)
    assert shift == pytest.approx(1.74, abs=0.01)
    assert owner_power(shift, 1, alpha) == pytest.approx(power, abs=0.01)
    assert identifiers_needed(shift, alpha, 0.9) == needed


def test_a_rank_among_19_costs_power_and_among_999_hardly():
    shift = shift_of(0.891)
    assert single_power(shift, 0.05, 19) == pytest.approx(0.47, abs=0.01)
    assert single_power(shift, 0.01, 999) == pytest.approx(owner_power(shift, 1, 0.01), abs=0.01)
    assert single_power(shift, 0.01, 50) == 0


@pytest.mark.parametrize(("shift", "alpha", "m"), [(1.0, 0.1, 49), (2.0, 0.05, 199), (0.0, 0.05, 99)])
def test_a_simulation_agrees(shift, alpha, m):
    draw = np.random.default_rng(0)
    trials = 20_000
    own = draw.normal(-shift, 1, trials)
    below = (draw.normal(0, 1, (trials, m)) <= own[:, None]).sum(axis=1)
    simulated = ((1 + below) / (m + 1) <= alpha).mean()
    assert single_power(shift, alpha, m) == pytest.approx(simulated, abs=0.015)


@given(st.sampled_from(sorted(CURVES)), st.integers(1, 40))
def test_more_repetitions_never_separate_less(curve, repetitions):
    assert at(CURVES[curve], repetitions + 1) >= at(CURVES[curve], repetitions)


@given(st.floats(0.1, 3), st.floats(1e-6, 0.2), st.floats(0.5, 0.99))
def test_so_many_identifiers_reach_the_power_and_one_fewer_does_not(shift, alpha, power):
    needed = identifiers_needed(shift, alpha, power)
    assert owner_power(shift, needed, alpha) >= power - 1e-6
    assert needed == 1 or owner_power(shift, needed - 1, alpha) < power + 1e-6


def test_aucs_that_separate_nothing_are_refused():
    with pytest.raises(ValueError, match=r"more than 0\.5"):
        shift_of(0.5)
    with pytest.raises(ValueError, match="begins at 2"):
        at({2: 0.7, 4: 0.8}, 1)
