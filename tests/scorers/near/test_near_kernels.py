"""Folding, signatures, n-gram sets and components against plain Python."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorers.near.choice import Choice
from scorers.near.folding import fold, folding_table
from scorers.near.grams import GramSets, common, gram_sets, joined
from scorers.near.minhash import BASE, Scheme, band_keys, probability, signatures, splitmix, words_of
from scorers.near.union import flatten, unite
from scorers.texts import Texts

MASK = 2**64 - 1
TEXTS = st.lists(
    st.one_of(
        st.text(st.sampled_from("aAbB .,’–ÄäßİΣ你。Ａ\n"), max_size=60),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    ),
    max_size=6,
)


def texts_of(texts: list[str]) -> Texts:
    return Texts.from_arrow(pa.array(texts, pa.large_string()))


def plain_mix(h: int) -> int:
    h = ((h ^ h >> 32) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ h >> 29) * 0x94D049BB133111EB) & MASK
    return h ^ h >> 32


def plain_shingles(hashes: list[int], ngram: int) -> list[int]:
    n = min(ngram, len(hashes))
    found = []
    for i in range(len(hashes) - n + 1 if n else 0):
        value = sum(w * pow(BASE, n - 1 - k, 2**64) for k, w in enumerate(hashes[i : i + n])) & MASK
        found.append(plain_mix(value))
    return found


def plain_signature(hashes: list[int], scheme: Scheme) -> list[int]:
    drawn = [int(v) for v in splitmix(scheme.seed, 2 * scheme.bands * scheme.rows)]
    pairs = [(a | 1, b) for a, b in zip(drawn[0::2], drawn[1::2], strict=True)]
    xs = [h >> 32 for h in plain_shingles(hashes, scheme.ngram)]
    return [min((((a * x + b) & MASK) >> 32 for x in xs), default=2**32 - 1) for a, b in pairs]


def hashes_of(texts: list[str], folded: bool = True) -> list[list[int]]:
    words = words_of(texts_of(texts), folded)
    bounds = words.doc_offsets.tolist()
    values = [int(h) for h in words.hashes]
    return [values[a:b] for a, b in itertools.pairwise(bounds)]


@given(TEXTS, st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=150)
def test_signatures_are_those_of_the_definition(texts, ngram, bands, rows, seed):
    scheme = Scheme(ngram, bands, rows, seed)
    found = signatures(words_of(texts_of(texts)), scheme)
    assert found.tolist() == [plain_signature(hashes, scheme) for hashes in hashes_of(texts)]


@given(TEXTS)
def test_band_keys_are_equal_exactly_where_the_band_is(texts):
    scheme = Scheme(ngram=2, bands=3, rows=2)
    values = signatures(words_of(texts_of([*texts, *texts[:1]])), scheme)
    keys = band_keys(values, scheme)
    for i, j in np.ndindex(len(keys), len(keys)):
        same = (values[i].reshape(3, 2) == values[j].reshape(3, 2)).all(axis=1)
        assert (keys[i] == keys[j]).tolist() == same.tolist()
    assert all(len(set(row)) == 3 for row in keys.tolist())


@given(TEXTS, st.integers(1, 5))
def test_sets_of_grams_are_sorted_distinct_and_complete(texts, ngram):
    found = gram_sets(words_of(texts_of(texts)), ngram)
    expected = [sorted(set(plain_shingles(hashes, ngram))) for hashes in hashes_of(texts)]
    assert lists(found) == expected
    rows = np.arange(len(texts))[::-2].copy()
    assert lists(found.take(rows)) == [expected[row] for row in rows]
    assert lists(joined([found, found.take(rows)])) == expected + [expected[row] for row in rows]


@given(TEXTS.filter(bool), st.randoms())
def test_common_counts_what_two_sets_share(texts, draw):
    found = gram_sets(words_of(texts_of(texts)), 2)
    pairs = [(draw.randrange(len(texts)), draw.randrange(len(texts))) for _ in range(10)]
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    sets = [set(one) for one in lists(found)]
    assert common(found, found, first, second).tolist() == [len(sets[i] & sets[j]) for i, j in pairs]


def lists(sets: GramSets) -> list[list[int]]:
    return [sets.grams[a:b].tolist() for a, b in zip(sets.offsets, sets.offsets[1:], strict=False)]


def passes(shared: int, size: int, other: int, measure: str, threshold: float) -> bool:
    whole = size if measure == "containment" else size + other - shared
    return shared >= threshold * whole - 1e-9


@given(st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=8), min_size=1, max_size=12), st.data())
@settings(max_examples=200)
def test_each_document_goes_to_the_first_kept_one_that_it_is_like(sets, data):
    """However the documents are cut into blocks."""
    measure = data.draw(st.sampled_from(["containment", "jaccard"]))
    most = data.draw(st.integers(1, 3))
    clusters = data.draw(st.lists(st.integers(0, 2), min_size=len(sets), max_size=len(sets)))
    cut = data.draw(st.integers(0, len(sets)))
    chosen = Choice(measure == "jaccard", 0.6, 3, most)
    found, at = [], 0
    for part in (sets[:cut], sets[cut:]):
        grams = np.array([g for one in part for g in sorted(one)], np.uint64)
        block = GramSets(np.cumsum([0, *map(len, part)]).astype(np.int64), grams)
        numbers = np.arange(at, at + len(part))
        order = np.argsort(np.array(clusters[at : at + len(part)], np.int64), kind="stable")
        leader, shared, sizes = chosen.settle(numbers, np.array(clusters[at : at + len(part)], np.int64), order, block)
        found += list(zip(leader.tolist(), shared.tolist(), sizes.tolist(), strict=True))
        at += len(part)
    leaders: dict[int, list[int]] = {}
    for i, one in enumerate(sets):
        mine = leaders.setdefault(clusters[i], [])
        like = [k for k in mine if passes(len(one & sets[k]), len(one), len(sets[k]), measure, 0.6)]
        if like:
            assert found[i] == (like[0], len(one & sets[like[0]]), len(sets[like[0]]))
        else:
            assert found[i] == (i, len(one), len(one))
            if len(mine) < most:
                mine.append(i)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_folding_keeps_every_character_in_its_place(text):
    data = np.frombuffer(text.encode(), np.uint8)
    folded = bytes(fold(data, 0, len(data))).decode()
    assert len(folded) == len(text)
    assert [len(c.encode()) for c in folded] == [len(c.encode()) for c in text]
    assert bytes(fold(np.frombuffer(folded.encode(), np.uint8), 0, len(data))).decode() == folded


def test_folding_lowers_letters_and_clears_punctuation():
    data = np.frombuffer("Zürich: «ÉTÉ», «ΟΔΟΣ» МОСКВА… ！（Ａ）".encode(), np.uint8)
    assert bytes(fold(data, 0, len(data))).decode().split() == ["zürich", "été", "οδοσ", "москва", "ａ"]
    assert len(folding_table()) == 0x3040 + 256


@given(st.binary(max_size=60))
def test_any_bytes_fold_safely(data):
    assert len(fold(np.frombuffer(data, np.uint8), 0, len(data))) == len(data)


def test_a_slice_of_a_batch_folds_like_the_whole():
    whole = pa.array(["One, two", "THREE four. five", "Six"], pa.large_string())
    scheme = Scheme(ngram=2)
    expected = signatures(words_of(Texts.from_arrow(whole)), scheme)[1:]
    assert (signatures(words_of(Texts.from_arrow(whole.slice(1))), scheme) == expected).all()


def test_case_and_punctuation_count_only_where_folding_is_off():
    texts = texts_of(["The quick, brown fox", "the QUICK brown fox."])
    one, two = signatures(words_of(texts, True), Scheme())
    assert (one == two).all()
    one, two = signatures(words_of(texts, False), Scheme())
    assert (one != two).all()


@pytest.mark.parametrize("shared", [20, 60, 90])
def test_values_agree_as_often_as_the_sets_are_alike(shared):
    draw = random.Random(shared)
    scheme = Scheme(ngram=1, bands=128, rows=8)
    agreed = 0.0
    for _ in range(20):
        words = [f"w{draw.randrange(10**9)}" for _ in range(200 - shared)]
        texts = [" ".join(words[:100]), " ".join(words[100 - shared :])]
        one, two = signatures(words_of(texts_of(texts)), scheme)
        agreed += float((one == two).mean()) / 20
    expected = shared / (200 - shared)
    spread = (expected * (1 - expected) / (20 * 1024)) ** 0.5
    assert abs(agreed - expected) < 5 * spread


def test_pairs_become_candidates_as_often_as_the_curve_says():
    draw = random.Random(5)
    scheme = Scheme(ngram=1, bands=10, rows=3)
    found, tries = 0, 400
    for _ in range(tries):
        words = [f"w{draw.randrange(10**9)}" for _ in range(75)]
        keys = band_keys(signatures(words_of(texts_of([" ".join(words[:50]), " ".join(words[25:])])), scheme), scheme)
        found += bool((keys[0] == keys[1]).any())
    expected = probability(25 / 75, 10, 3)
    assert abs(found / tries - expected) < 4 * (expected * (1 - expected) / tries) ** 0.5


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40), st.randoms())
def test_components_do_not_depend_on_the_order_of_the_pairs(pairs, draw):
    def components(edges):
        parents = np.arange(20)
        first, second = np.array([*edges, (0, 0)]).T
        unite(parents, np.ascontiguousarray(first), np.ascontiguousarray(second))
        flatten(parents)
        return parents.tolist()

    shuffled = [draw.choice([pair, pair[::-1]]) for pair in draw.sample(pairs, len(pairs))]
    expected = list(range(20))
    for _ in range(20):
        for a, b in pairs:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert components(pairs) == components(shuffled) == expected
