"""Owners' tests are exact, gain from numbers, and effects come with intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest

from scorers.membership.effect import (
    auc,
    auc_interval,
    expected_power,
    identifiers_needed,
    share_interval,
    shift_of,
)
from scorers.membership.owners import owner_p, standardised
from scorers.membership.pvalues import binomial_limit


@pytest.mark.parametrize("draw", ["normal", "lognormal"])
def test_an_owner_without_effect_is_found_no_more_often_than_it_says(draw: str) -> None:
    generator = np.random.default_rng(0)
    values = getattr(generator, draw)(size=(800, 3, 20))
    found = np.array([owner_p(one[:, 0], list(one[:, 1:]), resamples=199, seed=i)[0] for i, one in enumerate(values)])
    for alpha in (0.05, 0.2):
        assert (found <= alpha).sum() <= binomial_limit(800, alpha, 1e-6)


def test_identifiers_that_are_weak_alone_are_strong_together() -> None:
    generator = np.random.default_rng(1)
    draws = [generator.normal(size=999) for _ in range(16)]
    alone, together = owner_p([-1.0], draws[:1])[0], owner_p([-1.0] * 16, draws)
    assert alone > 0.05
    assert together[0] < 0.001
    assert together[1] == pytest.approx(-4.0, abs=0.3)


def test_rows_of_equal_values_say_nothing() -> None:
    assert standardised(1.0, np.ones(5))[0] == 0
    assert owner_p([1.0, 1.0], [np.ones(5)] * 2)[0] == 1.0


def test_auc_is_the_share_of_pairs_with_ties_halved() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.integers(0, 6, 30), generator.integers(1, 8, 50)
    pairs = np.mean([(x < y) + (x == y) / 2 for x in a for y in b])
    assert auc(a, b) == pytest.approx(pairs)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_intervals_of_an_auc_hold_it(shift: float) -> None:
    generator = np.random.default_rng(3)
    true = 0.5 if shift == 0 else float(auc(generator.normal(-shift, size=20000), generator.normal(size=20000)))
    inside = 0
    for _ in range(400):
        low, high = auc_interval(auc(generator.normal(-shift, size=20), generator.normal(size=60)), 20, 60)
        inside += low <= true <= high
    assert inside >= 0.92 * 400


def test_a_perfect_auc_has_an_interval_and_more_identifiers_narrow_it() -> None:
    few, many = auc_interval(1.0, 10, 1000), auc_interval(1.0, 100, 1000)
    assert few[1] == many[1] == 1.0
    assert 0.6 < few[0] < many[0] < 1.0


def test_planning_has_the_published_numbers() -> None:
    assert shift_of(0.891) == pytest.approx(1.74, abs=0.01)
    assert [round(expected_power(0.891, a), 2) for a in (0.05, 0.01, 0.001)] == [0.54, 0.28, 0.09]
    assert [identifiers_needed(0.891, a) for a in (0.05, 0.01, 1e-3, 1e-6)] == [3, 5, 7, 13]
    assert identifiers_needed(0.5, 0.05) is None


def test_share_intervals_are_wilsons() -> None:
    assert share_interval(0, 10)[0] == pytest.approx(0)
    assert share_interval(10, 10)[1] == pytest.approx(1)
    assert share_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
