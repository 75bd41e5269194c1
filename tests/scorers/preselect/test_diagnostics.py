"""The diagnostics on panels where the answer is known."""

from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest

from scorers.preselect.diagnostics import (
    agreement,
    by_source,
    histogram,
    permuted_orders,
    rank_correlation,
    relations,
)
from scorers.preselect.strength import strength

SCORES = np.array([75.38, 76.30, 77.27, 79.46, 80.47, 81.19])


def test_the_histogram_has_a_bin_per_level_and_counts_every_defined_document():
    losses = np.random.default_rng(1).normal(size=(3000, 6))
    losses[0] = -SCORES
    losses[1, 2] = np.nan
    table = histogram(strength(losses, SCORES))
    assert table.num_rows == 16
    assert sum(table["documents"].to_pylist()) == 2999
    value = strength(losses, SCORES).value
    for lower, count in zip(table["lower"].to_pylist(), table["documents"].to_pylist(), strict=True):
        assert count == (np.abs(value - lower) < 1e-9).sum()


def test_strengths_without_levels_are_binned_over_their_range():
    losses = np.random.default_rng(1).normal(size=(100, 6))
    losses[:2] = [-SCORES, SCORES]
    table = histogram(strength(losses, SCORES, "spearman"), bins=10)
    assert (table["lower"][0].as_py(), table["upper"][9].as_py()) == (-1, 1)
    assert sum(table["documents"].to_pylist()) == 100


def test_sources_have_their_means_over_defined_documents():
    table = by_source(np.array([1, 0, np.nan, 0.5, np.nan]), pa.array(["b", "b", "b", "a", "c"]))
    assert table.to_pylist() == [
        {"source": "b", "documents": 3, "defined": 2, "mean": 0.5, "deviation": 0.5, "perfect": 0.5},
        {"source": "a", "documents": 1, "defined": 1, "mean": 0.5, "deviation": 0.0, "perfect": 0.0},
        {"source": "c", "documents": 1, "defined": 0, "mean": None, "deviation": None, "perfect": None},
    ]


def test_the_real_order_leads_where_losses_follow_it_and_not_where_they_are_noise():
    random = np.random.default_rng(2)
    noise = random.normal(size=(200, 4))
    scores = SCORES[:4]
    follows = permuted_orders(lambda dealt: strength(noise - 2 * np.arange(4), dealt).value, scores)
    assert (follows.mean_rank, follows.high_rank) == (1, 1)
    assert len(follows.means) == 23
    backwards = permuted_orders(lambda dealt: strength(noise + 2 * np.arange(4), dealt).value, scores)
    assert backwards.mean_rank == 24
    everything = np.append(follows.means, follows.mean)
    assert everything.mean() == pytest.approx(0.5)  # every order and its reverse share one pair of strengths


def test_each_permuted_order_is_one_dealing_of_the_scores_over_all_benchmarks():
    benchmarks = np.array([[1.0, 2, 3], [10.0, 20, 40]])
    losses = np.random.default_rng(3).normal(size=(50, 3))
    found = permuted_orders(lambda dealt: strength(losses, dealt).value, benchmarks)
    expected = [benchmarks[:, list(order)] for order in list(permutations(range(3)))[1:]]
    np.testing.assert_array_equal(found.benchmarks, expected)
    np.testing.assert_allclose(found.means, [strength(losses, dealt).value.mean() for dealt in expected])


def test_one_strength_may_stand_for_many_documents():
    random = np.random.default_rng(6)
    losses = random.permuted(np.tile(np.arange(4.0), (300, 1)), axis=1)
    losses[7] = np.nan
    distinct, counts = np.unique(losses, axis=0, return_counts=True)
    assert len(distinct) < 30
    scores = SCORES[:4]
    every = permuted_orders(lambda dealt: strength(losses, dealt).value, scores, threshold=0.8)
    few = permuted_orders(lambda dealt: strength(distinct, dealt).value, scores, counts=counts, threshold=0.8)
    np.testing.assert_allclose(few.means, every.means)
    np.testing.assert_allclose(few.highs, every.highs)
    assert (few.mean_rank, few.high_rank) == (every.mean_rank, every.high_rank)


def test_ranks_that_are_kept_change_nothing():
    random = np.random.default_rng(7)
    values = {name: random.random(200) for name in "ab"} | {"c": np.where(np.arange(200) < 9, np.nan, 1.0)}
    values["c"][20:] = random.integers(4, size=180)
    ranks = {}
    assert agreement(values, ranks=ranks).equals(agreement(values))
    assert len(ranks) == 5  # a and b whole, and all three where c is defined
    losses, lengths = random.random((200, 6)), random.integers(9, 99, 200)
    assert relations(values["a"], losses, SCORES, lengths, ranks) == relations(values["a"], losses, SCORES, lengths)


def test_too_many_orders_are_drawn_by_seed():
    losses = np.random.default_rng(3).normal(size=(50, 6))

    def orders(seed):
        return permuted_orders(lambda dealt: strength(losses, dealt).value, SCORES, most=30, seed=seed).benchmarks

    np.testing.assert_array_equal(orders(1), orders(1))
    assert not np.array_equal(orders(1), orders(2))
    assert 25 <= len(orders(1)) <= 30


def test_relations_see_length_and_gap():
    random = np.random.default_rng(4)
    lengths = random.integers(50, 5000, 400)
    gap = random.normal(size=400)
    losses = np.zeros((400, 6))
    losses[:, 0] = gap * lengths
    by_length = relations(np.log(lengths), losses, SCORES, lengths)
    assert by_length.length_spearman == pytest.approx(1)
    assert 0.7 < by_length.length_pearson < 0.95
    assert abs(by_length.gap_spearman) < 0.15
    by_gap = relations(np.where(np.arange(400) < 100, np.nan, gap), losses, SCORES, lengths)
    assert (by_gap.documents, by_gap.gap_spearman, by_gap.gap_pearson) == (300, pytest.approx(1), pytest.approx(1))


def test_estimators_agree_with_themselves_and_by_chance_with_noise():
    random = np.random.default_rng(5)
    value = random.random(5000)
    other = np.where(np.arange(5000) < 10, np.nan, random.random(5000))
    table = agreement({"one": value, "same": value**3, "noise": other}).to_pylist()
    assert [(row["first"], row["second"], row["documents"]) for row in table] == [
        ("one", "same", 5000),
        ("one", "noise", 4990),
        ("same", "noise", 4990),
    ]
    assert (table[0]["spearman"], table[0]["overlap"]) == (pytest.approx(1), 1)
    assert table[1]["overlap"] == pytest.approx(table[1]["chance"], abs=0.03)
    assert table[1]["chance"] == pytest.approx(0.2 * 0.2 / (0.4 - 0.04), abs=1e-3)


def test_ranks_give_tied_values_their_mean_rank():
    assert rank_correlation(np.array([1, 2, 2, 3]), np.array([1, 2.5, 2.5, 4])) == pytest.approx(1)
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3)))
