"""Units as records against a plain cut of the text."""

from __future__ import annotations

import re
from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from scorers.abbreviations import abbreviation_keys
from scorers.repetition.unit_records import KINDS, Units, units_of
from scorers.repetition.windows import CHECK_SHIFT, DOCUMENT_MASK
from scorers.sentences import unit_ends
from scorers.texts import Texts

PIECES = st.lists(
    st.sampled_from(["a", "b", "Hm. ", "你", "好。", " ", "  ", "\n", "\n\n", "\t\n \n", "x y"]), max_size=25
)
TEXTS = st.lists(PIECES.map("".join), min_size=1, max_size=5)


def units_in(texts: list[str], **options: object) -> tuple[Texts, Units]:
    batch = Texts.from_arrow(pa.array(texts, pa.large_string()))
    flags = unit_ends(batch.data, batch.offsets, batch.words, abbreviation_keys("en"))
    return batch, units_of(batch, flags, **options)  # type: ignore[arg-type]


def text_of(batch: Texts, units: Units, i: int) -> str:
    doc, first, words = int(units.document[i]), int(units.first[i]), int(units.words[i])
    data = batch.data[batch.offsets[doc] : batch.offsets[doc + 1]].tobytes()
    return data[batch.words.starts[first] : batch.words.ends[first + words - 1]].decode()


@given(TEXTS)
def test_equal_texts_and_only_those_share_a_fingerprint(texts: list[str]) -> None:
    batch, units = units_in(texts)
    marks: dict[tuple[int, int], set[tuple[int, str]]] = {}
    distinct = set()
    for i in range(len(units)):
        key = int(units.records[i, 0]), int(units.records[i, 1] >> CHECK_SHIFT)
        value = int(units.kind[i]), re.sub(r"\s+", " ", text_of(batch, units, i))
        marks.setdefault(key, set()).add(value)
        distinct.add(value)
        assert units.chars[i] == len(text_of(batch, units, i))
        assert int(units.records[i, 1] & DOCUMENT_MASK) == int(units.document[i]) << 2 | int(units.kind[i])
    assert all(len(values) == 1 for values in marks.values())
    assert len(marks) == len(distinct)


@given(TEXTS)
def test_lines_paragraphs_and_documents_are_those_of_a_plain_split(texts: list[str]) -> None:
    batch, units = units_in(texts)
    found = Counter((KINDS[int(units.kind[i])], text_of(batch, units, i)) for i in range(len(units)))
    expected: Counter[tuple[str, str]] = Counter()
    for text in texts:
        if text.strip():
            expected["document", text.strip()] += 1
        expected.update(("line", line.strip()) for line in text.split("\n") if line.strip())
        expected.update(("paragraph", part.strip()) for part in re.split(r"\n\s*\n", text) if part.strip())
    assert {k: n for k, n in found.items() if k[0] != "sentence"} == dict(expected)


def test_short_units_and_unwanted_kinds_are_left_out() -> None:
    _, units = units_in(["one two three\nfour\n"], kinds=("line",), least_words=2)
    assert (units.kind.tolist(), units.words.tolist()) == ([2], [3])
