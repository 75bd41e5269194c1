"""Canonical words: what writing, markup and Unicode forms do not change."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from scorers.ghosts.canonical import LARGEST, canonical, canonical_spans, fold_table


def test_case_punctuation_and_markup_are_forgotten():
    plain = ["cupbearer", "tinsmith", "richly", "automatic"]
    for text in (
        "cupbearer tinsmith richly automatic",
        "Cupbearer, TINSMITH; richly... automatic!",
        "<b>cupbearer</b>-tinsmith\nrichly\t**automatic**",
        "cup\u00adbearer tin\u200bsmith \ufeffrichly automatic",
        "ｃｕｐｂｅａｒｅｒ tinsmith ｒｉｃｈｌｙ automatic",
        "cu\u0301pbearer tinsmi\u0302th richly automatic",
    ):
        found = canonical(text)
        assert [word for word in found if word != "b"] == plain, text


def test_a_ligature_is_its_letters_and_digits_are_letters():
    assert canonical("ﬁne Straße item7 x²") == ["fine", "strasse", "item7", "x2"]


def test_look_alikes_stay_different():
    assert canonical("с") != canonical("c")  # Cyrillic


@given(st.text())
def test_spans_point_at_what_was_read(text):
    for word, begin, end in canonical_spans(text):
        assert canonical(text[begin:end]) == [word]


@given(st.text())
def test_canonical_words_are_canonical(text):
    words = canonical(text)
    assert canonical(" ".join(words)) == words


def test_what_lies_above_the_table_is_a_letter():
    assert fold_table().fold(LARGEST) == LARGEST
    assert canonical("\U00020000\U00020001") == ["\U00020000\U00020001"]
