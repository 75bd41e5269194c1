"""The measures of generated text against plain references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.repetition.generated import SPANS, forced_measures, pooled, rep_n, rep_r, rep_w, text_measures

texts = st.lists(st.integers(0, 6), min_size=0, max_size=40)


def same(found: float, expected: float) -> bool:
    return (math.isnan(found) and math.isnan(expected)) or found == pytest.approx(expected)


@given(texts, st.integers(1, 4))
def test_rep_n_is_one_minus_the_share_of_distinct_n_grams(tokens: list[int], n: int) -> None:
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    expected = 1 - len(set(grams)) / len(grams) if grams else float("nan")
    assert same(rep_n(np.array(tokens), n), expected)


@given(texts, st.integers(1, 8))
def test_rep_w_looks_back_w_tokens(tokens: list[int], window: int) -> None:
    hits = [tokens[i] in tokens[max(0, i - window) : i] for i in range(1, len(tokens))]
    assert same(rep_w(np.array(tokens, np.int64), window), sum(hits) / len(hits) if hits else float("nan"))


@given(texts)
def test_rep_r_is_the_share_inside_repeated_bigrams(tokens: list[int]) -> None:
    pairs = [tuple(tokens[i : i + 2]) for i in range(len(tokens) - 1)]
    inside = {j for i, pair in enumerate(pairs) if pairs.count(pair) > 1 for j in (i, i + 1)}
    assert same(rep_r(np.array(tokens)), len(inside) / len(tokens) if pairs else float("nan"))


@given(st.lists(texts, max_size=5), st.integers(1, 3))
def test_pooled_sums_counts_first(many: list[list[int]], n: int) -> None:
    grams = [[tuple(t[i : i + n]) for i in range(len(t) - n + 1)] for t in many]
    every = sum(len(own) for own in grams)
    expected = 1 - sum(len(set(own)) for own in grams) / every if every else float("nan")
    assert same(pooled([np.array(t) for t in many], n), expected)


@given(st.lists(st.lists(st.tuples(st.integers(0, 6), st.integers(-1, 6)), min_size=1, max_size=60), max_size=4))
def test_forced_measures_look_into_their_own_document_alone(documents: list[list[tuple[int, int]]]) -> None:
    targets = np.array([t for own in documents for t, _ in own], np.int64)
    choices = np.array([c for own in documents for _, c in own], np.int64)
    offsets = np.cumsum([0, *map(len, documents)])
    found = forced_measures(targets, choices, offsets, (2, 16))
    rows = []
    for own in documents:
        for i, (target, choice) in enumerate(own):
            if choice >= 0:
                for span in (2, 16):
                    before = [t for t, _ in own[max(0, i - span) : i]]
                    rows.append((span, choice in before, choice in before and choice != target, target in before))
    assert bool(found) == bool(rows)
    for span in (2, 16):
        mine = np.array([row[1:] for row in rows if row[0] == span])
        if len(mine):
            names = (f"rep/{span}", f"wrep/{span}", f"human_rep/{span}")
            assert [found[name] for name in names] == pytest.approx(mine.mean(axis=0).tolist())


def test_texts_without_and_with_nothing_but_repeats() -> None:
    none, all_of_it = text_measures(np.arange(100)), text_measures(np.zeros(100, np.int64))
    assert set(none.values()) == {0.0}
    assert all_of_it["rep_1"] == pytest.approx(0.99)
    assert all_of_it["rep_w"] == all_of_it["rep_r"] == 1
    assert SPANS == (16, 32, 128, 512)
