"""Suspect documents: a p-value for random splits alone, and a control that unmasks the others."""

from __future__ import annotations

import numpy as np
import pytest

from scorers.membership.inference import inferred, model_free_auc, permutation_p
from scorers.membership.pvalues import binomial_limit

NOUNS = "river stone winter market letter garden engine table window forest captain island music paper"


def documents(generator: np.random.Generator, count: int, extra: str = "") -> list[str]:
    return [" ".join(generator.choice(NOUNS.split(), 30)) + extra for _ in range(count)]


def test_a_random_split_without_effect_has_p_values_within_their_bounds() -> None:
    generator = np.random.default_rng(0)
    values = generator.lognormal(size=(300, 40))
    p = np.array([permutation_p(row[:20], row[20:], seed=i, relabelings=99) for i, row in enumerate(values)])
    for alpha in (0.05, 0.2):
        assert (p <= alpha).sum() <= binomial_limit(300, alpha, 1e-6)


def test_members_of_a_random_split_are_found_and_the_control_sees_nothing() -> None:
    generator = np.random.default_rng(1)
    texts = documents(generator, 200)
    found = inferred(generator.normal(-0.8, size=100), generator.normal(size=100), texts, randomised=True)
    assert found.p is not None
    assert found.p < 0.001
    assert found.control_low < 0.5 < found.control_high
    assert found.auc_low > 0.5


def test_without_a_random_split_there_is_no_p_value_and_a_plain_sentence() -> None:
    generator = np.random.default_rng(2)
    texts = documents(generator, 60, " yesterday") + documents(generator, 60, " tomorrow")
    found = inferred(generator.normal(-3, size=60), generator.normal(size=60), texts, randomised=False)
    assert found.p is None
    assert "no p-value can be given" in found.says
    assert found.control > 0.9
    assert "by their words alone" in found.says


def test_the_control_is_fair_where_both_sides_are_alike() -> None:
    generator = np.random.default_rng(3)
    areas = [model_free_auc(documents(generator, 100), 50, seed) for seed in range(12)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.06)


def test_a_handful_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least 5 of each"):
        inferred([1.0] * 4, [1.0] * 9, ["x"] * 13, randomised=True)
