"""Documents made to hurt: each has a closed form, and megabytes of it are done in well under a second."""

from __future__ import annotations

import pyarrow as pa
import pytest

from scorers.repetition import Settings, load
from scorers.texts import Texts

SCORER = load(Settings(), {}, "repetition")


def score(text: str, scorer=SCORER) -> dict:
    texts = Texts.from_arrow(pa.array([text], pa.large_string()))
    return pa.Table.from_arrays(scorer.score(texts), schema=scorer.schema).to_pylist()[0]


def test_one_word_half_a_million_times():
    row = score("a " * 500_000)
    assert all(row[f"rep_ngram{n}_cover"] == row[f"rep_ngram{n}_top_cover"] == 1 for n in range(2, 11))
    assert (row["rep_loop_period"], row["rep_loop_copies"]) == (1, 500_000)


def test_half_a_million_distinct_words():
    row = score(" ".join(map(str, range(500_000))))
    assert all(row[f"rep_ngram{n}_{metric}"] == 0 for n in range(2, 11) for metric in ("cover", "excess"))
    assert (row["rep_loop_period"], row["rep_sents"]) == (None, 1)


def test_a_megabyte_without_a_space_is_one_word():
    row = score("x" * 1_000_000)
    assert (row["rep_line_excess"], row["rep_ngram2_cover"], row["rep_loop_share"]) == (0, None, 0)


def test_a_megabyte_without_a_space_is_a_million_characters():
    row = score("x" * 1_000_000, load(Settings(split="characters"), {}, "repetition"))
    assert (row["rep_line_excess"], row["rep_ngram10_cover"], row["rep_loop_copies"]) == (0, 1, 1_000_000)


def test_a_megabyte_of_newlines_has_no_unit():
    row = score("\n" * 1_000_000)
    assert (row["rep_line_excess"], row["rep_para_mass"], row["rep_sents"]) == (None, None, 0)


def test_a_million_bytes_of_equal_short_lines():
    row = score("ab\n" * 333_333)
    assert row["rep_line_excess"] == pytest.approx(1 - 1 / 333_333)
    assert (row["rep_line_mass"], row["rep_sent_consecutive"]) == (1, 0)
    assert score("ab.\n" * 250_000)["rep_sent_longest_run"] == 250_000


def test_three_megabytes_of_han():
    text = "".join(chr(0x4E00 + (k * (k + 1) // 2) % 499) for k in range(500_000))
    row = score(text * 2)
    assert row["rep_ngram10_cover"] == 1
    assert row["rep_line_mass"] == 0
    assert 0.5 <= row["rep_ngram10_cover_later"] <= 1


def test_equal_prefixes_that_part_late_are_told_apart():
    # 2000 sentences of 200 equal words and one of their own: compared word by word, each against one other at most.
    row = score(" ".join("same " * 200 + f"end{i}." for i in range(2000)))
    assert (row["rep_sents"], row["rep_sent_excess"], row["rep_sent_mass"]) == (2000, 0, 0)
