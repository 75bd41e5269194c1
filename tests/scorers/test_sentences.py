"""Lines, paragraphs and sentences, by example and against plain Python."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.abbreviations import ABBREVIATIONS, abbreviation_keys
from scorers.sentences import LINE, PARAGRAPH, SENTENCE, unit_ends
from scorers.texts import Texts
from scorers.words import split_words

settings.register_profile("scorers", deadline=None)  # the first call compiles
settings.load_profile("scorers")

SPACES = [" ", "\n", "\r\n", "\n\n", "\t", "\u2003"]
PIECES = st.sampled_from([*SPACES, "a", "Bc", "Mr", "J", "12", *'.!?…")(é你。」।'])
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def units(text: str, flag: int, language: str = "en", more: tuple[str, ...] = ()) -> list[str]:
    batch = Texts.from_arrow(pa.array([text]))
    flags = unit_ends(batch.data, batch.offsets, batch.words, abbreviation_keys(language, more))
    found, start = [], 0
    for i in np.flatnonzero(flags & flag):
        found.append(text.encode()[batch.words.starts[start] : batch.words.ends[i]].decode())
        start = i + 1
    assert start == len(batch.words)
    return found


@given(TEXTS)
def test_lines_are_split_at_newlines_stripped_and_not_empty(text):
    assert units(text, LINE) == [line.strip() for line in text.split("\n") if line.strip()]


@given(TEXTS)
def test_paragraphs_are_separated_by_blank_lines(text):
    blocks = re.split(r"\n\s*\n", text)
    assert units(text, PARAGRAPH) == [block.strip() for block in blocks if block.strip()]


@given(TEXTS)
@settings(max_examples=300)
def test_sentences_cut_paragraphs_and_lose_nothing_but_white_space(text):
    sentences = units(text, SENTENCE)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert "".join(sentences).count("\n") <= text.count("\n")
    for sentence in sentences:
        assert sentence == sentence.strip()
        assert re.search(r"\n\s*\n", sentence) is None


@given(st.lists(st.text("abcxyz ", min_size=1).map(str.strip).filter(bool), min_size=1), st.sampled_from(".!?؟…。"))
def test_plain_sentences_come_back_one_by_one(sentences, stop):
    # No abbreviations, and no number; a single lower-case letter is no initial.
    assert units(" ".join(s + stop for s in sentences), SENTENCE, "none") == [s + stop for s in sentences]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith met J. S. Bach. He left.", ["Mr. Smith met J. S. Bach.", "He left."]),
        ("See e.g. this (cf. Fig. 3). Then U.S. laws.", ["See e.g. this (cf. Fig. 3).", "Then U.S. laws."]),
        ("Pi is 3.14 or so. v1.2.3 is out!", ["Pi is 3.14 or so.", "v1.2.3 is out!"]),
        ("1. One thing.\n2. Another.\nIt was 1990. Then", ["1. One thing.", "2. Another.", "It was 1990.", "Then"]),
        ('"Stop!" (He did.) "Why?" he asked', ['"Stop!"', "(He did.)", '"Why?"', "he asked"]),
        ("Wait... what?! Yes", ["Wait...", "what?!", "Yes"]),
        ("A title\n\nits text . and more", ["A title", "its text .", "and more"]),
        ("one line\ngoes on. here", ["one line\ngoes on.", "here"]),
        ("「你好。」我说。再见！？走", ["「你好。」", "我说。", "再见！？", "走"]),
        ("यह है। वह है॥ और", ["यह है।", "वह है॥", "और"]),
        ("هل هذا صحيح؟ نعم", ["هل هذا صحيح؟", "نعم"]),
        ("Он И. Иванов. Да", ["Он И. Иванов.", "Да"]),
    ],
)
def test_sentences_by_example(text, expected):
    assert units(text, SENTENCE) == expected


def test_abbreviations_belong_to_a_language_and_can_be_added():
    text = "Das kostet ca. 3 Euro. Am Ende."
    assert units(text, SENTENCE, "de") == ["Das kostet ca. 3 Euro.", "Am Ende."]
    assert units(text, SENTENCE, "en")[0] == "Das kostet ca."
    assert units(text, SENTENCE, "en", ("Ca.",)) == ["Das kostet ca. 3 Euro.", "Am Ende."]


def test_an_abbreviation_of_more_than_seven_bytes_is_refused():
    with pytest.raises(ValueError, match="'standards' has 9 bytes; expected 1 to 7"):
        abbreviation_keys("en", ("standards",))
    for language in ABBREVIATIONS:
        assert len(abbreviation_keys(language)) == len(set(ABBREVIATIONS[language].split()))


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_have_units_and_the_last_word_ends_all_three(data):
    text, offsets = np.frombuffer(data, np.uint8), np.array([0, len(data)])
    words = split_words(text, offsets)
    flags = unit_ends(text, offsets, words, abbreviation_keys("en"))
    assert len(flags) == len(words)
    assert len(flags) == 0 or flags[-1] == LINE | PARAGRAPH | SENTENCE
    assert not ((flags & PARAGRAPH != 0) & (flags & (LINE | SENTENCE) != LINE | SENTENCE)).any()
