"""Fingerprints of windows against the windows themselves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from scorers.bits import MERSENNE_61
from scorers.repetition.fingerprints import BASES
from scorers.repetition.windows import (
    CHECK_SHIFT,
    DOCUMENT_MASK,
    SOURCE_SHIFT,
    Windows,
    sample_rate,
    thinned,
    windows_of,
    winnowed,
)
from scorers.texts import Texts
from scorers.words import mix

LETTERS = st.lists(st.sampled_from("aab"), max_size=40)
DOCUMENTS = st.lists(LETTERS, max_size=6)


def windows_in(documents: list[list[str]], size: int) -> tuple[Windows, list[tuple[int, int, tuple[str, ...]]]]:
    """The windows of documents, and the plain ones: document, first word, words."""
    texts = Texts.from_arrow(pa.array([" ".join(words) for words in documents], pa.large_string()))
    found = windows_of(texts.words.doc_offsets, texts.words.hashes, size)
    plain = [
        (doc, i, tuple(words[i : i + size]))
        for doc, words in enumerate(documents)
        for i in range(len(words) - size + 1)
    ]
    return found, plain


def fingerprints(windows: Windows) -> list[tuple[int, int]]:
    return [(int(key), int(about >> CHECK_SHIFT)) for key, about in windows.records]


@given(DOCUMENTS, st.integers(2, 12))
def test_windows_share_a_fingerprint_exactly_if_their_words_are_equal(documents: list[list[str]], size: int) -> None:
    found, plain = windows_in(documents, size)
    assert len(found) == len(plain)
    assert found.starts.tolist() == [start for _, start, _ in plain]
    assert (found.records[:, 1] & DOCUMENT_MASK).tolist() == [doc for doc, _, _ in plain]
    by_words: dict[tuple[str, ...], set[tuple[int, int]]] = {}
    for (_, _, words), mark in zip(plain, fingerprints(found), strict=True):
        by_words.setdefault(words, set()).add(mark)
    assert all(len(marks) == 1 for marks in by_words.values())
    assert len({next(iter(marks)) for marks in by_words.values()}) == len(by_words)


def test_the_key_is_the_polynomial_of_the_words_modulo_the_prime() -> None:
    found, _ = windows_in([list("abcab")], 4)
    texts = Texts.from_arrow(pa.array(["a b c a b"], pa.large_string()))
    hashes = [int(h) % MERSENNE_61 for h in texts.words.hashes]
    for place in range(2):
        value = 0
        for h in hashes[place : place + 4]:
            value = (value * BASES[0] + h) % MERSENNE_61
        with np.errstate(over="ignore"):
            assert int(found.records[place, 0]) == int(mix.py_func(np.uint64(value)))


def test_white_space_between_the_words_does_not_count() -> None:
    texts = Texts.from_arrow(pa.array(["one two\n\nthree", "one  two three "], pa.large_string()))
    found = windows_of(texts.words.doc_offsets, texts.words.hashes, 3)
    assert found.records[0, 0] == found.records[1, 0]


def test_thue_morse_words_keep_their_fingerprints_apart() -> None:
    # The pattern that makes polynomials modulo 2^64 collide, whatever their base.
    bits = [bin(i).count("1") % 2 for i in range(1 << 12)]
    words = ["ab"[bit] for bit in bits]
    found, plain = windows_in([words, ["ba"[bit] for bit in bits]], 1 << 11)
    assert len(set(fingerprints(found))) == len({words for _, _, words in plain})


def test_records_carry_source_and_document() -> None:
    texts = Texts.from_arrow(pa.array(["a b c", "a b"], pa.large_string()))
    found = windows_of(texts.words.doc_offsets, texts.words.hashes, 2, np.array([63, 5], np.uint8), 2**32 - 2)
    assert ((found.records[:, 1] >> SOURCE_SHIFT) & np.uint64(63)).tolist() == [63, 63, 5]
    assert (found.records[:, 1] & DOCUMENT_MASK).tolist() == [2**32 - 2, 2**32 - 2, 2**32 - 1]


@given(DOCUMENTS, st.integers(0, 5))
def test_a_sample_keeps_all_copies_of_a_window_or_none(documents: list[list[str]], seed: int) -> None:
    found, plain = windows_in(documents, 3)
    kept = thinned(found, 0.5, seed)
    chosen = {
        words for (_, _, words), mark in zip(plain, fingerprints(found), strict=True) if mark in fingerprints(kept)
    }
    assert len(kept) == sum(words in chosen for _, _, words in plain)
    assert kept.offsets[-1] == len(kept)


def test_a_sample_is_of_the_size_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 200_000).astype(np.uint64)
    found = windows_of(np.array([0, len(hashes)]), hashes, 5)
    for rate in (0.5, 0.01):
        sizes = [len(thinned(found, rate, seed)) for seed in range(3)]
        assert len(set(sizes)) > 1
        for size in sizes:
            assert abs(size - rate * len(found)) < 5 * np.sqrt(rate * len(found))
        assert abs(sample_rate(rate) - rate) < 1e-9


@given(
    LETTERS, LETTERS, st.lists(st.sampled_from("xyz"), min_size=9, max_size=20), st.integers(2, 5), st.integers(2, 5)
)
def test_winnowing_finds_every_repeat_of_window_and_run_less_one(
    before: list[str], after: list[str], shared: list[str], size: int, run: int
) -> None:
    assert len(shared) >= size + run - 1
    found, _ = windows_in([[*before, *shared], [*shared, *after]], size)
    kept = winnowed(found, run)
    inside = [
        set(fingerprints(Windows(kept.records[a:b], kept.starts[a:b], kept.offsets)))
        for a, b in zip(kept.offsets[:-1], kept.offsets[1:], strict=True)
    ]
    assert inside[0] & inside[1]


@given(DOCUMENTS, st.integers(2, 6), st.integers(2, 6))
def test_winnowing_keeps_the_smallest_of_every_run(documents: list[list[str]], size: int, run: int) -> None:
    found, _ = windows_in(documents, size)
    kept = winnowed(found, run)
    expected = []
    for begin, end in zip(found.offsets[:-1], found.offsets[1:], strict=True):
        keys = found.records[begin:end, 0].tolist()
        places = set()
        for first in range(max(len(keys) - run + 1, 1) if keys else 0):
            part = keys[first : first + run]
            places.add(first + max(i for i, key in enumerate(part) if key == min(part)))
        expected += [begin + place for place in sorted(places)]
    assert kept.records.tolist() == found.records[expected].tolist()
