"""Every input of every document exactly once per epoch, in rows with little padding, from nothing but the arguments."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.trainer.plan import Cut, Plan, Rows, best_fit, joined, plan_epoch

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=80).map(lambda values: np.array(values, np.int64))


def inputs_of(plan: Plan) -> list[tuple[int, int]]:
    """(document, input) of every place that is filled, sorted."""
    pieces = zip(plan.documents.tolist(), plan.starts.tolist(), plan.lengths.tolist(), strict=True)
    return sorted((document, start + i) for document, start, length in pieces for i in range(length))


def same(one: Plan, other: Plan) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


@given(LENGTHS, st.integers(1, 40), st.integers(0, 2**64 - 1), st.integers(0, 5))
def test_every_input_of_every_document_comes_exactly_once_per_epoch(
    lengths: np.ndarray, context: int, seed: int, epoch: int
) -> None:
    plan = plan_epoch(lengths, None, context, seed, epoch)
    assert inputs_of(plan) == [(doc, i) for doc, n in enumerate(lengths.tolist()) for i in range(n - 1)]
    assert plan.lengths.min(initial=1) > 0
    assert plan.row_inputs().max(initial=0) <= context
    assert plan.row_offsets[-1] == len(plan.documents)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 99))
def test_the_plan_follows_from_its_arguments(lengths: np.ndarray, context: int, seed: int) -> None:
    first = plan_epoch(lengths, None, context, seed, 3)
    np.random.random()  # noqa: NPY002  (the global state must not matter)
    assert same(first, plan_epoch(lengths.astype(np.int32), None, context, seed, 3))


def test_another_seed_or_epoch_is_another_order() -> None:
    lengths = np.arange(2, 300)
    plans = [plan_epoch(lengths, None, 64, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert len({plan.documents.tobytes() for plan in plans}) == 3


def test_the_order_is_the_one_of_earlier_releases() -> None:
    """A run that is resumed after an update must find its rows where they were."""
    plan = plan_epoch(np.array([5, 9, 3, 20, 1, 4, 7]), None, 8, seed=7, epoch=2)
    assert plan.documents.tolist() == [0, 3, 3, 6, 2, 5, 3, 1]
    assert plan.row_offsets.tolist() == [0, 2, 3, 5, 6, 7, 8]


@given(st.lists(st.floats(0, 6), min_size=1, max_size=40), st.integers(0, 99))
def test_resampled_documents_come_as_often_as_their_weight_says(weights: list[float], seed: int) -> None:
    plan = plan_epoch(np.full(len(weights), 5), np.array(weights), 16, seed, 0)
    times = np.bincount(plan.documents, minlength=len(weights))
    assert (times >= np.floor(weights)).all()
    assert (times <= np.ceil(weights)).all()


def test_resampling_has_the_right_mean() -> None:
    count = 20_000
    plan = plan_epoch(np.full(count, 5), np.full(count, 2.3), 16, 0, 0)
    assert abs(len(plan.documents) / count - 2.3) < 5 * np.sqrt(0.3 * 0.7 / count)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 70))
def test_best_fit_places_each_size_where_least_room_is_left(sizes: list[int], capacity: int) -> None:
    ordered = sorted(sizes, reverse=True)
    rows, used = best_fit(np.array(ordered, np.int32), capacity)
    free: list[int] = []
    for size, row in zip(ordered, rows.tolist(), strict=True):
        fitting = [left for left in free if left >= size]
        if row == len(free):
            assert not fitting
            free.append(capacity)
        assert not fitting or free[row] == min(fitting)
        free[row] -= size
        assert free[row] >= 0
    assert used == len(free)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([512, 1024, 2048, 8192]), st.floats(4.5, 7.5), st.floats(0.5, 1.5))
def test_less_than_a_hundredth_is_padding_for_lengths_as_texts_have_them(
    seed: int, context: int, log_mean: float, spread: float
) -> None:
    lengths = np.exp(np.random.default_rng(seed).normal(log_mean, spread, 20_000)).astype(np.int64) + 2
    assert plan_epoch(lengths, None, context, seed, 0).padding < 0.01


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(0, 700), st.sampled_from([512, 1024, 2048]))
def test_less_than_a_hundredth_is_padding_where_two_documents_do_not_fit_in_a_row(
    seed: int, shortest: int, context: int
) -> None:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(min(shortest, context - 10) + 2, context + 2, 8000)
    plan = plan_epoch(lengths, None, context, seed, 0)
    assert plan.padding < 0.01
    assert len(plan.documents) < 2.1 * len(lengths)
    inputs = np.bincount(plan.documents, plan.lengths, len(lengths)).astype(np.int64)
    assert np.array_equal(inputs, lengths - 1)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 9), st.data())
def test_rows_go_on_through_the_epochs(lengths: np.ndarray, context: int, seed: int, data: st.DataObject) -> None:
    if not (lengths > 1).any():
        with pytest.raises(ValueError, match="nothing to train"):
            Rows(lengths, context, seed)
        return
    rows = Rows(lengths, context, seed)
    whole = joined([plan_epoch(lengths, None, context, seed, epoch) for epoch in range(4)], context)
    first = data.draw(st.integers(0, whole.num_rows))
    last = data.draw(st.integers(first, whole.num_rows))
    assert same(rows.rows(first, last), whole.rows(first, last))
    there_again = pickle.loads(pickle.dumps(rows))
    assert same(there_again.rows(first, last), whole.rows(first, last))


@given(LENGTHS.filter(lambda lengths: (lengths > 1).any()), st.integers(1, 40), st.integers(1, 3000))
def test_a_budget_is_met_to_the_token(lengths: np.ndarray, context: int, tokens: int) -> None:
    rows = Rows(lengths, context, 0)
    end = rows.cut(tokens)
    run = rows.until(end).rows(0, end.rows + 3)
    assert run.num_inputs == tokens
    assert run.num_rows == end.rows + 3
    assert (run.row_inputs()[end.rows :] == 0).all()
    whole = rows.rows(0, end.rows)
    before = int(run.row_offsets[end.rows - 1])
    assert np.array_equal(run.lengths[:before], whole.lengths[:before])
    assert (run.documents == whole.documents[: len(run.documents)]).all()


def test_the_end_may_lie_between_two_requests() -> None:
    rows = Rows(np.array([9, 9, 9, 9]), 8, 0).until(Cut(3, 5))
    assert [rows.rows(first, first + 2).row_inputs().tolist() for first in (0, 2, 4)] == [[8, 8], [5, 0], [0, 0]]


def test_rows_without_any_chance_of_an_input_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        Rows(np.array([5, 1]), 8, 0, weights=np.array([0.0, 3.0]))
