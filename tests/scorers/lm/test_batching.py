"""Windows and batches; no model is needed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.lm.batching import MAX_PADDING, cut_windows, default_overlap, make_batches, measure

SIZES = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 3)), max_size=12)


@given(SIZES, st.integers(1, 40), st.data())
def test_every_scored_token_is_predicted_once_within_the_context(documents, context, data):
    overlap = data.draw(st.integers(0, context - 1))
    sizes = np.array([size for size, _ in documents], np.int64)
    leads = np.minimum([lead for _, lead in documents], sizes).astype(np.int64)
    windows = cut_windows(sizes, leads, context, overlap)
    scored = []
    for doc, start, stop, fresh in zip(windows.docs, windows.starts, windows.stops, windows.fresh, strict=True):
        assert 0 <= start <= fresh < stop <= sizes[doc] - 1
        assert stop - start <= context
        if start > 0 and fresh >= leads[doc]:
            assert fresh - start == overlap
        scored += [(doc, position + 1) for position in range(fresh, stop)]
    assert scored == [(doc, token) for doc in range(len(sizes)) for token in range(leads[doc], sizes[doc])]


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 2000))
def test_batches_hold_every_window_once_within_budget_and_padding(lengths, budget):
    lengths = np.array(lengths, np.int64)
    batches = make_batches(lengths, budget)
    assert sorted(window for batch in batches for window in batch) == list(range(len(lengths)))
    for batch in batches:
        computed = len(batch) * lengths[batch].max()
        assert computed <= budget or len(batch) == 1
        assert computed - lengths[batch].sum() <= MAX_PADDING * computed


def test_windows_of_one_length_fill_the_budget():
    assert [len(batch) for batch in make_batches(np.full(10, 100), 400)] == [4, 4, 2]


@pytest.mark.parametrize("context", [64, 1024, 2048])
def test_the_default_overlap_costs_less_than_a_tenth_even_on_endless_documents(context):
    windows = cut_windows(np.array([10**6]), np.array([1]), context, default_overlap(context))
    work = measure(windows, make_batches(windows.lengths, 8192))
    assert work.scored == 10**6 - 1
    assert 1.05 < work.overhead <= 1.1
    assert work.padded_share < 0.05


@pytest.mark.parametrize(("context", "overlap"), [(0, 0), (8, 8), (8, -1)])
def test_an_overlap_that_leaves_nothing_new_is_refused(context, overlap):
    with pytest.raises(ValueError, match="expected 0 <= overlap < context"):
        cut_windows(np.array([3]), np.array([1]), context, overlap)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="token budget of 0"):
        make_batches(np.array([3]), 0)
