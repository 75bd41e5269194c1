"""Places lie between words and outside of code, tables and markup; an edit is undone by its inverse."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from scorers.ghosts.edit import splice, to_arrow
from scorers.ghosts.places import LEADS, PLACES, choose_places
from scorers.texts import Texts

DOCUMENT = """# A heading. Of words

Hello there world. This is e.g. a test of U.S. law by Dr. Smith.
It goes on and on. "It does." So it does

```python
code = "in a fence. Yes. Really"

```

| a table. | of bars. |
name\tvalue\tunit. x
one   two. x   three

    indented. Code here.

See <a href="x y. Z" title="Not here. No">link text</a> and `inline code. Here` now. And then.

<pre>
not here. No.
</pre>
<!-- nor here. Nowhere. -->
The last paragraph"""
FORBIDDEN = ["# A heading. Of words", "```python", 'in a fence. Yes', "a table. | of", "name\tvalue", "one   two. x",
             "indented. Code here", 'href="x y. Z" title="Not here. No"', "inline code. Here", "not here. No.",
             "nor here. Nowhere"]  # fmt: skip


def texts_of(*documents: str) -> Texts:
    return Texts.from_arrow(pa.array(documents, pa.large_string()))


def all_places(document: str, place: str, low: float = 0, high: float = 1) -> dict[int, bytes]:
    """{position: lead} of every place that some draw gives."""
    count = 200
    texts = texts_of(*[document] * count)
    chosen = choose_places(texts.data, texts.offsets, place, low, high, np.arange(count))
    return {int(p): LEADS[i] for p, i in zip(chosen.positions, chosen.leads, strict=True) if p >= 0}


@pytest.mark.parametrize("place", PLACES)
def test_no_place_lies_in_a_word_code_a_table_or_markup(place):
    found = all_places(DOCUMENT, place)
    assert found
    for position in found:
        assert not DOCUMENT[position - 1].isspace()
        assert position == len(DOCUMENT) or DOCUMENT[position].isspace()
        for forbidden in FORBIDDEN:
            at = DOCUMENT.index(forbidden)
            assert not at < position <= at + len(forbidden), (forbidden, DOCUMENT[:position][-20:])


def ends(place: str, **between: float) -> list[str]:
    return [DOCUMENT[:position].split("\n")[-1][-18:] for position in sorted(all_places(DOCUMENT, place, **between))]


def test_sentences_end_where_a_reader_says():
    found = [end[-7:] for end in ends("sentence_end")]
    assert found == [" world.", " Smith.", "and on.", ' does."', "e` now.", "d then."]


def test_paragraph_ends_that_end_a_sentence_come_first():
    assert [end[-9:] for end in ends("paragraph_end")] == ["And then."]
    assert [end[-9:] for end in ends("own_line")] == ["And then."]
    assert set(all_places(DOCUMENT, "own_line").values()) == {b"\n\n"}
    assert set(all_places(DOCUMENT, "paragraph_end").values()) == {b" "}
    titles = "A title\n\nAn item without a stop\n\n- another"
    assert [titles[:p].split("\n")[-1] for p in sorted(all_places(titles, "paragraph_end"))] == [
        "A title", "An item without a stop", "- another",
    ]  # fmt: skip


def test_a_text_without_empty_lines_has_its_paragraphs_in_lines():
    text = "One line.\nAnother line\nA third one."
    assert [text[:p].split("\n")[-1] for p in sorted(all_places(text, "paragraph_end"))] == [
        "One line.",
        "A third one.",
    ]
    assert set(all_places(text, "own_line").values()) == {b"\n"}


def test_the_end_of_a_document_is_after_its_last_word_or_below_its_last_block():
    assert all_places("Some words here. \n\n", "document_end") == {16: b" "}
    assert all_places("Text.\n\n```\ncode\n```\n", "document_end") == {19: b"\n\n"}
    assert all_places("Text.\n\n```\ncode that never ends", "document_end") == {}
    assert all_places("Text. <pre>never closed", "document_end") == {}
    assert all_places(" \n ", "document_end") == {}


def test_a_range_is_kept():
    words = " ".join(["word"] * 100)
    for low, high in ((0.0, 0.25), (0.5, 1.0), (0.9, 0.91)):
        found = all_places(words, "word", low, high)
        assert found
        assert all(low * len(words) <= p <= high * len(words) for p in found)
    assert len(all_places("one two three four", "word")) == 4


def test_an_angle_that_opens_no_tag_closes_nothing():
    assert len(all_places("a < b and b > c but 3<4 holds", "word")) == 10


def test_every_place_is_equally_likely():
    texts = texts_of(*["one two three four five"] * 5000)
    draws = np.random.default_rng(0).integers(0, 1 << 63, 5000, np.uint64)
    chosen = choose_places(texts.data, texts.offsets, "word", 0, 1, draws)
    _, counts = np.unique(chosen.positions, return_counts=True)
    assert len(counts) == 5
    assert abs(counts - 1000).max() < 130


PIECES = [
    *("Word", " ", "\n", "\n\n", ". ", "```", "~~~\n", "<b>", "</pre>", "<pre>", "<!--", "-->", "`", "|", "\t", "    "),
    *("é。", "#", "\\begin", "<", ">", "---", "\r\n", "\x00", "Ünï", "\u2028"),
]
pieces = st.sampled_from(PIECES)


@settings(max_examples=300)
@given(
    st.lists(st.lists(pieces, max_size=25).map("".join), max_size=4), st.sampled_from(PLACES), st.integers(0, 2**64 - 1)
)
def test_what_was_inserted_is_taken_out_byte_for_byte(documents, place, draw):
    texts = texts_of(*documents)
    chosen = choose_places(texts.data, texts.offsets, place, 0, 1, np.full(len(documents), draw, np.uint64))
    docs = np.flatnonzero(chosen.positions >= 0)
    at = chosen.positions[docs]
    ghosts = [LEADS[chosen.leads[i]] + b"The ghost sentence is \xc3\xa4." for i in docs]
    marked = splice(texts, docs, at, at, ghosts)
    shown = to_arrow(marked).to_pylist()  # valid UTF-8, or this fails
    for doc, document in enumerate(documents):
        if doc not in docs:
            assert shown[doc] == document
            continue
        begin = int(chosen.positions[doc])
        data = document.encode()
        assert shown[doc].encode() == data[:begin] + ghosts[list(docs).index(doc)] + data[begin:]
        # Not within a word: white space or an edge on one side at least of what went in, which begins with a space.
        assert begin == len(data) or data[begin : begin + 1].isspace()
    back = splice(marked, docs, at, at + np.array([len(g) for g in ghosts], np.int64))
    assert to_arrow(back).to_pylist() == list(documents)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4), st.data())
def test_edits_are_those_of_plain_python(documents, data):
    texts = texts_of(*documents)
    docs, begins, ends, new = [], [], [], []
    expected = []
    for doc, document in enumerate(documents):
        raw, out, at = document.encode(), b"", 0
        for cut in sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=4))):
            end = data.draw(st.integers(cut, min(len(raw), cut + 3)))
            if cut < at:
                continue
            piece = data.draw(st.binary(max_size=4))
            docs.append(doc), begins.append(cut), ends.append(end), new.append(piece)
            out, at = out + raw[at:cut] + piece, end
        expected.append(out + raw[at:])
    edited = splice(texts, np.array(docs), np.array(begins), np.array(ends), new)
    assert [bytes(edited.data[a:b]) for a, b in zip(edited.offsets, edited.offsets[1:], strict=False)] == expected


@pytest.mark.parametrize(
    ("docs", "begins", "ends"),
    [
        ([0], [0], [9]),
        ([3], [0], [0]),
        ([0], [2], [1]),
        ([1, 0], [0, 0], [0, 0]),
        ([0, 0], [0, 1], [2, 3]),
        ([0], [-1], [0]),
    ],
)
def test_edits_outside_or_out_of_order_are_refused(docs, begins, ends):
    with pytest.raises(ValueError, match="edits"):
        splice(texts_of("four", "five"), np.array(docs), np.array(begins), np.array(ends))
