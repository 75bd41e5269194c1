"""The kernel sees the words that plain Python sees, and the runs and windows that a plain loop finds."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from scorers.ghosts.canonical import canonical_spans
from scorers.ghosts.kernel import (
    COUNTS,
    KNOWN,
    RUN,
    SHORTEST,
    STOP,
    WINDOW,
    probes,
    scan,
    vocabulary,
    window_hashes,
)
from scorers.ghosts.windows import hash_words
from scorers.ghosts.word_kernel import canonical_words
from scorers.texts import Texts
from scorers.words import split_words

LISTED = ["apple", "bridge", "cloud", "dragonfly", "extraordinary", "fig", "gate", "hat", "ice", "jam"]
COMMON = ["only", "such"]
OTHERS = ["zzz", "the", "x"]
GAPS = [" ", "  ", "\n", "\n\n", ", ", ". ", "-", "\t", ": ", "! "]


def texts_of(*documents: str) -> Texts:
    return Texts.from_arrow(pa.array(documents, pa.large_string()))


def tables(size: int = 3, windows: list[list[str]] = (), listed: bool = True):
    """Vocabulary and probes: LISTED count and are known, COMMON are known and common."""
    flags = {int(h): KNOWN | COUNTS for h in hash_words(LISTED)} | {int(h): KNOWN | STOP for h in hash_words(COMMON)}
    hashed = [window_hashes(hash_words(window)[None, :], size)[0, 0] for window in windows]
    return vocabulary(flags), probes(size, np.array(hashed, np.uint64) >> np.uint64(32), listed)


characters = st.one_of(
    st.sampled_from("abcXYZ019 .-\n"),
    st.sampled_from("éÄßﬁ\u00ad\u200b\u0301½Ⅷ한ञ中ａ𝐛\U00020000"),
    st.characters(exclude_categories=["Cs"]),
)


@settings(max_examples=300)
@given(st.lists(st.text(characters, max_size=60), max_size=5))
def test_words_are_those_of_plain_python(documents):
    texts = texts_of(*documents)
    found = canonical_words(texts.data, texts.offsets)
    for doc, document in enumerate(documents):
        first, last = found.doc_offsets[doc : doc + 2]
        expected = canonical_spans(document)
        places = [(len(document[:a].encode()), len(document[:b].encode())) for _, a, b in expected]
        assert list(zip(found.begins[first:last], found.ends[first:last], strict=True)) == places
        plain = texts_of(" ".join(word for word, _, _ in expected))
        # The hash of a canonical word is that of the shared split, which sees words of letters alone as they are.
        whole = split_words(plain.data, plain.offsets, "whitespace")
        assert found.hashes[first:last].tolist() == whole.hashes.tolist()


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(LISTED + COMMON + OTHERS), st.sampled_from(GAPS)), max_size=60))
def test_runs_are_those_of_a_plain_loop(pairs):
    text = "".join(word + gap for word, gap in pairs)
    words, none = tables()
    found = scan(*_buffers(text), words, none)
    assert [(int(r["begin"]), int(r["end"]), int(r["words"])) for r in found[found["kind"] == RUN]] == _runs(pairs)


def _runs(pairs: list[tuple[str, str]]) -> list[tuple[int, int, int]]:
    """(begin, end, words) of the runs, from their definition."""
    found, at = [], 0
    begin = end = count = 0
    bridged, ended = False, False

    def close():
        nonlocal count
        if count >= SHORTEST:
            found.append((begin, end, count))
        count = 0

    for word, gap in pairs:
        if count and ended:
            close()
        if word in LISTED:
            if not count:
                begin, bridged = at, False
            count, end = count + 1, at + len(word)
        elif word in COMMON and count and not bridged:
            bridged = True
        else:
            close()
        at += len(word) + len(gap)
        ended = gap in ("\n\n", ". ", ": ", "! ")
    close()
    return found


@given(st.lists(st.sampled_from(LISTED + COMMON), min_size=3, max_size=30), st.data())
def test_every_window_that_is_known_is_found_whatever_lies_between_its_words(chain, data):
    at = data.draw(st.integers(0, len(chain) - 3))
    gaps = data.draw(st.lists(st.sampled_from(GAPS), min_size=len(chain), max_size=len(chain)))
    text = "".join(word + gap for word, gap in zip(chain, gaps, strict=True))
    for listed in (True, False):
        words, known = tables(3, [chain[at : at + 3]], listed)
        found = scan(*_buffers(text), words, known)
        windows = found[found["kind"] == WINDOW]
        expected = [i for i in range(len(chain) - 2) if chain[i : i + 3] == chain[at : at + 3]]
        assert len(windows) == len(expected)
        begin = len("".join(w + g for w, g in zip(chain[: expected[0]], gaps, strict=False)).encode())
        assert windows["begin"][0] == begin


def test_more_windows_than_wait_and_more_than_there_is_room_for_come_out_in_order():
    draw = np.random.default_rng(0)
    chains = [[LISTED[n] for n in draw.integers(0, len(LISTED), length)] for length in (400, 2, 3, 15, 19, 300)]
    words, known = tables(3, [chain[i : i + 3] for chain in chains for i in range(len(chain) - 2)], listed=False)
    texts = texts_of(*[" ".join(chain) for chain in chains])
    found = scan(texts.data, texts.offsets, words, known)
    windows = found[found["kind"] == WINDOW]
    for doc, chain in enumerate(chains):
        begins = np.cumsum([0] + [len(word) + 1 for word in chain])[: max(len(chain) - 2, 0)]
        assert windows["begin"][windows["doc"] == doc].tolist() == begins.tolist()
    assert (np.diff(found["doc"]) >= 0).all()


def test_a_window_holds_no_foreign_word_and_does_not_cross_documents():
    words, known = tables(3, [["apple", "bridge", "cloud"]])
    assert len(scan(*_buffers("apple bridge zzz cloud"), words, known)) == 0
    texts = texts_of("apple bridge", "cloud", "apple Bridge\n- CLOUD!")
    found = scan(texts.data, texts.offsets, words, known)
    assert found["doc"].tolist() == [2]


@pytest.mark.parametrize("size", [0, 1, 3, 1000, 30_000])
def test_no_known_window_is_lost_in_the_filter(size):
    draw = np.random.default_rng(0)
    windows = draw.integers(0, 1 << 32, size, np.uint32)
    made = probes(8, windows, True)
    assert np.array_equal(made.sorted, np.unique(windows))
    assert len(made.blocks) >= 1


def test_order_gaps_repeats_and_capitals_are_counted():
    words, none = tables()
    (run,) = scan(*_buffers("Apple bridge,\ncloud apple - Fig"), words, none)
    facts = {name: int(run[name]) for name in ("words", "falls", "rises", "breaks", "marks", "repeats", "capitals")}
    assert facts == {"words": 5, "falls": 1, "rises": 3, "breaks": 1, "marks": 2, "repeats": 1, "capitals": 2}


def test_many_findings_make_room_for_themselves():
    texts = texts_of(*["apple bridge cloud fig gate. " * 50] * 40)
    words, none = tables()
    found = scan(texts.data, texts.offsets, words, none)
    assert len(found) == 2000
    assert np.bincount(found["doc"]).tolist() == [50] * 40


def _buffers(text: str) -> tuple[np.ndarray, np.ndarray]:
    texts = texts_of(text)
    return texts.data, texts.offsets
