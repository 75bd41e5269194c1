"""The word split against plain Python over the same table."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.characters import MARK, SPACE, SPACELESS, UNICODE_VERSION, character_classes
from scorers.words import Words, split_words

settings.register_profile("scorers", deadline=None)  # the first call compiles
settings.load_profile("scorers")

CLASSES = character_classes()

# Everything that has a rule of its own, letters of one to four bytes, and anything at all.
CHARACTERS = st.one_of(
    st.sampled_from("ab.,\n\t \r\x00\x1b\x1c\x85é\u00a0\u2003\u3000\u0301\u200d你好。」ーกิ๏ក្កမ်\U0001f600\U00020000"),
    st.characters(exclude_categories=["Cs"]),
)
TEXTS = st.lists(st.text(CHARACTERS, max_size=60), max_size=6)


def buffers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def as_strings(texts: list[str], words: Words) -> list[list[str]]:
    found = []
    for text, first, last in zip(texts, words.doc_offsets, words.doc_offsets[1:], strict=False):
        spans = zip(words.starts[first:last], words.ends[first:last], strict=True)
        found.append([text.encode()[start:end].decode() for start, end in spans])
    return found


def plain_split(text: str, split: str = "unicode") -> list[str]:
    words: list[str] = []
    open_run = alone = False  # whether a run may go on, whether it is one character with its marks
    for char in text:
        kind = CLASSES[ord(char)]
        if kind & SPACE:
            open_run = False
            continue
        spaceless = split != "whitespace" and (kind & SPACELESS or (split == "characters" and not kind & MARK))
        if open_run and not spaceless and (not alone or kind & MARK):
            words[-1] += char
        else:
            words.append(char)
            alone = bool(spaceless)
        open_run = True
    return words


@given(TEXTS)
@settings(max_examples=300)
def test_the_default_split_cuts_at_space_and_around_characters_of_spaceless_scripts(texts):
    words = split_words(*buffers(texts))
    assert as_strings(texts, words) == [plain_split(text) for text in texts]


@given(TEXTS)
def test_the_whitespace_split_is_str_split(texts):
    assert as_strings(texts, split_words(*buffers(texts), "whitespace")) == [text.split() for text in texts]


@given(TEXTS)
def test_the_characters_split_makes_each_character_with_its_marks_a_word(texts):
    expected = [plain_split(text, "characters") for text in texts]
    assert as_strings(texts, split_words(*buffers(texts), "characters")) == expected


@given(TEXTS, st.sampled_from(["unicode", "whitespace", "characters"]))
def test_lengths_and_hashes_belong_to_the_words(texts, split):
    words = split_words(*buffers(texts), split)
    flat = [word for document in as_strings(texts, words) for word in document]
    assert words.chars.tolist() == [len(word) for word in flat]
    assert len(set(words.hashes.tolist())) == len(set(flat))
    assert len(set(zip(flat, words.hashes.tolist(), strict=True))) == len(set(flat))


@given(TEXTS, st.integers(0, 5), st.integers(0, 5))
def test_a_slice_of_a_batch_splits_as_it_does_alone(texts, start, length):
    data, offsets = buffers(texts)
    part = split_words(data, offsets[start : start + length + 1]) if start < len(offsets) else None
    if part is not None:
        assert as_strings(texts[start : start + length], part) == [
            plain_split(text) for text in texts[start : start + length]
        ]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5), st.integers(0, 2))
@settings(max_examples=300)
def test_any_bytes_split_into_words_that_lie_in_order_inside_their_document(data, cuts, which):
    offsets = np.array(sorted([0, len(data), *(min(cut, len(data)) for cut in cuts)]), np.int64)
    split = ("unicode", "whitespace", "characters")[which]
    words = split_words(np.frombuffer(data, np.uint8), offsets, split)
    for doc in range(len(offsets) - 1):
        first, last = words.doc_offsets[doc : doc + 2]
        edges = np.stack([words.starts[first:last], words.ends[first:last]], 1).ravel()
        assert (np.diff(edges)[::2] > 0).all()
        assert (np.diff(edges) >= 0).all()
        assert last == first or (edges[0] >= 0 and edges[-1] <= offsets[doc + 1] - offsets[doc])


def test_more_words_than_expected_make_the_arrays_grow():
    texts = ["a " * 50_000, "", "b " * 50_000, "c d"]
    words = split_words(*buffers(texts))
    assert np.diff(words.doc_offsets).tolist() == [50_000, 0, 50_000, 2]


def test_every_space_of_the_table_is_one_that_str_split_knows():
    assert {chr(point) for point in np.flatnonzero(CLASSES & SPACE)} == {
        chr(point) for point in range(0x110000) if chr(point).isspace()
    }


def test_marks_are_the_combining_characters_of_the_stated_unicode_version():
    found = {point for point in range(0x110000) if unicodedata.category(chr(point))[0] == "M"} | {0x200C, 0x200D}
    table = set(np.flatnonzero(CLASSES & MARK).tolist())
    assert table <= found
    if unicodedata.unidata_version.startswith(UNICODE_VERSION):
        assert table == found


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(ValueError, match="'sentences'; expected 'unicode'"):
        split_words(*buffers(["a"]), "sentences")
