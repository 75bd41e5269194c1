"""Draws: deterministic, uniform, separate streams; phrase and nulls come out of the same function."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from scorers.ghosts.canonical import canonical
from scorers.ghosts.generator import BLOCK, Generator, draw, nulls, permuted, secret_key
from scorers.ghosts.wordlists import WordList, eff_large

WORDS = eff_large()
TEN = Generator(WORDS.hash, length=10)
SECRET = bytes(range(32))


def small(size: int, length: int, replacement: bool = False) -> tuple[WordList, Generator]:
    words = WordList(tuple(f"w{i}" for i in range(size)))
    return words, Generator(words.hash, length, replacement)


def chi_squared(counts: list[int]) -> float:
    """Normalised to mean 0 and deviation 1 if all are equally likely."""
    expected, free = sum(counts) / len(counts), len(counts) - 1
    return (sum((c - expected) ** 2 for c in counts) / expected - free) / (2 * free) ** 0.5


def test_a_known_secret_and_beacon_give_a_known_phrase():
    key = secret_key(SECRET, "beacon")
    assert key.hex() == "117971ecb7f29ccc57893da9ed93d490cc5eb38eaa9147eb178ec3a01b78460a"
    assert (
        TEN.phrase(WORDS, draw(TEN, WORDS, key, 0, 1)[0])
        == "coil brunch scalding parted unsubtly gown doorbell overprice record bulgur"
    )


def test_the_key_depends_on_secret_and_beacon():
    keys = {secret_key(s, b) for s in (SECRET, b"x" * 32) for b in ("1", "2", "")}
    assert len(keys) == 6


@given(st.integers(0, 3 * BLOCK), st.integers(0, 2 * BLOCK))
def test_draw_number_t_is_the_same_whatever_is_drawn_around_it(start, count):
    whole = draw(TEN, WORDS, SECRET, 0, start + count)
    assert np.array_equal(draw(TEN, WORDS, SECRET, start, count), whole[start:])


def test_every_ordered_choice_is_equally_likely():
    words, generator = small(5, 3)
    rows = draw(generator, words, SECRET, 0, 60_000)
    counts = Counter(map(tuple, rows.tolist()))
    assert counts.keys() == set(itertools.permutations(range(5), 3))
    assert abs(chi_squared(list(counts.values()))) < 4


def test_with_replacement_every_tuple_is_equally_likely():
    words, generator = small(4, 3, replacement=True)
    counts = Counter(map(tuple, draw(generator, words, SECRET, 0, 64_000).tolist()))
    assert len(counts) == 64
    assert abs(chi_squared(list(counts.values()))) < 4


@settings(max_examples=30)
@given(st.integers(2, 30), st.data())
def test_without_replacement_no_word_comes_twice_and_none_is_out_of_range(size, data):
    words, generator = small(size, data.draw(st.integers(2, size)))
    rows = draw(generator, words, SECRET, 0, 300)
    assert rows.min() >= 0
    assert rows.max() < size
    assert all(len(set(row)) == generator.length for row in rows.tolist())


def test_streams_of_identifiers_seeds_generators_and_kinds_are_separate():
    streams = [
        nulls(TEN, WORDS, "a", 500),
        nulls(TEN, WORDS, "b", 500),
        nulls(TEN, WORDS, "a", 500, seed=1),
        nulls(replace(TEN, casing="title"), WORDS, "a", 500),
        draw(TEN, WORDS, SECRET, 0, 500),
    ]
    for one, other in itertools.combinations(streams, 2):
        # Independent words agree once in 7,776: 0.64 of 5,000 expected.
        assert (one == other).sum() < 10
    assert np.array_equal(streams[0], nulls(TEN, WORDS, "a", 500))


def test_a_null_draw_ranks_uniformly_among_the_others():
    # Any statistic will do: the exactness of the test rests on nothing else. Here: the sum of the places.
    ranks = []
    for i in range(400):
        phrase = draw(TEN, WORDS, secret_key(SECRET, "b"), i, 1)
        ranks.append(int((nulls(TEN, WORDS, f"id{i}", 19).sum(axis=1) <= phrase.sum()).sum()))
    assert abs(chi_squared([ranks.count(r) for r in range(20)])) < 4


def test_permutations_keep_the_words_and_are_uniform():
    row = np.array([7, 7, 1, 9])
    orders = permuted(row, TEN, "a", 4000)
    assert all(sorted(order) == [1, 7, 7, 9] for order in orders.tolist())
    counts = Counter(map(tuple, orders.tolist()))
    assert len(counts) == 12
    assert abs(chi_squared(list(counts.values()))) < 4
    assert np.array_equal(permuted(row, TEN, "a", 1000, start=3000), orders[3000:])


@given(
    carrier=st.sampled_from(
        ["{phrase}", "Please ignore: {phrase}.", "{element} says {phrase}!", "— {phrase} · ({element})"]
    ),
    element=st.text(
        st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="{}"), min_size=1, max_size=9
    ),
    casing=st.sampled_from(["lower", "capital", "title", "upper"]),
)
def test_the_phrase_is_found_where_the_sentence_says(carrier, element, casing):
    generator = replace(TEN, carriers=(carrier,), element=element, casing=casing)
    row = draw(generator, WORDS, SECRET, 3, 1)[0]
    phrase = generator.phrase(WORDS, row)
    sentence = generator.sentence(phrase, carrier)
    assert sentence.text[sentence.begin : sentence.end] == phrase
    assert element in sentence.text
    assert canonical(phrase) == [piece for i in row for piece in canonical(WORDS.words[i])]


def test_carriers_are_drawn_too_and_all_are_used():
    generator = replace(TEN, carriers=("A {phrase}.", "B {phrase}.", "C {phrase}."))
    drawn = Counter(generator.carrier(SECRET, i) for i in range(900))
    assert len(drawn) == 3
    assert min(drawn.values()) > 240


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 1}, "expected 2 to 64"),
        ({"carriers": ()}, "at least one"),
        ({"carriers": ("no place",)}, "once"),
        ({"carriers": ("{phrase} {phrase}",)}, "once"),
        ({"carriers": ("{phrase} {element}",)}, "there is no element"),
        ({"carriers": ("two\n{phrase}",)}, "one line"),
        ({"element": "a\nb"}, "one line"),
        ({"version": 9}, "version 9"),
    ],
)
def test_generators_that_cannot_work_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Generator(WORDS.hash, **fields)


def test_another_list_and_too_short_a_list_are_refused():
    words, generator = small(5, 6)
    with pytest.raises(ValueError, match="cannot be drawn"):
        draw(generator, words, SECRET, 0, 1)
    with pytest.raises(ValueError, match="hash"):
        draw(TEN, words, SECRET, 0, 1)


def test_fields_survive_json_and_shape_the_hash():
    generator = replace(TEN, carriers=("A {phrase}.", "B {phrase}."), element="x")
    assert Generator.of(generator.fields()) == generator
    changed = [replace(generator, **{k: v}) for k, v in {"length": 9, "element": "y", "casing": "upper"}.items()]
    assert len({generator.hash, TEN.hash, *(g.hash for g in changed)}) == 5
    with pytest.raises(ValueError, match="unexpected"):
        Generator.of(generator.fields() | {"lenght": 3})


def test_entropy_counts_what_is_left():
    assert TEN.bits(WORDS) == pytest.approx(129.24, abs=0.01)
    assert replace(TEN, replacement=True).bits(WORDS) == pytest.approx(129.25, abs=0.01)
