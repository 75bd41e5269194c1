"""Scores, keys and cuts against plain references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.sstoken.choose import (
    DIGITS,
    NOTHING,
    Cut,
    Search,
    best_of_samples,
    beyond,
    beyond_own,
    cut_of,
    cuts_of_batches,
    digit_counts,
    narrowed,
    share,
    shares,
)
from scorers.sstoken.keys import orders, ties
from scorers.sstoken.scores import EPSILON, difference, mix, normalised

FLOATS = st.floats(-50, 50, width=32)
SCORES = st.lists(st.sampled_from([-2.0, -0.5, -0.0, 0.0, 0.25, 7.0]) | FLOATS, min_size=1, max_size=60)


def flat(samples: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([v for sample in samples for v in sample], np.float32)
    return values, np.cumsum([0, *map(len, samples)])


@given(st.lists(st.lists(FLOATS | st.just(math.nan), max_size=12), min_size=1, max_size=6))
def test_normalised_differences_lie_in_the_unit_interval_of_their_sample(samples: list[list[float]]) -> None:
    values, offsets = flat(samples)
    low_high, ranks = (normalised(values, offsets, how) for how in ("minmax", "rank"))
    for sample, first, last in zip(samples, offsets[:-1], offsets[1:], strict=True):
        own = np.array(sample, np.float32)
        there = ~np.isnan(own)
        assert np.isnan(low_high[first:last][~there]).all()
        assert np.isnan(ranks[first:last][~there]).all()
        some = own[there]
        if not len(some):
            continue
        expected = (some - some.min()) / (np.float64(some.max()) - some.min() + EPSILON)
        np.testing.assert_allclose(low_high[first:last][there], expected, atol=1e-6)
        below = np.array([(some < v).sum() + ((some == v).sum() - 1) / 2 for v in some])
        np.testing.assert_allclose(ranks[first:last][there], below / max(len(some) - 1, 1), atol=1e-6)


def test_a_difference_is_the_weaker_less_the_stronger_and_nothing_where_a_loss_is_not_finite() -> None:
    weaker, stronger = np.array([3.0, math.nan, 5.0, 1.0]), np.array([1.0, 1.0, math.inf, 4.0])
    np.testing.assert_array_equal(difference(weaker, stronger), [2.0, math.nan, math.nan, -3.0])


def test_gamma_mixes_and_its_ends_need_one_side_alone() -> None:
    loss, prompt = np.array([0.0, 1.0], np.float32), np.array([0.4, math.nan], np.float32)
    np.testing.assert_allclose(mix(loss, prompt, 0.75), [0.1, math.nan])
    np.testing.assert_array_equal(mix(loss, prompt, 1.0), loss)
    np.testing.assert_array_equal(mix(loss, prompt, 0.0), prompt)


@given(SCORES)
def test_orders_rise_with_scores_and_zeros_are_equal(scores: list[float]) -> None:
    values = np.array(scores, np.float32)
    found = orders(values).astype(np.int64)
    np.testing.assert_array_equal(np.sign(found[:, None] - found), np.sign(values[:, None] - values))


def test_ties_depend_on_document_position_and_seed_alone() -> None:
    ids, counts = ["a", "b"], np.array([3, 2])
    places = np.array([4, 5, 9, 4, 5])
    whole = ties(ids, counts, places, 0, "tie")
    assert len(set(whole.tolist())) == 5
    np.testing.assert_array_equal(ties(["b"], np.array([2]), places[3:], 0, "tie"), whole[3:])
    assert set(ties(ids, counts, places, 1, "tie").tolist()).isdisjoint(whole.tolist())
    assert set(ties(ids, counts, places, 0, "control").tolist()).isdisjoint(whole.tolist())


@pytest.mark.parametrize(
    ("count", "rho", "rounding", "expected"),
    [
        (5, 0.6, "ceil", 3),
        (5, 0.6, "floor", 3),
        (7, 0.6, "ceil", 5),
        (7, 0.6, "floor", 4),
        (1, 0.6, "ceil", 1),
        (1, 0.6, "floor", 0),
        (10, 1.0, "ceil", 10),
        (10, 0.0, "ceil", 0),
        (0, 0.5, "ceil", 0),
    ],
)
def test_a_share_is_rounded_as_asked_and_not_by_floating_point(
    count: int, rho: float, rounding: str, expected: int
) -> None:
    assert share(count, rho, rounding) == expected  # type: ignore[arg-type]
    assert shares(np.array([count]), rho, rounding).tolist() == [expected]  # type: ignore[arg-type]


def ranked(order: np.ndarray, tie: np.ndarray) -> list[int]:
    return sorted(range(len(order)), key=lambda i: (-int(order[i]), int(tie[i])))


@given(st.lists(SCORES, min_size=1, max_size=5), st.floats(0, 1), st.integers(0, 3))
def test_the_best_of_each_sample_are_those_of_a_sort(samples: list[list[float]], rho: float, seed: int) -> None:
    values, offsets = flat(samples)
    order = orders(values)
    tie = np.random.default_rng(seed).integers(0, 4, len(values)).astype(np.uint64) << np.uint64(60)
    counts = shares(np.diff(offsets), rho, "ceil")
    kept = best_of_samples(order, tie, offsets, counts)
    for first, last, count in zip(offsets[:-1], offsets[1:], counts, strict=True):
        best = ranked(order[first:last], tie[first:last])[:count]
        assert sorted(best) == np.flatnonzero(kept[first:last]).tolist()


@given(SCORES, st.floats(0, 1), st.integers(0, 5))
def test_the_cut_over_shards_keeps_exactly_the_share_of_a_sort(scores: list[float], rho: float, seed: int) -> None:
    values = np.array(scores, np.float32)
    order = orders(values)
    tie = np.random.default_rng(seed).permutation(len(values)).astype(np.uint64) * np.uint64(1 << 50)
    wanted = share(len(values), rho, "ceil")
    parts = np.array_split(np.arange(len(values)), 3)
    search, left = Search(), wanted
    while wanted and len(search.digits) < DIGITS:
        counts = sum(digit_counts(order[part], tie[part], search) for part in parts)
        search, left, whole = narrowed(search, np.asarray(counts), left)
        if whole:
            break
    cut = cut_of(search) if wanted else NOTHING
    assert sorted(ranked(order, tie)[:wanted]) == np.flatnonzero(beyond(order, tie, cut)).tolist()


@given(SCORES, st.floats(0, 1), st.integers(1, 4))
def test_cuts_of_batches_keep_the_share_of_each(scores: list[float], rho: float, batches: int) -> None:
    order = orders(np.array(scores, np.float32))
    tie = np.arange(len(order)).astype(np.uint64)[::-1].copy()
    batch = np.arange(len(order)) % batches
    cuts = cuts_of_batches(order, tie, batch, rho, "ceil")
    kept = beyond_own(order, tie, batch, cuts)
    for one in set(batch.tolist()):
        mine = np.flatnonzero(batch == one)
        best = [mine[i] for i in ranked(order[mine], tie[mine])[: share(len(mine), rho, "ceil")]]
        assert sorted(best) == mine[kept[mine]].tolist()


def test_nothing_keeps_nothing_and_the_lowest_cut_everything() -> None:
    order, tie = np.array([0, 2**32 - 1], np.uint32), np.array([0, 2**64 - 1], np.uint64)
    assert not beyond(order, tie, NOTHING).any()
    assert beyond(order, tie, Cut(0, 2**64 - 1)).all()
