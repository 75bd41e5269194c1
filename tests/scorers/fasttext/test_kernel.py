"""Hashes, look-ups and tokens against golden values and plain Python."""

from __future__ import annotations

import re
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scorers.fasttext
from scorers.fasttext import kernel, losses
from scorers.fasttext.tokens import Tables
from scorers.fasttext.vocabulary import FNV_OFFSET, build_front, build_slots, find_word, hash_bytes
from scorers.texts import Texts


def plain_hash(word: bytes) -> int:
    value = 2166136261
    for byte in word:
        value = (value ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16777619 % 2**32
    return value


def array(word: bytes) -> np.ndarray:
    return np.frombuffer(word, np.uint8)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("", 2166136261), ("</s>", 3617362777), ("hello", 1335831723), ("world", 933488787), ("the", 3020861980),
     ("é", 1023043777), ("日本語", 308035559), ("<", 957132539)],
)  # fmt: skip
def test_golden_hashes(word: str, expected: int) -> None:
    assert hash_bytes(array(word.encode()), 0, len(word.encode()), FNV_OFFSET) == expected
    assert plain_hash(word.encode()) == expected


BUCKET = 2_000_000


def bucket_tables(**options: int) -> Tables:
    """An empty dictionary: all features are n-grams."""
    nothing, starts = np.zeros(0, np.uint8), np.zeros(1, np.int64)
    slots, rests = build_slots(nothing, starts, np.zeros(0, np.float32), BUCKET)
    values = {"word_ngrams": 2, "minn": 0, "maxn": 0} | options
    return Tables(
        build_front(slots, nothing, starts, 0), slots, rests, np.zeros(0, np.int64), 0, -1, True,
        BUCKET, np.uint64((2**64 - 1) // BUCKET), **values,
    )  # fmt: skip


def count_features(text: str, tables: Tables, among: list[int]) -> tuple[int, int]:
    """(features of a document, how many of them are rows in ``among``)."""
    from scorers.bits import read_only
    from scorers.fasttext.classifier import _no_rows

    texts, table = Texts.from_arrow(pa.array([text])), np.zeros(BUCKET + 1, np.float32)
    table[among] = 1
    sums, counts = np.zeros((1, 1)), np.zeros(1, np.int64)
    kernel.sum_features(
        read_only(texts.data), read_only(texts.offsets[:-1]), read_only(texts.offsets[1:]), tables,
        _no_rows()._replace(table=table, width=1), 0, kernel.WORDS | kernel.GRAMS, sums, np.zeros((1, 0), np.float32),
        counts, np.zeros(1, np.int64),
    )  # fmt: skip
    return int(counts[0]), int(sums[0, 0])


@pytest.mark.parametrize(
    ("text", "ngrams", "expected"),
    [
        ("hello world", 2, [1485020, 1298458]),
        ("hello world", 3, [1485020, 1298458, 1159053]),
        ("world hello", 2, [734700]),
        ("é 日本語", 2, [349826]),
    ],
)
def test_golden_word_ngrams(text: str, ngrams: int, expected: list[int]) -> None:
    total, hits = count_features(text, bucket_tables(word_ngrams=ngrams), expected)
    assert hits == len(expected)
    assert total == (3 if ngrams == 3 else 2)


def test_golden_character_ngrams() -> None:
    expected = [1453512, 916747, 1119945, 369661, 1161470, 960362, 1193989, 1609697, 1996781]
    assert count_features("café", bucket_tables(word_ngrams=1, minn=2, maxn=3), expected) == (9, 9)


WORDS = st.binary(min_size=1, max_size=40).filter(lambda word: b"\0" not in word)
ALIKE = st.integers(1, 40).flatmap(lambda size: st.sampled_from([b"a" * size, b"a" * size + b"b"]))
"""Words that begin alike, of both classes of length."""


def dictionary(words: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    strings = array(b"".join(words))
    starts = np.cumsum([0] + [len(word) for word in words])
    return build_slots(strings, starts, np.zeros(0, np.float32), BUCKET)


@given(
    words=st.lists(WORDS | ALIKE, min_size=1, max_size=200, unique=True), others=st.lists(WORDS | ALIKE, max_size=50)
)
@settings(max_examples=60, deadline=None)
def test_the_dictionary_finds_exactly_its_words(words: list[bytes], others: list[bytes]) -> None:
    slots, rests = dictionary(words)
    for word in words + others:
        expected = words.index(word) if word in words else -1
        assert find_word(slots, rests, array(word), 0, len(word)) == expected


def test_words_are_compared_by_bytes_and_not_by_hash() -> None:
    """Two real collisions of the 32-bit hash, one of short words and one of words above 16 bytes."""
    pairs = [(b"costarring", b"liquid"), (b"declinate", b"macallums")]
    for known, unknown in pairs:
        # these collide under unsigned FNV-1a of ASCII, where the sign extension changes nothing
        assert plain_hash(known) == plain_hash(unknown)
        slots, rests = dictionary([known])
        assert find_word(slots, rests, array(known), 0, len(known)) == 0
        assert find_word(slots, rests, array(unknown), 0, len(unknown)) == -1


@given(
    st.lists(st.text(alphabet=st.sampled_from("ab \t\r\n\v\f\0é日</s>_"), max_size=200), max_size=20),
    st.integers(0, 70),
)
@settings(max_examples=60, deadline=None)
def test_tokens_end_at_the_seven_separators_and_at_eos(texts: list[str], shift: int) -> None:
    """Features of a dictionary without words are the bigrams: one per token and one with </s>."""
    from scorers.bits import read_only
    from scorers.fasttext.classifier import _no_rows

    batch = Texts.from_arrow(pa.array(["x" * shift, *texts]).slice(1))
    num = len(texts)
    counts = np.zeros(num, np.int64)
    rows = _no_rows()._replace(table=np.zeros(BUCKET + 1, np.float32), width=1)
    kernel.sum_features(
        read_only(batch.data), read_only(batch.offsets[:-1]), read_only(batch.offsets[1:]), bucket_tables(), rows,
        0, kernel.WORDS | kernel.GRAMS, np.zeros((num, 1)), np.zeros((num, 0), np.float32), counts,
        np.zeros(num, np.int64),
    )  # fmt: skip
    expected = []
    for text in texts:
        tokens = [token for token in re.split("[ \t\r\n\v\f\0]", text) if token]
        expected.append(tokens.index("</s>") if "</s>" in tokens else len(tokens))
    assert counts.tolist() == expected


def test_a_document_without_any_feature_has_no_score(models: Path) -> None:
    """Unknown words give no row in a model without n-grams; only ``</s>`` saves it, so take that away."""
    from dataclasses import replace

    model = scorers.fasttext.load(models / "unigrams.bin")
    model = replace(model, tables=model.tables._replace(eos=-1))
    found = model.probabilities(pa.array(["zzzzqqq", "the zzzzqqq", ""]))
    assert found[model.labels[0]].is_valid().to_pylist() == [False, True, False]


def test_the_stepped_sigmoid_has_513_values() -> None:
    steps = np.arange(-8, 8 + 1 / 64, 1 / 64)
    found = losses.stepped_sigmoid(steps)
    assert len(set(found.tolist())) == 513
    assert losses.stepped_sigmoid(np.array([-8.001, 8.001])).tolist() == [0.0, 1.0]
    assert abs(losses.stepped_sigmoid(np.array([0.0]))[0] - 0.5) < 1e-7


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60).map(lambda counts: sorted(counts, reverse=True)))
@settings(max_examples=60, deadline=None)
def test_leaves_of_the_tree_are_the_labels_once_each(counts: list[int]) -> None:
    children = losses.tree(np.array(counts))
    assert sorted(children.ravel().tolist()) == list(range(2 * len(counts) - 2))


def test_the_library_is_the_one_we_think(models: Path) -> None:
    """The parity tests rest on predict of a list."""
    official = fasttext.load_model(str(models / "softmax2.bin"))
    with pytest.raises(ValueError):
        official.predict(["a\nb"])
    assert len(official.predict(["a", "b"], k=-1)[0]) == 2
