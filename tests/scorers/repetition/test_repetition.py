"""The scorer as a whole: every column against plain Python, and the laws that the metrics obey."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.repetition import Settings, load
from scorers.sentences import LINE, PARAGRAPH, SENTENCE, unit_ends
from scorers.texts import Texts
from scorers.words import Words, split_words
from tests.scorers.repetition.reference import longest_run, loop, ngram_metrics, unit_metrics

settings.register_profile("scorers", deadline=None)  # the first call compiles
settings.load_profile("scorers")

SCORER = load(Settings(), {}, "repetition")

# Few words, so that texts repeat themselves; some longer than the eight bytes that are compared at once.
WORDS = st.sampled_from(
    ["a", "b", "bb", "c.", "d!", "longer-than-8", "longer-than-9", "é", "你", "好。", "\U0001f600", "x\x00"]
)
GAPS = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", " \r\n\t", "\u3000", "\n \n"])
TEXTS = st.lists(st.tuples(WORDS, GAPS), max_size=60).map(lambda pairs: "".join(word + gap for word, gap in pairs))


def score(*texts: str, scorer=SCORER) -> list[dict]:
    batch = Texts.from_arrow(pa.array(texts, pa.large_string()))
    return pa.Table.from_arrays(scorer.score(batch), schema=scorer.schema).to_pylist()


def spans(text: str, words: Words) -> list[str]:
    encoded = text.encode()
    return [encoded[start:end].decode() for start, end in zip(words.starts, words.ends, strict=True)]


def words_of(text: str, split: str = "unicode") -> list[str]:
    batch = Texts.from_arrow(pa.array([text], pa.large_string()))
    return spans(text, split_words(batch.data, batch.offsets, split))


def units_of(text: str, flag: int) -> list[str]:
    batch = Texts.from_arrow(pa.array([text], pa.large_string()))
    flags = unit_ends(batch.data, batch.offsets, batch.words, SCORER.abbreviations)
    found, start = [], 0
    for i in np.flatnonzero(flags & flag):
        found.append(text.encode()[batch.words.starts[start] : batch.words.ends[i]].decode())
        start = i + 1
    return found


def same(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-7)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(["unicode", "whitespace", "characters"]))
@settings(max_examples=120)
def test_ngrams_and_loops_are_those_of_plain_python(texts, split):
    rows = score(*texts, scorer=load(Settings(split=split), {}, "repetition"))
    for text, row in zip(texts, rows, strict=True):
        words = words_of(text, split)
        for n in range(2, 11):
            expected = ngram_metrics(words, n) or dict.fromkeys(["cover", "cover_later", "top_cover", "excess"])
            for metric, value in expected.items():
                assert same(row[f"rep_ngram{n}_{metric}"], value), (n, metric, words)
        period, copies, share = loop(words)
        assert (row["rep_loop_period"], row["rep_loop_copies"]) == (period, copies)
        assert same(row["rep_loop_share"], share)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(["unicode", "characters"]))
@settings(max_examples=120)
def test_units_are_those_of_plain_python_whatever_the_split(texts, split):
    rows = score(*texts, scorer=load(Settings(split=split), {}, "repetition"))
    for text, row in zip(texts, rows, strict=True):
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        for name, units in (("line", lines), ("para", units_of(text, PARAGRAPH)), ("sent", units_of(text, SENTENCE))):
            expected = unit_metrics(units) or dict.fromkeys(["excess", "mass", "excess_chars", "mass_chars"])
            for metric, value in expected.items():
                assert same(row[f"rep_{name}_{metric}"], value), (name, metric, units)
        sentences = units_of(text, SENTENCE)
        assert row["rep_sents"] == len(sentences)
        assert (row["rep_sent_consecutive"], row["rep_sent_longest_run"]) == longest_run(sentences)


@given(TEXTS)
@settings(max_examples=120)
def test_the_laws_of_the_metrics_hold(text):
    (row,) = score(text)
    for unit in ("line", "para", "sent"):
        for chars in ("", "_chars"):
            excess, mass = row[f"rep_{unit}_excess{chars}"], row[f"rep_{unit}_mass{chars}"]
            assert excess is None or 0 <= excess <= mass <= 1
            assert excess is None or (excess > 0) == (mass > 0)
    previous = 1.0
    for n in range(2, 11):
        cover, later, top = (row[f"rep_ngram{n}_{metric}"] for metric in ("cover", "cover_later", "top_cover"))
        if cover is None:
            break
        assert 0 <= later <= cover <= previous
        assert 0 <= top <= cover
        assert (cover > 0) == (later > 0) == (top > 0) == (row[f"rep_ngram{n}_excess"] > 0)
        previous = cover
    assert row["rep_loop_share"] is None or row["rep_loop_share"] <= 1


@given(TEXTS.filter(lambda text: text.strip() != ""))
def test_a_text_twice_is_repeated_through_and_through(text):
    (row,) = score(f"{text}\n\n{text}")
    for unit in ("line", "para", "sent"):
        assert row[f"rep_{unit}_mass"] == row[f"rep_{unit}_mass_chars"] == 1
        assert row[f"rep_{unit}_excess"] >= 0.5
    for n in range(2, min(len(words_of(text)), 10) + 1):
        assert row[f"rep_ngram{n}_cover"] == 1
    assert row["rep_sent_longest_run"] >= 1


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5), st.sampled_from(["unicode", "characters"]))
@settings(max_examples=120)
def test_any_bytes_are_measured(data, cuts, split):
    offsets = np.array(sorted([0, len(data), *(min(cut, len(data)) for cut in cuts)]), np.int64)
    texts = Texts(np.frombuffer(data, np.uint8), offsets)
    scorer = load(Settings(split=split), {}, "repetition")
    columns = scorer.score(texts)
    assert [len(column) for column in columns] == [len(texts)] * len(scorer.schema)
    assert [column.type for column in columns] == scorer.schema.types


PARAGRAPH_OF_33 = (
    "The quick brown fox jumps over one lazy dog while seven wise owls watch from tall pines and nobody in this small "
    "village ever asks why they came here or when all will leave again"
)


def test_a_paragraph_of_33_words_twice_is_covered_completely():
    (row,) = score(f"{PARAGRAPH_OF_33}\n\n{PARAGRAPH_OF_33}")
    assert row["rep_ngram5_cover"] == row["rep_ngram10_cover"] == row["rep_line_mass"] == 1
    assert row["rep_line_excess"] == row["rep_line_excess_chars"] == 0.5
    assert row["rep_ngram10_cover_later"] == 0.5


def test_unique_words_repeat_nothing():
    for text in (
        "antidisestablishment floccinaucinihilipil pneumonoultrami supercalifrag hippopotomon sesquip",
        PARAGRAPH_OF_33,
    ):
        (row,) = score(text)
        assert {row[f"rep_ngram{n}_top_cover"] for n in range(2, 7)} == {0.0}
        assert row["rep_loop_period"] is None
        assert row["rep_loop_copies"] == 1


def test_two_hundred_times_one_word_is_one_loop_of_period_one():
    (row,) = score("a " * 200)
    assert (row["rep_loop_period"], row["rep_loop_copies"], row["rep_loop_share"]) == (1, 200, 1.0)
    assert row["rep_ngram4_top_cover"] == row["rep_ngram10_cover"] == 1


def test_three_equal_lines_of_six():
    (row,) = score("same line\nfirst\nsame line\nsecond\nsame line\nthird")
    assert row["rep_line_mass"] == 0.5
    assert row["rep_line_excess"] == pytest.approx(1 / 3)


def test_blank_lines_between_distinct_lines_repeat_nothing():
    (row,) = score("\n\n".join(f"line number {i}" for i in range(12)))
    assert row["rep_line_mass"] == row["rep_para_mass"] == 0


def test_a_document_too_short_for_a_metric_has_null():
    empty, one, nine = score(" \n", "word", "a b c d e f g h i")
    assert all(value is None for name, value in empty.items() if "excess" in name or "cover" in name or "mass" in name)
    assert (empty["rep_sents"], empty["rep_loop_copies"], empty["rep_loop_share"]) == (0, 0, None)
    assert (one["rep_line_mass"], one["rep_ngram2_cover"], one["rep_loop_share"]) == (0.0, None, 0.0)
    assert (nine["rep_ngram9_cover"], nine["rep_ngram10_cover"]) == (0.0, None)


def test_consecutive_repetition_counts_sentences_that_equal_the_one_before():
    (row,) = score("I run.  I\nrun. I run. You walk. I run.")
    assert (row["rep_sents"], row["rep_sent_consecutive"], row["rep_sent_longest_run"]) == (5, 2, 3)


def test_another_name_prefixes_the_columns():
    assert load(Settings(), {}, "mine").schema.names[0] == "mine_line_excess"


def test_documents_do_not_influence_one_another():
    texts = ["a b a b", "a b", "", "x " * 5000, "a b a b", PARAGRAPH_OF_33]
    assert score(*texts) == [score(text)[0] for text in texts]


def test_the_flags_of_the_last_word_end_every_unit():
    batch = Texts.from_arrow(pa.array(["one two", "", "three"]))
    flags = unit_ends(batch.data, batch.offsets, batch.words, SCORER.abbreviations)
    assert flags.tolist() == [0, LINE | PARAGRAPH | SENTENCE, LINE | PARAGRAPH | SENTENCE]
