"""Windows that may be a drawn phrase's are those of a plain loop; lists, orders and repetitions are left out."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from scorers.ghosts.canonical import canonical_spans
from scorers.ghosts.kernel import window_hashes
from scorers.ghosts.recurring import content_windows, drawn, stretches, word_pairs
from scorers.ghosts.stopwords import STOP_WORDS
from scorers.ghosts.windows import hash_words
from scorers.texts import Texts

WORDS = ["kestrel", "limpet", "Gabbro", "tundra", "éclair", "the", "of", "x", "a1", "2024", "isthmus"]
GAPS = [" ", " ", " ", "\n", "\n\n", ", ", ". ", ".", "-", "_", "\t", " – "]
PHRASE = "kestrel vorpal quassia limpet ozonide marzipan tundra gabbro isthmus wherry"


def texts_of(*documents: str) -> Texts:
    return Texts.from_arrow(pa.array(documents, pa.large_string()))


def _plain(text: str, size: int) -> list[tuple[str, ...]]:
    """Windows from their definition."""
    spans = canonical_spans(text)
    found, row = [], []
    for n, (word, begin, end) in enumerate(spans):
        gap = text[spans[n - 1][2] : begin] if n else ""
        if not re.fullmatch(r"[ \t\r\n._-]*", gap) or gap.count("\n") > 1 or re.search(r"\.[ \t\r\n]", gap):
            row = []
        wide = len(text[begin:end].encode()) > 1
        row = [*row, word] if wide and word not in STOP_WORDS and not re.search("[0-9]", text[begin:end]) else []
        if len(row) >= size:
            found.append(tuple(row[-size:]))
    return found


@settings(max_examples=300)
@given(st.lists(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=30), max_size=4))
def test_windows_are_those_of_a_plain_loop(documents):
    texts = ["".join(word + gap for word, gap in pairs) for pairs in documents]
    windows = content_windows(texts_of(*texts), 3)
    expected = [(doc, window) for doc, text in enumerate(texts) for window in _plain(text, 3)]
    assert windows.docs.tolist() == [doc for doc, _ in expected]
    assert windows.hashes.tolist() == [window_hashes(hash_words(w)[None, :], 3)[0, 0] for _, w in expected]


def test_a_part_of_a_batch_has_the_windows_of_its_documents():
    whole = texts_of("zzz 1", PHRASE, "no more", f"{PHRASE}.")
    part = Texts(whole.data, whole.offsets[1:4])
    alone = texts_of(PHRASE, "no more")
    assert content_windows(part, 8).hashes.tolist() == content_windows(alone, 8).hashes.tolist()
    assert word_pairs(part).tolist() == word_pairs(alone).tolist()


def test_windows_that_follow_one_another_are_one_stretch_in_its_surroundings():
    documents = [f"One came first. It was {PHRASE}. Then the rest.", f"Another text.\n\n{PHRASE.upper()}\n\nEnds here."]
    texts = texts_of(*documents)
    windows = content_windows(texts, 8)
    known, copies = np.unique(windows.hashes, return_counts=True)
    both = copies > 1
    found = [*stretches(texts, windows, known[both], copies[both])]
    written = [documents[one.doc].encode()[one.byte_start : one.byte_stop].decode().lower() for one in found]
    assert written == [PHRASE, PHRASE]
    assert found[0].run == found[1].run
    assert found[0].left != found[1].left
    assert found[0].right != found[1].right
    assert {one.copies for one in found} == {2}
    assert found[0].pairs.tolist() == word_pairs(texts_of(PHRASE)).tolist()


@pytest.mark.parametrize(
    ("phrase", "may_be"),
    [
        (PHRASE, True),
        (PHRASE.replace(" ", "-"), True),
        (PHRASE.replace(" ", "\n", 3), True),
        (PHRASE.replace(" ", "\n"), False),
        (" ".join(sorted(PHRASE.split())), False),
        (" ".join(sorted(PHRASE.split(), reverse=True)), False),
        (f"{PHRASE} kestrel", False),
        (" ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(41)), False),
    ],
)
def test_lists_orders_and_repetitions_were_not_drawn(phrase, may_be):
    assert drawn(re.split(r"[\s-]+", phrase), phrase.encode()) is may_be


def test_nothing_comes_of_nothing():
    for texts in (texts_of(), texts_of("", " ", "word")):
        windows = content_windows(texts, 8)
        assert len(windows.hashes) == len(word_pairs(texts)) == 0
        assert [*stretches(texts, windows, np.zeros(0, np.uint64), np.zeros(0, np.int64))] == []
